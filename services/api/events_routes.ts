/** Where events come in: one batch a request, taken whole or not at all. */
import { setImmediate as other_work } from "node:timers/promises";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import { encode_batch, encode_event } from "../events/codec.js";
import { event_from_json } from "../events/json.js";
import { RECORD_BYTES_MAX, RECORD_EVENTS_MAX } from "../events/limits.js";
import { at_line, ndjson_lines } from "../events/ndjson.js";
import { item_at, shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_json } from "../events/strict_json.js";
import { Ack } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import { read_body, require_media_type, text_of } from "./body.js";
import type { BodyRoom } from "./body_room.js";
import { message_schema } from "./event_schema.js";
import { NDJSON_MEDIA_TYPE } from "./lists.js";
import type { ServerMetrics } from "./metrics.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

/** JSON is at most about ten times as long as the same events in protobuf, whose own limit is 900 KiB. */
const JSON_BODY_BYTES_MAX = 16 * 1024 * 1024;
/** So many events are read before other requests have their turn. */
const EVENTS_AT_ONCE = 256;

const MEDIA_TYPES = ["application/json", NDJSON_MEDIA_TYPE, "application/x-protobuf"] as const;

const HOSTS_WANTED = ["all", "none"] as const;

interface EncodedBatch {
  bytes: Uint8Array;
  /** The line of each event, where the body has lines. */
  lines: number[] | null;
}

export function add_events_routes(
  app: OpenAPIHono,
  registry: RegistryService,
  metrics: ServerMetrics,
  bodies: BodyRoom,
): void {
  const event = message_schema("HostEvent");
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/events",
    summary:
      "Store a batch of events, whole or not at all; the answer comes when it is durable and in effect",
    description: `At most ${RECORD_EVENTS_MAX} events and ${RECORD_BYTES_MAX} bytes of protobuf. Sending a batch again is safe.`,
    request: {
      query: z.object({
        hosts: z
          .enum(HOSTS_WANTED)
          .optional()
          .describe(
            "none: the answer's `hosts` is empty, which is cheaper for a bulk sender that reads only positions",
          ),
      }),
      body: {
        required: true,
        content: {
          "application/json": {
            schema: z.strictObject({ events: z.array(event).min(1).max(RECORD_EVENTS_MAX) }),
          },
          [NDJSON_MEDIA_TYPE]: { schema: event },
          "application/x-protobuf": {
            schema: z.string().openapi({ format: "binary", description: "klpstate.v1.EventBatch" }),
          },
        },
      },
    },
    responses: {
      200: {
        description: "Positions, and for each host what its publisher needs to know",
        content: { "application/json": { schema: Ack.openapi("Ack") } },
      },
      ...PROBLEM_RESPONSES,
    },
  });

  app.post("/v1/events", async (c) => {
    const media_type = require_media_type(c, MEDIA_TYPES);
    const hosts = parse_hosts(c.req.query("hosts"));
    const bytes_max = media_type === "application/x-protobuf" ? RECORD_BYTES_MAX : JSON_BODY_BYTES_MAX;
    const held = bodies.hold();
    try {
      const { bytes, lines } = await encoded(media_type, await read_body(c, bytes_max, held));
      const ack = await registry.ingest(bytes, { hosts }).catch((error: unknown) => {
        throw lines === null ? error : with_line(error, lines);
      });
      metrics.batches.inc({ format: media_type });
      return c.body(ack.json, 200, { "content-type": "application/json" });
    } finally {
      held.let_go();
    }
  });
}

/** Whether the acknowledgement is to tell of each host. */
function parse_hosts(text: string | undefined): boolean {
  if (text === undefined || text === "all") return true;
  if (text === "none") return false;
  const value = shorten(text);
  const limit = HOSTS_WANTED.join(" or ");
  throw new Problem("bad_input", `hosts: ${value} is neither; write ${limit}`, {
    field: "hosts",
    value,
    limit,
  });
}

async function encoded(media_type: (typeof MEDIA_TYPES)[number], body: Uint8Array): Promise<EncodedBatch> {
  switch (media_type) {
    case "application/x-protobuf":
      return { bytes: body, lines: null };
    case "application/json":
      return { bytes: await batch_from_json(text_of(body)), lines: null };
    case NDJSON_MEDIA_TYPE:
      return batch_from_lines(body);
  }
}

async function batch_from_json(text: string): Promise<Uint8Array> {
  const document = parse_json(text);
  const shape = '{"events": […]} and nothing else';
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new Problem("bad_input", `body: ${shorten(document)} is not ${shape}`, {
      field: "body",
      value: shorten(document),
      limit: shape,
    });
  }
  const stray = Object.keys(document).find((key) => key !== "events");
  if (stray !== undefined) {
    throw new Problem("bad_input", `${shorten(stray)}: an unknown key; ${shape}`, {
      field: stray,
      limit: shape,
    });
  }
  const { events } = document;
  if (!Array.isArray(events) || events.length === 0) {
    const limit = `1 to ${RECORD_EVENTS_MAX} events`;
    const says = events === undefined ? "is missing" : Array.isArray(events) ? "is empty" : "is not a list";
    throw new Problem("bad_input", `events: ${says}; ${limit}`, { field: "events", limit });
  }
  if (events.length > RECORD_EVENTS_MAX) throw too_many_events(events.length);
  const encoded_events: Uint8Array[] = [];
  for (const [index, event] of events.entries()) {
    if (index % EVENTS_AT_ONCE === 0) await other_work();
    encoded_events.push(encode_event(event_from_json(event, item_at("events", index))));
  }
  return encode_batch(encoded_events);
}

async function batch_from_lines(body: Uint8Array): Promise<EncodedBatch> {
  const encoded_events: Uint8Array[] = [];
  const lines: number[] = [];
  for await (const { line, text } of ndjson_lines(one_chunk(body))) {
    if (lines.length === RECORD_EVENTS_MAX) throw too_many_events(`over ${RECORD_EVENTS_MAX}`, line);
    if (lines.length % EVENTS_AT_ONCE === 0) await other_work();
    encoded_events.push(at_line(line, () => encode_event(event_from_json(parse_json(text)))));
    lines.push(line);
  }
  if (lines.length === 0) {
    const limit = `1 to ${RECORD_EVENTS_MAX} events`;
    throw new Problem("bad_input", `body: has no event; ${limit}`, { field: "body", limit });
  }
  return { bytes: encode_batch(encoded_events), lines };
}

async function* one_chunk(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

function too_many_events(count: number | string, line?: number): Problem {
  const limit = `at most ${RECORD_EVENTS_MAX} events a batch`;
  const place = line === undefined ? "events" : `line ${line}`;
  return new Problem("too_large", `${place}: ${count} are too many; ${limit}`, {
    field: "events",
    value: String(count),
    limit,
    ...(line !== undefined && { line }),
  });
}

/** The registry knows events by their number in the batch; the sender of lines knows them by line. */
function with_line(error: unknown, lines: number[]): unknown {
  if (!(error instanceof Problem)) return error;
  const index = /^events\[([0-9]+)\]/.exec(error.parts.field ?? "")?.[1];
  const line = index === undefined ? undefined : lines[Number(index)];
  if (line === undefined) return error;
  return new Problem(error.code, `line ${line}: ${error.message}`, { ...error.parts, line });
}
