/** What a node's main thread tells a shard's thread about replicas, beside what the registry asks it. Plain values. */
import type { MessagePort } from "node:worker_threads";
import type { ShardStart } from "../registry/shard_protocol.js";
import type { BrokenReason } from "./replica.js";
import type { KafkaSettings } from "./settings.js";
import type { OutletProgress } from "./state_changes/outlet.js";

export interface ReplicaStart {
  shard: ShardStart;
  settings: KafkaSettings;
  /** Names the shard in its client id and group. */
  name: string;
  /** Where this thread is told to hold and let go; transferred. */
  control: MessagePort;
  /** See lease.ts. */
  lease: SharedArrayBuffer;
}

export interface Hold {
  partition: number;
  begins_anywhere: boolean;
  migrated_to: bigint | null;
}

export interface ReplicaOperations {
  /** Opens the partition's log and begins to read. Resolves with why it cannot; null: it reads. */
  hold(hold: Hold): Promise<string | null>;
  /** Resolves when its files are closed. */
  release(partition: number): Promise<void>;
  /**
   * Resolves when all of the topic below the offset is folded, and the topic was seen to have the last record that the
   * log had; never, if it is released or breaks.
   */
  reached(partition: number, offset: bigint): Promise<void>;
  /** Begins to publish what follows from the partition. `committed`: null where the group knows of nothing. */
  publish(partition: number, committed: OutletProgress | null): Promise<void>;
  /** Resolves when nothing more is published. */
  unpublish(partition: number): Promise<void>;
  close(): Promise<void>;
}

export type ReplicaOperation = keyof ReplicaOperations;

export interface ReplicaRequest {
  id: number;
  operation: ReplicaOperation;
  arguments: unknown[];
}

export type ReplicaMessage =
  | { id: number; answer: unknown }
  | { id: number; error: string }
  | { broken: { partition: number; reason: BrokenReason; says: string } }
  | { published: { partition: number; progress: OutletProgress } }
  /** Nothing more is published of it; it is served all the same. */
  | { silent: { partition: number; says: string } }
  | { report: string };
