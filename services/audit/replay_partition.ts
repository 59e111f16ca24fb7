/** Folds one partition's log anew, from its first record to an offset, in a core of its own. */
import { join } from "node:path";
import { Core } from "../core/core.js";
import { type Digest, digest_of_core } from "../core/digest.js";
import { compare_hosts, type HostHashes, host_hashes, host_state } from "../core/host_hashes.js";
import type { Disk } from "../log/disk.js";
import { read_log } from "../log/read_only.js";

export interface ReplayTask {
  /** The registry's directory. */
  directory: string;
  partition: number;
  partition_count: number;
  /** The log is a replica, whose offsets may leave gaps. */
  replica?: boolean;
  /** Next offset at the end; null: all that the log has. */
  to: bigint | null;
}

/** How far a replay has come. */
export interface ReplayedRange {
  next_offset: bigint;
  hosts: number;
  events: number;
}

export interface ReplayedPartition extends ReplayedRange {
  digest: Digest;
}

export interface ReplayedDifference {
  hosts_differing: number;
  /** Number of the first differing host where it is compared with; null: it is not there. */
  there: number | null;
  /** Its host id; null: it is not in the replay. */
  host_id: string | null;
}

/** A partition's log as folded so far; it can be folded on. */
export class PartitionReplay {
  readonly #core: Core;
  readonly #disk: Disk;
  readonly #task: ReplayTask;

  /** `core` becomes this replay's own: what was in it is forgotten. */
  constructor(core: Core, disk: Disk, task: ReplayTask) {
    const { partition, partition_count: partitions } = task;
    core.restart({ partition, partitions });
    this.#core = core;
    this.#disk = disk;
    this.#task = task;
  }

  /** Verifies every checksum on the way. Throws LogCorruption; what stands before it is folded then. */
  async fold_to(to: bigint | null, progress: (bytes: number) => void): Promise<void> {
    const core = this.#core;
    const { directory, partition } = this.#task;
    await read_log({
      disk: this.#disk,
      directory: join(directory, "log", String(partition)),
      name: `partition ${partition}`,
      replica: this.#task.replica ?? false,
      from: core.next_offset,
      to,
      buffer: () => core.input(core.input_bytes_max),
      on_frames(frames) {
        const bytes = frames.length;
        if (core.fold_frames(frames, false) === "partition_full") {
          throw new Error(
            `partition ${partition} does not fit into memory from offset ${core.stopped_at} on`,
          );
        }
        progress(bytes);
      },
    });
  }

  get range(): ReplayedRange {
    const { next_offset, host_count, events_folded } = this.#core;
    return { next_offset, hosts: host_count, events: events_folded };
  }

  digest(): Digest {
    return digest_of_core(this.#core);
  }

  /** Null: no host differs. */
  compare(hashes: HostHashes): ReplayedDifference | null {
    const found = compare_hosts(host_hashes(this.#core), hashes);
    if (found === null) return null;
    const { count, here, there } = found;
    const host_id = here === null ? null : this.#core.host(here).host_id;
    return { hosts_differing: count, there, host_id };
  }

  /** A copy of the host's canonical state; null: it is not known. */
  state(host_id: string): Uint8Array | null {
    const host = this.#core.find_host(host_id);
    return host === null ? null : host_state(this.#core, host);
  }
}

/** From the first record to the task's end. Throws LogCorruption. */
export async function replay_partition(
  task: ReplayTask,
  module: WebAssembly.Module,
  disk: Disk,
  progress: (bytes: number) => void,
): Promise<ReplayedPartition> {
  const core = new Core(module, { partition: task.partition, partitions: task.partition_count });
  const replay = new PartitionReplay(core, disk, task);
  await replay.fold_to(task.to, progress);
  return { ...replay.range, digest: replay.digest() };
}
