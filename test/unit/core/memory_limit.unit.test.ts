/** A core at its memory limit refuses records whole, keeps what it has, and goes on answering. */
import { describe, expect, test } from "vitest";
import type { Core } from "#services/core/core.js";
import { digest_of_core } from "#services/core/digest.js";
import type { HostEvent } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { fold_log, KERNEL, log_of, new_core, observed, type Record, type Seen, TIME_MS } from "./fleet.js";

const MEBIBYTE = 1 << 20;
const EMPTY_BYTES = new_core().memory_used_bytes;
const LIMIT_BYTES = EMPTY_BYTES + 12 * MEBIBYTE;

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}_${i}`);
}

function* events(of: (i: number) => HostEvent): Generator<HostEvent> {
  for (let i = 0; i < 40_000; i++) yield of(i);
}

function with_many_names(i: number): Seen {
  return { stack: names(`s${i}`, 64), lingering: names(`l${i}`, 256) };
}

/** Eleven days and more between one and the next. */
function time_of(i: number): number {
  return (i * 1_000_061_000) % TIME_MS;
}

const UNREADABLE = { livepatching: klpstate.v1.Livepatching.UNREADABLE };

/** Each asks most of another table. */
const logs: [what: string, records: () => Record[], limit_bytes?: number][] = [
  [
    "new hosts",
    () =>
      log_of(
        events((i) => observed("h".repeat(240) + i)),
        200,
      ),
  ],
  [
    "new configurations",
    () =>
      log_of(
        events((i) => observed(`h${i}`, { stack: [`p${i % 300}`, `q${i}`] })),
        200,
      ),
  ],
  [
    "new kernels",
    () =>
      log_of(
        events((i) => observed(`h${i}`, { kernel_release: `${"r".repeat(58)}${i}` })),
        200,
      ),
  ],
  [
    "hosts of all times",
    () =>
      log_of(
        events((i) => observed(`h${i}`, { time_ms: time_of(i) })),
        100,
      ),
  ],
  [
    "large records of hosts of all times",
    () =>
      log_of(
        events((i) => observed(`h${i}`, { time_ms: time_of(i) })),
        500,
      ),
  ],
  [
    "many names in each event",
    () =>
      log_of(
        Array.from({ length: 700 }, (_, i) => observed(`h${i}`, with_many_names(i))),
        1,
      ),
  ],
  [
    "many names in large records",
    () =>
      log_of(
        Array.from({ length: 700 }, (_, i) => observed(`h${i}`, with_many_names(i))),
        20,
      ),
  ],
  [
    "unreadable hosts with full stacks, on kernel after kernel",
    () =>
      log_of(
        [
          observed("h", { stack: names("s", 64), lingering: names("l", 256) }),
          ...Array.from({ length: 8_000 }, (_, i) =>
            observed("h", { ...UNREADABLE, kernel_release: `r${i}`, sequence: i + 2 }),
          ),
        ],
        400,
      ),
    EMPTY_BYTES + 48 * MEBIBYTE,
  ],
];

function refusal(core: Core, records: Record[]): Record {
  expect(fold_log(core, records)).toBe("partition_full");
  return records[Number(core.stopped_at)]!;
}

describe("a core at its memory limit", () => {
  test.each(logs)(
    "has folded all before the record that it refuses, and nothing of that: %s",
    (_, make, limit_bytes) => {
      const records = make();
      const core = new_core({ memory_bytes_max: limit_bytes ?? LIMIT_BYTES });
      const refused = refusal(core, records);
      expect(core.memory_used_bytes).toBeLessThanOrEqual(limit_bytes ?? LIMIT_BYTES);
      expect(core.next_offset).toBe(refused.offset);
      expect(core.host_count).toBeGreaterThan(0);

      const unlimited = new_core();
      expect(fold_log(unlimited, records.slice(0, Number(refused.offset)))).toBe("folded");
      expect(core.host_count).toBe(unlimited.host_count);
      expect(core.events_folded).toBe(unlimited.events_folded);
      expect(core.anomalies_seen()).toEqual(unlimited.anomalies_seen());
      expect(digest_of_core(core)).toBe(digest_of_core(unlimited));
      expect(core.configuration_count).toBe(unlimited.configuration_count);
      const minute = Math.floor(core.log_time_ms / 120_000);
      expect(core.hosts_before_minute(minute)).toBe(unlimited.hosts_before_minute(minute));
    },
  );

  test("answers every question, and refuses the record again", () => {
    const records = logs[1]![1]();
    const core = new_core({ memory_bytes_max: LIMIT_BYTES });
    const refused = refusal(core, records);
    const hosts = core.host_count;
    const digest = digest_of_core(core);
    expect(fold_log(core, [refused])).toBe("partition_full");
    expect(core.fold_record(refused.bytes, { offset: refused.offset, index: 0 }, refused.log_time_ms)).toBe(
      "partition_full",
    );
    expect(core.stopped_at).toBe(refused.offset);

    core.put_manifest({
      ...KERNEL,
      name: "c",
      build_id: new Uint8Array(),
      replace: false,
      states_unknown: false,
      irreversible: false,
      signed: false,
      states: [],
    });
    const outcomes = core.check("c", new Uint8Array());
    expect(outcomes.reduce((sum, outcome) => sum + outcome.hosts, 0)).toBe(hosts);
    expect(core.configuration(core.host(core.find_host("h0")!).configuration).stack).toMatchObject([
      { name: "p0", manifest: "missing" },
      { name: "q0", manifest: "missing" },
    ]);
    expect(core.find_host("nobody")).toBeNull();
    expect(core.hosts_before_minute(2 ** 31)).toBe(hosts);
    expect(core.host_count).toBe(hosts);
    expect(digest_of_core(core)).toBe(digest);
  });

  test("goes on where it stopped once it has more memory", () => {
    const records = logs[0]![1]().slice(0, 120);
    const core = new_core({ memory_bytes_max: LIMIT_BYTES });
    expect(fold_log(core, records)).toBe("partition_full");
    core.restart({ partition: null, partitions: 1 });
    expect(core.stopped_at).toBeNull();
    expect(fold_log(core, records)).toBe("folded");
    expect(core.host_count).toBe(24_000);
  });

  test("takes a damaged record for what it is: it needs no room", () => {
    const core = new_core({ memory_bytes_max: LIMIT_BYTES });
    const refused = refusal(core, logs[0]![1]());
    expect(core.fold_record(Uint8Array.of(0), { offset: refused.offset, index: 0 }, 0)).toBe("folded");
    expect(core.quarantined()).toHaveLength(1);
  });

  test("says before it is full that no new host may come, and has room for those that are there", () => {
    const core = new_core({ memory_bytes_max: EMPTY_BYTES + 20 * MEBIBYTE });
    const hosts = (prefix: string, sequence: number) =>
      Array.from({ length: 100 }, (_, i) =>
        observed(`h${core.host_count + i}`, { stack: [`${prefix}${core.host_count + i}`], sequence }),
      );
    for (;;) {
      const log = log_of(hosts("p", 1), 100, core.next_offset);
      if (!core.has_room(core.demand_of(log[0]!.bytes), true)) break;
      expect(fold_log(core, log)).toBe("folded");
    }
    const count = core.host_count;
    expect(count).toBeGreaterThan(1_000);
    for (let sequence = 2; sequence < 4; sequence++) {
      const events = Array.from({ length: count }, (_, i) =>
        observed(`h${i}`, { stack: [`q${i}`], sequence }),
      );
      expect(fold_log(core, log_of(events, 100, core.next_offset))).toBe("folded");
    }
  });

  test("does not start in less memory than its tables need, and says so", () => {
    expect(() => new_core({ memory_bytes_max: MEBIBYTE })).toThrow("does not start in 1048576 bytes");
    const core = new_core({ memory_bytes_max: EMPTY_BYTES });
    expect(core.has_room({ events: 1, unreadable: 0, bytes: 100 }, false)).toBe(false);
    expect(fold_log(core, log_of([observed("h")], 1))).toBe("partition_full");
  });
});
