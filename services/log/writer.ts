/**
 * The end of a log: appends wait in a queue, and all that waits when a commit ends becomes the next one, which is one
 * write of frames and one fdatasync. What is durable is handed on in order, and only then acknowledged.
 */
import { join } from "node:path";
import { Problem } from "../events/problem.js";
import { ColumnsWriter, next_offset_of, type RecordColumns } from "./columns.js";
import { error_code, is_out_of_room, type WriteFile } from "./disk.js";
import { encode_columns, encode_empty_frame, view_of } from "./frame.js";
import type { LogState, Place } from "./recovery.js";
import {
  type FramesPlace,
  mark_frame,
  new_segment,
  SCAN_BYTES,
  type Segment,
  segment_name,
} from "./segment.js";

/** All that may wait in one log, bytes in memory; above it an append is refused. */
export const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** What a waiting record, and an append, take in memory beside the record's bytes, about. */
const WAITING_BYTES = 128;
/** One commit takes what waits up to this (a longer append goes alone): about 20 ms at a disk's 400 MB/s. */
export const COMMIT_BYTES_MAX = 8 * 1024 * 1024;

export interface Appended {
  /** Of the append's first record. */
  first_offset: bigint;
  /** One more than its last record's. */
  next_offset: bigint;
  /** Of its last record, ms since 1970. */
  log_time_ms: number;
}

export interface WriterOptions {
  segment_bytes_max: number;
  queue_bytes_max: number;
  /** An empty frame is written when nothing has followed for so long. */
  seal_after_ms: number;
  /** ms since 1970. */
  now(): number;
  /** Whole frames, one behind the other, in the log's order, at most SCAN_BYTES; durable. Theirs until it returns. */
  on_frames(frames: Uint8Array, place: FramesPlace): void;
}

/** One append that waits. Records without addresses get the log's next offsets and the commit's time. */
interface Waiting {
  records: readonly Uint8Array[] | RecordColumns;
  /** Of the records, with WAITING_BYTES for each and for the append. */
  weight: number;
  resolve(appended: Appended): void;
  reject(error: unknown): void;
}

export class Writer {
  readonly #place: Place;
  readonly #state: LogState;
  readonly #options: WriterOptions;
  #tail: WriteFile | null;
  /** The tail's name in the directory is durable. */
  #tail_named: boolean;
  #queue: Waiting[] = [];
  /** Of the queue and of the commit under way. */
  #waiting_bytes = 0;
  /** Next offset when all that waits will be durable; kept in a replica only, where records bring their offsets. */
  #expected: bigint;
  #running: Promise<void> | null = null;
  #seal_wanted = false;
  /** The next commit goes to a new segment. */
  #segment_ends = false;
  #seal_timer: NodeJS.Timeout | null = null;
  /** Set once closing began: no more appends. */
  #closing: Promise<void> | null = null;
  #ended: Problem | null = null;

  constructor(place: Place, state: LogState, tail: WriteFile | null, options: WriterOptions) {
    this.#place = place;
    this.#state = state;
    this.#options = options;
    this.#tail = tail;
    this.#tail_named = true;
    this.#expected = state.next_offset;
    this.#seal_later();
  }

  /** See Log.append_replica for what these are. */
  get expected_offset(): bigint {
    return this.#expected;
  }

  /** Why nothing can be written any more, whatever becomes of the disk; null: it can. */
  get ended(): Problem | null {
    return this.#ended;
  }

  /** `bytes`: of the records, which the caller has checked; there is one at least. Rejects with a Problem. */
  append(records: readonly Uint8Array[] | RecordColumns, bytes: number): Promise<Appended> {
    const count = "body" in records ? records.ends.length : records.length;
    const weight = bytes + (count + 1) * WAITING_BYTES;
    const refusal = this.#refusal(weight);
    if (refusal !== null) return Promise.reject(refusal);
    if ("body" in records) this.#expected = next_offset_of(records);
    this.#waiting_bytes += weight;
    return new Promise((resolve, reject) => {
      this.#queue.push({ records, weight, resolve, reject });
      this.#run();
    });
  }

  #refusal(weight: number): Problem | null {
    const { name } = this.#place;
    const { queue_bytes_max } = this.#options;
    if (this.#ended !== null) return this.#ended;
    if (this.#closing !== null) return new Problem("unavailable", `the log ${name} is closed`);
    if (weight > queue_bytes_max) {
      return new Problem("too_large", `an append of ${weight} bytes, with what it takes to wait`, {
        limit: `${queue_bytes_max} bytes waiting`,
      });
    }
    if (this.#waiting_bytes + weight <= queue_bytes_max) return null;
    return new Problem(
      "busy",
      `the log ${name} cannot write as fast as records come: ${this.#waiting_bytes} bytes wait; send again later`,
      { limit: `${queue_bytes_max} bytes waiting` },
    );
  }

  end_segment(): void {
    this.#segment_ends = true;
  }

  /** Writes what waits, then the empty frame, and lets go of the file. Never throws: what waits is answered. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#seal_timer !== null) clearTimeout(this.#seal_timer);
    await this.#running;
    this.#seal_wanted = true;
    this.#run();
    await this.#running;
    const tail = this.#tail;
    this.#tail = null;
    // All that was acknowledged is synced; a close that fails takes nothing away.
    await tail?.close().catch(() => {});
  }

  #run(): void {
    this.#running ??= this.#write_all();
  }

  async #write_all(): Promise<void> {
    // Lets the appends of this turn of the event loop into the first commit.
    await null;
    do {
      while (this.#queue.length > 0) await this.#commit(this.#take());
      if (this.#seal_wanted && !this.#state.sealed && this.#ended === null) await this.#seal();
    } while (this.#queue.length > 0);
    this.#seal_later();
    // At once after the queue was seen empty: an append in between would find nobody to write it.
    this.#running = null;
  }

  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      if (count > 0 && bytes + waiting.weight > COMMIT_BYTES_MAX) break;
      bytes += waiting.weight;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const { placed, appended } = this.#place_records(batch);
    try {
      await this.#write(placed);
    } catch (error) {
      // All that waits goes with it: what was sent behind a refused record would otherwise be in the log before it.
      const refused = [...batch, ...this.#queue.splice(0)];
      this.#waiting_bytes = 0;
      this.#expected = this.#state.next_offset;
      for (const waiting of refused) waiting.reject(error);
      return;
    }
    for (const [index, waiting] of batch.entries()) {
      this.#waiting_bytes -= waiting.weight;
      waiting.resolve(appended[index]!);
    }
  }

  /** Gives each record its offset and its log time, which never falls. A replica's appends are written one by one. */
  #place_records(batch: readonly Waiting[]): { placed: RecordColumns[]; appended: Appended[] } {
    const { next_offset } = this.#state;
    let { log_time_ms } = this.#state;
    const own = batch.flatMap(({ records }) => ("body" in records ? [records] : []));
    if (own.length > 0) {
      const placed: RecordColumns[] = [];
      const appended: Appended[] = [];
      for (const records of own) {
        const columns = { ...records, log_times_ms: never_falling(log_time_ms, records.log_times_ms) };
        log_time_ms = columns.log_times_ms.at(-1)!;
        const { first_offset } = columns;
        placed.push(columns);
        appended.push({ first_offset, next_offset: next_offset_of(columns), log_time_ms });
      }
      return { placed, appended };
    }
    const lists = batch.map(({ records }) => records as readonly Uint8Array[]);
    log_time_ms = Math.max(log_time_ms, this.#options.now());
    let count = 0;
    let bytes = 0;
    for (const records of lists) {
      count += records.length;
      for (const record of records) bytes += record.length;
    }
    const writer = new ColumnsWriter(next_offset, count, bytes);
    let delta = 0;
    const appended = lists.map((records): Appended => {
      const first_offset = next_offset + BigInt(delta);
      for (const record of records) writer.add(delta++, log_time_ms, record, 0, record.length);
      return { first_offset, next_offset: next_offset + BigInt(delta), log_time_ms };
    });
    return { placed: [writer.columns], appended };
  }

  /** Makes the records durable and hands them on. Throws a Problem; then nothing of them is in the log. */
  async #write(placed: readonly RecordColumns[]): Promise<void> {
    if (this.#ended !== null) throw this.#ended;
    const { next_offset, log_time_ms } = this.#state;
    const bytes = placed.reduce((sum, { body }) => sum + body.length, 0);
    const segment = await this.#segment_for(bytes);
    const buffers: Uint8Array[] = [];
    // A segment begins with the log's next offset, so that a lost one is never taken for a gap in a replica.
    if (segment.bytes === 0 && placed[0]!.first_offset > next_offset) {
      buffers.push(encode_empty_frame(next_offset, log_time_ms, 0));
    }
    for (const columns of placed) buffers.push(encode_columns(columns, segment.bytes));
    const last = placed.at(-1)!;
    await this.#make_durable(segment, buffers, {
      next_offset: next_offset_of(last),
      log_time_ms: last.log_times_ms.at(-1)!,
      sealed: false,
    });
  }

  /** The empty frame. A failure costs nobody a record; it is tried again as long as nothing follows. */
  async #seal(): Promise<void> {
    this.#seal_wanted = false;
    const { next_offset, log_time_ms } = this.#state;
    const segment = this.#state.segments.at(-1)!;
    const frame = encode_empty_frame(next_offset, log_time_ms, segment.bytes);
    await this.#make_durable(segment, [frame], { next_offset, log_time_ms, sealed: true }).catch(() => {});
  }

  #seal_later(): void {
    this.#seal_wanted = false;
    if (this.#closing !== null || this.#ended !== null || this.#state.sealed) return;
    if (this.#seal_timer !== null) {
      this.#seal_timer.refresh();
      return;
    }
    this.#seal_timer = setTimeout(() => {
      this.#seal_wanted = true;
      this.#run();
    }, this.#options.seal_after_ms).unref();
  }

  /** The segment that takes the next commit: the last one, or a new one. Throws a Problem. */
  async #segment_for(commit_bytes: number): Promise<Segment> {
    const { segments, next_offset } = this.#state;
    const last = segments.at(-1);
    const full =
      last !== undefined &&
      (this.#segment_ends || last.bytes + commit_bytes > this.#options.segment_bytes_max);
    // A segment without records has the name that a new one would get.
    if (last !== undefined && !(full && last.first_offset < next_offset)) return last;
    const path = join(this.#place.directory, segment_name(next_offset));
    let tail: WriteFile;
    try {
      tail = await this.#place.disk.open_write(path);
    } catch (error) {
      throw this.#problem(error, `${path} cannot be made`);
    }
    // All in the old one is synced; a close that fails takes nothing away.
    await this.#tail?.close().catch(() => {});
    this.#tail = tail;
    this.#tail_named = false;
    this.#segment_ends = false;
    const segment = new_segment(next_offset, path);
    segments.push(segment);
    return segment;
  }

  async #make_durable(
    segment: Segment,
    buffers: readonly Uint8Array[],
    after: Omit<LogState, "segments">,
  ): Promise<void> {
    const { disk, directory } = this.#place;
    const tail = this.#tail!;
    try {
      await tail.write(buffers, segment.bytes);
    } catch (error) {
      await this.#take_back(segment);
      throw this.#problem(error, `${segment.path} cannot be written`);
    }
    try {
      await tail.sync();
      if (!this.#tail_named) await disk.sync_directory(directory);
      this.#tail_named = true;
    } catch (error) {
      throw this.#end(error, segment);
    }

    const pieces: { frames: Uint8Array; byte: number }[] = [];
    for (const frames of buffers) {
      const view = view_of(frames);
      let piece_at = 0;
      let length = 0;
      for (let at = 0; at < frames.length; at += length) {
        length = view.getUint32(at + 4, true);
        mark_frame(segment, segment.bytes + at, view.getBigUint64(at + 24, true));
        if (at + length - piece_at <= SCAN_BYTES) continue;
        pieces.push({ frames: frames.subarray(piece_at, at), byte: segment.bytes + piece_at });
        piece_at = at;
      }
      pieces.push({ frames: frames.subarray(piece_at), byte: segment.bytes + piece_at });
      segment.bytes += frames.length;
    }
    Object.assign(this.#state, after);
    try {
      for (const { frames, byte } of pieces) {
        this.#options.on_frames(frames, { segment: segment.first_offset, byte });
      }
    } catch (error) {
      // What follows cannot be folded without this: durable, and not acknowledged.
      this.#ended = new Problem(
        "unavailable",
        `the log ${this.#place.name} stopped before offset ${after.next_offset}: ${describe(error)}`,
      );
      throw error;
    }
  }

  /** Takes the part of a failed write out of the file, durably: nothing later may be found before its remains. */
  async #take_back(segment: Segment): Promise<void> {
    try {
      await this.#tail!.truncate(segment.bytes);
      await this.#tail!.sync();
    } catch (error) {
      this.#end(error, segment);
    }
  }

  /**
   * After a failed fsync the kernel may have dropped what it could not write and call it clean, so no later one proves
   * anything. What is durable can still be read; a restart reads back what the disk has.
   */
  #end(error: unknown, segment: Segment): Problem {
    this.#ended = new Problem(
      "unavailable",
      `the log ${this.#place.name} takes no more records: ${segment.path} cannot be synced (${describe(error)}); ` +
        "see to the disk, then restart",
    );
    return this.#ended;
  }

  #problem(error: unknown, what: string): Problem {
    if (this.#ended !== null) return this.#ended;
    const detail = `${what} (${describe(error)}); nothing was stored there`;
    return is_out_of_room(error)
      ? new Problem("disk_full", `no room on the disk: ${detail}; make room and send again`)
      : new Problem("unavailable", `${detail}; send again later`);
  }
}

/** As they are where none is earlier than the one before it; else with that one's instead. */
function never_falling(from_ms: number, times_ms: Float64Array): Float64Array {
  let before_ms = from_ms;
  let kept = times_ms;
  for (let i = 0; i < times_ms.length; i++) {
    const time_ms = times_ms[i]!;
    if (time_ms >= before_ms) {
      before_ms = time_ms;
      continue;
    }
    if (kept === times_ms) kept = times_ms.slice();
    kept[i] = before_ms;
  }
  return kept;
}

function describe(error: unknown): string {
  return error_code(error) || (error instanceof Error ? error.message : String(error));
}
