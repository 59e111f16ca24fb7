/** One partition: its log and its core. What the log has made durable is folded; what is folded is served. */
import { Core, type Demand } from "../core/core.js";
import type { Digest } from "../core/digest.js";
import { digest_of_core } from "../core/digest.js";
import type { HostList } from "../core/host_list.js";
import { Problem } from "../events/problem.js";
import type { ChainedEvent, EventPlace } from "../log/chain_block.js";
import { Chains } from "../log/chains.js";
import type { RecordColumns } from "../log/columns.js";
import { LogCorruption } from "../log/corruption.js";
import type { Disk } from "../log/disk.js";
import { disk_problem } from "../log/disk_problem.js";
import { Log } from "../log/log.js";
import { type FramesPlace, type LogPosition, SEGMENT_BYTES_MAX } from "../log/segment.js";
import { Waiters } from "../log/waiters.js";
import { apply_fact, type CatalogFact } from "./catalog_feed.js";
import type { ChainGap } from "./keep.js";
import { core_options, log_directory, type RegistryPlace } from "./partition_place.js";
import type { Behind } from "./positions.js";
import { demand_of, PromisedRoom } from "./promised_room.js";
import type { AppendAnswer, PartitionStatus } from "./shard_protocol.js";
import { restore_core } from "./snapshots.js";

export interface PartitionOptions {
  disk: Disk;
  place: RegistryPlace;
  partition: number;
  /** See LogOptions. */
  segment_bytes_max?: number;
  /** Told of snapshots that are not used, and why. */
  report(message: string): void;
  now(): number;
}

/** An event of a host, and where its frame stands. */
export interface FoundEvent extends EventPlace, FramesPlace {
  frame_crc32: number;
}

/** What follows the log: the core, the chain beside the log, and those who wait for a position. */
class Follower {
  readonly waiters = new Waiters();
  /** Of frames, followed since the last snapshot. */
  bytes = 0;
  on_folded = (): void => {};

  constructor(
    readonly core: Core,
    readonly chains: Chains,
  ) {}

  on_frames(frames: Uint8Array, { segment, byte }: FramesPlace): void {
    const { core, chains, waiters } = this;
    let at = byte;
    // Before the fold: frames that stand in the core's memory are gone when that grows.
    this.bytes += frames.length;
    const status = core.fold_chained(frames, (piece) => {
      chains.tell({ segment, byte: at }, piece.bytes, core.next_offset, piece);
      at += piece.bytes;
    });
    waiters.folded_to(core.next_offset);
    this.on_folded();
    // Events beyond a full core stay unapplied; the partition says that it is full.
    if (status === "partition_full") waiters.give_up();
  }
}

interface Opened {
  log: Log;
  torn: string | null;
  snapshot: LogPosition | null;
}

export class Partition {
  readonly partition: number;
  readonly core: Core;
  readonly log: Log | null;
  readonly torn: string | null;
  readonly #follower: Follower;
  readonly #room: PromisedRoom;
  /** Of what was followed, what stands before the position that was given last. */
  #bytes_at_position = 0;
  /** Where the newest one stands. */
  #snapshot: LogPosition | null;
  #broken: string | null;

  private constructor(partition: number, follower: Follower, opened: Opened | string) {
    this.partition = partition;
    this.core = follower.core;
    this.#follower = follower;
    this.#room = new PromisedRoom(follower.core);
    const is_open = typeof opened !== "string";
    this.log = is_open ? opened.log : null;
    this.torn = is_open ? opened.torn : null;
    this.#snapshot = is_open ? opened.snapshot : null;
    this.#broken = is_open ? null : opened;
  }

  /**
   * Goes on from the newest good snapshot: reads, checks and folds what follows it. A log that is corrupt there makes a
   * broken partition, of which nothing is served. Throws Problem where the disk does not let it.
   */
  static async open(options: PartitionOptions): Promise<Partition> {
    const { disk, place, partition, report, now } = options;
    const { segment_bytes_max = SEGMENT_BYTES_MAX } = options;
    const core = new Core(place.module, core_options(place, partition));
    const directory = log_directory(place.directory, partition);
    const follower = new Follower(core, new Chains(disk, directory));
    try {
      let reaches = 0n;
      const snapshot = await restore_core(disk, place, core, partition, (message, refused_at) => {
        report(message);
        if (refused_at > reaches) reaches = refused_at;
      });
      const { log, torn } = await Log.open({
        disk,
        directory,
        name: `partition ${partition}`,
        replica: place.replica,
        segment_bytes_max,
        now,
        from: snapshot?.position ?? null,
        reaches,
        buffer: () => core.input(core.input_bytes_max),
        on_frames: (frames, at) => follower.on_frames(frames, at),
      });
      const cut =
        torn &&
        `${torn.file}: cut ${torn.bytes} bytes at byte ${torn.byte}, offset ${torn.offset} (${torn.reason})`;
      // One that lacks its chain before the snapshot is written to no more, so that the chain can be made anew.
      const last = log.segments.at(-1);
      if (last && !follower.chains.covers(last.first_offset, last.bytes)) log.end_segment();
      return new Partition(partition, follower, { log, torn: cut, snapshot: snapshot?.position ?? null });
    } catch (error) {
      await follower.chains.close();
      if (!(error instanceof LogCorruption))
        throw disk_problem(error, `partition ${partition} cannot be opened`);
      return new Partition(partition, follower, error.message);
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
   * Resolves when the records are durable and folded. `hosts` are those that they are about, each once; `demand` is what
   * they may need of the core. Rejects with Problem, of them `partition_full` before anything is written.
   */
  async append(
    records: Uint8Array[],
    hosts: HostList,
    wants_facts: boolean,
    demand: Demand = demand_of(this.core, records),
  ): Promise<AppendAnswer> {
    const log = this.serving_log();
    if (!(await this.#room.take(demand, hosts))) throw this.#full(hosts);
    const { next_offset } = await log.append(records).finally(() => this.#room.give_back(demand));
    return { next_offset, host_facts: wants_facts ? this.core.host_facts(hosts) : null };
  }

  /**
   * For a replica: resolves when the records are durable and folded. Rejects as Log.append_replica does, also where the
   * partition is broken.
   */
  async append_replica(after: bigint, records: RecordColumns): Promise<void> {
    await this.serving_log().append_replica(after, records);
  }

  /** `told`: more of the log is folded. One listener, who does his work later. */
  on_folded(told: () => void): void {
    this.#follower.on_folded = told;
  }

  /** Resolves with whether it is folded up to the offset: false after `wait_ms`, and at once where it is broken. */
  async folded(next_offset: bigint, wait_ms: number): Promise<boolean> {
    if (!this.serves) return false;
    return this.core.next_offset >= next_offset || this.#follower.waiters.wait(next_offset, wait_ms);
  }

  /** Null: it is folded up to the offset, and serves. */
  behind(next_offset: bigint): Behind | null {
    const { partition, broken } = this;
    const has = this.core.next_offset;
    return broken === null && has >= next_offset ? null : { partition, wanted: next_offset, has, broken };
  }

  #full(hosts: HostList): Problem {
    const { core, partition } = this;
    const what = this.#room.brings_hosts(hosts) ? "another host" : "more of what hosts have";
    return new Problem(
      "partition_full",
      `partition ${partition} has no room for ${what}: it has ${core.host_count} hosts in ` +
        `${core.memory_used_bytes} bytes; nothing was stored there`,
      { limit: `${core.memory_used_bytes} bytes of memory a partition` },
    );
  }

  /** Every event of the host, oldest first, as the chain leads to it; null: it does not lead to all of them. */
  events_of(host: number): FoundEvent[] | null {
    const log = this.serving_log();
    const found: FoundEvent[] = [];
    let at: EventPlace | null = this.core.host(host).position;
    while (at !== null) {
      const { offset, index }: EventPlace = at;
      const segment = log.segment_of(offset);
      if (segment === null) return null;
      const told: ChainedEvent | null = this.#follower.chains.find(segment, at);
      if (told === null) return null;
      found.push({ offset, index, segment, byte: told.frame_byte, frame_crc32: told.frame_crc32 });
      // Whatever stands in a file: the walk ends.
      if (told.previous !== null && !is_before(told.previous, at)) return null;
      at = told.previous;
    }
    return found.reverse();
  }

  /** The log's end, with a chain that is in its files up to there; `durable`: so that a crash leaves it there. */
  async chained_position(durable: boolean): Promise<LogPosition> {
    const { position } = this.serving_log();
    if (durable) this.#bytes_at_position = this.#follower.bytes;
    await (durable ? this.#follower.chains.sync() : this.#follower.chains.flush());
    return position;
  }

  /**
   * Segments whose chain is missing or incomplete, and that nothing is written to any more. The one that is written to
   * is ended if it is one of them: its chain can be made anew then.
   */
  chain_gaps(): ChainGap[] {
    const { log } = this;
    if (log === null || !this.serves) return [];
    const { partition } = this;
    const segments = log.segments;
    const gaps: ChainGap[] = [];
    for (const [i, { first_offset: segment, bytes }] of segments.entries()) {
      if (this.#follower.chains.covers(segment, bytes)) continue;
      const next = segments[i + 1];
      if (next === undefined) log.end_segment();
      else gaps.push({ partition, segment, next_segment: next.first_offset });
    }
    return gaps;
  }

  /** A snapshot of the position that `chained_position` gave last is there. */
  snapshot_made(position: LogPosition): void {
    this.#follower.bytes -= this.#bytes_at_position;
    this.#bytes_at_position = 0;
    this.#snapshot = position;
  }

  /** The file of a segment's chain was made anew. */
  chain_made(segment: bigint): void {
    this.#follower.chains.forget(segment);
  }

  /** How far the log was at an instant: its next offset by what had arrived then. */
  async next_offset_at(known_at_ms: number): Promise<bigint> {
    const log = this.serving_log();
    if (known_at_ms >= log.last_log_time_ms) return log.next_offset;
    let segment = 0n;
    for (const { first_offset } of log.segments) {
      const first = log.frame_at({ segment: first_offset, byte: 0 }, null);
      if (first === null || first.log_time_ms > known_at_ms) break;
      segment = first_offset;
    }
    const later = this.#follower.chains.first_later(segment, known_at_ms);
    if (later !== null) return later;
    for await (const frame of log.read(segment)) {
      if (frame.log_time_ms > known_at_ms) return frame.first_offset;
    }
    return log.next_offset;
  }

  apply_fact(fact: CatalogFact): void {
    apply_fact(this.core, fact);
  }

  digest(): Digest {
    return digest_of_core(this.core);
  }

  status(): PartitionStatus {
    const { core, log } = this;
    const next_offset = log?.next_offset ?? 0n;
    // Empty frames alone are nothing new.
    const has_new = next_offset > (this.#snapshot?.offset ?? 0n);
    return {
      partition: this.partition,
      next_offset,
      broken: this.broken,
      torn: this.torn,
      hosts: core.host_count,
      configurations: core.configuration_count,
      events: core.events_folded,
      log_bytes: log?.bytes ?? 0,
      unsnapshotted_bytes: has_new ? this.#follower.bytes : 0,
      snapshot_log_time_ms: this.#snapshot?.log_time_ms ?? null,
      memory_bytes: core.memory_used_bytes,
      records_quarantined: core.records_quarantined,
      anomalies: core.anomalies_seen(),
    };
  }

  async close(): Promise<void> {
    this.#follower.waiters.give_up();
    await this.log?.close();
    await this.#follower.chains.close();
  }
}

function is_before(a: EventPlace, b: EventPlace): boolean {
  return a.offset < b.offset || (a.offset === b.offset && a.index < b.index);
}
