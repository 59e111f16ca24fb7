/** From the beginning, from any snapshot, and live: one state, whatever the log and wherever the snapshots were made. */
import { rmSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { format_digest } from "#services/core/digest.js";
import type { Partition } from "#services/registry/partition.js";
import { host_state } from "../model/from_core.js";
import { random_log } from "../model/random.js";
import { apply_record, host_state_bytes, hosts_digest, new_registry } from "../model/registry.js";
import { ALL, KeptPartition, NEWEST } from "../unit/registry/kept_partition.js";

const any_log = random_log({ hosts_max: 6, steps_max: 60 }).chain((records) =>
  fc.record({
    records: fc.constant(records),
    /** Of each record: whether a snapshot is made behind it, and whether the partition is then opened again. */
    behind: fc.array(
      fc.record({
        kept: fc.oneof(
          { weight: 5, arbitrary: fc.constant(false) },
          { weight: 1, arbitrary: fc.constant(true) },
        ),
        reopened: fc.oneof(
          { weight: 9, arbitrary: fc.constant(false) },
          { weight: 1, arbitrary: fc.constant(true) },
        ),
      }),
      { minLength: records.length, maxLength: records.length },
    ),
    segment_bytes_max: fc.constantFrom(500, 5_000, 1_000_000),
    /** Also a snapshot of each day's end, which may be where no block of the chain ends. */
    daily: fc.boolean(),
  }),
);

function seen(partition: Partition) {
  const { core } = partition;
  return {
    broken: partition.broken,
    digest: format_digest(partition.digest()),
    hosts: Array.from({ length: core.host_count }, (_, host) => ({
      host_id: core.host(host).host_id,
      state: Buffer.from(host_state(core, host)).toString("hex"),
    })),
    next_offset: core.next_offset,
    events: core.events_folded,
    anomalies: core.anomalies_seen(),
  };
}

/** Of each host by the chain; null: it does not lead to all of them. */
function chained_events(partition: Partition): (string[] | null)[] {
  return Array.from({ length: partition.core.host_count }, (_, host) => {
    const events = partition.events_of(host);
    return events?.map(({ offset, index }) => `${offset}:${index}`) ?? null;
  });
}

test("a partition has the state of its log, live, from the beginning, and from each of its snapshots", async () => {
  await fc.assert(
    fc.asyncProperty(any_log, async ({ records, behind, segment_bytes_max, daily }) => {
      const kept = new KeptPartition(segment_bytes_max);
      await kept.open();
      const registry = new_registry();
      for (const [i, record] of records.entries()) {
        kept.now_ms = Number(record.log_time_ms);
        await kept.append([record.bytes]);
        apply_record(registry, record);
        if (behind[i]!.kept) await kept.keep(daily ? ALL : { ...NEWEST, newest: 1_000 });
        if (behind[i]!.reopened) await kept.open();
      }
      const live = seen(kept.partition);
      expect(live.digest).toBe(hosts_digest(registry.hosts.values()));
      const chained = chained_events(kept.partition);
      for (const [host, { host_id, state }] of live.hosts.entries()) {
        expect(state).toBe(Buffer.from(host_state_bytes(registry.hosts.get(host_id)!)).toString("hex"));
        expect(chained[host]).toHaveLength(registry.histories.get(host_id)!.length);
      }

      const made = behind.some(({ kept: one }) => one) ? kept.snapshots.reverse() : [];
      for (const path of [...made, null]) {
        expect(seen(await kept.open())).toEqual(live);
        expect(kept.reports).toEqual([]);
        for (const [host, events] of chained_events(kept.partition).entries()) {
          if (events !== null || !daily) expect(events).toEqual(chained[host]);
        }
        expect(kept.partition.status().snapshot_log_time_ms === null).toBe(path === null);
        if (path !== null) rmSync(path);
      }
      await kept.remove();
    }),
    { numRuns: 25 },
  );
});
