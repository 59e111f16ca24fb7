/** The proof that what is served follows from the log. */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_u64 } from "../events/u64.js";
import { ReplayAnswer } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import { type AnswerContent, accepts_ndjson, NDJSON_MEDIA_TYPE, ndjson_response } from "./lists.js";
import { document_of, ProblemDocument } from "./problem_document.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

const ReplayDocument = ReplayAnswer.openapi("Replay");
const Progress = z.object({ bytes: z.number().int(), bytes_total: z.number().int() });

/** A line of the NDJSON answer to a replay; the last one has `answer` or `problem`. */
export const ReplayLine = z
  .union([
    z.object({ progress: Progress }),
    z.object({ answer: ReplayDocument }),
    z.object({ problem: ProblemDocument }),
  ])
  .openapi("ReplayLine");
export type ReplayLine = z.infer<typeof ReplayLine>;

export type ReplayProgress = z.infer<typeof Progress>;

export interface ReplayQuestion {
  /** Null: every one. */
  partition: number | null;
  /** Only the partition's records below this offset; null: all that are live. */
  to: bigint | null;
}

/** Folds the log anew, and compares with the live state. Throws Problem for what the registry does not have. */
export type Replay = (
  registry: RegistryService,
  question: ReplayQuestion,
  progress: (progress: ReplayProgress) => void,
) => Promise<ReplayAnswer>;

const PROGRESS_INTERVAL_MS = 200;

const replay_content: AnswerContent = {
  "application/json": { schema: ReplayDocument },
  [NDJSON_MEDIA_TYPE]: { schema: ReplayLine },
};

const replay_route = createRoute({
  method: "post",
  path: "/v1/replay",
  summary: "Fold the log anew beside the live state and compare the digests; one at a time",
  request: {
    query: z.strictObject({
      partition: z.string().optional().describe("only this partition; by default every one"),
      to: z.string().optional().describe("only its records below this offset; needs `partition`"),
    }),
  },
  responses: {
    200: {
      description: "The digests; as NDJSON with lines of progress before them",
      content: replay_content,
    },
    ...PROBLEM_RESPONSES,
  },
});

export function add_replay_routes(app: OpenAPIHono, registry: RegistryService, replay: Replay): void {
  let replaying = false;

  app.openapi(replay_route, async (c) => {
    if (replaying)
      throw new Problem("unavailable", "a replay is running already; ask again when it has ended");
    const question = parse_question(c.req.valid("query"));
    replaying = true;
    const with_progress = accepts_ndjson(c);
    let latest: ReplayProgress | null = null;
    const answer = replay(registry, question, (progress) => {
      latest = progress;
    }).finally(() => {
      replaying = false;
    });
    if (!with_progress) return c.json(await answer, 200);
    return ndjson_response(
      c,
      replay_lines(answer, () => latest),
    );
  });
}

function parse_question({
  partition,
  to,
}: {
  partition?: string | undefined;
  to?: string | undefined;
}): ReplayQuestion {
  if (partition === undefined) {
    if (to === undefined) return { partition: null, to: null };
    throw new Problem("bad_input", "to: an offset is one partition's; say which with `partition` as well", {
      field: "to",
      value: shorten(to),
    });
  }
  if (!/^[0-9]{1,9}$/.test(partition)) {
    const value = shorten(partition);
    throw new Problem("bad_input", `partition: ${value} is no partition's number`, {
      field: "partition",
      value,
    });
  }
  return { partition: Number(partition), to: to === undefined ? null : parse_u64(to, "to") };
}

/** Only the newest progress is told, and only as fast as it is read. */
async function* replay_lines(
  answer: Promise<ReplayAnswer>,
  latest: () => ReplayProgress | null,
): AsyncGenerator<ReplayLine> {
  const ended = answer.then(
    (document): ReplayLine => ({ answer: document }),
    (error): ReplayLine => ({ problem: document_of(error) }),
  );
  let told: ReplayProgress | null = null;
  for (;;) {
    const line = await within_ms(ended, PROGRESS_INTERVAL_MS);
    if (line !== null) {
      yield line;
      return;
    }
    const progress = latest();
    if (progress !== null && progress !== told) {
      told = progress;
      yield { progress };
    }
  }
}

/** Null if it has not come by then. */
async function within_ms<Value>(value: Promise<Value>, ms: number): Promise<Value | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null);
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    clearTimeout(timer);
  }
}
