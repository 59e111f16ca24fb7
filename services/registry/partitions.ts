/**
 * Who answers for partitions. A registry puts answers together, whoever gives them: shards of this process
 * (local_partitions.ts), or other nodes as well.
 */
import type { BatchPart } from "../core/way_in.js";
import type { PartStored } from "./acknowledgement.js";
import type { PastInstants } from "./past.js";
import type { Behind } from "./positions.js";
import type { ReplayedPartition } from "./service.js";
import type {
  Answer,
  Arguments,
  BatchQuestion,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  LinesPage,
  Operation,
  PartitionBatch,
  PartitionCheck,
  PartitionFleet,
  PartitionStatus,
} from "./shard_protocol.js";

export interface Asker {
  ask<Op extends Operation>(operation: Op, given: Arguments<Op>): Promise<Awaited<Answer<Op>>>;
}

export interface Partitions {
  /** Of one partition. Rejects with Problem `unavailable` where nobody answers for it. */
  ask<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<Awaited<Answer<Op>>>;
  /** As `ask`, with who answered: a list that was opened is pulled from there. */
  ask_whom<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<{ answer: Awaited<Answer<Op>>; by: Asker }>;
  /** Of every partition; one that cannot tell has `found` null. `past` null: now. */
  check(question: CheckQuestion, past: PastInstants | null): Promise<PartitionCheck[]>;
  /** As `check`, of many candidates. */
  check_batch(question: BatchQuestion, past: PastInstants | null): Promise<PartitionBatch[]>;
  /** Of every partition; one that cannot tell has `rows` null. */
  fleet(past: PastInstants | null): Promise<PartitionFleet[]>;
  /** A page of one partition, as it is. */
  check_lines(question: HostsCheckQuestion): Promise<LinesPage>;
  /** Hosts of one partition as it was, in its order. */
  past_hosts(past: PastInstants, question: HostsCheckQuestion): AsyncIterable<HostOutcome>;
  /** Of every partition. */
  status(): Promise<PartitionStatus[]>;
  /** Of those that have this process for a home: what a node's own measures are about. */
  own_status(): Promise<PartitionStatus[]>;
  /** Partitions whose log here is the one to replay: all of them, where this is the only process. */
  own(): number[];
  /** Replays of others, by who owns them; without those that nobody answers for. */
  replay_elsewhere(partitions: number[], to: bigint | null): Promise<ReplayedPartition[]>;
  /** What is not folded so far, told apart as it is found out: `wait_ms` each at most. */
  behind(positions: ReadonlyMap<number, bigint>, wait_ms: number): Promise<Behind[]>[];
  close(): Promise<void>;
}

/** Where a batch goes. */
export interface Intake {
  /** Resolves when all of it is durable and in effect. Rejects with Problem, which says what of it was stored. */
  store(parts: BatchPart[], wants_facts: boolean): Promise<PartStored[]>;
}
