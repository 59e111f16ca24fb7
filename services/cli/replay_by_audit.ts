/** How a registry's log is replayed: by audit, which is loaded only when it is asked for. */
import type { Replay, ReplayProgress } from "../api/replay_routes.js";
import { Problem } from "../events/problem.js";
import type { ReplayAnswer } from "../registry/answers.js";
import type { RegistryService, ReplayedPartition, ReplayHere } from "../registry/service.js";
import type { PartitionStatus } from "../registry/shard_protocol.js";

export const replay_by_audit: Replay = async (registry, { partition, to }, progress) => {
  if (partition !== null && partition >= registry.partitions)
    throw no_partition(partition, registry.partitions);
  const asked = partition === null ? Array.from({ length: registry.partitions }, (_, i) => i) : [partition];
  const kept_here = new Set(registry.own_partitions());
  const here = asked.filter((one) => kept_here.has(one));
  const [own, theirs] = await Promise.all([
    replay_own(registry, here, to, progress),
    registry.replay_elsewhere(
      asked.filter((one) => !kept_here.has(one)),
      to,
    ),
  ]);
  const found = [...own.partitions, ...theirs];
  const missing = asked.filter((one) => !found.some((report) => report.partition === one)).map(nobody_has);
  const { report_of } = await import("../audit/replay.js");
  return report_of([...found, ...missing], own.fold_version);
};

/** For another node that was asked about all. */
export const replay_here: ReplayHere = async (registry, partitions, to) => {
  return (await replay_own(registry, partitions, to, () => {})).partitions;
};

async function replay_own(
  registry: RegistryService,
  partitions: number[],
  to: bigint | null,
  progress: (progress: ReplayProgress) => void,
): Promise<ReplayAnswer> {
  const asked = (await registry.own_status()).filter((one) => partitions.includes(one.partition));
  for (const one of asked) refuse_beyond(to, one);
  const { replay } = await import("../audit/replay.js");
  return await replay({
    directory: registry.data,
    partition_count: registry.partitions,
    replica: registry.replica,
    questions: asked.map((one) => ({
      partition: one.partition,
      to,
      log_bytes: one.log_bytes,
      past: to !== null && to !== one.next_offset,
      broken: one.broken,
    })),
    live: registry,
    progress,
  });
}

function nobody_has(partition: number): ReplayedPartition {
  return {
    partition,
    first: "0",
    next: "0",
    hosts: 0,
    digest: null,
    events: 0,
    matches: null,
    damaged: null,
    broken: "no node answers for it at the moment",
    difference: null,
  };
}

function no_partition(partition: number, partitions: number): Problem {
  const limit = `0 to ${partitions - 1}`;
  return new Problem("bad_input", `partition: there is no partition ${partition}; ${limit}`, {
    field: "partition",
    value: String(partition),
    limit,
  });
}

/** How much a broken partition's log has is found out by the replay. */
function refuse_beyond(to: bigint | null, { partition, next_offset, broken }: PartitionStatus): void {
  if (to === null || broken !== null || to <= next_offset) return;
  const message = `to: partition ${partition} has no record ${to - 1n} yet; its next offset is ${next_offset}`;
  throw new Problem("bad_input", message, {
    field: "to",
    value: String(to),
    limit: `0 to ${next_offset}`,
  });
}
