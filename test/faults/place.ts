/** What is tried: nodes, what they stand on, the ways between them, and what they have when all is over. */
import type { OrderRule } from "./checker.js";
import type { Door } from "./http.js";
import type { NodeProcess } from "./node_process.js";
import type { SentEvent } from "./operations.js";
import type { ReadRecord } from "./topic_reader.js";
import type { Route, Sufferer } from "./trouble.js";
import type { TopicRecord, Topics } from "./truth.js";

/** What an owner says of its partition. */
export interface Replica {
  /** Which node was asked about all. */
  told_by: string;
  partition: number;
  next_offset: bigint;
  hosts: number;
  digest: string;
}

export interface Replayed {
  replicas: Replica[];
  /** Of each partition that nobody replays, why. */
  missing: string[];
}

/** A log that is on a node's disk. */
export interface LogOfNode {
  node: string;
  partition: number;
  records: TopicRecord[];
}

export interface Place {
  /** How it is called on the command line, beside the seed. */
  readonly option: string;
  readonly partitions: number;
  readonly session_ms: number;
  /** What is promised of answers to those who ask without a position. */
  readonly order: Pick<OrderRule, "only_waited" | "slack_ms">;
  readonly nodes: readonly NodeProcess[];
  readonly brokers: readonly Sufferer[];
  readonly routes: readonly Route[];
  /** Clients' ways to the nodes, which may be in trouble. */
  readonly doors: readonly Door[];
  /** Straight to the nodes. */
  readonly straight: readonly Door[];
  start(): Promise<void>;
  /** Of every partition, where all nodes are whole and have nothing to do. */
  replicas(told_by: Door): Promise<Replayed>;
  /** Of nodes that do not run. */
  logs(): Promise<LogOfNode[]>;
  /** Read by somebody who has no part in the product; no node need run. */
  topics(): Promise<Topics>;
  /** The topic of state changes, by partition; null: there is none. */
  changes: (() => Promise<ReadRecord[][]>) | null;
  /** Deletes the topic of host events and makes it anew, with these events in each partition; null: there is none. */
  remake: ((events: readonly (readonly SentEvent[])[]) => Promise<void>) | null;
  close(): Promise<void>;
  /** As `close`, at once: the run breaks off, and nothing may outlive it. */
  abandon(): void;
}
