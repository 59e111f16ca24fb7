/**
 * One append-only log: records by offset, in frames, in segments, in one directory. Everything else that klpstate
 * knows is made from it. One process at a time writes it (claim.ts); who reads it here reads what is durable.
 */
import { Problem } from "../events/problem.js";
import { last_not_above } from "./chain_block.js";
import { columns_of, lengths_of, type RecordColumns } from "./columns.js";
import { LogCorruption } from "./corruption.js";
import { type Disk, error_code, type ReadFile } from "./disk.js";
import {
  check_frame,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  type FrameFacts,
  type LogRecord,
  RECORD_BYTES_MAX,
  view_of,
} from "./frame.js";
import { check_segment, type LogState, type Place, recover, type TornTail } from "./recovery.js";
import {
  type Cursor,
  ends_in_a_frame,
  type FramesPlace,
  type LogPosition,
  open_segment,
  read_readable,
  SCAN_BYTES,
  type ScanTarget,
  SEGMENT_BYTES_MAX,
  type Segment,
  stretch,
  unreadable,
  walk,
} from "./segment.js";
import { type Appended, QUEUE_BYTES_MAX, Writer } from "./writer.js";

/** How much a read of many frames takes at once; it holds any whole frame. */
const READ_BYTES = 1024 * 1024;
/** Up to this a read does not go through the thread pool, which costs more than the read from the page cache. */
const READ_AT_ONCE_BYTES_MAX = 128 * 1024;
const SEAL_AFTER_MS = 1000;
/** Of a frame that is read by itself: about 16 KiB of records, and its header. */
export const FRAME_GUESS_BYTES = 17 * 1024;
const READERS_MAX = 64;

export interface LogOptions {
  disk: Disk;
  directory: string;
  /** For messages: "partition 3", "catalog". */
  name: string;
  /** Records bring their offsets and times, and offsets may leave gaps (Kafka's control records). */
  replica?: boolean;
  /** A segment is ended before it grows beyond this, unless one commit is longer. */
  segment_bytes_max?: number;
  queue_bytes_max?: number;
  seal_after_ms?: number;
  /** The clock, ms since 1970; a log's times never fall, whatever it says. */
  now(): number;
  /** What stands before it is not read now: a snapshot has it. A log that ends before it is damaged. */
  from?: LogPosition | null;
  /** The log had all records below: one that ends before is damaged. Default: what `from` says. */
  reaches?: bigint;
  /** Where a start reads to. Default: a buffer of its own. See ScanTarget. */
  buffer?(): Uint8Array;
  /**
   * The fold: whole checked frames, one behind the other, every record once, in order. First, before `open` resolves,
   * those that are there; then each commit, when it is durable and before it is acknowledged. Empty frames are among
   * them. The bytes are its own until it returns, SCAN_BYTES or one `buffer` of them at most. One that throws ends the
   * log's writing.
   */
  on_frames?(frames: Uint8Array, place: FramesPlace): void;
}

export interface LogFrame {
  /** The whole frame, checked; `records_of` takes it apart. */
  bytes: Uint8Array;
  first_offset: bigint;
  next_offset: bigint;
  log_time_ms: number;
  count: number;
}

export interface OpenedLog {
  log: Log;
  /** What a crash had left at the end, and is no more; for a message. */
  torn: TornTail | null;
}

export class Log {
  readonly #place: Place;
  readonly #state: LogState;
  readonly #writer: Writer;
  readonly #readers = new Map<Segment, ReadFile>();

  private constructor(place: Place, state: LogState, writer: Writer) {
    this.#place = place;
    this.#state = state;
    this.#writer = writer;
  }

  /**
   * Reads and checks the log once, cuts a torn tail, makes the last commit durable. Throws LogCorruption: then nothing
   * of it is to be served, also not what `on_frames` has seen. Other errors are the disk's.
   */
  static async open(options: LogOptions): Promise<OpenedLog> {
    const { disk, directory, name, replica = false, on_frames = () => {}, now } = options;
    const place: Place = { disk, directory, name, replica };
    const target: ScanTarget = { buffer: options.buffer ?? own_buffer(), on_frames };
    const { state, tail, torn } = await recover(place, options.from ?? null, options.reaches ?? 0n, target);
    const writer = new Writer(place, state, tail, {
      segment_bytes_max: options.segment_bytes_max ?? SEGMENT_BYTES_MAX,
      queue_bytes_max: options.queue_bytes_max ?? QUEUE_BYTES_MAX,
      seal_after_ms: options.seal_after_ms ?? SEAL_AFTER_MS,
      now,
      on_frames,
    });
    return { log: new Log(place, state, writer), torn };
  }

  get first_offset(): bigint {
    return 0n;
  }

  /** One more than the last durable record's. */
  get next_offset(): bigint {
    return this.#state.next_offset;
  }

  /** The end of what is durable. */
  get position(): LogPosition {
    const { segments, next_offset, log_time_ms } = this.#state;
    const last = segments.at(-1);
    return { offset: next_offset, segment: last?.first_offset ?? 0n, byte: last?.bytes ?? 0, log_time_ms };
  }

  /** Where each segment begins, and its durable bytes; the last one grows. */
  get segments(): { first_offset: bigint; bytes: number }[] {
    return this.#state.segments.map(({ first_offset, bytes }) => ({ first_offset, bytes }));
  }

  /** First offset of the segment that has the record; null: there is none. */
  segment_of(offset: bigint): bigint | null {
    const { segments, next_offset } = this.#state;
    if (offset >= next_offset) return null;
    const i = last_not_above(segments.length, offset, (n) => segments[n]!.first_offset);
    return segments[i]?.first_offset ?? null;
  }

  /** Of the last durable record; 0: there is none. */
  get last_log_time_ms(): number {
    return this.#state.log_time_ms;
  }

  /** Durable length of all segments. */
  get bytes(): number {
    return this.#state.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /**
   * Adds records, whose bytes stay unchanged until it settles; resolves when they are durable and `on_frames` has seen
   * them. Rejects with a Problem: `too_large`, `disk_full` (room was missing: nothing of it was stored, nor of what
   * was appended behind it), `busy` (too much waits), `unavailable` (closed, or no fsync can be trusted until a restart,
   * which may find the records).
   */
  append(records: readonly Uint8Array[]): Promise<Appended> {
    if (this.#place.replica) throw new Error(`the log ${this.#place.name} is a replica: use append_replica`);
    const checked = check_sizes(records.map(({ length }) => length));
    return typeof checked === "number" ? this.#writer.append(records, checked) : Promise.reject(checked);
  }

  /** Why nothing can be written until it is opened again; null: it can. */
  get ended(): Problem | null {
    return this.#writer.ended;
  }

  /**
   * As `append`, for records with offsets and times from elsewhere; a time before the log's last one becomes that one.
   * `after` is the next offset that the caller takes the log to have, with all that waits: a gap before the first
   * record is one there, and not a record that was refused here. Rejects with `contradiction` where it has another.
   */
  append_replica(after: bigint, given: readonly LogRecord[] | RecordColumns): Promise<Appended> {
    if (!this.#place.replica) throw new Error(`the log ${this.#place.name} is no replica: use append`);
    if (!("body" in given) && given.length === 0) return Promise.reject(check_sizes([]));
    const records = "body" in given ? given : columns_of(given);
    const checked = check_sizes(lengths_of(records));
    if (typeof checked !== "number") return Promise.reject(checked);
    const expected = this.#writer.expected_offset;
    if (after !== expected) {
      return Promise.reject(
        new Problem(
          "contradiction",
          `the log ${this.#place.name} goes on at offset ${expected}, not ${after}`,
          {
            value: String(after),
          },
        ),
      );
    }
    const wrong = first_misplaced(expected, records);
    if (wrong !== null) return Promise.reject(new Problem("bad_input", wrong));
    return this.#writer.append(records, checked);
  }

  /**
   * The frames that hold a record of [from, to), checked as they are read, in order; `to` is at most, and without it,
   * the next offset of now. Their bytes stay as they are. Throws LogCorruption.
   */
  async *read(from: bigint, to: bigint = this.next_offset): AsyncGenerator<LogFrame> {
    const { segments, next_offset } = this.#state;
    const end = to < next_offset ? to : next_offset;
    let index = segments.findLastIndex((segment) => segment.first_offset <= from);
    for (index = Math.max(index, 0); index < segments.length; index++) {
      const segment = segments[index]!;
      if (segment.first_offset >= end) return;
      const { unchecked } = segment;
      if (unchecked !== null && from < unchecked.offset) {
        await check_segment(this.#place, segment, segments[index + 1] ?? null);
      }
      yield* this.#read_segment(segment, from, end);
    }
  }

  async *#read_segment(segment: Segment, from: bigint, to: bigint): AsyncGenerator<LogFrame> {
    const { disk, name, replica } = this.#place;
    const range = stretch(segment, from > segment.first_offset ? from : segment.first_offset, to);
    const cursor: Cursor = {
      position: range.position,
      next_offset: range.first_offset,
      log_time_ms: 0,
      last: null,
    };
    const file = open_segment(disk, segment, cursor, name);
    try {
      while (cursor.position < range.end) {
        const left = range.end - cursor.position;
        // New memory for each: the caller may keep what was yielded.
        const chunk: Uint8Array = Buffer.allocUnsafeSlow(Math.min(left, READ_BYTES));
        const { filled, error } = await read_chunk(chunk);
        const chunk_position = cursor.position;
        const found: LogFrame[] = [];
        const fault = walk(chunk.subarray(0, filled), cursor, range.end, replica, (frame, at) => {
          if (frame.next_offset > from && frame.first_offset < to && frame.count > 0) {
            found.push(log_frame(chunk, frame, at));
          }
        });
        yield* found;
        if (error !== null && ends_in_a_frame(chunk.subarray(cursor.position - chunk_position, filled))) {
          throw unreadable(error, segment, cursor, name);
        }
        if (fault !== null || filled < chunk.length) {
          const reason = fault?.reason ?? "the file became shorter";
          throw new LogCorruption(name, segment.path, cursor.position, cursor.next_offset, reason);
        }
      }
    } finally {
      file.close();
    }

    /** A long read goes through the thread pool; one that fails there is looked at closely here. */
    async function read_chunk(chunk: Uint8Array): Promise<{ filled: number; error: unknown }> {
      if (chunk.length > READ_AT_ONCE_BYTES_MAX) {
        try {
          return { filled: await file.read(chunk, cursor.position), error: null };
        } catch (error) {
          if (error_code(error) !== "EIO") throw error;
        }
      }
      return read_readable(file, chunk, cursor.position);
    }
  }

  /** The next append begins a segment of its own. */
  end_segment(): void {
    this.#writer.end_segment();
  }

  /**
   * The frame at a byte of a segment, read and checked by itself; null: no good frame with this checksum (null: with
   * any) begins there, or it is not durable yet. `memory`, of FRAME_GUESS_BYTES: where it is read to if it fits, for
   * who reads many.
   */
  frame_at(
    { segment: first_offset, byte }: FramesPlace,
    crc32: number | null,
    memory: Uint8Array = Buffer.allocUnsafeSlow(FRAME_GUESS_BYTES),
  ): LogFrame | null {
    const segment = this.#state.segments.find((one) => one.first_offset === first_offset);
    if (segment === undefined || byte >= segment.bytes) return null;
    const file = this.#reader(segment);
    let chunk = memory.subarray(0, segment.bytes - byte);
    let filled = file.read_sync(chunk, byte);
    const length = filled < FRAME_HEADER_BYTES ? 0 : view_of(chunk).getUint32(4, true);
    if (length > filled && length <= FRAME_BYTES_MAX && byte + length <= segment.bytes) {
      chunk = Buffer.allocUnsafeSlow(length);
      filled = file.read_sync(chunk, byte);
    }
    const view = view_of(chunk);
    const frame = check_frame(chunk.subarray(0, filled), view, 0);
    if (frame === null || typeof frame === "string") return null;
    if (crc32 !== null && view.getUint32(8, true) !== crc32) return null;
    return log_frame(chunk, frame, 0);
  }

  /** Kept open: a history reads many frames of few segments. */
  #reader(segment: Segment): ReadFile {
    const known = this.#readers.get(segment);
    if (known !== undefined) return known;
    if (this.#readers.size === READERS_MAX) this.#close_readers();
    const file = this.#place.disk.open_read(segment.path);
    this.#readers.set(segment, file);
    return file;
  }

  #close_readers(): void {
    for (const file of this.#readers.values()) file.close();
    this.#readers.clear();
  }

  /** Answers what waits, writes the empty frame, lets go of the file. Reading goes on to work. */
  async close(): Promise<void> {
    await this.#writer.close();
    this.#close_readers();
  }
}

function own_buffer(): () => Uint8Array {
  let buffer: Uint8Array | undefined;
  return () => {
    buffer ??= Buffer.allocUnsafeSlow(SCAN_BYTES);
    return buffer;
  };
}

function log_frame(chunk: Uint8Array, frame: FrameFacts, at: number): LogFrame {
  const { first_offset, next_offset, log_time_ms, count } = frame;
  return { bytes: chunk.subarray(at, at + frame.length), first_offset, next_offset, log_time_ms, count };
}

/** Bytes of all records, or why they cannot be taken. */
function check_sizes(lengths: Iterable<number>): number | Problem {
  let count = 0;
  let bytes = 0;
  for (const length of lengths) {
    if (length > RECORD_BYTES_MAX) {
      return new Problem("too_large", `record ${count} has ${length} bytes`, {
        limit: `${RECORD_BYTES_MAX} bytes a record`,
      });
    }
    count += 1;
    bytes += length;
  }
  return count === 0 ? new Problem("bad_input", "an append without records") : bytes;
}

/** Null: each record follows the one before it. */
function first_misplaced(
  after: bigint,
  { first_offset, deltas, log_times_ms }: RecordColumns,
): string | null {
  for (let i = 0; i < deltas.length; i++) {
    const time_ms = log_times_ms[i]!;
    const follows = i === 0 ? first_offset >= after : deltas[i]! > deltas[i - 1]!;
    if (follows && Number.isSafeInteger(time_ms) && time_ms >= 0) continue;
    return `a record at offset ${first_offset + BigInt(deltas[i]!)} and time ${time_ms} does not follow`;
  }
  return null;
}
