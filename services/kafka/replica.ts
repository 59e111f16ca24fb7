/**
 * One partition of a topic as a log here: what its records become, and whether the topic is still the one that the log
 * is a replica of. Knows no consumer: replicator.ts brings the batches.
 *
 * Kafka does not tell that a topic was deleted and made anew: a fetch goes on at the old offset in the new log. So every
 * stretch of records begins with one that is here already, and its bytes are compared. A stretch that begins elsewhere
 * is taken only where a comparison is younger than COMPARED_MS.
 */
import type { Batch, KafkaMessage } from "kafkajs";
import type { LogRecord } from "../log/frame.js";
import { RECORD_BYTES_MAX } from "../log/frame.js";

/** Where records go. */
export interface ReplicaLog {
  /** Of what is durable. */
  readonly next_offset: bigint;
  /** `after`: the next offset with all that waits. Resolves when the records are durable and folded. */
  append(after: bigint, records: LogRecord[]): Promise<void>;
  /** The bytes of a record that is durable; null: there is none at the offset. */
  bytes_at(offset: bigint): Promise<Uint8Array | null>;
}

export type BrokenReason =
  | "log_diverged"
  | "hole"
  | "partition_count_changed"
  | "corrupt"
  | "partition_full"
  | "fold_version";

export interface Broken {
  reason: BrokenReason;
  says: string;
}

/** What became of a batch. */
export type Taken =
  /** All of it is taken, or was there; go on behind it. */
  | "taken"
  /** As `taken`; the next fetch has to begin with its last record. */
  | "compare_next"
  /** Nothing is taken: fetch again from `fetch_offset`. */
  | "again"
  | Broken;

/** A comparison is good for so long; a topic is not deleted and made anew with records in it in less. */
const COMPARED_MS = 1_000;
/** Beyond it the caller waits for the log. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
/** Beside its bytes, about: a log counts what waits in it the same way, and refuses what is too much. */
const WAITING_RECORD_BYTES = 128;
const NO_EVENTS = new Uint8Array();

export interface ReplicaOptions {
  partition: number;
  log: ReplicaLog;
  /** An empty log may begin where the topic does, wherever that is: somebody has decided to go on without the rest. */
  begins_anywhere: boolean;
  /** Of a record that was copied from another log, its log time there; null: the topic's own counts. Default: null. */
  copied_time?(message: KafkaMessage): number | null;
  /** The earliest offset that the topic still has. */
  earliest(): Promise<bigint>;
  /** A clock that no one sets, ms. */
  now(): number;
  /** An append failed: nothing of what waits is in the log. */
  failed(error: unknown): void;
  /** More is folded: all of the topic below this offset. */
  reached(read_to: bigint): void;
}

export class Replica {
  readonly partition: number;
  readonly #options: ReplicaOptions;
  /** Next offset of the log with all that waits. */
  #expected: bigint;
  /** Of the record before `expected`; null: it is to be read from the log. */
  #last: { offset: bigint; bytes: Uint8Array } | null = null;
  #compared_ms = Number.NEGATIVE_INFINITY;
  /** All of the topic below is folded; it runs ahead of the log where the topic ends in what is no record. */
  #reached: bigint;
  #waiting_bytes = 0;
  #appended: Promise<void> = Promise.resolve();

  constructor(options: ReplicaOptions) {
    this.partition = options.partition;
    this.#options = options;
    this.#expected = options.log.next_offset;
    this.#reached = this.#expected;
  }

  /** Where a fetch has to begin, now that it is not known whether the topic is the same: at the last record here. */
  get fetch_offset(): bigint {
    return this.#expected === 0n ? 0n : this.#expected - 1n;
  }

  get expected_offset(): bigint {
    return this.#expected;
  }

  get reached(): bigint {
    return this.#reached;
  }

  /** After a failed append: what waited is gone. */
  begin_again(): void {
    this.#expected = this.#options.log.next_offset;
    this.#last = null;
    this.#compared_ms = Number.NEGATIVE_INFINITY;
  }

  /** A batch of which nothing is to be taken: control records, aborted transactions. */
  passed(next_offset: bigint): void {
    this.#then(() => this.#reach(next_offset));
  }

  async take(batch: Batch): Promise<Taken> {
    const { messages } = batch;
    const fetched = BigInt((batch as Batch & { fetchedOffset: string }).fetchedOffset);
    if (
      fetched > this.#expected &&
      !this.#may_begin_here &&
      (await this.#options.earliest()) > this.#expected
    ) {
      return this.#hole(fetched);
    }
    const begin = await this.#compare(messages);
    if (typeof begin !== "number") return begin;
    const is_compared = begin > 0 || this.#expected === 0n;
    if (is_compared) this.#compared_ms = this.#options.now();
    else if (this.#options.now() - this.#compared_ms > COMPARED_MS) return "again";
    const records = this.#records_of(messages, begin);
    const read_to = BigInt(batch.lastOffset()) + 1n;
    if (records.length > 0) await this.#append(records, read_to);
    else this.passed(read_to);
    return this.#options.now() - this.#compared_ms > COMPARED_MS / 2 ? "compare_next" : "taken";
  }

  get #may_begin_here(): boolean {
    return this.#options.begins_anywhere && this.#expected === 0n;
  }

  /** Compares what is here already; where the rest begins. */
  async #compare(messages: readonly KafkaMessage[]): Promise<number | Taken> {
    let begin = 0;
    for (const { offset: text, value } of messages) {
      const offset = BigInt(text);
      if (offset >= this.#expected) break;
      const here = await this.#bytes_at(offset);
      const kept = value === null ? null : kept_of(value);
      const same = here === null || kept === null ? here === kept : Buffer.compare(here, kept) === 0;
      if (!same) {
        return {
          reason: "log_diverged",
          says: `the topic has another record at offset ${offset} than the log here: it was made anew, or lost records`,
        };
      }
      begin++;
    }
    return begin;
  }

  async #bytes_at(offset: bigint): Promise<Uint8Array | null> {
    if (this.#last?.offset === offset) return this.#last.bytes;
    // What waits to be written is in the log then.
    await this.#appended;
    return this.#options.log.bytes_at(offset);
  }

  #records_of(messages: readonly KafkaMessage[], begin: number): LogRecord[] {
    const { copied_time } = this.#options;
    const records: LogRecord[] = [];
    for (let i = begin; i < messages.length; i++) {
      const message = messages[i]!;
      const { value } = message;
      // A tombstone says nothing about a host: a gap in the log.
      if (value === null) continue;
      const log_time_ms = copied_time?.(message) ?? Number(message.timestamp);
      records.push({ offset: BigInt(message.offset), log_time_ms, bytes: kept_of(value) });
    }
    return records;
  }

  async #append(records: LogRecord[], read_to: bigint): Promise<void> {
    const after = this.#expected;
    const last = records.at(-1)!;
    this.#expected = last.offset + 1n;
    // A copy: the record lies in the memory of the whole fetch.
    this.#last = { offset: last.offset, bytes: Uint8Array.from(last.bytes) };
    let bytes = records.length * WAITING_RECORD_BYTES;
    for (const record of records) bytes += record.bytes.length;
    this.#waiting_bytes += bytes;
    const done = this.#options.log.append(after, records).then(
      () => {
        this.#waiting_bytes -= bytes;
        this.#reach(read_to);
      },
      (error: unknown) => {
        this.#waiting_bytes -= bytes;
        this.#options.failed(error);
      },
    );
    this.#appended = done;
    if (this.#waiting_bytes > WAITING_BYTES_MAX) await done;
  }

  #then(work: () => void): void {
    this.#appended = this.#appended.then(work);
  }

  #reach(read_to: bigint): void {
    if (read_to <= this.#reached) return;
    this.#reached = read_to;
    this.#options.reached(read_to);
  }

  #hole(fetched: bigint): Broken {
    return {
      reason: "hole",
      says: `the topic begins at offset ${fetched} and the log here ends at ${this.#expected}: records between were deleted`,
    };
  }
}

/** One over the limit is kept as a record without events: the fold does not take that either, and counts it. */
function kept_of(value: Buffer): Uint8Array {
  return value.length > RECORD_BYTES_MAX ? NO_EVENTS : value;
}
