/**
 * A frame: records of one log time with one checksum; the unit that the log writes, reads and checks. Little-endian:
 *
 *   byte  bytes  field
 *      0      4  magic "KLPF"
 *      4      4  length of the whole frame, bytes
 *      8      4  CRC-32 (zlib's) of everything behind this field
 *     12      4  count of records
 *     16      8  synced: the segment's length that was durable when the frame was written, bytes
 *     24      8  first offset: that of the first record; of an empty frame, the log's next one
 *     32      8  log time, ms since 1970
 *     40         per record: 4 offset less the first offset; 4 length, bytes; the record's bytes
 *
 * The records fill the frame exactly, so damage to the length, which the checksum does not cover, is seen as well.
 * Offsets rise; the log, not the frame, says whether they may leave gaps.
 */
import { crc32 } from "node:zlib";
import { columns_of, RECORD_HEADER_BYTES, type RecordColumns } from "./columns.js";

export const FRAME_HEADER_BYTES = 40;
/** docs/formats.md: 900 KiB a record, which with Kafka's framing stays below its 1,048,588 bytes. */
export const RECORD_BYTES_MAX = 900 * 1024;
/** A frame takes whole records up to this, with their headers, or one larger record. */
export const FRAME_RECORDS_BYTES = 16 * 1024;
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + RECORD_BYTES_MAX;

/** The first four bytes of every frame. */
export const FRAME_MAGIC: Uint8Array = Uint8Array.of(0x4b, 0x4c, 0x50, 0x46);
const MAGIC_U32 = 0x46504c4b;
const CRC_AT = 8;
const CRC_FROM = 12;

export interface LogRecord {
  offset: bigint;
  /** ms since 1970. */
  log_time_ms: number;
  bytes: Uint8Array;
}

/** What a frame's header says, after the frame was checked. */
export interface FrameFacts {
  /** Of the whole frame, bytes. */
  length: number;
  count: number;
  synced: number;
  first_offset: bigint;
  /** One more than the last record's offset; of an empty frame its first offset. */
  next_offset: bigint;
  log_time_ms: number;
  /** The records' offsets follow each other. */
  gapless: boolean;
}

/** A view of the bytes; make it once for many frames. */
export function view_of(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Checks the frame at byte `at` of `bytes`, `view` being the view of the same bytes: magic, length, structure,
 * checksum. Returns its facts; a string that says what is wrong; or null where the frame may be good but `bytes` ends
 * before it does.
 */
export function check_frame(bytes: Uint8Array, view: DataView, at: number): FrameFacts | string | null {
  const available = bytes.length - at;
  if (available < FRAME_HEADER_BYTES) return null;
  if (view.getUint32(at, true) !== MAGIC_U32) return "no frame begins here";
  const length = view.getUint32(at + 4, true);
  const count = view.getUint32(at + 12, true);
  if (length > FRAME_BYTES_MAX || length < FRAME_HEADER_BYTES + count * RECORD_HEADER_BYTES) {
    return `a frame of ${count} records cannot have ${length} bytes`;
  }
  if (length > available) return null;

  const end = at + length;
  let record_at = at + FRAME_HEADER_BYTES;
  let last_delta = -1;
  for (let index = 0; index < count; index++) {
    if (record_at + RECORD_HEADER_BYTES > end) return "the records reach beyond the frame";
    const delta = view.getUint32(record_at, true);
    if (index === 0 ? delta !== 0 : delta <= last_delta) return "the records' offsets do not rise";
    last_delta = delta;
    record_at += RECORD_HEADER_BYTES + view.getUint32(record_at + 4, true);
  }
  if (record_at !== end) return "the records do not fill the frame";
  if (crc32(bytes.subarray(at + CRC_FROM, end)) !== view.getUint32(at + CRC_AT, true)) {
    return "the checksum does not match";
  }

  const first_offset = view.getBigUint64(at + 24, true);
  return {
    length,
    count,
    synced: Number(view.getBigUint64(at + 16, true)),
    first_offset,
    next_offset: first_offset + BigInt(last_delta + 1),
    log_time_ms: Number(view.getBigUint64(at + 32, true)),
    gapless: last_delta === count - 1,
  };
}

/** The records of one checked frame; their bytes are views into it. */
export function* records_of(frame: Uint8Array): Generator<LogRecord> {
  const view = view_of(frame);
  const count = view.getUint32(12, true);
  const first_offset = view.getBigUint64(24, true);
  const log_time_ms = Number(view.getBigUint64(32, true));
  let at = FRAME_HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    const from = at + RECORD_HEADER_BYTES;
    const to = from + view.getUint32(at + 4, true);
    yield {
      offset: first_offset + BigInt(view.getUint32(at, true)),
      log_time_ms,
      bytes: frame.subarray(from, to),
    };
    at = to;
  }
}

/** Index of the first record of each frame that the records make. */
function frame_starts({ deltas, log_times_ms, ends }: RecordColumns): number[] {
  const starts: number[] = [];
  let frame_at = 0;
  let begin = 0;
  let first = -1;
  for (let index = 0; index < ends.length; index++) {
    const end = ends[index]!;
    const fits =
      first >= 0 &&
      end - frame_at <= FRAME_RECORDS_BYTES &&
      log_times_ms[index] === log_times_ms[first] &&
      deltas[index]! - deltas[first]! <= 0xffffffff;
    if (!fits) {
      starts.push(index);
      first = index;
      frame_at = begin;
    }
    begin = end;
  }
  return starts;
}

/**
 * The frames of some records, one behind the other. Offsets rise, log times do not fall, no record is longer than
 * RECORD_BYTES_MAX: the caller has seen to that. `synced` as in the table above.
 */
export function encode_frames(records: readonly LogRecord[], synced: number): Uint8Array {
  return records.length === 0 ? new Uint8Array() : encode_columns(columns_of(records), synced);
}

/** As `encode_frames`. */
export function encode_columns(columns: RecordColumns, synced: number): Uint8Array {
  const { first_offset, deltas, log_times_ms, ends, body } = columns;
  const starts = frame_starts(columns);
  // Not from Node's pool: a commit is long, and the pool's slices would outlive it.
  const frames: Uint8Array = Buffer.allocUnsafeSlow(starts.length * FRAME_HEADER_BYTES + body.length);
  const view = view_of(frames);
  let at = 0;
  let body_at = 0;
  for (let i = 0; i < starts.length; i++) {
    const start = starts[i]!;
    const end = starts[i + 1] ?? ends.length;
    const first_delta = deltas[start]!;
    const body_end = ends[end - 1]!;
    const records_at = at + FRAME_HEADER_BYTES;
    frames.set(body.subarray(body_at, body_end), records_at);
    let record_at = records_at;
    for (let each = start; each < end; each++) {
      view.setUint32(record_at, deltas[each]! - first_delta, true);
      record_at = records_at + ends[each]! - body_at;
    }
    const offset = first_offset + BigInt(first_delta);
    write_header(frames, view, at, record_at - at, end - start, synced, offset, log_times_ms[start]!);
    at = record_at;
    body_at = body_end;
  }
  return frames;
}

/** A frame without records: it states what is durable, and where the log goes on. */
export function encode_empty_frame(next_offset: bigint, log_time_ms: number, synced: number): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES);
  write_header(frame, view_of(frame), 0, FRAME_HEADER_BYTES, 0, synced, next_offset, log_time_ms);
  return frame;
}

function write_header(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  length: number,
  count: number,
  synced: number,
  first_offset: bigint,
  log_time_ms: number,
): void {
  view.setUint32(at, MAGIC_U32, true);
  view.setUint32(at + 4, length, true);
  view.setUint32(at + 12, count, true);
  view.setBigUint64(at + 16, BigInt(synced), true);
  view.setBigUint64(at + 24, first_offset, true);
  view.setBigUint64(at + 32, BigInt(log_time_ms), true);
  view.setUint32(at + CRC_AT, crc32(bytes.subarray(at + CRC_FROM, at + length)), true);
}

/** Whole frames, one behind the other, as `on_frames` hands them over; views. */
export function* frames_of(frames: Uint8Array): Generator<Uint8Array> {
  const view = view_of(frames);
  for (let at = 0; at < frames.length; ) {
    const length = view.getUint32(at + 4, true);
    yield frames.subarray(at, at + length);
    at += length;
  }
}
