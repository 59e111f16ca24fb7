/** A core that hosts fill to its limit of 4 GiB: right all the way, it refuses more of them whole, and goes on serving. */
import { describe, expect, test } from "vitest";
import { type Core, MEMORY_BYTES_MAX } from "#services/core/core.js";
import { HostFactRows, host_list } from "#services/core/host_list.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { encode_frames } from "#services/log/frame.js";
import { host_state } from "../../model/from_core.js";
import { fold_log, KERNEL, log_of, new_core, observed, type Seen, TIME_MS } from "./fleet.js";

const NO_BUILD_ID = new Uint8Array();
const DIGITS = 8;
/** Long, so that not so many are needed. */
const id_of = (host: number) => `host-${String(host).padStart(DIGITS, "0")}.${"example".repeat(34)}`;
const PER_RECORD = 2_000;
/** Host i has the configuration i % 5. */
const CONFIGURATIONS = 5;
const seen_of = (host: number): Seen => ({ stack: [`kp_${host % CONFIGURATIONS}`] });

const manifest = (name: string, replace: boolean, version: number) => ({
  ...{ ...KERNEL, name, replace, build_id: NO_BUILD_ID },
  ...{ states_unknown: false, irreversible: false, signed: false },
  states: [{ id: 1n, version }],
});

/** Records of the next hosts, a multiple of CONFIGURATIONS each, without an object of each: the digits of their ids are put into the bytes of the first ones. */
function records_of(count: number): (first: number) => Uint8Array {
  const hosts = Array.from({ length: count }, (_, host) => host);
  const events = hosts.map((host) => encode_event(observed(id_of(host), seen_of(host))));
  const bytes = Buffer.from(encode_batch(events));
  const digits_at = hosts.map((host) => bytes.indexOf(id_of(host)) + "host-".length);
  return (first) => {
    for (const [at, from] of digits_at.entries()) {
      for (let digit = DIGITS - 1, rest = first + at; digit >= 0; digit--, rest = Math.floor(rest / 10))
        bytes[from + digit] = 48 + (rest % 10);
    }
    return bytes;
  };
}

function fold(core: Core, bytes: Uint8Array): "folded" | "partition_full" {
  const record = { offset: core.next_offset, log_time_ms: TIME_MS + 1_000, bytes };
  return core.fold_frames(encode_frames([record], 0), false);
}

/** Everything that is asked of a partition, of `core.host_count` hosts of which the first `moved` have sent a second event. */
function expect_right(core: Core, moved: number): void {
  const hosts = core.host_count;
  const has_moved = (host: number) => host < moved;
  const sample = [0, 1, moved, hosts - 2, hosts - 1];
  for (let host = 0; host < hosts; host += 99_991) sample.push(host);
  const small = new_core();
  for (const [at, host] of sample.entries()) {
    expect(core.find_host(id_of(host))).toBe(host);
    const last: Seen = has_moved(host) ? { stack: ["kp_moved"], sequence: 2 } : seen_of(host);
    expect(core.host(host)).toMatchObject({ host_id: id_of(host), sequence: last.sequence ?? 1 });
    fold_log(small, log_of([observed(id_of(host), last)], 1, BigInt(at)));
    expect(host_state(core, host)).toEqual(host_state(small, small.find_host(id_of(host))!));
  }
  expect(core.find_host(id_of(hosts))).toBeNull();
  const rows = new HostFactRows(core.host_facts(host_list([...sample, hosts].map(id_of))));
  for (const [row, host] of sample.entries())
    expect([rows.sequence(row), rows.knowledge(row)]).toEqual([has_moved(host) ? 2 : 1, "complete"]);
  expect(rows.is_known(sample.length)).toBe(false);

  // kp_0 and kp_1 hold more than what is offered; and kp_moved less.
  const is_refused = (host: number) => !has_moved(host) && host % CONFIGURATIONS < 2;
  let refused = 0;
  for (let host = 0; host < hosts; host++) if (is_refused(host)) refused++;
  const outcomes = core.check("candidate", NO_BUILD_ID);
  expect(outcomes.reduce((sum, outcome) => sum + outcome.hosts, 0)).toBe(hosts);
  const wanted = outcomes.map(({ verdict }) => verdict === "incompatible");
  expect(outcomes.reduce((sum, outcome, i) => sum + (wanted[i] ? outcome.hosts : 0), 0)).toBe(refused);
  const bits = core.hosts_bitmap(wanted);
  for (let host = 0; host < hosts; host++) {
    if (((bits[host >> 3]! >> (host & 7)) & 1) !== Number(is_refused(host)))
      throw new Error(`host ${host} is in the wrong half`);
  }
  const last = core.hosts_page(hosts - CONFIGURATIONS, wanted, 10).hosts.map(([host]) => host);
  expect(last).toEqual([4, 3, 2, 1, 0].map((i) => hosts - 1 - i).filter(is_refused));
  expect(core.hosts_before_minute(Math.floor(TIME_MS / 60_000))).toBe(0);
  expect(core.hosts_before_minute(Math.floor(TIME_MS / 60_000) + 1)).toBe(hosts);
}

// Some thirty seconds of a processor of its own.
describe("a core of 4 GiB", { timeout: 600_000 }, () => {
  const core = new_core();
  for (let i = 0; i < CONFIGURATIONS; i++) core.put_manifest(manifest(`kp_${i}`, false, i < 2 ? 9 : 2));
  core.put_manifest(manifest("kp_moved", false, 1));
  core.put_manifest(manifest("candidate", false, 3));
  let moved = 0;

  test("is right beyond 2 GiB", () => {
    const next = records_of(PER_RECORD);
    while (core.memory_used_bytes < 2 ** 31 + 2 ** 26)
      expect(fold(core, next(core.host_count))).toBe("folded");
    expect_right(core, moved);
  });

  test("says that no new host may come while there is room for the events of those that are there", () => {
    const next = records_of(PER_RECORD);
    for (;;) {
      const bytes = next(core.host_count);
      if (!core.has_room(core.demand_of(bytes), true)) break;
      if (fold(core, bytes) !== "folded") throw new Error("it said that there is room");
    }
    expect(core.memory_used_bytes).toBeGreaterThan(MEMORY_BYTES_MAX - 2 ** 28);
    expect_right(core, moved);

    for (; moved < 100_000; moved += 500) {
      const events = Array.from({ length: 500 }, (_, at) =>
        observed(id_of(moved + at), { stack: ["kp_moved"], sequence: 2 }),
      );
      const bytes = encode_batch(events.map((event) => encode_event(event)));
      expect(core.has_room(core.demand_of(bytes), false)).toBe(true);
      expect(fold(core, bytes)).toBe("folded");
    }
    expect_right(core, moved);
  });

  test("refuses whole what does not fit, and answers as before", () => {
    for (const per_record of [PER_RECORD, CONFIGURATIONS]) {
      const next = records_of(per_record);
      const before = core.host_count;
      let records = 0;
      while (fold(core, next(core.host_count)) === "folded") records++;
      expect(core.host_count).toBe(before + records * per_record);
      expect(core.stopped_at).toBe(core.next_offset);
      expect_right(core, moved);
    }
    expect(core.memory_used_bytes).toBeGreaterThan(MEMORY_BYTES_MAX - 2 ** 25);
    expect(core.memory_used_bytes).toBeLessThanOrEqual(MEMORY_BYTES_MAX);
  });
});
