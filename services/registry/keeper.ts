/**
 * Says when snapshots are made, and has them made by a thread of its own: a start then reads little, and a past day is
 * near. Chains that are missing are made anew on the way. What cannot be made is told and tried again later; nothing
 * that is served depends on it.
 */
import { Worker } from "node:worker_threads";
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

const LOOK_EVERY_MS = 10_000;
const DAY_MS = 86_400_000;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #started_ms: number;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<number> | null = null;
  #worker: Worker | null = null;
  #closed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#started_ms = options.now();
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (this.#round === null) this.run(false).catch((error) => this.#options.report(String(error)));
    }, LOOK_EVERY_MS).unref();
  }

  /** Makes what is due; `all`: a snapshot of every partition that has something new. How many snapshots were made. */
  async run(all: boolean): Promise<number> {
    while (this.#round !== null) await this.#round;
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

  async #make(all: boolean): Promise<number> {
    const { shards, retention, report } = this.#options;
    let made = 0;
    try {
      for (const shard of shards) {
        for (const status of await shard.ask("status", [])) {
          if (this.#closed || !(all ? status.unsnapshotted_bytes > 0 : this.#is_due(status))) continue;
          const { partition } = status;
          const to = await shard.ask("chained_position", [partition, true]);
          const failed = await this.#work({ keep: { partition, to, retention } });
          if (failed !== null) report(`partition ${partition}: no snapshot was made: ${failed}`);
          else {
            await shard.ask("snapshot_made", [partition, to.log_time_ms]);
            made += 1;
          }
        }
        for (const gap of await shard.ask("chain_gaps", [])) {
          if (this.#closed) break;
          const failed = await this.#work({ gap });
          if (failed === null) await shard.ask("chain_made", [gap.partition, gap.segment]);
          else
            report(`partition ${gap.partition}: the chain of segment ${gap.segment} was not made: ${failed}`);
        }
      }
      return made;
    } finally {
      // A core is as large as a partition's: it is kept only while there is something to do.
      await this.#worker?.terminate();
      this.#worker = null;
    }
  }

  /** Much is in no snapshot, or something is and a day has ended since the last one. */
  #is_due({ broken, unsnapshotted_bytes, snapshot_log_time_ms }: PartitionStatus): boolean {
    if (broken !== null || unsnapshotted_bytes === 0) return false;
    if (unsnapshotted_bytes >= this.#options.after_bytes) return true;
    const last_ms = snapshot_log_time_ms ?? this.#started_ms;
    return Math.floor(this.#options.now() / DAY_MS) > Math.floor(last_ms / DAY_MS);
  }

  /** Null: it is done; else why not. */
  #work(task: KeeperTask): Promise<string | null> {
    this.#worker ??= new Worker(new URL("./keeper_worker.js", import.meta.url), {
      workerData: this.#options.place,
    });
    const worker = this.#worker;
    return new Promise((resolve) => {
      const settle = (failed: string | null) => {
        worker.removeAllListeners();
        resolve(failed);
      };
      worker.on("message", ({ reports, failed }: KeeperMessage) => {
        for (const message of reports) this.#options.report(message);
        settle(failed);
      });
      worker.on("error", (error) => settle(error.message));
      worker.on("exit", () => {
        if (this.#worker === worker) this.#worker = null;
        settle("it was stopped");
      });
      worker.postMessage(task);
    });
  }
}
