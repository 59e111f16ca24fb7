/**
 * What the main thread asks a shard, and how: requests with a number, one answer each; a list is pulled page by page,
 * so that a slow reader holds up nobody. Plain values only: everything crosses a thread.
 */

import type { Reason, Verdict, Warning } from "../core/codes.js";
import type { CheckConflict, CheckOutcome, Demand } from "../core/core.js";
import type { HostHashes } from "../core/host_hashes.js";
import type { HostList } from "../core/host_list.js";
import type { ProblemCode, ProblemParts } from "../events/problem.js";
import type { LogPosition } from "../log/segment.js";
import type { FleetRow, HistoryEntry, HostAnswer, StateAnswer } from "./answers.js";
import type { CatalogFact } from "./catalog_feed.js";
import type { ChainGap } from "./keep.js";
import type { ToldOutcomes } from "./outcome_words.js";
import type { RegistryPlace } from "./partition_place.js";
import type { Behind } from "./positions.js";
import type { Candidate, Instant, StateLookup } from "./service.js";

/** What a worker is started with. */
export interface ShardStart {
  place: RegistryPlace;
  /** The shard's own. */
  partitions: number[];
  /** Of them, those that are opened at the start. */
  open: number[];
  stale_after_ms: number;
  catalog: CatalogFact[];
}

/** What a worker says when it has read its logs. */
export interface ShardStarted {
  status: PartitionStatus[];
  /** Snapshots that were not used, and why; for messages. */
  refused_snapshots: readonly string[];
}

export interface PartitionStatus {
  partition: number;
  next_offset: bigint;
  /** Null: it serves. */
  broken: string | null;
  /** What a crash left and the start cut away; for a message. */
  torn: string | null;
  hosts: number;
  configurations: number;
  events: number;
  log_bytes: number;
  /** Of the log, what no snapshot has, about. */
  unsnapshotted_bytes: number;
  /** Of the last snapshot; null: none is known. */
  snapshot_log_time_ms: number | null;
  memory_bytes: number;
  records_quarantined: number;
  anomalies: Record<string, number>;
}

export interface AppendAnswer {
  next_offset: bigint;
  /** For HostFactRows, in the order of the hosts; null where nobody asked. */
  host_facts: Uint8Array | null;
}

/** A check's outcomes in one core. */
export interface CheckFound extends ToldOutcomes {
  hosts: number;
  stale: number;
  uncertain: number;
}

/** Of a check of many candidates: outcomes in one core, without what those of the same words differ in. */
export interface BatchFound {
  /** What is said of hosts. */
  words: VerdictWords[];
  /** By candidate, by words: hosts, and those of them that are too old to tell; null where no age is asked for. */
  told: number[][];
  aged: number[][] | null;
  hosts: number;
  stale: number;
  uncertain: number;
}

export type VerdictWords = Pick<CheckOutcome, "verdict" | "reason" | "warnings">;

export interface PartitionBatch {
  partition: number;
  next_offset: bigint;
  /** Null: the partition is broken. */
  found: BatchFound | null;
}

export interface PartitionCheck {
  partition: number;
  next_offset: bigint;
  /** Null: the partition is broken. */
  found: CheckFound | null;
}

export interface HostOutcome {
  host_id: string;
  verdict: Verdict;
  reason: Reason | null;
  conflict: CheckConflict | null;
  unresolved: CheckOutcome["unresolved"];
  replaces: readonly string[] | null;
  warnings: readonly Warning[];
  stale: boolean;
  uncertain: boolean;
}

export interface PartitionFleet {
  partition: number;
  next_offset: bigint;
  rows: FleetRow[] | null;
}

export interface PartitionDigest {
  next_offset: bigint;
  digest: bigint;
}

export interface PartitionHashes {
  next_offset: bigint;
  hashes: HostHashes;
}

export interface PartitionHostState {
  next_offset: bigint;
  /** Canonical (RULES F9). */
  state: Uint8Array;
}

export interface CheckQuestion {
  candidate: Candidate;
  at_ms: number;
  max_age_ms: number | null;
}

export interface BatchQuestion extends Omit<CheckQuestion, "candidate"> {
  candidates: Candidate[];
}

export interface HostsCheckQuestion extends CheckQuestion {
  partition: number;
  verdicts: Verdict[] | null;
  /** Only hosts behind this one. */
  after: string | null;
  /** Host number to begin with. */
  first: number;
  count_max: number;
}

export interface HostsPage {
  hosts: HostOutcome[];
  /** Host number to go on with; null: that was the last page, or the partition is broken. */
  next: number | null;
}

/** As HostsPage, as lines of NDJSON. */
export interface LinesPage {
  lines: Uint8Array<ArrayBuffer>;
  hosts: number;
  next: number | null;
}

/** The operations: arguments and answer of each. */
export interface ShardOperations {
  status(): PartitionStatus[];
  append(
    partition: number,
    records: Uint8Array[],
    hosts: HostList,
    wants_facts: boolean,
    demand?: Demand,
  ): AppendAnswer;
  catalog(fact: CatalogFact): void;
  /** Which of the partitions are not folded up to their next offset, after `wait_ms` at the latest. */
  wait_for(positions: [partition: number, next_offset: bigint][], wait_ms: number): Behind[];
  host(partition: number, host_id: string, instant: Instant, at_ms: number): HostAnswer | null;
  state(
    partition: number,
    host_id: string,
    state: bigint,
    instant: Instant,
    lookup: StateLookup | null,
    at_ms: number,
  ): StateAnswer | null;
  /** `durable`: the chain too, so that a crash leaves it. */
  chained_position(partition: number, durable: boolean): LogPosition;
  /** Segments whose chain is to be made anew. */
  chain_gaps(): ChainGap[];
  chain_made(partition: number, segment: bigint): void;
  /** Of the position that was given last as a durable one. */
  snapshot_made(partition: number, position: LogPosition): void;
  /** Opens a list; null: no such host. */
  history(partition: number, host_id: string, instant: Instant): number | null;
  pull(list: number): { items: HistoryEntry[]; done: boolean };
  cancel(list: number): void;
  check(question: CheckQuestion, partitions: number[]): PartitionCheck[];
  check_batch(question: BatchQuestion, partitions: number[]): PartitionBatch[];
  check_hosts(question: HostsCheckQuestion): HostsPage;
  check_lines(question: HostsCheckQuestion): LinesPage;
  check_host(
    partition: number,
    host_id: string,
    candidate: Candidate,
    instant: Instant,
    at_ms: number,
    max_age_ms: number | null,
  ): HostOutcome | null;
  fleet(partitions: number[]): PartitionFleet[];
  /** When it is folded so far; null: not after `wait_ms`. For HostFactRows, in the order of the hosts. */
  host_facts(partition: number, hosts: HostList, next_offset: bigint, wait_ms: number): Uint8Array | null;
  digest(partition: number): PartitionDigest;
  host_hashes(partition: number): PartitionHashes;
  host_state(partition: number, host: number): PartitionHostState;
  close(): void;
}

export type Operation = keyof ShardOperations;
export type Arguments<Op extends Operation> = Parameters<ShardOperations[Op]>;
export type Answer<Op extends Operation> = ReturnType<ShardOperations[Op]>;

export interface ShardRequest {
  id: number;
  operation: Operation;
  arguments: unknown[];
}

export type ShardResponse =
  | { id: number; answer: unknown }
  | { id: number; problem: { code: ProblemCode; message: string; parts: ProblemParts } }
  | { id: number; error: string };
