/** The core takes and refuses records, damaged ones too, exactly as the events' own validation says. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Core } from "#services/core/core.js";
import { host_list } from "#services/core/host_list.js";
import { WayIn } from "#services/core/way_in.js";
import { walk_batch } from "#services/events/codec.js";
import { RECORD_BYTES_MAX, RECORD_CUT_BYTES, RECORD_EVENTS_MAX } from "#services/events/limits.js";
import { partition_of } from "#services/events/partition.js";
import { klpstate } from "#services/events/proto.js";
import { type Fault, RECORD_ERRORS } from "#services/events/record_error.js";
import { validate_batch } from "#services/events/validate.js";
import { damaged, random_damage } from "../model/damage.js";
import { core_module } from "../model/from_core.js";
import { random_log } from "../model/random.js";
import { batch_of, events_of } from "../model/registry.js";

const { HostEvent, Phase } = klpstate.v1;

const PARTITIONS = 4;

const core = new Core(core_module, { partition: null, partitions: 1 });
const core_of_partition = new Core(core_module, { partition: 2, partitions: PARTITIONS });
const way_in = new WayIn(core_module, 7n);

interface Judgement {
  error: string;
  /** Of the event that has it. */
  index: number;
}

const GOOD: Judgement = { error: "ok", index: 0 };

function judgement_of(fault: Fault | null): Judgement {
  if (fault === null) return GOOD;
  return { error: fault.code, index: Number(/^events\[(\d+)\]/.exec(fault.field)?.[1] ?? 0) };
}

/**
 * The slow path stops at the first bad event; the core reads on, since what is not decodable anywhere is worse than
 * what is wrong with one event.
 */
function expected_of(bytes: Uint8Array, ownership?: Parameters<typeof validate_batch>[1]): Judgement {
  const fault = validate_batch(bytes, ownership);
  if (fault === null || fault.code === "record_too_large") return judgement_of(fault);
  for (const found of walk_batch(bytes)) if ("code" in found) return judgement_of(found);
  return judgement_of(fault);
}

function judgement_of_way_in(bytes: Uint8Array): Judgement {
  const cut = way_in.cut(bytes, PARTITIONS);
  return "error" in cut ? { error: RECORD_ERRORS[cut.error]!, index: cut.index } : GOOD;
}

/** Through the fold, which notes what it does not apply. */
function judgement_of_fold(of: Core, bytes: Uint8Array): Judgement {
  expect(of.fold_record(bytes, { offset: 1n, index: 0 }, 1)).toBe("folded");
  const [quarantined] = of.quarantined();
  if (quarantined === undefined) return GOOD;
  expect(of.outcome_count).toBe(0);
  return { error: RECORD_ERRORS[quarantined.error]!, index: quarantined.index };
}

/** Valid events of every kind, and a few long ones. */
const pool = fc
  .sample(random_log({ hosts_max: 6 }), { seed: 20_261_123, numRuns: 12 })
  .flatMap((records) => records.flatMap((record) => events_of(record.bytes)));
const short = pool.filter((event) => event.length < 400);
const long = pool.filter((event) => event.length >= 400).slice(0, 8);

const random_record = fc
  .array(
    fc.oneof(
      { weight: 60, arbitrary: fc.constantFrom(...short) },
      { weight: 1, arbitrary: fc.constantFrom(...long) },
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map(batch_of);
const random_mutant = fc.tuple(random_record, random_damage).map(([record, edits]) => damaged(record, edits));

describe("a damaged record", () => {
  test("is taken or refused for the same reason at the same event as by the events' own validation", () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(random_mutant, (bytes) => {
        const expected = expected_of(bytes);
        expect(judgement_of_way_in(bytes)).toEqual(expected);
        expect(core.takes_record(bytes)).toBe(expected.error === "ok");
        seen.set(expected.error, (seen.get(expected.error) ?? 0) + 1);
      }),
      { numRuns: 20_000 },
    );
    // Both sides are seen often, for every reason that events of every kind can have.
    expect(seen.get("ok")).toBeGreaterThan(1_000);
    expect(seen.get("malformed")).toBeGreaterThan(1_000);
    for (const often of ["given_twice", "host_id", "stream", "sequence", "patch_name", "build_id", "phase"]) {
      expect(seen.has(often), often).toBe(true);
    }
  });

  test("is quarantined by the fold for the same reason, also where its hosts are another partition's", () => {
    const ownership = { partition: 2, partitions: PARTITIONS };
    fc.assert(
      fc.property(fc.oneof(random_record, random_mutant), (bytes) => {
        expect(judgement_of_fold(core, bytes)).toEqual(expected_of(bytes));
        expect(judgement_of_fold(core_of_partition, bytes)).toEqual(expected_of(bytes, ownership));
      }),
      { numRuns: 3_000 },
    );
  });

  test("of any bytes at all gets an answer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const batch = batch_of([bytes]);
        expect(judgement_of_way_in(bytes)).toEqual(expected_of(bytes));
        expect(judgement_of_way_in(batch)).toEqual(expected_of(batch));
      }),
      { numRuns: 2_000 },
    );
  });
});

function event(change: Partial<klpstate.v1.HostEvent.$Properties>, host_id = "h"): Uint8Array {
  return HostEvent.encode({ host_id, stream: 1, sequence: 1, ...change }).finish();
}

function observed(stack: number, lingering: number, twice = false): Uint8Array {
  const names = Array.from({ length: stack + lingering }, (_, i) => ({
    patch: { name: `p${twice ? i >> 1 : i}` },
  }));
  const entries = names.slice(0, stack).map((entry) => ({ ...entry, phase: Phase.ENABLED }));
  return event({
    observed: { kernel_release: "6.12.1", arch: "x86_64", stack: entries, lingering: names.slice(stack) },
  });
}

const REFUSED = event({ refused: {} });

/** A record of exactly so many bytes: an unknown field fills it. */
function record_of_length(bytes: number): Uint8Array {
  const head = batch_of([REFUSED]);
  const filler = bytes - head.length - 5;
  const size = [(filler & 127) | 128, ((filler >> 7) & 127) | 128, filler >> 14];
  return Buffer.concat([head, Uint8Array.of(0x9a, 0x06, ...size), new Uint8Array(filler)]);
}

describe("a record at a limit", () => {
  const repeated = (count: number) => batch_of(Array.from({ length: count }, () => REFUSED));
  test.each([
    ["64 patches on a stack", batch_of([observed(64, 0)]), "ok"],
    ["65 patches on a stack", batch_of([observed(65, 0)]), "too_many_stack"],
    ["256 lingering ones", batch_of([observed(64, 256)]), "ok"],
    ["257 lingering ones", batch_of([observed(64, 257)]), "too_many_lingering"],
    ["both too many", batch_of([observed(65, 257)]), "too_many_stack"],
    ["too many, and a name twice", batch_of([observed(65, 257, true)]), "duplicate_name"],
    ["a line of 512 bytes", batch_of([event({ refused: { line: "é".repeat(256) } })]), "ok"],
    ["a line of 513 bytes", batch_of([event({ refused: { line: `${"é".repeat(256)}.` } })]), "line"],
    ["10,000 events", repeated(RECORD_EVENTS_MAX), "ok"],
    ["10,001 events", repeated(RECORD_EVENTS_MAX + 1), "too_many_events"],
    [
      "10,001 events, one of them bad",
      batch_of([...events_of(repeated(RECORD_EVENTS_MAX)), event({})].with(7, event({ loading: {} }))),
      "patch_name",
    ],
    ["900 KiB", record_of_length(RECORD_BYTES_MAX), "ok"],
    ["900 KiB and a byte", record_of_length(RECORD_BYTES_MAX + 1), "record_too_large"],
    ["no event", new Uint8Array(), "empty"],
    ["only unknown fields", Uint8Array.of(0x98, 0x06, 0x07), "empty"],
  ])("%s", (_, bytes, error) => {
    expect(validate_batch(bytes)?.code ?? "ok").toBe(error);
    expect(judgement_of_way_in(bytes)).toEqual(expected_of(bytes));
    expect(judgement_of_fold(core, bytes)).toEqual(expected_of(bytes));
  });
});

describe("a batch that is cut", () => {
  const host_ids = fc.constantFrom(...Array.from({ length: 40 }, (_, i) => `host-${i}-é`), "\ufeffh");
  const random_event = fc
    .tuple(
      host_ids,
      fc.oneof({ weight: 20, arbitrary: fc.nat(300) }, { weight: 1, arbitrary: fc.nat(40_000) }),
    )
    // An unknown field makes the event as long as wanted.
    .map(([host_id, length]) =>
      Buffer.concat([
        event({ refused: {} }, host_id),
        Uint8Array.of(0x9a, 0x06, (length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14),
        new Uint8Array(length),
      ]),
    );

  test("holds its events byte for byte, each in its host's partition, in the batch's order", () => {
    fc.assert(
      fc.property(
        fc.array(random_event, { minLength: 1, maxLength: 200, size: "max" }),
        fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(64, 4096)),
        (events, partitions) => {
          const batch = batch_of(events);
          fc.pre(batch.length <= RECORD_BYTES_MAX);
          const cut = way_in.cut(batch, partitions);
          if ("error" in cut) throw new Error(`refused: ${RECORD_ERRORS[cut.error]}`);
          const host_of = (bytes: Uint8Array) => HostEvent.decode(bytes).host_id;
          const partition = (host_id: string) => partition_of(Buffer.from(host_id), partitions);
          expect(cut.count).toBe(events.length);
          const hosts = new Map<number, Set<string>>();
          for (const host_id of events.map(host_of)) {
            const own = partition(host_id);
            hosts.set(own, (hosts.get(own) ?? new Set()).add(host_id));
          }
          const named = cut.parts.map((part) => [part.partition, part.hosts] as const);
          expect(named).toEqual(
            [...hosts].sort(([a], [b]) => a - b).map(([own, ids]) => [own, host_list([...ids])]),
          );
          const wanted = new Map<number, string[]>();
          for (const bytes of events) {
            const own = partition(host_of(bytes));
            wanted.set(own, [...(wanted.get(own) ?? []), Buffer.from(bytes).toString("hex")]);
          }
          const found = new Map<number, string[]>();
          const records = cut.parts.flatMap((part) =>
            part.records.map((record) => ({ ...record, partition: part.partition })),
          );
          for (const record of records) {
            const inside = events_of(record.bytes);
            expect(inside.length).toBe(record.count);
            if (inside.length > 1) expect(record.bytes.length).toBeLessThanOrEqual(RECORD_CUT_BYTES);
            const so_far = found.get(record.partition) ?? [];
            found.set(record.partition, [
              ...so_far,
              ...inside.map((bytes) => Buffer.from(bytes).toString("hex")),
            ]);
          }
          expect(found).toEqual(wanted);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("of 10,000 events comes out whole", () => {
    const events = Array.from({ length: RECORD_EVENTS_MAX }, (_, i) => event({ refused: {} }, `h${i}`));
    const cut = way_in.cut(batch_of(events), 1);
    if ("error" in cut) throw new Error(`refused: ${RECORD_ERRORS[cut.error]}`);
    expect(cut.parts[0]!.hosts.count).toBe(RECORD_EVENTS_MAX);
    expect(cut.parts[0]!.records.flatMap((record) => events_of(record.bytes))).toEqual(
      events.map((bytes) => Uint8Array.from(bytes)),
    );
  });

  test("leaves nothing behind for the next one", () => {
    const good = batch_of([REFUSED]);
    const first = way_in.cut(good, PARTITIONS);
    expect(way_in.cut(Uint8Array.of(0x0a), PARTITIONS)).toHaveProperty("error");
    expect(way_in.cut(good, PARTITIONS)).toEqual(first);
  });
});
