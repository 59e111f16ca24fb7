/** A shard's partitions as replicas: held and let go as the node is told, fed by one fetcher. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CausePosition } from "../events/cause.js";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import { node_disk } from "../log/node_disk.js";
import type { Partition } from "../registry/partition.js";
import type { RegistryPlace } from "../registry/partition_place.js";
import type { Shard } from "../registry/shard.js";
import type { Fetcher } from "./fetcher.js";
import type { LeaseView } from "./lease.js";
import { replica_log } from "./partition_log.js";
import type { Broken } from "./replica.js";
import type { Hold, ReplicaMessage, ReplicaOperations } from "./replica_protocol.js";
import type { KafkaSettings } from "./settings.js";
import { type Outlet, type OutletProgress, start_outlet } from "./state_changes/outlet.js";
import type { OutletWriters } from "./state_changes/partition_sender.js";
import type { ToldCauses } from "./state_changes/told_causes.js";

export interface ReplicaShardOptions {
  shard: Shard;
  fetcher: Fetcher;
  tell(message: ReplicaMessage): void;
  place: RegistryPlace;
  topics: KafkaSettings["topics"];
  state_changes: boolean;
  /** Null: no changes are told. */
  told_causes: ToldCauses | null;
  writers: OutletWriters;
  lease: LeaseView;
}

const TELL_PROGRESS_MS = 200;
/** A new leader's high watermark may lag for a moment. */
const SHORTER_LOOKS = 5;
const SHORTER_LOOK_MS = 1_000;

interface Kept {
  partition: Partition;
  /** All of the topic below is folded. */
  reached: bigint;
  /** The topic is the one that the log is a replica of. */
  verified: boolean;
  /** Who waits for the topic to be folded so far. */
  waiting: { offset: bigint; resolve(): void }[];
  outlet: Outlet | null;
  /** Of the last word that it is to be published; null: it is not. */
  publishing: symbol | null;
}

export class ReplicaShard implements ReplicaOperations {
  readonly #options: ReplicaShardOptions;
  readonly #kept = new Map<number, Kept>();
  readonly #progress = new Map<number, OutletProgress>();
  #telling: NodeJS.Timeout | null = null;

  constructor(options: ReplicaShardOptions) {
    this.#options = options;
  }

  async hold({ partition: number, begins_anywhere, migrated_to }: Hold): Promise<string | null> {
    const { shard, fetcher, tell } = this.#options;
    const partition = await shard.open_partition(number, (report) => tell({ report }));
    const { log } = partition;
    if (partition.torn !== null) tell({ report: `partition ${number}: ${partition.torn}` });
    if (log === null || !partition.serves) return partition.broken;
    const kept: Kept = {
      partition,
      reached: log.next_offset,
      // There is nothing yet that could be of another.
      verified: log.next_offset === 0n,
      waiting: [],
      outlet: null,
      publishing: null,
    };
    this.#kept.set(number, kept);
    fetcher.hold({
      partition: number,
      log: replica_log(log, (after, records) => partition.append_replica(after, records)),
      begins_anywhere,
      migrated_to,
      failed: (error) => this.#append_failed(number, error),
      reached(read_to) {
        kept.reached = read_to;
        tell_who_waits(kept);
      },
      verified() {
        kept.verified = true;
        tell_who_waits(kept);
      },
    });
    return null;
  }

  async release(number: number): Promise<void> {
    this.#options.fetcher.release(number);
    this.#kept.delete(number);
    await this.#options.shard.close_partition(number);
  }

  async reached(number: number, offset: bigint): Promise<void> {
    const kept = this.#kept.get(number);
    if (kept === undefined) return new Promise(() => {});
    await new Promise<void>((resolve) => {
      kept.waiting.push({ offset, resolve });
      tell_who_waits(kept);
    });
  }

  async publish(number: number, committed: OutletProgress | null): Promise<void> {
    const { shard, place, topics, state_changes, told_causes, writers, lease, tell } = this.#options;
    const kept = this.#kept.get(number);
    if (kept === undefined || kept.outlet !== null) return;
    const wanted = Symbol();
    kept.publishing = wanted;
    const topic_cause = told_causes === null ? null : await told_causes.last(number);
    const source_end = await this.#end_behind(number, topic_cause ?? committed?.cause ?? null);
    // Taken back meanwhile.
    if (this.#kept.get(number) !== kept || kept.publishing !== wanted) return;
    const { partition } = kept;
    const outlet = start_outlet({
      partition,
      place,
      disk: node_disk,
      facts: shard.facts,
      catalog_next_offset: () => shard.facts.next_offset,
      writers,
      topics,
      state_changes,
      may_publish: () => kept.publishing === wanted && lease.may_publish,
      resume: {
        topic_cause,
        committed_cause: committed?.cause ?? null,
        quarantined_to: committed?.quarantined_to ?? null,
        source_end,
      },
      on_progress: (progress) => this.#progressed(number, progress),
      report: (report) => tell({ report }),
    });
    kept.outlet = outlet;
    partition.on_folded(() => {
      outlet.wake();
      this.#tell_silence(number, outlet);
    });
    outlet.wake();
    this.#tell_silence(number, outlet);
  }

  /** The end of the partition's topic, looked at again where what is told already would lie beyond it. */
  async #end_behind(number: number, told: CausePosition | null): Promise<bigint> {
    for (let looks = 1; ; looks++) {
      const end = (await this.#options.fetcher.offsets()).get(number)?.high;
      if (end === undefined) throw new Error(`partition ${number} of the topic of events has no leader`);
      if (told === null || told.offset < end || looks === SHORTER_LOOKS) return end;
      await sleep(SHORTER_LOOK_MS);
    }
  }

  async unpublish(number: number): Promise<void> {
    const kept = this.#kept.get(number);
    if (kept === undefined) return;
    kept.publishing = null;
    const { outlet } = kept;
    kept.outlet = null;
    kept.partition.on_folded(() => {});
    await outlet?.stop();
  }

  async close(): Promise<void> {
    const { fetcher, told_causes, writers } = this.#options;
    await Promise.all([...this.#kept.keys()].map((number) => this.unpublish(number)));
    await Promise.all([
      fetcher.close(),
      told_causes?.close(),
      writers.state_changes.close(),
      writers.quarantine.close(),
    ]);
  }

  /** Told now and then: it is committed no oftener. */
  #progressed(number: number, progress: OutletProgress): void {
    this.#progress.set(number, { ...progress });
    this.#telling ??= setTimeout(() => {
      this.#telling = null;
      for (const [partition, latest] of this.#progress) {
        this.#options.tell({ published: { partition, progress: latest } });
      }
      this.#progress.clear();
    }, TELL_PROGRESS_MS);
  }

  #tell_silence(partition: number, { broken }: Outlet): void {
    if (broken !== null) this.#options.tell({ silent: { partition, says: broken } });
  }

  #append_failed(number: number, error: unknown): void {
    const kept = this.#kept.get(number);
    if (kept === undefined) return;
    const { partition } = kept;
    this.#options.tell({
      report: `partition ${number}: ${error instanceof Error ? error.message : String(error)}`,
    });
    const broken = broken_by(error, partition);
    if (broken === null) this.#options.fetcher.append_failed(number);
    else {
      this.#options.fetcher.release(number);
      this.#options.tell({ broken: { partition: number, ...broken } });
    }
  }
}

/** A log that goes beyond the topic has reached all of it, and is another's. */
function tell_who_waits(kept: Kept): void {
  if (!kept.verified) return;
  const told = kept.waiting.filter(({ offset }) => offset <= kept.reached);
  kept.waiting = kept.waiting.filter(({ offset }) => offset > kept.reached);
  for (const { resolve } of told) resolve();
}

/** Null: it may go well the next time, as where a disk was full. */
function broken_by(error: unknown, partition: Partition): Broken | null {
  if (error instanceof LogCorruption) return { reason: "corrupt", says: error.message };
  // Another node may have a disk that can be synced; this one has to be started again.
  const ended = partition.log?.ended ?? null;
  if (ended !== null) return { reason: "corrupt", says: ended.message };
  if (!partition.serves) return { reason: "partition_full", says: partition.broken! };
  return error instanceof Problem ? null : { reason: "corrupt", says: String(error) };
}
