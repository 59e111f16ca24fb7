/** How far the changes of partitions were told, by the last record of each in the topic of state changes. */
import { randomUUID } from "node:crypto";
import type { Admin, Consumer, EachBatchPayload, Kafka } from "kafkajs";
import { is_after } from "../../events/cause.js";
import { cause_from_headers, type ToldTo } from "./record.js";

export interface ToldCausesOptions {
  kafka: Kafka;
  topic: string;
  /** Beginning of the reading group's name, which is new for each start, as a replicator's. */
  group: string;
  report(message: string): void;
}

/** Others' records, and those of a zombie that came late, may stand behind the last cause; so many are looked at. */
const LOOKED_AT = [64n, 4_096n, 262_144n] as const;
const MAX_WAIT_MS = 50;
const SESSION_TIMEOUT_MS = 30_000;
const RESTART_AFTER_MS = 1_000;

interface Asked {
  from: bigint;
  to: bigint;
  found: ToldTo | null;
  resolve(found: ToldTo | null): void;
}

/** One consumer for all partitions of a shard, all paused but those that are asked for. */
export class ToldCauses {
  readonly #options: ToldCausesOptions;
  readonly #admin: Admin;
  readonly #asked = new Map<number, Asked>();
  #consumer: Consumer | null = null;
  #joined = false;
  #closed = false;

  constructor(options: ToldCausesOptions) {
    this.#options = options;
    this.#admin = options.kafka.admin();
  }

  async start(): Promise<void> {
    await this.#admin.connect();
    await this.#run();
  }

  /** Null: nothing of the partition is in the topic. Rejects where the brokers cannot be asked. */
  async last(partition: number): Promise<ToldTo | null> {
    const offsets = await this.#admin.fetchTopicOffsets(this.#options.topic);
    const found = offsets.find((one) => one.partition === partition);
    if (found === undefined)
      throw new Error(`partition ${partition} of ${this.#options.topic} has no leader`);
    const low = BigInt(found.low);
    const high = BigInt(found.high);
    for (const count of LOOKED_AT) {
      if (high === low) return null;
      const from = high - count > low ? high - count : low;
      const cause = await this.#read(partition, from, high);
      if (cause !== null || from === low) return cause;
    }
    return null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#consumer?.disconnect().catch(() => {});
    await this.#admin.disconnect().catch(() => {});
  }

  #read(partition: number, from: bigint, to: bigint): Promise<ToldTo | null> {
    return new Promise((resolve) => {
      this.#asked.set(partition, { from, to, found: null, resolve });
      this.#seek(partition);
    });
  }

  #seek(partition: number): void {
    const asked = this.#asked.get(partition);
    if (!this.#joined || asked === undefined) return;
    const { topic } = this.#options;
    this.#consumer?.seek({ topic, partition, offset: String(asked.from) });
    this.#consumer?.resume([{ topic, partitions: [partition] }]);
  }

  async #run(): Promise<void> {
    const { kafka, topic, group, report } = this.#options;
    this.#joined = false;
    const consumer = kafka.consumer({
      groupId: `${group}.${randomUUID()}`,
      sessionTimeout: SESSION_TIMEOUT_MS,
      maxWaitTimeInMs: MAX_WAIT_MS,
      allowAutoTopicCreation: false,
      // One that was given up must not start itself again. The number is kafkajs's own.
      retry: { retries: 5, restartOnFailure: async () => !this.#closed && this.#consumer === consumer },
    });
    this.#consumer = consumer;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.#joined = true;
      consumer.pause([{ topic, partitions: payload.memberAssignment[topic] ?? [] }]);
      for (const partition of this.#asked.keys()) this.#seek(partition);
    });
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      // What is no record to kafkajs is shown nowhere else.
      if (payload.batchSize === 0) this.#read_to(payload.partition, BigInt(payload.lastOffset) + 1n);
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart && this.#consumer === consumer) this.#restart();
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: async (payload) => this.#each_batch(payload),
      });
    } catch (error) {
      report(`${topic} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      if (this.#consumer === consumer) this.#restart();
    }
  }

  #restart(): void {
    this.#consumer?.disconnect().catch(() => {});
    this.#consumer = null;
    this.#joined = false;
    if (!this.#closed) setTimeout(() => void this.#run(), RESTART_AFTER_MS).unref();
  }

  #each_batch({ batch, resolveOffset, isStale }: EachBatchPayload): void {
    const asked = this.#asked.get(batch.partition);
    if (asked === undefined || isStale()) return;
    for (const { headers } of batch.messages) {
      asked.found = further(asked.found, cause_from_headers(headers));
    }
    const last = batch.lastOffset();
    resolveOffset(last);
    this.#read_to(batch.partition, BigInt(last) + 1n);
  }

  #read_to(partition: number, next_offset: bigint): void {
    const asked = this.#asked.get(partition);
    if (asked === undefined || next_offset < asked.to) return;
    this.#asked.delete(partition);
    this.#consumer?.pause([{ topic: this.#options.topic, partitions: [partition] }]);
    asked.resolve(asked.found);
  }
}

/** A repeat may stand behind a later cause. What was decided counts for all that was told since, until that is committed. */
function further(found: ToldTo | null, next: ToldTo | null): ToldTo | null {
  if (next === null) return found;
  if (found === null || next.decided) return next;
  return is_after(next, found) ? { ...next, decided: found.decided } : found;
}
