/** Reads a topic's partitions to known ends, one after another, so that one core can fold them all. */
import { randomUUID } from "node:crypto";
import type { Admin, EachBatchPayload, Kafka, KafkaMessage } from "kafkajs";
import { Problem } from "../../events/problem.js";
import { copied_log_time_ms } from "../log_time_header.js";

/** Nothing at all for so long: the brokers are away. */
const SILENCE_MS = 60_000;

export interface ReadRecord {
  offset: bigint;
  /** What its header says; null: it has none. */
  log_time_ms: number | null;
  bytes: Uint8Array;
}

export interface ReadBackOptions {
  kafka: Kafka;
  admin: Pick<Admin, "deleteGroups">;
  topic: string;
  /** Of the reader's own group, for whom brokers let in by name. */
  group_prefix: string;
  /** Next offset of each partition that is read, from 0 on. */
  ends: ReadonlyMap<number, bigint>;
  /** Records in order, of one partition after another. */
  on_records(partition: number, records: ReadRecord[]): void;
  /** After the last of them; of an empty partition, too. */
  on_end(partition: number): void;
  signal?: AbortSignal;
}

/** Throws Problem where a record is missing, and what `on_records` throws. */
export async function read_back(options: ReadBackOptions): Promise<void> {
  const { kafka, admin, topic, group_prefix, ends, signal } = options;
  const group_id = `${group_prefix}.read-back.${randomUUID()}`;
  const consumer = kafka.consumer({
    groupId: group_id,
    minBytes: 1,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 4 * 1024 * 1024,
    allowAutoTopicCreation: false,
  });
  const reading = new Reading(options);
  if (reading.done) return;
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const stops = [...ends.keys()];
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      // kafkajs makes a consumer that throws anew, and reads again what it had.
      eachBatch: async (payload) => {
        const { partition } = payload.batch;
        if (partition !== reading.current) {
          payload.pause();
          return;
        }
        const from = reading.take(payload);
        if (from === null) return;
        if (from.partition !== partition) payload.pause();
        consumer.seek({ topic, partition: from.partition, offset: String(from.offset) });
        consumer.resume([{ topic, partitions: [from.partition] }]);
      },
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) reading.fail(payload.error);
    });
    consumer.pause([{ topic, partitions: stops.filter((partition) => partition !== reading.current) }]);
    await reading.ended(signal);
  } finally {
    await consumer.disconnect();
    // It is nobody's any more; brokers forget it by themselves after a week.
    await admin.deleteGroups([group_id]).catch(() => {});
  }
}

class Reading {
  readonly #options: ReadBackOptions;
  readonly #waiting: number[];
  #next_offset = 0n;
  #heard_ms = performance.now();
  #settle: ((error: Error | null) => void) | null = null;
  #result: { error: Error | null } | null = null;

  constructor(options: ReadBackOptions) {
    this.#options = options;
    this.#waiting = [...options.ends.keys()].sort((a, b) => a - b);
    this.#skip_ended();
  }

  /** The partition that is read now. */
  get current(): number | undefined {
    return this.#waiting[0];
  }

  get done(): boolean {
    return this.current === undefined;
  }

  /** Where reading goes on if not behind the batch; null: it does, or nowhere. */
  take({ batch, resolveOffset }: EachBatchPayload): { partition: number; offset: bigint } | null {
    if (this.#result !== null) return null;
    this.#heard_ms = performance.now();
    const partition = this.current!;
    const wanted = this.#next_offset;
    try {
      const end = this.#options.ends.get(partition)!;
      const messages = batch.messages.filter(
        ({ offset }) => BigInt(offset) >= wanted && BigInt(offset) < end,
      );
      // After a rejoin it begins anew; before what was read, that is.
      if (messages.length === 0 && BigInt(batch.lastOffset()) < wanted) return { partition, offset: wanted };
      if (messages.length > 0) {
        this.#check_order(messages);
        this.#options.on_records(partition, messages.map(read_record));
      }
      resolveOffset(batch.lastOffset());
      if (this.#next_offset < end && BigInt(batch.lastOffset()) >= end)
        throw this.#missing(this.#next_offset);
      this.#skip_ended();
    } catch (error) {
      this.fail(error as Error);
      return null;
    }
    const { current } = this;
    if (current !== undefined) return current === partition ? null : { partition: current, offset: 0n };
    this.#end(null);
    return null;
  }

  fail(error: Error): void {
    this.#end(error);
  }

  async ended(signal: AbortSignal | undefined): Promise<void> {
    const abort = () => this.fail(signal!.reason);
    signal?.addEventListener("abort", abort);
    const watch = setInterval(() => {
      if (performance.now() - this.#heard_ms < SILENCE_MS) return;
      const where = `${this.#options.topic}, partition ${this.current}`;
      this.fail(new Problem("unavailable", `${where}: nothing is read from offset ${this.#next_offset} on`));
    }, 1000);
    try {
      if (signal?.aborted) throw signal.reason;
      const error = await new Promise<Error | null>((resolve) => {
        this.#settle = resolve;
        if (this.#result !== null) resolve(this.#result.error);
      });
      if (error !== null) throw error;
    } finally {
      clearInterval(watch);
      signal?.removeEventListener("abort", abort);
    }
  }

  #check_order(messages: KafkaMessage[]): void {
    for (const { offset } of messages) {
      if (BigInt(offset) !== this.#next_offset) throw this.#missing(this.#next_offset);
      this.#next_offset += 1n;
    }
  }

  #skip_ended(): void {
    for (let partition = this.current; partition !== undefined; partition = this.current) {
      if (this.#next_offset < this.#options.ends.get(partition)!) return;
      this.#options.on_end(partition);
      this.#waiting.shift();
      this.#next_offset = 0n;
    }
  }

  #missing(offset: bigint): Problem {
    const { topic } = this.#options;
    return new Problem("contradiction", `${topic}, partition ${this.current}: no record at offset ${offset}`);
  }

  #end(error: Error | null): void {
    this.#result ??= { error };
    this.#settle?.(this.#result.error);
  }
}

function read_record({ offset, headers, value }: KafkaMessage): ReadRecord {
  return {
    offset: BigInt(offset),
    log_time_ms: copied_log_time_ms(headers),
    bytes: value ?? new Uint8Array(),
  };
}
