/**
 * A partition as it was, made from a real directory: whatever snapshots there are, with its chain or without, it has the
 * hosts, states and doubts that the plain model has at that instant.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { Core } from "#services/core/core.js";
import { node_disk } from "#services/log/node_disk.js";
import { keep_snapshots } from "#services/registry/keep.js";
import { Partition } from "#services/registry/partition.js";
import {
  core_options,
  log_directory,
  type RegistryPlace,
  snapshot_directory,
} from "#services/registry/partition_place.js";
import { fold_past, type PastInstants } from "#services/registry/past.js";
import { core_module, host_state } from "../model/from_core.js";
import { place_in } from "../model/place.js";
import { instants_of, random_log } from "../model/random.js";
import { as_of, fold_log, host_state_bytes, type LogRecord, type RegistryModel } from "../model/registry.js";

const root = mkdtempSync(join(tmpdir(), "klpstate-past-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const RETENTION = { newest: 100, days: 100, bytes_max: Number.MAX_SAFE_INTEGER };
/** A partition's clock is a double; the model's is not. */
const INSTANT_MAX_MS = 2n ** 48n - 2n;

const main = new Core(core_module, { partition: 0, partitions: 1 });
const second = new Core(core_module, { partition: 0, partitions: 1 });
const keeper = new Core(core_module, { partition: 0, partitions: 1 });

/** Stores the records, each at its own time, with snapshots behind some of them. */
async function store(
  place: RegistryPlace,
  records: LogRecord[],
  snapshots_behind: Set<number>,
  segment_bytes_max: number,
): Promise<Partition> {
  let clock_ms = 0;
  const partition = await Partition.open({
    disk: node_disk,
    place,
    partition: 0,
    segment_bytes_max,
    report: (message) => expect.unreachable(message),
    now: () => clock_ms,
  });
  for (const [index, { bytes, log_time_ms }] of records.entries()) {
    clock_ms = Number(log_time_ms);
    await partition.serving_log().append([bytes]);
    if (!snapshots_behind.has(index)) continue;
    const to = await partition.chained_position(true);
    await keep_snapshots(node_disk, place, keeper, { partition: 0, to, retention: RETENTION }, (message) =>
      expect.unreachable(message),
    );
  }
  return partition;
}

function expect_past(registry: RegistryModel, instants: PastInstants): void {
  const { as_of_ms, known_at_ms, doubt_ms } = instants;
  const known_at = known_at_ms === null ? undefined : BigInt(known_at_ms);
  let known = 0;
  for (const host_id of registry.hosts.keys()) {
    const past = as_of(registry, host_id, as_of_ms === null ? 2n ** 64n : BigInt(as_of_ms), known_at);
    const doubted = as_of(registry, host_id, BigInt(doubt_ms), known_at).uncertain;
    const host = main.find_host(host_id);
    if (past.host === null) {
      expect(host).toBeNull();
      continue;
    }
    known += 1;
    expect(host_state(main, host!)).toEqual(Uint8Array.from(host_state_bytes(past.host)));
    expect(main.is_uncertain(host!)).toBe(doubted);
  }
  expect(main.host_count).toBe(known);
}

const stored = random_log({ hosts_max: 6, steps_max: 80 })
  .filter((records) => records.every(({ log_time_ms }) => log_time_ms <= INSTANT_MAX_MS))
  .chain((records) => {
    const instants = instants_of(records).filter((instant) => instant >= 0n && instant <= INSTANT_MAX_MS);
    const instant = fc.constantFrom(...instants, 0n).map(Number);
    return fc.record({
      records: fc.constant(records),
      snapshots: fc.uniqueArray(fc.nat({ max: Math.max(0, records.length - 1) }), { maxLength: 5 }),
      segment_bytes_max: fc.constantFrom(400, 4_000, 1_000_000),
      questions: fc.array(
        fc.record({ as_of_ms: fc.option(instant), known_at_ms: fc.option(instant), now_ms: instant }),
        { minLength: 1, maxLength: 8 },
      ),
      chains: fc.constantFrom("kept", "first lost", "all lost"),
    });
  });

describe("a partition as it was", () => {
  test("has the model's hosts, states and doubts, from any snapshot, with and without its chain", async () => {
    let run = 0;
    const seen = { from_snapshot: 0, without_chain: 0 };
    await fc.assert(
      fc.asyncProperty(stored, async ({ records, snapshots, segment_bytes_max, questions, chains }) => {
        const place = place_in(join(root, String(run++)), 1);
        for (const core of [main, second, keeper]) core.restart(core_options(place, 0));
        const partition = await store(place, records, new Set(snapshots), segment_bytes_max);
        const to = await partition.chained_position(false);
        const directory = log_directory(place.directory, 0);
        const files = readdirSync(directory)
          .filter((name) => name.endsWith(".chain"))
          .sort();
        const lost = chains === "kept" ? [] : chains === "all lost" ? files : files.slice(0, 1);
        for (const name of lost) rmSync(join(directory, name));
        if (lost.length > 0) seen.without_chain += 1;
        if (existsSync(snapshot_directory(place.directory, 0))) {
          seen.from_snapshot += 1;
        }
        const registry = fold_log(records);
        for (const { as_of_ms, known_at_ms, now_ms } of questions) {
          const instants = { as_of_ms, known_at_ms, doubt_ms: as_of_ms ?? now_ms };
          const next_offset = await fold_past(
            node_disk,
            place,
            { main, second: () => second },
            { partition: 0, to, ...instants },
            (message) => expect.unreachable(message),
          );
          const arrived = records.filter(
            ({ log_time_ms }) => known_at_ms === null || log_time_ms <= BigInt(known_at_ms),
          );
          expect(next_offset).toBe(BigInt(arrived.length));
          expect_past(registry, instants);
        }
        await partition.close();
      }),
      { numRuns: 60, interruptAfterTimeLimit: 60_000 },
    );
    expect(seen.from_snapshot).toBeGreaterThan(5);
    expect(seen.without_chain).toBeGreaterThan(5);
  });
});
