/** May this livepatch be loaded there? Counts for the fleet, or one line a host. */
import { isUtf8 } from "node:buffer";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_json } from "../events/strict_json.js";
import { parse_duration } from "../events/time.js";
import { BatchAnswer, CheckAnswer, HostVerdict, VerdictName } from "../registry/answers.js";
import type { Candidate, HostCheckOptions, RegistryService } from "../registry/service.js";
import { read_body, require_media_type, text_of } from "./body.js";
import { not_known } from "./hosts_routes.js";
import {
  answer_list,
  bad_cursor,
  broken_partitions,
  list_content,
  nothing_missing,
  PAGE_ITEMS_DEFAULT,
  PAGE_ITEMS_MAX,
} from "./lists.js";
import {
  INSTANT_PARAMETERS,
  POSITION_PARAMETERS,
  parse_candidate,
  parse_host_id,
  parse_instant,
  refuse_first_issue,
  wait_for_position,
} from "./parameters.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

/** So many are named in one question at most. */
const PATCHES_MAX = 1_000;
/** The largest request that makes sense has so many names of 55 bytes, in JSON's escapes, and build ids. */
const CHECK_BODY_BYTES_MAX = 576 * 1024;

/** In the query, as of every read, or in the body. */
const CHECK_PARAMETERS = {
  max_age: z.string().optional().describe("such as 26h: hosts not heard of for longer are `unknown: stale`"),
  ...INSTANT_PARAMETERS,
  ...POSITION_PARAMETERS,
};
const CheckQuery = z.strictObject(CHECK_PARAMETERS);

const CheckRequest = z
  .strictObject({
    patch: z
      .string()
      .optional()
      .describe("NAME: for each host the manifest of its release and arch; NAME@BUILDID: that one"),
    patches: z
      .array(z.string())
      .min(1)
      .max(PATCHES_MAX)
      .optional()
      .describe("in place of patch: of each the counts, over the same positions; not together with hosts"),
    ...CHECK_PARAMETERS,
    hosts: z.boolean().optional().describe("one line a host in place of the counts"),
    verdicts: z.array(VerdictName).min(1).optional().describe("with hosts: only hosts with one of these"),
    host_id: z.string().optional().describe("with hosts: only this one"),
    limit: z
      .number()
      .int()
      .min(1)
      .max(PAGE_ITEMS_MAX)
      .optional()
      .describe(`by default ${PAGE_ITEMS_DEFAULT}`),
    cursor: z.string().optional().describe("with hosts: `next` of the page before"),
  })
  .openapi("CheckRequest");
type CheckRequest = z.infer<typeof CheckRequest>;

const OF_HOSTS = ["verdicts", "host_id", "limit", "cursor"] as const;

const CheckDocument = CheckAnswer.openapi("Check");
const BatchDocument = BatchAnswer.openapi("Checks");
const VerdictDocument = HostVerdict.openapi("HostVerdict");

export function add_checks_routes(app: OpenAPIHono, registry: RegistryService): void {
  const hosts = list_content("hosts", VerdictDocument);
  // Registered by hand: the body is read by the strict parser, which also refuses a key given twice.
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/checks",
    summary: "Which hosts' kernels would refuse a livepatch, on which state, held by which patch",
    request: {
      query: CheckQuery,
      body: { required: true, content: { "application/json": { schema: CheckRequest } } },
    },
    responses: {
      200: {
        description:
          "Counts; with `patches` those of each; with `hosts` a page of verdicts, or every line of them",
        content: {
          ...hosts,
          "application/json": {
            schema: z.union([CheckDocument, BatchDocument, hosts["application/json"]!.schema]),
          },
        },
      },
      ...PROBLEM_RESPONSES,
    },
  });

  app.post("/v1/checks", async (c) => {
    require_media_type(c, ["application/json"]);
    const request = with_query(parse_request(await read_body(c, CHECK_BODY_BYTES_MAX)), c.req.query());
    const candidates = parse_candidates(request);
    const max_age_ms = request.max_age === undefined ? undefined : parse_duration(request.max_age, "max_age");
    const instant = parse_instant(request);
    const age = { instant, ...(max_age_ms !== undefined && { max_age_ms }) };
    const host_id = request.host_id === undefined ? undefined : parse_host_id(request.host_id);
    const after = request.cursor === undefined ? undefined : parse_cursor(request.cursor);
    await wait_for_position(registry, request);
    if (request.patches !== undefined) return c.json(await registry.check_batch(candidates, age));
    const candidate = candidates[0]!;
    if (request.hosts !== true) return c.json(await registry.check(candidate, age));

    const options: HostCheckOptions = { ...age };
    if (request.verdicts !== undefined) options.verdicts = request.verdicts;
    if (host_id !== undefined) {
      options.host_id = host_id;
      if ((await registry.host(host_id, instant)) === null) throw await not_known(registry, host_id, instant);
    }
    if (after !== undefined) options.after = after;
    const missing = new Set<number>();
    options.missing = missing;
    return answer_list(c, {
      name: "hosts",
      items: registry.check_hosts(candidate, options),
      lines: registry.check_lines(candidate, options, request.limit),
      cursor_of: ({ host_id }) => Buffer.from(host_id).toString("base64url"),
      limit: request.limit,
      missing_partitions:
        options.host_id === undefined
          ? async () =>
              [...new Set([...missing, ...(await broken_partitions(registry))])].sort((a, b) => a - b)
          : nothing_missing,
    });
  });
}

function parse_request(body: Uint8Array): CheckRequest {
  const given = parse_json(text_of(body));
  const parsed = CheckRequest.safeParse(given);
  if (!parsed.success) refuse_first_issue(parsed.error, given, "body");
  const stray = OF_HOSTS.find((field) => parsed.data[field] !== undefined);
  if (parsed.data.hosts !== true && stray !== undefined) {
    throw new Problem("bad_input", `${stray}: only together with "hosts": true`, {
      field: stray,
      value: shorten(parsed.data[stray]),
    });
  }
  return parsed.data;
}

/** One of the two is given. */
function parse_candidates({ patch, patches, hosts }: CheckRequest): Candidate[] {
  if (patch !== undefined && patches === undefined) return [parse_candidate(patch, "patch")];
  if (patches === undefined) {
    throw new Problem("bad_input", "patch: give one, or several as `patches`", { field: "patch" });
  }
  if (patch !== undefined || hosts === true) {
    const beside = hosts === true ? '"hosts": true, which is of one patch' : "patch; give one of the two";
    throw new Problem("bad_input", `patches: not together with ${beside}`, { field: "patches" });
  }
  return patches.map((each, i) => parse_candidate(each, `patches[${i}]`));
}

/** What is given twice may be given differently. */
function with_query(request: CheckRequest, given: Record<string, string>): CheckRequest {
  const parsed = CheckQuery.safeParse(given);
  if (!parsed.success) return refuse_first_issue(parsed.error, given, "query");
  const twice = Object.keys(parsed.data).find((field) => request[field as keyof CheckRequest] !== undefined);
  if (twice === undefined) return { ...request, ...parsed.data };
  throw new Problem("bad_input", `${twice}: in the body and in the query; give it once`, { field: twice });
}

/** A page's cursor is its last host: its id says the partition, and hosts keep their order in it. */
function parse_cursor(cursor: string): string {
  const last = Buffer.from(cursor, "base64url");
  if (last.length === 0 || !isUtf8(last)) throw bad_cursor(cursor);
  return last.toString("utf8");
}
