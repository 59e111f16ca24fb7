/** One host: what it is, what it was, what it held. */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { format_time } from "../events/time.js";
import { HistoryEntry, HostAnswer, StateAnswer } from "../registry/answers.js";
import type { Instant, RegistryService, StateLookup } from "../registry/service.js";
import {
  answer_list,
  bad_cursor,
  list_content,
  nothing_missing,
  PAGE_PARAMETERS,
  parse_limit,
} from "./lists.js";
import {
  HOST_PATH,
  INSTANT_PARAMETERS,
  POSITION_PARAMETERS,
  parse_host_id,
  parse_instant,
  parse_patch_name,
  parse_state_id,
  wait_for_position,
} from "./parameters.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

const HostDocument = HostAnswer.openapi("Host");
const HistoryDocument = HistoryEntry.openapi("HistoryEntry");
const StateDocument = StateAnswer.openapi("HostState");

const host_route = createRoute({
  method: "get",
  path: "/v1/hosts/{id}",
  summary: "What a host is, or was",
  request: {
    params: z.object(HOST_PATH),
    query: z.strictObject({ ...INSTANT_PARAMETERS, ...POSITION_PARAMETERS }),
  },
  responses: {
    200: { description: "The host", content: { "application/json": { schema: HostDocument } } },
    ...PROBLEM_RESPONSES,
  },
});

const history_route = createRoute({
  method: "get",
  path: "/v1/hosts/{id}/history",
  summary: "Every event of a host, oldest first, with its effects",
  request: {
    params: z.object(HOST_PATH),
    query: z.strictObject({ ...INSTANT_PARAMETERS, ...POSITION_PARAMETERS, ...PAGE_PARAMETERS }),
  },
  responses: {
    200: { description: "A page, or every line", content: list_content("history", HistoryDocument) },
    ...PROBLEM_RESPONSES,
  },
});

const state_route = createRoute({
  method: "get",
  path: "/v1/hosts/{id}/states/{state}",
  summary: "Who holds a system state, and which version a candidate needs",
  request: {
    params: z.object({ ...HOST_PATH, state: z.string().describe("id, 1 to 2^64-1, decimal") }),
    query: z.strictObject({
      ...INSTANT_PARAMETERS,
      ...POSITION_PARAMETERS,
      of: z.string().optional().describe("also klp_get_state of this patch"),
      prev_of: z.string().optional().describe("also klp_get_prev_state, as if this patch were in transition"),
    }),
  },
  responses: {
    200: { description: "The state's holders", content: { "application/json": { schema: StateDocument } } },
    ...PROBLEM_RESPONSES,
  },
});

export function add_hosts_routes(app: OpenAPIHono, registry: RegistryService): void {
  app.openapi(host_route, async (c) => {
    const host_id = parse_host_id(c.req.valid("param").id);
    const query = c.req.valid("query");
    const instant = parse_instant(query);
    await wait_for_position(registry, query);
    const host = await registry.host(host_id, instant);
    if (host === null) throw await not_known(registry, host_id, instant);
    return c.json(host, 200);
  });

  app.openapi(history_route, async (c) => {
    const query = c.req.valid("query");
    const host_id = parse_host_id(c.req.valid("param").id);
    const instant = parse_instant(query);
    const limit = parse_limit(query.limit);
    const after = query.cursor === undefined ? undefined : parse_position(query.cursor);
    await wait_for_position(registry, query);
    const history = await registry.history(host_id, instant);
    if (history === null) throw await not_known(registry, host_id, instant);
    return answer_list(c, {
      name: "history",
      items: after === undefined ? history : later_than(history, after),
      cursor_of: ({ position }) => `${position.partition}:${position.offset}:${position.index}`,
      limit,
      missing_partitions: nothing_missing,
    });
  });

  app.openapi(state_route, async (c) => {
    const path = c.req.valid("param");
    const query = c.req.valid("query");
    const host_id = parse_host_id(path.id);
    const state = parse_state_id(path.state);
    const instant = parse_instant(query);
    const lookup = parse_lookup(query);
    await wait_for_position(registry, query);
    const answer = await registry.state(host_id, state, instant, lookup);
    if (answer === null) throw await not_known(registry, host_id, instant);
    return c.json(answer, 200);
  });
}

/** A host that is known now, but was not then, is not the same as one that nobody ever heard of. */
export async function not_known(
  registry: RegistryService,
  host_id: string,
  instant: Instant,
): Promise<Problem> {
  const value = shorten(host_id);
  const { as_of_ms, known_at_ms } = instant;
  const asked = [
    ...(as_of_ms === undefined ? [] : [`as of ${format_time(as_of_ms)}`]),
    ...(known_at_ms === undefined ? [] : [`by what had arrived at ${format_time(known_at_ms)}`]),
  ].join(", ");
  if (asked === "" || (await registry.host(host_id, {})) === null) {
    return new Problem("not_found", `host ${value} is not known: no event of it was ever stored`, {
      field: "host_id",
      value,
    });
  }
  const field = as_of_ms === undefined ? "known_at" : "as_of";
  return new Problem("not_found", `host ${value} was not known ${asked}; it became known later`, {
    field,
    value,
  });
}

function parse_lookup(query: {
  of?: string | undefined;
  prev_of?: string | undefined;
}): StateLookup | undefined {
  if (query.of !== undefined && query.prev_of !== undefined) {
    throw new Problem("bad_input", "prev_of: not together with of; ask twice", {
      field: "prev_of",
      value: shorten(query.prev_of),
    });
  }
  if (query.of !== undefined) return { of: parse_patch_name(query.of, "of") };
  if (query.prev_of !== undefined) return { prev_of: parse_patch_name(query.prev_of, "prev_of") };
  return undefined;
}

interface EventPlace {
  offset: bigint;
  index: number;
}

/** A host's events are all in one partition, in the order of their offsets. */
function parse_position(cursor: string): EventPlace {
  const parts = /^[0-9]{1,6}:([0-9]{1,20}):([0-9]{1,6})$/.exec(cursor);
  if (parts === null) throw bad_cursor(cursor);
  return { offset: BigInt(parts[1]!), index: Number(parts[2]) };
}

async function* later_than(
  history: AsyncIterable<HistoryEntry>,
  after: EventPlace,
): AsyncGenerator<HistoryEntry> {
  for await (const entry of history) {
    const offset = BigInt(entry.position.offset);
    if (offset > after.offset || (offset === after.offset && entry.position.index > after.index)) yield entry;
  }
}
