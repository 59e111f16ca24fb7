/**
 * Records that are to be written, as columns, and their bytes in one piece as frames have them: an object and a view for
 * each takes longer than its bytes do, and a frame is one copy. They cross from thread to thread as they are.
 */
import type { LogRecord } from "./frame.js";

/** Of each record in a frame: 4 bytes for its offset less the frame's first one, 4 for its length; little-endian. */
export const RECORD_HEADER_BYTES = 8;
/** Up to this a loop is faster than a call that copies. */
const SHORT_BYTES = 96;

/** There is one record at least. */
export interface RecordColumns {
  /** Of the first record. */
  first_offset: bigint;
  /** Of each, less the first one's; they rise. */
  deltas: Float64Array;
  /** ms since 1970. */
  log_times_ms: Float64Array;
  /** Where each record ends in `body`. */
  ends: Uint32Array;
  /** Each record with its header before it, whose first four bytes are the frame's to fill in. */
  body: Uint8Array;
}

/** Fills columns of so many records, of so many bytes together. */
export class ColumnsWriter {
  readonly columns: RecordColumns;
  readonly #view: DataView;
  #count = 0;
  #at = 0;

  constructor(first_offset: bigint, count: number, bytes: number) {
    const body: Uint8Array = Buffer.allocUnsafeSlow(count * RECORD_HEADER_BYTES + bytes);
    this.columns = {
      first_offset,
      deltas: new Float64Array(count),
      log_times_ms: new Float64Array(count),
      ends: new Uint32Array(count),
      body,
    };
    this.#view = new DataView(body.buffer);
  }

  /** The record is bytes [from, to) of `source`. */
  add(delta: number, log_time_ms: number, source: Uint8Array, from: number, to: number): void {
    const { deltas, log_times_ms, ends, body } = this.columns;
    const length = to - from;
    this.#view.setUint32(this.#at + 4, length, true);
    let at = this.#at + RECORD_HEADER_BYTES;
    if (length > SHORT_BYTES) body.set(source.subarray(from, to), at);
    else for (let i = from; i < to; i++) body[at++] = source[i]!;
    this.#at += RECORD_HEADER_BYTES + length;
    deltas[this.#count] = delta;
    log_times_ms[this.#count] = log_time_ms;
    ends[this.#count] = this.#at;
    this.#count += 1;
  }
}

export function columns_of(records: readonly LogRecord[]): RecordColumns {
  const first_offset = records[0]!.offset;
  const length = records.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const writer = new ColumnsWriter(first_offset, records.length, length);
  for (const { offset, log_time_ms, bytes } of records) {
    writer.add(Number(offset - first_offset), log_time_ms, bytes, 0, bytes.length);
  }
  return writer.columns;
}

/** One more than the last record's. */
export function next_offset_of({ first_offset, deltas }: RecordColumns): bigint {
  return first_offset + BigInt(deltas.at(-1)! + 1);
}

/** Length of each record, bytes. */
export function* lengths_of({ ends }: RecordColumns): Generator<number> {
  let begin = 0;
  for (const end of ends) {
    yield end - begin - RECORD_HEADER_BYTES;
    begin = end;
  }
}
