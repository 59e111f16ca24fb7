/** How a registry's log is replayed: by audit, which is loaded only when it is asked for. */
import type { Replay } from "../api/replay_routes.js";
import { Problem } from "../events/problem.js";
import type { PartitionStatus } from "../registry/shard_protocol.js";

export const replay_by_audit: Replay = async (registry, { partition, to }, progress) => {
  // What this process keeps: the logs of other nodes lie elsewhere.
  const status = await registry.own_status();
  if (partition !== null && partition >= registry.partitions)
    throw no_partition(partition, registry.partitions);
  const asked = partition === null ? status : status.filter((one) => one.partition === partition);
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
};

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
