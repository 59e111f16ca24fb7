import { describe, expect, it } from "vitest";
import { is_after, parse_cause, parse_position } from "#services/events/cause.js";
import { encode_event } from "#services/events/codec.js";
import { Problem } from "#services/events/problem.js";
import { klpstate } from "#services/events/proto.js";
import {
  decode_state_change,
  encode_state_change,
  STATE_CHANGE_BYTES_MAX,
  type ToldChange,
} from "#services/events/state_change.js";

const U64_MAX = 2n ** 64n - 1n;

const told: ToldChange = {
  cause: { partition: 7, offset: 2n ** 53n + 1n, index: 9_999 },
  host_id: "web-1",
  event: encode_event({ host_id: "web-1", stream: 5, sequence: 6, loaded: { patch: { name: "kp_1" } } }),
  log_time_ms: 1_790_000_000_123,
  effective_time_ms: 1_790_000_000_000,
  before: { stack: [{ name: "kp_0", build_id: "00ff", phase: "disabling" }], knowledge: "gap" },
  after: { stack: [{ name: "kp_1", build_id: null, phase: "enabled" }], knowledge: "disputed" },
  anomalies: ["gap", "build_differs"],
  states: [
    { id: 1n, change: "lost", from: 0, to: null, patch: "kp_0" },
    { id: U64_MAX, change: "declared", from: null, to: 0xffff_ffff, patch: "kp_1" },
  ],
  catalog_next_offset: 17n,
};

describe("a state change", () => {
  it("is read as it was written, in the whole range of its numbers", () => {
    const { event, ...facts } = told;
    expect(decode_state_change(encode_state_change(told))).toMatchObject({
      ...facts,
      stream: 5n,
      sequence: 6,
      change: "loaded",
      states_left_out: 0,
    });
    expect(event.length).toBeGreaterThan(0);
  });

  it("has the event's own bytes, also of a change that this version does not know", () => {
    // Field 40, an empty message.
    const event = Buffer.concat([
      encode_event({ host_id: "h", stream: 5, sequence: 6 }),
      Buffer.from([0xc2, 0x02, 0x00]),
    ]);
    const bytes = encode_state_change({ ...told, event });
    expect(Buffer.from(bytes).includes(event)).toBe(true);
    expect(decode_state_change(bytes)).toMatchObject({ change: null, host_id: "h" });
  });

  it("of a host of which nothing was known has no before", () => {
    const bytes = encode_state_change({ ...told, before: null });
    expect(decode_state_change(bytes).before).toBeNull();
  });

  it("leaves states out, and says how many, rather than be longer than a broker takes", () => {
    const states = Array.from({ length: 64 * 4_096 }, (_, i) => ({
      id: U64_MAX - BigInt(i),
      change: "lost" as const,
      from: 0xffff_ffff,
      to: null,
      patch: "k".repeat(55),
    }));
    for (const event of [told.event, new Uint8Array(900 * 1024)]) {
      const bytes = encode_state_change({ ...told, event, states });
      expect(bytes.length).toBeLessThanOrEqual(STATE_CHANGE_BYTES_MAX);
      if (event !== told.event) continue;
      const read = decode_state_change(bytes);
      expect(read.states).toEqual(states.slice(0, read.states.length));
      expect(read.states_left_out).toBe(states.length - read.states.length);
      expect(read.states.length).toBeGreaterThan(10_000);
    }
  });

  it("of a later version shows by their numbers what has no name yet", () => {
    const message = klpstate.v1.StateChange.decode(encode_state_change(told));
    message.anomalies = [99 as klpstate.v1.Anomaly];
    expect(decode_state_change(klpstate.v1.StateChange.encode(message).finish()).anomalies).toEqual(["99"]);
  });

  it("is refused where it is none", () => {
    for (const bytes of [Buffer.from("hello"), new Uint8Array()]) {
      expect(() => decode_state_change(bytes)).toThrow(Problem);
    }
  });
});

describe("a cause", () => {
  it("stands behind another of its partition by offset, then by index", () => {
    expect(is_after({ offset: 10n, index: 0 }, { offset: 9n, index: 7 })).toBe(true);
    expect(is_after({ offset: 9n, index: 8 }, { offset: 9n, index: 7 })).toBe(true);
    expect(is_after({ offset: 9n, index: 7 }, { offset: 9n, index: 7 })).toBe(false);
    expect(is_after({ offset: 0n, index: 0 }, null)).toBe(true);
    expect(is_after(null, null)).toBe(false);
  });

  it("is read from its text, and from nothing else", () => {
    expect(parse_cause("3:1042:7")).toEqual({ partition: 3, offset: 1042n, index: 7 });
    expect(parse_position("1042:7")).toEqual({ offset: 1042n, index: 7 });
    for (const text of ["", "3:1042", "3:-1:0", "a:1:2", "3:1042:7:1", " 3:1042:7"]) {
      expect(parse_cause(text)).toBeNull();
    }
  });
});
