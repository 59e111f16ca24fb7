/** The whole fleet as its configurations, and the proof that they follow from the log. */
import { createHash } from "node:crypto";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../events/problem.js";
import { FleetRow, ReplayAnswer } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import {
  type AnswerContent,
  accepts_ndjson,
  answer_list,
  bad_cursor,
  broken_partitions,
  list_content,
  NDJSON_MEDIA_TYPE,
  ndjson_response,
  PAGE_PARAMETERS,
  parse_limit,
} from "./lists.js";
import { document_of, ProblemDocument } from "./problem_document.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

const FleetDocument = FleetRow.openapi("Configuration");
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

/** Folds the log anew, and compares with the live state. Throws Problem `contradiction` for a log that is damaged. */
export type Replay = (
  registry: RegistryService,
  progress: (progress: ReplayProgress) => void,
) => Promise<ReplayAnswer>;

const PROGRESS_INTERVAL_MS = 200;

const fleet_route = createRoute({
  method: "get",
  path: "/v1/fleet",
  summary: "Every configuration that hosts have, with their count; by kernel release and arch",
  request: { query: z.strictObject(PAGE_PARAMETERS) },
  responses: {
    200: { description: "A page, or every line", content: list_content("fleet", FleetDocument) },
    ...PROBLEM_RESPONSES,
  },
});

const replay_content: AnswerContent = {
  "application/json": { schema: ReplayDocument },
  [NDJSON_MEDIA_TYPE]: { schema: ReplayLine },
};

const replay_route = createRoute({
  method: "post",
  path: "/v1/replay",
  summary: "Fold the whole log anew beside the live state and compare the digests; one at a time",
  responses: {
    200: {
      description: "The digests; as NDJSON with lines of progress before them",
      content: replay_content,
    },
    ...PROBLEM_RESPONSES,
  },
});

export function add_fleet_routes(app: OpenAPIHono, registry: RegistryService, replay: Replay): void {
  let replaying = false;

  app.openapi(fleet_route, async (c) => {
    const query = c.req.valid("query");
    const limit = parse_limit(query.limit);
    const after = query.cursor === undefined ? "" : parse_key(query.cursor);
    const rows = (await registry.fleet()).map((row) => ({ row, key: key_of(row) }));
    rows.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    return answer_list(c, {
      name: "fleet",
      items: each(rows.filter(({ key }) => key > after).map(({ row }) => row)),
      cursor_of: (row) => Buffer.from(key_of(row)).toString("base64url"),
      limit,
      missing_partitions: () => broken_partitions(registry),
    });
  });

  app.openapi(replay_route, async (c) => {
    if (replaying)
      throw new Problem("unavailable", "a replay is running already; ask again when it has ended");
    replaying = true;
    const with_progress = accepts_ndjson(c);
    let latest: ReplayProgress | null = null;
    const answer = replay(registry, (progress) => {
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

/**
 * Configurations have no order of their own and come and go between two pages: by this key, a page begins behind the
 * one before it whatever has gone.
 */
function key_of(row: FleetRow): string {
  const { hosts: _, ...configuration } = row;
  const digest = createHash("sha256").update(JSON.stringify(configuration)).digest("hex");
  return `${row.kernel_release ?? ""} ${row.arch ?? ""} ${digest}`;
}

function parse_key(cursor: string): string {
  const key = Buffer.from(cursor, "base64url").toString("utf8");
  if (!/ [0-9a-f]{64}$/.test(key)) throw bad_cursor(cursor);
  return key;
}

async function* each<Item>(items: Item[]): AsyncGenerator<Item> {
  yield* items;
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
