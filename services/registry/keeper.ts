/**
 * Says when snapshots are made, and has them made by a thread of its own: a start then reads little, and a past day is
 * near. Chains that are missing are made anew on the way. What cannot be made is told and tried again later; nothing
 * that is served depends on it.
 */
import { Worker } from "node:worker_threads";
import { format_time } from "../events/time.js";
import type { SnapshotsAnswer } from "./answers.js";
import type { ChainGap, KeepTask } from "./keep.js";
import type { RegistryPlace } from "./partition_place.js";
import type { ShardClient } from "./shard_client.js";
import type { PartitionStatus } from "./shard_protocol.js";
import type { Retention } from "./snapshots.js";

export interface KeeperOptions {
  place: RegistryPlace;
  shards: readonly ShardClient[];
  retention: Retention;
  /** A snapshot is made when so much of a partition's log is in none; a start reads about that, 0.3 s at the most. */
  after_bytes: number;
  report(message: string): void;
  now(): number;
}

export type KeeperTask = { keep: KeepTask } | { gap: ChainGap };

export interface KeeperMessage {
  reports: string[];
  /** Null: it was done. */
  failed: string | null;
}

export const SNAPSHOT_AFTER_BYTES_DEFAULT = 64 * 1024 * 1024;
/** Five weeks, so that a month back there is a snapshot before the instant, whatever the month and the hour. */
export const RETENTION_DEFAULT: Retention = { newest: 2, days: 35, bytes_max: 16 * 1024 ** 3 };

/** Of a fast log this is more than a snapshot is made for. */
const LOOK_EVERY_MS = 1_000;
/** A disk without room is not asked again at once: what it is asked for may be a fold of the whole log. */
const REST_AFTER_FAILURE_MS = 60_000;
const DAY_MS = 86_400_000;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #started_ms: number;
  #timer: NodeJS.Timeout | null = null;
  #rests_until_ms = 0;
  #round: Promise<SnapshotsAnswer> | null = null;
  #worker: Worker | null = null;
  /** Of the task that the worker has. */
  #settle: (failed: string | null) => void = () => {};
  #closed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#started_ms = options.now();
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (this.#round !== null || performance.now() < this.#rests_until_ms) return;
      this.run(false).catch((error) => this.#options.report(String(error)));
    }, LOOK_EVERY_MS).unref();
  }

  /** Makes what is due; `all`: a snapshot of every partition that has something new. */
  async run(all: boolean): Promise<SnapshotsAnswer> {
    while (this.#round !== null) await this.#round.catch(() => {});
    this.#round = this.#make(all).finally(() => {
      this.#round = null;
    });
    return this.#round;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    // What it has not finished was written beside, and is taken away by the next one.
    await this.#worker?.terminate();
    await this.#round?.catch(() => {});
  }

  async #make(all: boolean): Promise<SnapshotsAnswer> {
    const made: SnapshotsAnswer["partitions"] = [];
    const failed: SnapshotsAnswer["failed"] = [];
    try {
      for (const shard of this.#options.shards) {
        for (const status of await shard.ask("status", [])) {
          const { partition, broken } = status;
          if (all && broken !== null) failed.push({ partition, reason: broken });
          else if (broken === null && (all ? status.unsnapshotted_bytes > 0 : this.#is_due(status))) {
            const result = await this.#make_snapshot(shard, partition);
            if (typeof result !== "string") made.push(result);
            else failed.push({ partition, reason: result });
          }
        }
        for (const gap of await shard.ask("chain_gaps", [])) await this.#make_chain(shard, gap);
      }
    } finally {
      // A core is as large as a partition's: it is kept only while there is something to do.
      await this.#worker?.terminate();
      this.#worker = null;
    }
    made.sort((a, b) => a.partition - b.partition);
    failed.sort((a, b) => a.partition - b.partition);
    return { snapshots: made.length, partitions: made, failed };
  }

  /** A string says why there is none. */
  async #make_snapshot(shard: ShardClient, partition: number) {
    try {
      const to = await shard.ask("chained_position", [partition, true]);
      const failed = await this.#work({ keep: { partition, to, retention: this.#options.retention } });
      if (failed !== null) return this.#failed(`partition ${partition}: no snapshot was made`, failed);
      await shard.ask("snapshot_made", [partition, to]);
      return { partition, next: String(to.offset), log_time: format_time(to.log_time_ms) };
    } catch (error) {
      // The partition has broken meanwhile, or too much waits for its shard.
      return this.#failed(`partition ${partition}: no snapshot was made`, message_of(error));
    }
  }

  async #make_chain(shard: ShardClient, gap: ChainGap): Promise<void> {
    const { partition, segment } = gap;
    const failed = await this.#work({ gap });
    if (failed === null) await shard.ask("chain_made", [partition, segment]);
    else this.#failed(`partition ${partition}: the chain of segment ${segment} was not made`, failed);
  }

  #failed(what: string, why: string): string {
    if (!this.#closed) this.#options.report(`${what}: ${why}`);
    this.#rests_until_ms = performance.now() + REST_AFTER_FAILURE_MS;
    return why;
  }

  /** Much is in no snapshot, or something is and a day has ended since the last one. */
  #is_due({ unsnapshotted_bytes, snapshot_log_time_ms }: PartitionStatus): boolean {
    if (unsnapshotted_bytes === 0) return false;
    if (unsnapshotted_bytes >= this.#options.after_bytes) return true;
    const last_ms = snapshot_log_time_ms ?? this.#started_ms;
    return Math.floor(this.#options.now() / DAY_MS) > Math.floor(last_ms / DAY_MS);
  }

  /** Null: it is done; else why not. One task at a time. */
  #work(task: KeeperTask): Promise<string | null> {
    if (this.#closed) return Promise.resolve("the registry is being closed");
    this.#worker ??= this.#start_worker();
    this.#worker.postMessage(task);
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  #start_worker(): Worker {
    const worker = new Worker(new URL("./keeper_worker.js", import.meta.url), {
      workerData: this.#options.place,
    });
    const lose = (failed: string) => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      this.#settle(failed);
    };
    worker.on("message", ({ reports, failed }: KeeperMessage) => {
      for (const message of reports) this.#options.report(message);
      this.#settle(failed);
    });
    worker.on("error", (error) => lose(error.message));
    worker.on("exit", () => lose("its thread was stopped"));
    return worker;
  }
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
