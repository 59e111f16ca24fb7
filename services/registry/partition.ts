/** One partition: its log and its core. What the log has made durable is folded; what is folded is served. */
import { join } from "node:path";
import { Core } from "../core/core.js";
import type { Digest } from "../core/digest.js";
import { digest_of_core } from "../core/digest.js";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import type { Disk } from "../log/disk.js";
import { disk_problem } from "../log/disk_problem.js";
import { Log } from "../log/log.js";
import { SEGMENT_BYTES_MAX } from "../log/segment.js";
import { Waiters } from "../log/waiters.js";
import { apply_fact, type CatalogFact } from "./catalog_feed.js";
import type { Behind } from "./positions.js";
import { demand_of, PromisedRoom } from "./promised_room.js";
import type { AppendAnswer, PartitionStatus } from "./shard_protocol.js";

export interface PartitionOptions {
  disk: Disk;
  directory: string;
  module: WebAssembly.Module;
  partition: number;
  partition_count: number;
  seed: bigint;
  memory_bytes_max: number;
  /** See LogOptions. */
  segment_bytes_max?: number;
  now(): number;
}

/** DIR/log/<partition>. */
export function log_directory(registry: string, name: string | number): string {
  return join(registry, "log", String(name));
}

export class Partition {
  readonly partition: number;
  readonly core: Core;
  readonly log: Log | null;
  readonly torn: string | null;
  readonly #waiters: Waiters;
  readonly #room: PromisedRoom;
  #broken: string | null;

  private constructor(
    partition: number,
    core: Core,
    log: Log | null,
    torn: string | null,
    broken: string | null,
    waiters: Waiters,
  ) {
    this.partition = partition;
    this.core = core;
    this.log = log;
    this.torn = torn;
    this.#broken = broken;
    this.#waiters = waiters;
    this.#room = new PromisedRoom(core);
  }

  /**
   * Reads, checks and folds the log once. One that is corrupt makes a broken partition, of which nothing is served.
   * Throws Problem where the disk does not let it.
   */
  static async open(options: PartitionOptions): Promise<Partition> {
    const { disk, module, partition, partition_count, seed, memory_bytes_max, now } = options;
    const { segment_bytes_max = SEGMENT_BYTES_MAX } = options;
    const core = new Core(module, { partition, partitions: partition_count, memory_bytes_max, seed });
    const waiters = new Waiters();
    try {
      const { log, torn } = await Log.open({
        disk,
        directory: log_directory(options.directory, partition),
        name: `partition ${partition}`,
        segment_bytes_max,
        now,
        buffer: () => core.input(core.input_bytes_max),
        // Events beyond a full core stay unapplied; `full` says so.
        on_frames(frames) {
          const folded = core.fold_frames(frames, false);
          waiters.folded_to(core.next_offset);
          if (folded === "partition_full") waiters.give_up();
        },
      });
      const cut =
        torn &&
        `${torn.file}: cut ${torn.bytes} bytes at byte ${torn.byte}, offset ${torn.offset} (${torn.reason})`;
      return new Partition(partition, core, log, cut, null, waiters);
    } catch (error) {
      if (!(error instanceof LogCorruption))
        throw disk_problem(error, `partition ${partition} cannot be opened`);
      return new Partition(partition, core, null, null, error.message, waiters);
    }
  }

  /** Why nothing of it is served; null: it serves. */
  get broken(): string | null {
    if (this.#broken === null && this.core.stopped_at !== null) {
      this.#broken = `partition ${this.partition} is full: its log goes on at offset ${this.core.stopped_at} with more than memory holds`;
    }
    return this.#broken;
  }

  get serves(): boolean {
    return this.broken === null;
  }

  /** Throws Problem where it is broken. */
  serving_log(): Log {
    if (this.log === null || !this.serves) {
      throw new Problem("unavailable", this.broken ?? `partition ${this.partition} is closed`);
    }
    return this.log;
  }

  /**
   * Resolves when the records are durable and folded. `hosts` are those that they are about. Rejects with Problem, of
   * them `partition_full` before anything is written.
   */
  async append(records: Uint8Array[], hosts: string[]): Promise<AppendAnswer> {
    const log = this.serving_log();
    const { core } = this;
    const demand = demand_of(core, records);
    if (!(await this.#room.take(demand, hosts))) throw this.#full(hosts);
    const { next_offset } = await log.append(records).finally(() => this.#room.give_back(demand));
    const answers = hosts.map((host_id) => {
      const host = core.find_host(host_id);
      if (host === null) return null;
      const { sequence, knowledge, effective_time_ms } = core.host(host);
      return { sequence, knowledge, effective_time_ms };
    });
    return { next_offset, hosts: answers };
  }

  /** Resolves with whether it is folded up to the offset: false after `wait_ms`, and at once where it is broken. */
  async folded(next_offset: bigint, wait_ms: number): Promise<boolean> {
    if (!this.serves) return false;
    return this.core.next_offset >= next_offset || this.#waiters.wait(next_offset, wait_ms);
  }

  /** Null: it is folded up to the offset, and serves. */
  behind(next_offset: bigint): Behind | null {
    const { partition, broken } = this;
    const has = this.core.next_offset;
    return broken === null && has >= next_offset ? null : { partition, wanted: next_offset, has, broken };
  }

  #full(hosts: string[]): Problem {
    const { core, partition } = this;
    const what = this.#room.brings_hosts(hosts) ? "another host" : "more of what hosts have";
    return new Problem(
      "partition_full",
      `partition ${partition} has no room for ${what}: it has ${core.host_count} hosts in ` +
        `${core.memory_used_bytes} bytes; nothing was stored there`,
      { limit: `${core.memory_used_bytes} bytes of memory a partition` },
    );
  }

  apply_fact(fact: CatalogFact): void {
    apply_fact(this.core, fact);
  }

  digest(): Digest {
    return digest_of_core(this.core);
  }

  status(): PartitionStatus {
    const { core, log } = this;
    return {
      partition: this.partition,
      next_offset: log?.next_offset ?? 0n,
      broken: this.broken,
      torn: this.torn,
      hosts: core.host_count,
      configurations: core.configuration_count,
      events: core.events_folded,
      log_bytes: log?.bytes ?? 0,
      memory_bytes: core.memory_used_bytes,
      records_quarantined: core.records_quarantined,
      anomalies: core.anomalies_seen(),
    };
  }

  async close(): Promise<void> {
    this.#waiters.give_up();
    await this.log?.close();
  }
}
