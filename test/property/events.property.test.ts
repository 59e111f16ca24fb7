import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decode_batch,
  decode_event,
  decode_manifest,
  encode_batch,
  encode_event,
  encode_manifest,
  walk_batch,
} from "#services/events/codec.js";
import { given_twice_at } from "#services/events/given_twice.js";
import {
  event_from_json,
  event_to_json,
  manifest_from_json,
  manifest_to_json,
} from "#services/events/json.js";
import { klpstate } from "#services/events/proto.js";
import { parse_json } from "#services/events/strict_json.js";
import { format_time, parse_time } from "#services/events/time.js";
import { parse_u64, u64_from_bigint, u64_to_bigint } from "#services/events/u64.js";
import { validate_batch } from "#services/events/validate.js";

const u64 = fc.oneof(
  fc.constantFrom(0n, 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const u64_text = u64.map(String);
const u32 = fc.oneof(fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1), fc.nat());
const text = (max: number) =>
  fc
    .string({ minLength: 1, maxLength: Math.floor(max / 4), unit: "grapheme" })
    .filter((value) => Buffer.byteLength(value) <= max);
const hex = (max: number) =>
  fc.uint8Array({ maxLength: max }).map((bytes) => Buffer.from(bytes).toString("hex"));
const name = text(55);
const patch = fc.record({ name, build_id: hex(64) }, { requiredKeys: ["name"] });
const phase = fc.constantFrom("enabling", "enabled", "disabling");
const some = fc.record;

const observed = fc.uniqueArray(name, { maxLength: 6 }).chain((names) =>
  some(
    {
      kernel_release: text(64),
      arch: text(64),
      boot_id: fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((bytes) => Buffer.from(bytes).toString("hex")),
      boot_time_unix_s: u64_text,
      livepatching: fc.constantFrom("unspecified", "supported", "not_built", "unreadable"),
      stack: fc.tuple(
        ...names
          .slice(0, 3)
          .map((of) =>
            some(
              { patch: fc.constant({ name: of }), phase, replace: fc.boolean() },
              { requiredKeys: ["patch", "phase"] },
            ),
          ),
      ),
      lingering: fc.tuple(
        ...names
          .slice(3)
          .map((of) =>
            some({ patch: fc.constant({ name: of }), pinned: fc.boolean() }, { requiredKeys: ["patch"] }),
          ),
      ),
      policy: some(
        { modules_disabled: fc.boolean(), signature_required: fc.boolean(), ftrace_off: fc.boolean() },
        { requiredKeys: [] },
      ),
      losses: fc.array(
        some(
          {
            source: fc.constantFrom("kernel_log", "snapshot", "spool"),
            from_unix_ms: u64_text,
            to_unix_ms: u64_text,
          },
          { requiredKeys: [] },
        ),
        { maxLength: 3 },
      ),
    },
    { requiredKeys: ["kernel_release", "arch"] },
  ),
);

const task = some({ pid: u32, comm: text(16), kthread: fc.boolean() }, { requiredKeys: [] });
const change = fc.oneof(
  some({ observed }),
  some({ loading: some({ patch, replace: fc.boolean() }, { requiredKeys: ["patch"] }) }),
  some({ loaded: some({ patch, replace: fc.boolean() }, { requiredKeys: ["patch"] }) }),
  some({ replaced: some({ patch, left: fc.array(patch, { maxLength: 4 }) }, { requiredKeys: ["patch"] }) }),
  some({ disabling: some({ patch }) }),
  some({ disabled: some({ patch }) }),
  some({ reversed: some({ patch, to: fc.constantFrom("enabling", "disabling") }) }),
  some({ forced: some({ patch, phase }) }),
  some({
    refused: some(
      {
        patch,
        reason: fc.constantFrom("unspecified", "pre_patch", "import_missing"),
        errno: text(16),
        line: text(512),
      },
      { requiredKeys: [] },
    ),
  }),
  some({ removed: some({ patch }) }),
  some({
    stalled: some(
      { patch, tasks: fc.array(task, { maxLength: 3 }), tasks_total: u32 },
      { requiredKeys: ["patch"] },
    ),
  }),
  some({
    object_changed: some(
      { patch, object: text(55), kind: fc.constantFrom("applied", "reverted", "refused") },
      { requiredKeys: ["patch"] },
    ),
  }),
);
const head = some(
  {
    host_id: text(255).filter((value) => !/\p{Cc}/u.test(value)),
    stream: u64.filter((value) => value > 0n).map(String),
    sequence: fc.integer({ min: 1, max: 2 ** 32 - 1 }).map(String),
    time_unix_ms: u64_text,
    not_before_unix_ms: u64_text,
  },
  { requiredKeys: ["host_id", "stream", "sequence", "time_unix_ms"] },
);
const event_json = fc.tuple(head, change).map(([of_head, of_change]) => ({ ...of_head, ...of_change }));
const events_json = fc.array(event_json, { minLength: 1, maxLength: 5 });

describe("events", () => {
  it("decode to what was encoded, and encode again to the same bytes", () => {
    fc.assert(
      fc.property(event_json, (json) => {
        const event = event_from_json(json);
        const bytes = encode_event(event);
        expect(decode_event(bytes)).toEqual(event);
        expect(encode_event(decode_event(bytes))).toEqual(bytes);
      }),
    );
  });

  it("are the same through their JSON form, as a value and as text", () => {
    fc.assert(
      fc.property(event_json, (json) => {
        const bytes = encode_event(event_from_json(json));
        const again = event_to_json(decode_event(bytes));
        expect(encode_event(event_from_json(parse_json(JSON.stringify(again))))).toEqual(bytes);
      }),
    );
  });

  it("stand in a batch with their exact bytes, and the batch is valid", () => {
    fc.assert(
      fc.property(events_json, (list) => {
        const events = list.map((json) => encode_event(event_from_json(json)));
        const bytes = encode_batch(events);
        expect(decode_batch(bytes).map(({ start, end }) => bytes.subarray(start, end))).toEqual(events);
        expect(validate_batch(bytes)).toBeNull();
        expect(klpstate.v1.EventBatch.encode(klpstate.v1.EventBatch.decode(bytes)).finish()).toEqual(
          Buffer.from(bytes),
        );
      }),
    );
  });
});

describe("damaged records", () => {
  /** A valid batch with some bytes overwritten, doubled, taken out or cut off. */
  const damaged = fc
    .tuple(
      events_json,
      fc.array(fc.tuple(fc.nat(), fc.constantFrom("set", "double", "remove", "cut"), fc.nat({ max: 255 })), {
        maxLength: 4,
      }),
    )
    .map(([list, edits]) => {
      let bytes = [...encode_batch(list.map((json) => event_from_json(json)))];
      for (const [where, edit, value] of edits) {
        const at = where % (bytes.length + 1);
        if (edit === "set") bytes[at] = value;
        if (edit === "double") bytes.splice(at, 0, ...bytes.slice(at, at + (value % 32)));
        if (edit === "remove") bytes.splice(at, value % 32);
        if (edit === "cut") bytes = bytes.slice(0, at);
      }
      return Uint8Array.from(bytes);
    });

  it("decode event by event exactly where protobufjs decodes them whole", () => {
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), (bytes) => {
        const found = [...walk_batch(bytes)];
        let whole: klpstate.v1.HostEvent.$Properties[] | null = null;
        try {
          whole = klpstate.v1.EventBatch.decode(bytes).events;
        } catch {}
        if (whole === null) expect(found.at(-1)).toMatchObject({ code: "malformed" });
        else expect(found.map((item) => "event" in item && item.event)).toEqual(whole);
      }),
      { numRuns: 1000 },
    );
  });

  it("get an answer that never throws, and the scan for second fields reads what protobufjs reads", () => {
    fc.assert(
      fc.property(damaged, (bytes) => {
        const found = validate_batch(bytes);
        if (found === null) {
          for (const { start, end } of decode_batch(bytes)) {
            expect(given_twice_at("HostEvent", bytes.subarray(start, end))).toBeNull();
          }
        } else expect(found.message).toContain(found.field);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("manifests", () => {
  const manifest_json = some(
    {
      name: text(55).filter((value) => !/[\p{Cc}-]/u.test(value)),
      kernel_release: text(64).filter((value) => !/\p{Cc}/u.test(value)),
      arch: fc.constantFrom("x86_64", "s390x"),
      build_id: hex(64),
      replace: fc.boolean(),
      states: fc.array(
        some(
          { id: u64.filter((id) => id > 0n).map(String), version: u32, has_data: fc.boolean() },
          { requiredKeys: ["id", "version"] },
        ),
        { maxLength: 8 },
      ),
      functions: fc.array(
        some({ object: text(55), name: text(64), position: u64_text }, { requiredKeys: [] }),
        { maxLength: 4 },
      ),
      advisories: fc.array(text(32), { maxLength: 4 }),
      released_unix_s: u64_text,
      irreversible: text(64),
    },
    { requiredKeys: ["name", "kernel_release", "arch"] },
  );

  it("are the same through protobuf and through JSON", () => {
    fc.assert(
      fc.property(manifest_json, (json) => {
        const manifest = manifest_from_json(json);
        const bytes = encode_manifest(manifest);
        expect(decode_manifest(bytes)).toEqual(manifest);
        const again = manifest_to_json(decode_manifest(bytes));
        expect(encode_manifest(manifest_from_json(parse_json(JSON.stringify(again))))).toEqual(bytes);
      }),
    );
  });
});

describe("values", () => {
  it("64-bit integers are exact in every form", () => {
    fc.assert(
      fc.property(u64, (value) => {
        expect(u64_to_bigint(u64_from_bigint(value))).toBe(value);
        expect(parse_u64(String(value), "id")).toBe(value);
      }),
    );
  });

  it("times are the same through their text", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (time_ms) => {
        expect(parse_time(format_time(time_ms))).toBe(time_ms);
      }),
    );
  });

  it("strict JSON reads what JSON.stringify writes, and refuses only where JSON.parse would lose something", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "grapheme" }), (value) => {
        const written = JSON.stringify(value);
        let read: unknown;
        try {
          read = parse_json(written);
        } catch (error) {
          expect((error as Error).message).toContain("whole number");
          return;
        }
        expect(read).toEqual(JSON.parse(written, (_, member) => (member === 0 ? 0 : member)));
      }),
    );
  });
});
