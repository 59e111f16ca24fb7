/** The partitions of this process: its shards, and its threads for the past. */
import type { BatchPart } from "../core/way_in.js";
import { Problem } from "../events/problem.js";
import type { PartStored } from "./acknowledgement.js";
import type { Asker, Intake, Partitions } from "./partitions.js";
import type { PastInstants } from "./past.js";
import type { PastQuestions } from "./past_questions.js";
import type { Behind } from "./positions.js";
import type { ShardClient } from "./shard_client.js";
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

export class LocalPartitions implements Partitions, Intake {
  readonly #shards: readonly ShardClient[];
  readonly #shard_of: ReadonlyMap<number, ShardClient>;
  readonly #past: PastQuestions;

  constructor(shards: readonly ShardClient[], past: PastQuestions) {
    this.#shards = shards;
    this.#shard_of = new Map(
      shards.flatMap((shard) => shard.partitions.map((partition) => [partition, shard] as const)),
    );
    this.#past = past;
  }

  /** Resolves if a shard ends and was not asked to: then nobody can answer for its partitions. */
  get lost(): Promise<Error> {
    return Promise.race(this.#shards.map((shard) => shard.lost));
  }

  shard(partition: number): ShardClient {
    return this.#shard_of.get(partition)!;
  }

  ask<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<Awaited<Answer<Op>>> {
    return this.shard(partition).ask(operation, given);
  }

  async ask_whom<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<{ answer: Awaited<Answer<Op>>; by: Asker }> {
    return { answer: await this.ask(partition, operation, given), by: this.shard(partition) };
  }

  /** `only`: of these; by default of all. */
  async check(
    question: CheckQuestion,
    past: PastInstants | null,
    only: readonly number[] = this.#all,
  ): Promise<PartitionCheck[]> {
    if (past !== null) return this.#past.check(past, question, only);
    return this.#of_shards(only, (shard, partitions) => shard.ask("check", [question, partitions]));
  }

  async check_batch(
    question: BatchQuestion,
    past: PastInstants | null,
    only: readonly number[] = this.#all,
  ): Promise<PartitionBatch[]> {
    if (past !== null) return this.#past.check_batch(past, question, only);
    return this.#of_shards(only, (shard, partitions) => shard.ask("check_batch", [question, partitions]));
  }

  async fleet(past: PastInstants | null, only: readonly number[] = this.#all): Promise<PartitionFleet[]> {
    if (past !== null) return this.#past.fleet(past, only);
    return this.#of_shards(only, (shard, partitions) => shard.ask("fleet", [partitions]));
  }

  check_lines(question: HostsCheckQuestion): Promise<LinesPage> {
    return this.ask(question.partition, "check_lines", [question]);
  }

  past_hosts(past: PastInstants, question: HostsCheckQuestion): AsyncIterable<HostOutcome> {
    return this.#past.verdicts(past, question);
  }

  async status(): Promise<PartitionStatus[]> {
    const status = await Promise.all(this.#shards.map((shard) => shard.ask("status", [])));
    return status.flat().sort((a, b) => a.partition - b.partition);
  }

  own_status(): Promise<PartitionStatus[]> {
    return this.status();
  }

  own(): number[] {
    return [...this.#all];
  }

  async replay_elsewhere(): Promise<[]> {
    return [];
  }

  behind(positions: ReadonlyMap<number, bigint>, wait_ms: number): Promise<Behind[]>[] {
    return this.#shards.flatMap((shard) => {
      const wanted = [...positions].filter(([partition]) => shard.partitions.includes(partition));
      return wanted.length === 0 ? [] : [shard.ask("wait_for", [wanted, wait_ms])];
    });
  }

  async store(parts: BatchPart[], wants_facts: boolean): Promise<PartStored[]> {
    const settled = await Promise.allSettled(parts.map((part) => this.#store(part, wants_facts)));
    const stored = settled.filter((result) => result.status === "fulfilled").map((result) => result.value);
    const failed = settled.find((result) => result.status === "rejected");
    if (failed === undefined) return stored;
    throw partly_stored(
      failed.reason,
      stored.map(({ partition }) => partition),
    );
  }

  async #store(part: BatchPart, wants_facts: boolean): Promise<PartStored> {
    const { partition, records, hosts, demand } = part;
    const bytes = records.map((record) => record.bytes);
    const { next_offset, host_facts } = await this.shard(partition).ask(
      "append",
      [partition, bytes, hosts, wants_facts, demand],
      [bytes[0]!.buffer as ArrayBuffer],
    );
    return { partition, next_offset, hosts: host_facts && { list: hosts, facts: host_facts } };
  }

  async close(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.close()));
  }

  get #all(): readonly number[] {
    return [...this.#shard_of.keys()];
  }

  async #of_shards<Found>(
    only: readonly number[],
    ask: (shard: ShardClient, partitions: number[]) => Promise<Found[]>,
  ): Promise<Found[]> {
    const asked = this.#shards.map((shard) => {
      const partitions = only.filter((partition) => this.#shard_of.get(partition) === shard);
      return partitions.length === 0 ? [] : ask(shard, partitions);
    });
    return (await Promise.all(asked)).flat();
  }
}

/** What was stored is stored, and a repeat of the batch takes effect once: the answer says so. */
function partly_stored(reason: unknown, stored: number[]): unknown {
  if (!(reason instanceof Problem) || stored.length === 0) return reason;
  const where = stored.sort((a, b) => a - b).join(", ");
  return new Problem(
    reason.code,
    `${reason.message}; the events of partition ${where} are stored, and sending the whole batch again is safe`,
    reason.parts,
  );
}
