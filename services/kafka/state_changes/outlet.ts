/**
 * What leaves a node about one partition that it owns: for each applied event a record of the topic of state changes,
 * and each record that the fold does not take. In the shard's worker, behind the fold that serves.
 */
import { type CausePosition, is_after } from "../../events/cause.js";
import type { Disk } from "../../log/disk.js";
import type { CatalogFacts } from "../../registry/catalog_feed.js";
import type { Partition } from "../../registry/partition.js";
import type { RegistryPlace } from "../../registry/partition_place.js";
import { Follower } from "./follower.js";
import { type Attempts, PartitionSender } from "./partition_sender.js";
import { Quarantine } from "./quarantine.js";
import type { ToldTo } from "./record.js";

export interface OutletProgress {
  /** Everything up to it is told; null: nothing was to be told yet. */
  cause: CausePosition | null;
  /** Every quarantined record below is told. */
  quarantined_to: bigint;
}

export interface OutletOptions {
  partition: Partition;
  place: RegistryPlace;
  disk: Disk;
  /** The shard's. */
  facts: CatalogFacts;
  /** Of the catalog that the facts are of. */
  catalog_next_offset(): bigint;
  /** To the topics; `outlet_writers` makes them. */
  writers: { state_changes: Attempts; quarantine: Attempts };
  topics: { host_events: string; state_changes: string };
  /** Whether changes are told; quarantined records always are. */
  state_changes: boolean;
  /** The lease: asked before each send. */
  may_publish(): boolean;
  resume: {
    /** `cause_from_headers` of the last record of the partition in the topic of state changes. */
    topic_cause: ToldTo | null;
    /** From the group's commit metadata. */
    committed_cause: CausePosition | null;
    quarantined_to: bigint | null;
    /** The end of the topic of host events, asked for after the last record was read. */
    source_end: bigint;
  };
  /** Called often: what is to be committed now and then. */
  on_progress(progress: OutletProgress): void;
  report(message: string): void;
}

export interface Outlet {
  /**
   * Resolves when it is on record where telling begins, at once except for a partition without any record: who appends
   * to it before, and dies, leaves one of which nobody knows whether it was told.
   */
  readonly started: Promise<void>;
  /** More of the log is folded. */
  wake(): void;
  /** Resolves when nothing more is read or sent; what is under way may still arrive. */
  stop(): Promise<void>;
  /** Why nothing more is told; null: it goes on. */
  readonly broken: string | null;
}

export function start_outlet(options: OutletOptions): Outlet {
  const { partition, writers, topics, resume, may_publish, report } = options;
  const sender_of = (writer: Attempts) =>
    new PartitionSender({ writer, partition: partition.partition, may_publish, report });
  const progress: OutletProgress = {
    cause: told_to(resume),
    quarantined_to: resume.quarantined_to ?? 0n,
  };
  const tell = (made: Partial<OutletProgress>) => options.on_progress(Object.assign(progress, made));
  const quarantine = new Quarantine({
    partition,
    place: options.place,
    sender: sender_of(writers.quarantine),
    source_topic: topics.host_events,
    quarantined_to: resume.quarantined_to,
    on_progress: (quarantined_to) => tell({ quarantined_to }),
  });
  // What was decided is to be committed before the record of it is gone.
  if (resume.topic_cause?.decided) tell({});
  const begin = options.state_changes ? beginning(options, progress.cause) : null;
  const follower =
    begin === null || typeof begin === "string"
      ? null
      : new Follower({
          ...options,
          ...begin,
          sender: sender_of(writers.state_changes),
          source: topics.host_events,
          on_progress: (cause) => tell({ cause }),
        });
  return {
    started: follower?.started ?? Promise.resolve(),
    wake() {
      quarantine.wake();
      follower?.wake();
    },
    async stop() {
      await Promise.all([quarantine.stop(), follower?.stop()]);
    },
    get broken() {
      return (typeof begin === "string" ? begin : follower?.broken) ?? quarantine.broken;
    },
  };
}

function told_to({ topic_cause, committed_cause }: OutletOptions["resume"]): CausePosition | null {
  if (topic_cause === null) return committed_cause;
  const { offset, index, decided } = topic_cause;
  const in_topic = { offset, index };
  return decided || is_after(in_topic, committed_cause) ? in_topic : committed_cause;
}

/** Where telling goes on; a text: why it does not. */
function beginning(
  { partition, topics, resume }: OutletOptions,
  told: CausePosition | null,
): { after: CausePosition | null; is_new: boolean } | string {
  const number = partition.partition;
  const ways_on =
    `"klpstate state-changes begin ${number} --at end" goes on with what comes, "--at beginning" tells all of it, ` +
    "once the partition has an owner again";
  if (told !== null && told.offset < resume.source_end) return { after: told, is_new: false };
  if (told !== null) {
    return (
      `partition ${number}: its changes were told up to offset ${told.offset}, and ${topics.host_events} ends at ` +
      `${resume.source_end}: it is not the topic that they were told of. ${ways_on}`
    );
  }
  const next_offset = partition.log?.next_offset ?? 0n;
  if (next_offset === 0n) return { after: null, is_new: true };
  return (
    `partition ${number}: how far its changes were told is not known, ${topics.state_changes} has no record of it ` +
    `and the group no commit; its log has records already, and telling them might be a second copy. ${ways_on}`
  );
}
