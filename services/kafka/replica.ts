/**
 * One partition of a topic as a log here: what its records become, and whether the topic is still the one that the log
 * is a replica of. Knows no consumer: replicator.ts brings the batches.
 *
 * Kafka does not tell that a topic was deleted and made anew: a fetch goes on at the old offset in the new log. So every
 * stretch of records begins with one that is here already, and its bytes are compared. A stretch that begins elsewhere
 * is taken only where a comparison is younger than COMPARED_MS.
 */
import type { Batch } from "kafkajs";
import { ColumnsWriter, next_offset_of, RECORD_HEADER_BYTES, type RecordColumns } from "../log/columns.js";
import { RECORD_BYTES_MAX } from "../log/frame.js";
import { type FetchedRecord, type FetchedRecords, record_at, records_of_message } from "./record_batch.js";
import { unreadable_in } from "./unreadable.js";

/** Where records go. */
export interface ReplicaLog {
  /** Of what is durable. */
  readonly next_offset: bigint;
  /** `after`: the next offset with all that waits. Resolves when the records are durable and folded. */
  append(after: bigint, records: RecordColumns): Promise<void>;
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

/**
 * A comparison is good for so long: a few fetches. A topic can be deleted and made anew with records in it within a second,
 * and a fetch in between fails.
 */
const COMPARED_MS = 200;
/** Beyond it the caller waits for the log. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
/** Beside its bytes, about: a log counts what waits in it the same way, and refuses what is too much. */
const WAITING_RECORD_BYTES = 128;

export interface ReplicaOptions {
  partition: number;
  log: ReplicaLog;
  /** An empty log may begin where the topic does, wherever that is: somebody has decided to go on without the rest. */
  begins_anywhere: boolean;
  /** Of a record that was copied from another log, its log time there; null: the topic's own counts. Default: null. */
  copied_time?(record: FetchedRecord): number | null;
  /** The earliest offset that the topic still has. */
  earliest(): Promise<bigint>;
  /** A clock that no one sets, ms. */
  now(): number;
  /** An append failed: nothing of what waits is in the log. */
  failed(error: unknown): void;
  /** More is folded: all of the topic below this offset. */
  reached(read_to: bigint): void;
  /** The topic has the last record here, or the records before its earliest one are all that is here: told once. */
  verified?(): void;
}

export class Replica {
  readonly partition: number;
  readonly #options: ReplicaOptions;
  /** Next offset of the log with all that waits. */
  #expected: bigint;
  /** Of the record before `expected`; null: it is to be read from the log. */
  #last: { offset: bigint; bytes: Uint8Array } | null = null;
  #compared_ms = Number.NEGATIVE_INFINITY;
  #is_verified = false;
  /** The topic was read without a gap up to here: the next record's offset, or behind it what is no record. */
  #read_to: bigint;
  /** All of the topic below is folded; it runs ahead of the log where the topic ends in what is no record. */
  #reached: bigint;
  /** Of what waits: what waited for a failed append is not told to be reached. */
  #attempt = 0;
  #waiting_bytes = 0;
  #appended: Promise<void> = Promise.resolve();

  constructor(options: ReplicaOptions) {
    this.partition = options.partition;
    this.#options = options;
    this.#expected = options.log.next_offset;
    this.#read_to = this.#expected;
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
  async begin_again(): Promise<void> {
    this.#attempt += 1;
    await this.#appended;
    this.#expected = this.#options.log.next_offset;
    this.#read_to = this.#expected;
    this.#last = null;
    this.#compared_ms = Number.NEGATIVE_INFINITY;
  }

  /** Null: nothing is missing between here and the earliest offset that the topic still has. */
  hole(earliest: bigint): Broken | null {
    if (earliest <= this.#read_to || this.#may_begin_here) {
      if (earliest >= this.#expected) this.#verify();
      return null;
    }
    return {
      reason: "hole",
      says: `the topic begins at offset ${earliest} and the log here ends at ${this.#expected}: records between were deleted`,
    };
  }

  /**
   * A batch from `first` to `last` of which nothing is to be taken: control records, aborted transactions. Null: it may
   * be passed.
   */
  async passed(first: bigint, last: bigint): Promise<Broken | null> {
    if (first < this.#expected && last >= this.#expected - 1n) return this.#diverged(this.#expected - 1n);
    const hole = await this.#hole_before(first);
    if (hole === null) this.#pass(last + 1n);
    return hole;
  }

  async take(batch: Batch): Promise<Taken> {
    const unreadable = unreadable_in(batch);
    if (unreadable !== null) {
      const { first_offset, last_offset, why } = unreadable;
      const says = `the topic's records at offsets ${first_offset} to ${last_offset} cannot be read: ${why}`;
      return { reason: "corrupt", says };
    }
    const records = batch.messages.map(records_of_message);
    const fetched = BigInt((batch as Batch & { fetchedOffset: string }).fetchedOffset);
    const expected = this.#expected;
    const hole = await this.#hole_before(fetched);
    if (hole !== null) return hole;
    const compared = await this.#compare(records, fetched);
    if (typeof compared !== "number") return compared;
    // Another consumer's batch came in between.
    if (this.#expected !== expected) return "again";
    const read_to = BigInt(batch.lastOffset()) + 1n;
    if (compared > 0) this.#verify();
    if (compared > 0 || expected === 0n) this.#compared_ms = this.#options.now();
    else if (fetched < expected && read_to >= expected) return this.#diverged(expected - 1n);
    else if (!this.#is_compared && !(await this.#has_nothing_to_compare())) return "again";
    const columns = this.#columns_of(records);
    if (columns !== null) await this.#append(columns, read_to);
    else this.#pass(read_to);
    // Where more is there the next fetch is long: what was compared would be too old when it has come.
    const has_more = columns !== null && BigInt(batch.highWatermark) > read_to;
    const is_old = this.#options.now() - this.#compared_ms > COMPARED_MS / 2;
    return has_more || is_old ? "compare_next" : "taken";
  }

  get #is_compared(): boolean {
    return this.#options.now() - this.#compared_ms <= COMPARED_MS;
  }

  /** The last record here is the last one that was deleted there: what follows is all that the topic has. */
  async #has_nothing_to_compare(): Promise<boolean> {
    const expected = this.#expected;
    const earliest = await this.#options.earliest();
    const has_nothing = earliest === expected && this.#expected === expected;
    if (has_nothing) this.#verify();
    return has_nothing;
  }

  #verify(): void {
    if (this.#is_verified) return;
    this.#is_verified = true;
    this.#options.verified?.();
  }

  async #hole_before(offset: bigint): Promise<Broken | null> {
    if (offset <= this.#read_to || this.#may_begin_here) return null;
    return this.hole(await this.#options.earliest());
  }

  get #may_begin_here(): boolean {
    return this.#options.begins_anywhere && this.#expected === 0n;
  }

  /** Compares what is here already, from the offset that was fetched; how many records. */
  async #compare(fetched: readonly FetchedRecords[], from: bigint): Promise<number | Broken> {
    let compared = 0;
    for (const records of fetched) {
      const { offsets } = records;
      for (let i = 0; i < offsets.length; i++) {
        if (offsets[i]! < from) continue;
        const offset = BigInt(offsets[i]!);
        if (offset >= this.#expected) return compared;
        const here = await this.#bytes_at(offset);
        const { value } = record_at(records, i);
        const kept = value?.subarray(0, kept_length(value.length)) ?? null;
        const same = here === null || kept === null ? here === kept : Buffer.compare(here, kept) === 0;
        if (!same) return this.#diverged(offset);
        compared++;
      }
    }
    return compared;
  }

  async #bytes_at(offset: bigint): Promise<Uint8Array | null> {
    if (this.#last?.offset === offset) return this.#last.bytes;
    // What waits to be written is in the log then.
    await this.#appended;
    return this.#options.log.bytes_at(offset);
  }

  /** What is not here yet; null: there is none. */
  #columns_of(fetched: readonly FetchedRecords[]): RecordColumns | null {
    const { copied_time } = this.#options;
    const expected = Number(this.#expected);
    let first = -1;
    let count = 0;
    let length = 0;
    for (const { offsets, value_lengths } of fetched) {
      for (let i = 0; i < offsets.length; i++) {
        // A tombstone says nothing about a host: a gap in the log.
        if (offsets[i]! < expected || value_lengths[i]! < 0) continue;
        if (count === 0) first = offsets[i]!;
        count += 1;
        length += kept_length(value_lengths[i]!);
      }
    }
    if (count === 0) return null;
    const writer = new ColumnsWriter(BigInt(first), count, length);
    for (const records of fetched) {
      const { offsets, log_times_ms, value_begins, value_lengths, bytes } = records;
      for (let i = 0; i < offsets.length; i++) {
        const offset = offsets[i]!;
        if (offset < expected || value_lengths[i]! < 0) continue;
        const log_time_ms = copied_time?.(record_at(records, i)) ?? log_times_ms[i]!;
        const begin = value_begins[i]!;
        writer.add(offset - first, log_time_ms, bytes, begin, begin + kept_length(value_lengths[i]!));
      }
    }
    return writer.columns;
  }

  async #append(records: RecordColumns, read_to: bigint): Promise<void> {
    const after = this.#expected;
    this.#expected = next_offset_of(records);
    this.#read_to = read_to;
    // A copy: the columns may go to another thread.
    const { ends, body } = records;
    const last_begin = (ends.at(-2) ?? 0) + RECORD_HEADER_BYTES;
    this.#last = { offset: this.#expected - 1n, bytes: Uint8Array.from(body.subarray(last_begin)) };
    const bytes = body.length + ends.length * WAITING_RECORD_BYTES;
    this.#waiting_bytes += bytes;
    const done = this.#options.log.append(after, records).then(
      () => {
        this.#waiting_bytes -= bytes;
        this.#reach(read_to);
      },
      (error: unknown) => {
        this.#waiting_bytes -= bytes;
        this.#attempt += 1;
        this.#options.failed(error);
      },
    );
    this.#appended = done;
    if (this.#waiting_bytes > WAITING_BYTES_MAX) await done;
  }

  /** Behind what waits, which has to become durable. */
  #pass(read_to: bigint): void {
    if (read_to > this.#read_to) this.#read_to = read_to;
    const attempt = this.#attempt;
    this.#appended = this.#appended.then(() => {
      if (attempt === this.#attempt) this.#reach(read_to);
    });
  }

  #reach(read_to: bigint): void {
    if (read_to <= this.#reached) return;
    this.#reached = read_to;
    this.#options.reached(read_to);
  }

  #diverged(offset: bigint): Broken {
    return {
      reason: "log_diverged",
      says: `the topic has another record at offset ${offset} than the log here: it was made anew, or lost records`,
    };
  }
}

/** One over the limit is kept as a record without events: the fold does not take that either, and counts it. */
function kept_length(length: number): number {
  return length > RECORD_BYTES_MAX ? 0 : length;
}
