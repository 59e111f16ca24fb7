/** A shard's partitions as replicas: held and let go as the node is told, fed by one replicator. */
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import type { Partition } from "../registry/partition.js";
import type { Shard } from "../registry/shard.js";
import { copied_log_time_ms } from "./log_time_header.js";
import { replica_log } from "./partition_log.js";
import { type Broken, Replica } from "./replica.js";
import type { Hold, OutletPlace, ReplicaMessage, ReplicaOperations } from "./replica_protocol.js";
import type { Replicator } from "./replicator.js";

export interface ReplicaShardOptions {
  shard: Shard;
  replicator: Replicator;
  tell(message: ReplicaMessage): void;
  now(): number;
}

interface Kept {
  partition: Partition;
  replica: Replica;
  /** Who waits for the topic to be folded so far. */
  waiting: { offset: bigint; resolve(): void }[];
}

export class ReplicaShard implements ReplicaOperations {
  readonly #options: ReplicaShardOptions;
  readonly #kept = new Map<number, Kept>();

  constructor(options: ReplicaShardOptions) {
    this.#options = options;
  }

  async hold({ partition: number, begins_anywhere, migrated_to }: Hold): Promise<string | null> {
    const { shard, replicator, tell, now } = this.#options;
    const partition = await shard.open_partition(number, (report) => tell({ report }));
    const { log } = partition;
    if (partition.torn !== null) tell({ report: `partition ${number}: ${partition.torn}` });
    if (log === null || !partition.serves) return partition.broken;
    const waiting: Kept["waiting"] = [];
    const replica = new Replica({
      partition: number,
      log: replica_log(log, (after, records) => partition.append_replica(after, records)),
      begins_anywhere,
      ...(migrated_to !== null && {
        copied_time: (message) =>
          BigInt(message.offset) < migrated_to ? copied_log_time_ms(message.headers) : null,
      }),
      earliest: async () => (await replicator.offsets()).get(number)?.low ?? 0n,
      now,
      failed: (error) => this.#append_failed(number, error),
      reached(read_to) {
        for (const each of waiting) if (each.offset <= read_to) each.resolve();
      },
    });
    this.#kept.set(number, { partition, replica, waiting });
    replicator.hold(replica);
    return null;
  }

  async release(number: number): Promise<void> {
    this.#options.replicator.release(number);
    this.#kept.delete(number);
    await this.#options.shard.close_partition(number);
  }

  async reached(number: number, offset: bigint): Promise<void> {
    const kept = this.#kept.get(number);
    if (kept === undefined) return new Promise(() => {});
    if (kept.replica.reached >= offset) return;
    await new Promise<void>((resolve) => kept.waiting.push({ offset, resolve }));
    kept.waiting.splice(
      0,
      kept.waiting.length,
      ...kept.waiting.filter((each) => each.offset > kept.replica.reached),
    );
  }

  async publish(_partition: number, _committed: OutletPlace | null): Promise<void> {}

  async unpublish(_partition: number): Promise<void> {}

  async close(): Promise<void> {
    await this.#options.replicator.close();
  }

  #append_failed(number: number, error: unknown): void {
    const kept = this.#kept.get(number);
    if (kept === undefined) return;
    const { partition } = kept;
    this.#options.tell({
      report: `partition ${number}: ${error instanceof Error ? error.message : String(error)}`,
    });
    const broken = broken_by(error, partition);
    if (broken === null) this.#options.replicator.append_failed(number);
    else {
      this.#options.replicator.release(number);
      this.#options.tell({ broken: { partition: number, ...broken } });
    }
  }
}

/** Null: it may go well the next time, as where a disk was full. */
function broken_by(error: unknown, partition: Partition): Broken | null {
  if (error instanceof LogCorruption) return { reason: "corrupt", says: error.message };
  if (!partition.serves) return { reason: "partition_full", says: partition.broken! };
  return error instanceof Problem ? null : { reason: "corrupt", says: String(error) };
}
