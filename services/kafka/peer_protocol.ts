/** What nodes ask each other. Everything is of certain partitions, and answered only by who has them. */
import type { PastInstants } from "../registry/past.js";
import type { Behind } from "../registry/positions.js";
import type { ReplayedPartition } from "../registry/service.js";
import type {
  BatchQuestion,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  Operation,
  PartitionBatch,
  PartitionCheck,
  PartitionFleet,
  PartitionStatus,
} from "../registry/shard_protocol.js";

export const PEER_PATH = "/internal/v1/ask";

/** As an owner, or as one that stands by and may be a little behind. */
export type Role = "owner" | "standby";

export interface PeerOperations {
  /** One of a shard. */
  ask(partition: number, operation: Operation, given: unknown[]): unknown;
  check(partitions: number[], question: CheckQuestion, past: PastInstants | null): PartitionCheck[];
  check_batch(partitions: number[], question: BatchQuestion, past: PastInstants | null): PartitionBatch[];
  fleet(partitions: number[], past: PastInstants | null): PartitionFleet[];
  status(partitions: number[]): PartitionStatus[];
  wait(positions: [partition: number, next_offset: bigint][], wait_ms: number): Behind[];
  /** Opens a list. */
  past_hosts(past: PastInstants, question: HostsCheckQuestion): number;
  pull_hosts(list: number): { items: HostOutcome[]; done: boolean };
  cancel_hosts(list: number): void;
  /** Folds the partitions' logs anew there. */
  replay(partitions: number[], to: bigint | null): ReplayedPartition[];
}

export type PeerOperation = keyof PeerOperations;

export interface PeerQuestion {
  /** Of the asker's ownership: who knows of an older one is out of date. */
  generation: number;
  role: Role;
  /** Of the asker's catalog: an answer that knows less would contradict what it says of itself. */
  catalog_next_offset: bigint;
  operation: PeerOperation;
  given: unknown[];
}

export type PeerAnswer =
  | { generation: number; answer: unknown }
  /** The partition is not this node's, in this role, as far as it knows; or its lease has ended. */
  | { generation: number; not_owner: string }
  | { generation: number; problem: { code: string; message: string; parts: Record<string, unknown> } }
  | { generation: number; error: string };

/** What a shard may be asked by another node. */
export const PEER_SHARD_OPERATIONS: ReadonlySet<Operation> = new Set<Operation>([
  "host",
  "state",
  "history",
  "pull",
  "cancel",
  "check_hosts",
  "check_host",
  "digest",
  "host_hashes",
  "host_state",
  "host_facts",
]);

/** A list that is open belongs to who opened it, whatever became of the partition. */
export const OF_LISTS: ReadonlySet<Operation> = new Set<Operation>(["pull", "cancel"]);

/** The asked node does not have the partition, or cannot be asked: another one may tell. */
export class NotOwner extends Error {
  override readonly name = "NotOwner";
}
