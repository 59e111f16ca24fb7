/**
 * What brings a topic's records to a shard: in a thread of its own. What a shard does with them,
 * append, checksum and fold, would wait for what it takes to fetch and read them, and that for the shard; so the two go on
 * beside each other, and records cross as columns, whose memory changes hands.
 */
import type { MessagePort } from "node:worker_threads";
import type { RecordColumns } from "../log/columns.js";
import type { Broken, ReplicaLog } from "./replica.js";
import type { KafkaSettings } from "./settings.js";

/** What the thread is started with. */
export interface FetcherStart {
  settings: KafkaSettings;
  /** As ReplicaStart's. */
  name: string;
  partition_count: number;
  /** Transferred. */
  port: MessagePort;
}

/** A partition that is fetched from now on. */
export interface HoldRequest {
  partition: number;
  /** Names this holding of it: what was under way for one before is not for this one. */
  holding: number;
  next_offset: bigint;
  begins_anywhere: boolean;
  migrated_to: bigint | null;
}

/** From the shard. */
export type FetcherRequest =
  | { hold: HoldRequest }
  | { release: number }
  /** An append failed and may go well the next time; the log is at `next_offset`. */
  | { again: { partition: number; next_offset: bigint } }
  | { appended: { id: number; next_offset: bigint } }
  | { refused: { id: number; next_offset: bigint } }
  | { bytes: { id: number; bytes: Uint8Array | null } }
  | { offsets: number }
  | { close: true };

export interface TopicEnds {
  low: bigint;
  high: bigint;
}

/** To the shard. */
export type FetcherMessage =
  | { started: true }
  | { append: { id: number; partition: number; holding: number; after: bigint; records: RecordColumns } }
  | { bytes_at: { id: number; partition: number; holding: number; offset: bigint } }
  | { reached: { partition: number; read_to: bigint } }
  | { verified: { partition: number; holding: number } }
  | { broken: { partition: number; broken: Broken } }
  | { offsets: { id: number; ends: Map<number, TopicEnds> | string } }
  | { report: string }
  | { closed: true };

/** A shard's partition, to who fetches for it. */
export interface FetchedPartition {
  partition: number;
  log: ReplicaLog;
  begins_anywhere: boolean;
  migrated_to: bigint | null;
  /** See ReplicaOptions. */
  failed(error: unknown): void;
  reached(read_to: bigint): void;
  verified(): void;
}

/** What a shard asks of who fetches for it. */
export interface Fetcher {
  hold(fetched: FetchedPartition): void;
  release(partition: number): void;
  /** Nothing of what waits is in the log: it is fetched again in a while. */
  append_failed(partition: number): void;
  offsets(): Promise<Map<number, TopicEnds>>;
  close(): Promise<void>;
}
