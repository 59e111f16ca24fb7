/** Folds one partition's log anew, from its first record to an offset, in a core of its own. */
import { join } from "node:path";
import { Core } from "../core/core.js";
import { type Digest, digest_of_core } from "../core/digest.js";
import type { Disk } from "../log/disk.js";
import { read_log } from "../log/read_only.js";

export interface ReplayTask {
  /** The registry's directory. */
  directory: string;
  partition: number;
  partition_count: number;
  /** Next offset at the end. */
  to: bigint;
}

export interface ReplayedPartition {
  partition: number;
  next_offset: bigint;
  hosts: number;
  events: number;
  digest: Digest;
}

/** Verifies every checksum on the way. Throws LogCorruption. */
export async function replay_partition(
  task: ReplayTask,
  module: WebAssembly.Module,
  disk: Disk,
  progress: (bytes: number) => void,
): Promise<ReplayedPartition> {
  const { partition, partition_count, to } = task;
  const core = new Core(module, { partition, partitions: partition_count });
  await read_log({
    disk,
    directory: join(task.directory, "log", String(partition)),
    name: `partition ${partition}`,
    to,
    buffer: () => core.input(core.input_bytes_max),
    on_frames(frames) {
      const bytes = frames.length;
      if (core.fold_frames(frames, false) === "partition_full") {
        throw new Error(`partition ${partition} does not fit into memory from offset ${core.stopped_at} on`);
      }
      progress(bytes);
    },
  });
  return {
    partition,
    next_offset: core.next_offset,
    hosts: core.host_count,
    events: core.events_folded,
    digest: digest_of_core(core),
  };
}
