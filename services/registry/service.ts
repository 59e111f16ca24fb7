/** What a registry can be asked, whatever stands behind it. Errors that a caller can mend are thrown as Problem. */
import type { klpstate } from "../events/proto.js";
import type { Acknowledgement } from "./acknowledgement.js";
import type {
  At,
  BatchAnswer,
  CheckAnswer,
  FleetRow,
  HistoryEntry,
  HostAnswer,
  HostVerdict,
  ReplayAnswer,
  SnapshotsAnswer,
  StateAnswer,
  VerdictName,
} from "./answers.js";
import type { MinPosition } from "./positions.js";
import type {
  PartitionDigest,
  PartitionHashes,
  PartitionHostState,
  PartitionStatus,
} from "./shard_protocol.js";

export type Manifest = klpstate.v1.Manifest.$Properties;
export type Identity = klpstate.v1.Identity.$Properties;

/** The instants of a question, ms since 1970; absent: now. RULES F8. */
export interface Instant {
  as_of_ms?: number;
  known_at_ms?: number;
}

/** A patch as a person names it: for each host the manifest of its release and arch, or one build. */
export interface Candidate {
  name: string;
  /** Lower-case hex. */
  build_id?: string;
}

export interface IngestOptions {
  /** Whether the acknowledgement tells of the batch's hosts; by default it does. */
  hosts?: boolean;
}

export interface CheckOptions {
  /** Absent: now. */
  instant?: Instant;
  /** Hosts not heard of for longer are `unknown: stale`. */
  max_age_ms?: number;
}

export interface HostCheckOptions extends CheckOptions {
  /** Only hosts with one of these verdicts. */
  verdicts?: VerdictName[];
  /** Only this host; a conflict then tells the event that put its holder there. */
  host_id?: string;
  /** Only hosts behind this one: a page begins where the one before it ended. */
  after?: string;
  /** Takes the partitions whose hosts are left out, since nobody answers for them. */
  missing?: Set<number>;
}

/** What the fleet is, or was. */
export interface FleetFound {
  /** The most hosts first. */
  rows: FleetRow[];
  /** Whose hosts are in no row. */
  missing_partitions: number[];
  at: At;
}

export type StateLookup = { of: string } | { prev_of: string };

export interface CatalogEntry {
  /** Offset of the catalog's record. */
  offset: bigint;
  log_time_ms: number;
  manifest: Manifest;
  /** Set where the identity was withdrawn later. */
  withdrawn?: { offset: bigint; log_time_ms: number; reason: string; by: string };
  /** Other manifests that claimed the same identity later, and were refused. */
  refused: { offset: bigint; log_time_ms: number; manifest: Manifest }[];
}

export interface PublishOutcome {
  identity: Identity;
  /** `published`: now in the catalog. `known`: an identical one was there. */
  outcome: "published" | "known";
  offset: bigint;
}

/** A partition of a ReplayAnswer. */
export type ReplayedPartition = ReplayAnswer["partitions"][number];

/** Replays logs that this process keeps. */
export type ReplayHere = (
  registry: RegistryService,
  partitions: number[],
  to: bigint | null,
) => Promise<ReplayedPartition[]>;

export interface RegistryService {
  readonly partitions: number;
  /** The registry's directory. */
  readonly data: string;
  /** Its logs are replicas of ones that lie elsewhere. */
  readonly replica: boolean;
  /** Why it should not be asked yet; null: it may be. */
  readonly starting: string | null;
  /** Partitions that are served and whose changes are told to no one, though they should be. */
  readonly silent: { partition: number; reason: string }[];
  /** Takes one EventBatch whole or not at all; resolves when it is durable and folded. */
  ingest(batch: Uint8Array, options?: IngestOptions): Promise<Acknowledgement>;
  /**
   * Resolves when all of it is folded; every question asked then has it in its answer. Throws Problem `not_caught_up`
   * after `wait_ms`, and at once where a partition is broken.
   */
  wait_for(positions: MinPosition, wait_ms: number): Promise<void>;
  /** Null: not known at the asked instant. */
  host(host_id: string, instant: Instant): Promise<HostAnswer | null>;
  /** Oldest first. Null: no such host. */
  history(host_id: string, instant: Instant): Promise<AsyncIterable<HistoryEntry> | null>;
  /** Null: not known at the asked instant. */
  state(host_id: string, state: bigint, instant: Instant, lookup?: StateLookup): Promise<StateAnswer | null>;
  check(candidate: Candidate, options: CheckOptions): Promise<CheckAnswer>;
  /** All over the same positions; throws Problem as `check`, with the place of the candidate. */
  check_batch(candidates: readonly Candidate[], options: CheckOptions): Promise<BatchAnswer>;
  /** In the order of partitions and of each partition's hosts; those of broken partitions are left out. */
  check_hosts(candidate: Candidate, options: HostCheckOptions): AsyncIterable<HostVerdict>;
  /** As `check_hosts`, as lines of NDJSON, many at once; at most `limit` hosts. */
  check_lines(candidate: Candidate, options: HostCheckOptions, limit?: number): AsyncIterable<Uint8Array>;
  fleet(instant: Instant): Promise<FleetFound>;
  /** Of the live state, at its next offset; as the two below. Each throws Problem where the partition is broken. */
  digest(partition: number): Promise<PartitionDigest>;
  /** What tells hosts that differ; a number of bytes for each. */
  host_hashes(partition: number): Promise<PartitionHashes>;
  /** By the host's number in `host_hashes`. */
  host_state(partition: number, host: number): Promise<PartitionHostState>;
  /** By partition; also of broken ones. */
  status(): Promise<PartitionStatus[]>;
  /** Of the partitions that this process keeps: all of them, where it is the only one. */
  own_status(): Promise<PartitionStatus[]>;
  /** Partitions whose log here is the one to replay. */
  own_partitions(): number[];
  /** Replays of the others, by who has them; without those that nobody answers for. */
  replay_elsewhere(partitions: number[], to: bigint | null): Promise<ReplayedPartition[]>;
  /** Goes on with a broken replica from the topic's earliest record; where the old one was moved to. Throws Problem. */
  reset_partition(partition: number): Promise<string>;
  /** Makes a snapshot of every partition that has something new. */
  snapshot(): Promise<SnapshotsAnswer>;
  publish(manifest: Manifest): Promise<PublishOutcome>;
  withdraw(identity: Identity, reason: string, by: string): Promise<{ offset: bigint }>;
  /** In the catalog's order. */
  patches(filter: { name?: string; withdrawn?: boolean }): CatalogEntry[];
  close(): Promise<void>;
}
