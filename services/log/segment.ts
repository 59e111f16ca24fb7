/**
 * One file of the log, named by the offset that it begins with: its name, where in it an offset is found, and the walk
 * over its frames that checks each of them and that it follows the one before it.
 */
import { setImmediate } from "node:timers/promises";
import { LogCorruption } from "./corruption.js";
import { type Disk, error_code, type ReadFile } from "./disk.js";
import { check_frame, FRAME_BYTES_MAX, type FrameFacts, view_of } from "./frame.js";

export const SEGMENT_BYTES_MAX = 256 * 1024 * 1024;
/** A lookup reads this much, about one frame, to find a frame; the marks take a thousandth of the log in memory. */
const MARK_BYTES = 16 * 1024;

export interface Segment {
  readonly first_offset: bigint;
  readonly path: string;
  /** Durable length; nothing behind it is read. */
  bytes: number;
  /** What of it was not checked in this process, and so has no marks: bytes before `to`, where the log goes on at `offset`. */
  unchecked: { to: number; offset: bigint } | null;
  /** Positions of some frames, rising, about MARK_BYTES apart... */
  mark_positions: number[];
  /** ...and their first offsets, less the segment's. */
  mark_offsets: number[];
}

/** Between two frames: what has been read, and where to go on. */
export interface LogPosition {
  /** The log's next offset there. */
  offset: bigint;
  /** First offset of the segment. */
  segment: bigint;
  /** Of the segment. */
  byte: number;
  /** Of the frames before it, the latest log time, ms since 1970. */
  log_time_ms: number;
}

/** Where frames stand. */
export interface FramesPlace {
  /** First offset of their segment. */
  segment: bigint;
  /** Byte of the segment where the first one begins. */
  byte: number;
}

const NAME = /^(\d{20})\.log$/;

export function segment_name(first_offset: bigint): string {
  return `${first_offset.toString().padStart(20, "0")}.log`;
}

/** The first offset that a file's name states; null: no segment. */
export function segment_offset(name: string): bigint | null {
  const match = NAME.exec(name);
  return match === null ? null : BigInt(match[1]!);
}

export function new_segment(first_offset: bigint, path: string): Segment {
  return { first_offset, path, bytes: 0, unchecked: null, mark_positions: [], mark_offsets: [] };
}

export function mark_frame(segment: Segment, position: number, first_offset: bigint): void {
  const last = segment.mark_positions.at(-1);
  if (last !== undefined && position - last < MARK_BYTES) return;
  segment.mark_positions.push(position);
  segment.mark_offsets.push(Number(first_offset - segment.first_offset));
}

/** Index of the last of rising numbers that is not above `value`; -1: all are. */
function last_not_above(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rising[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The stretch of a checked segment that holds every frame of [from, to), and the offset that it begins with. */
export function stretch(
  segment: Segment,
  from: bigint,
  to: bigint,
): { position: number; end: number; first_offset: bigint } {
  const at = last_not_above(segment.mark_offsets, Number(from - segment.first_offset));
  const behind = last_not_above(segment.mark_offsets, Number(to - segment.first_offset) - 1) + 1;
  return {
    position: segment.mark_positions[at] ?? 0,
    end: segment.mark_positions[behind] ?? segment.bytes,
    first_offset: segment.first_offset + BigInt(segment.mark_offsets[at] ?? 0),
  };
}

/** How far a walk has come, and what the next frame must keep. */
export interface Cursor {
  /** Byte of the segment where the next frame begins. */
  position: number;
  /** What the next frame's first offset is; in a replica it may be above. */
  next_offset: bigint;
  log_time_ms: number;
  /** The last frame; null before the first one. */
  last: FrameFacts | null;
}

export interface Fault {
  reason: string;
  /** The frame itself is good and does not belong there: no crash does that. */
  misplaced: boolean;
}

/** What is wrong with a good frame's place. */
function misplacement(frame: FrameFacts, cursor: Cursor, replica: boolean): string | null {
  if (frame.synced > cursor.position)
    return `it calls ${frame.synced} bytes durable, more than stand before it`;
  if (frame.log_time_ms < cursor.log_time_ms) {
    return `its log time ${frame.log_time_ms} is before ${cursor.log_time_ms}`;
  }
  // A segment is named by the log's next offset, also in a replica: so a lost segment is never taken for a gap.
  const gap_allowed = replica && frame.count > 0 && cursor.position > 0;
  if (
    frame.first_offset < cursor.next_offset ||
    (!gap_allowed && frame.first_offset !== cursor.next_offset)
  ) {
    return `its offset ${frame.first_offset} does not follow, ${cursor.next_offset} does`;
  }
  return replica || frame.gapless ? null : "its records leave gaps";
}

/**
 * Checks the frames at the beginning of `chunk`, which was read at the cursor's position, and moves the cursor behind
 * each good one after `visit` has seen it. Stops at a fault, or where the last frame is not whole in the chunk but may
 * be in the segment, which ends at byte `end`.
 */
export function walk(
  chunk: Uint8Array,
  cursor: Cursor,
  end: number,
  replica: boolean,
  visit: (frame: FrameFacts, at: number) => void,
): Fault | null {
  const view = view_of(chunk);
  const chunk_position = cursor.position;
  let at = 0;
  while (at < chunk.length) {
    const frame = check_frame(chunk, view, at);
    if (frame === null) {
      // A chunk has room for the longest frame: one that is not whole at its beginning is never whole.
      const more = chunk_position + chunk.length < end && at > 0;
      return more ? null : { reason: "the file ends inside a frame", misplaced: false };
    }
    if (typeof frame === "string") return { reason: frame, misplaced: false };
    const reason = misplacement(frame, cursor, replica);
    if (reason !== null) return { reason, misplaced: true };
    visit(frame, at);
    at += frame.length;
    cursor.position += frame.length;
    cursor.next_offset = frame.next_offset;
    cursor.log_time_ms = frame.log_time_ms;
    cursor.last = frame;
  }
  return null;
}

/** How much one read of a long scan takes. */
export const SCAN_BYTES = 4 * 1024 * 1024;

export interface ScanTarget {
  /**
   * Where the next bytes are read to: at least FRAME_BYTES_MAX of them, SCAN_BYTES are best. Asked before every read,
   * since a WebAssembly memory that grew has a new buffer.
   */
  buffer(): Uint8Array;
  /** Whole checked frames, one behind the other, at the buffer they were read to. */
  on_frames(frames: Uint8Array, place: FramesPlace): void;
}

/**
 * Reads and checks the segment from the cursor to `end`, once, straight into the target's buffer, and hands over the
 * frames from the first one on that does not stand before `from_offset`. Returns what stopped it before the end;
 * the cursor says where. Others run between two reads.
 */
export async function scan(
  segment: Segment,
  file: ReadFile,
  cursor: Cursor,
  end: number,
  log: string,
  replica: boolean,
  from_offset: bigint,
  target: ScanTarget,
): Promise<Fault | null> {
  while (cursor.position < end) {
    const buffer = target.buffer();
    if (buffer.length < FRAME_BYTES_MAX)
      throw new RangeError(`a scan needs ${FRAME_BYTES_MAX} bytes of room`);
    const position = cursor.position;
    const chunk = buffer.subarray(0, Math.min(buffer.length, end - position));
    const { filled, error } = read_readable(file, chunk, position);
    // Another process may have taken the part of a failed write out of it; what stands before is as good as ever.
    const is_shorter = error === null && filled < chunk.length;
    let skip = 0;
    const fault = walk(chunk.subarray(0, filled), cursor, end, replica, (frame, at) => {
      mark_frame(segment, position + at, frame.first_offset);
      // An empty frame right there follows what was read before: the chain goes on with it.
      const is_before = frame.first_offset < from_offset && frame.next_offset <= from_offset;
      if (is_before && skip === at) skip = at + frame.length;
    });
    const used = cursor.position - position;
    // Before the frames are handed over: the chunk may be gone then.
    const unreadable_there = error !== null && ends_in_a_frame(chunk.subarray(used, filled));
    if (used > skip) {
      const place = { segment: segment.first_offset, byte: position + skip };
      target.on_frames(chunk.subarray(skip, used), place);
    }
    if (unreadable_there) throw unreadable(error, segment, cursor, log);
    if (is_shorter) return { reason: "the file became shorter", misplaced: true };
    if (fault !== null) return fault;
    await setImmediate();
  }
  return null;
}

/**
 * Fills `into` with what stands from `position` on. Where the disk cannot read all of it, with what stands before: the
 * frames there are good, and the damage is in the one behind them. Throws what is no EIO.
 */
export function read_readable(
  file: ReadFile,
  into: Uint8Array,
  position: number,
): { filled: number; error: unknown } {
  try {
    return { filled: file.read_sync(into, position), error: null };
  } catch (error) {
    if (error_code(error) !== "EIO") throw error;
    return { filled: readable_bytes(file, into, position), error };
  }
}

/** `into` as a whole cannot be read. */
function readable_bytes(file: ReadFile, into: Uint8Array, position: number): number {
  let readable = 0;
  let too_many = into.length;
  while (too_many - readable > 1) {
    const middle = (readable + too_many) >>> 1;
    try {
      file.read_sync(into.subarray(readable, middle), position + readable);
      readable = middle;
    } catch {
      too_many = middle;
    }
  }
  return readable;
}

/** What could be read behind the last good frame is the beginning of one, as far as can be told. */
export function ends_in_a_frame(rest: Uint8Array): boolean {
  return check_frame(rest, view_of(rest), 0) === null;
}

/** A disk that cannot give the bytes back has lost them: the same news as bytes that do not check. */
export function unreadable(error: unknown, segment: Segment, cursor: Cursor, log: string): unknown {
  const reasons: Record<string, string> = {
    EIO: "the disk cannot read it (EIO)",
    ENOENT: "the file is gone",
  };
  const reason = reasons[error_code(error)];
  if (reason === undefined) return error;
  return new LogCorruption(log, segment.path, cursor.position, cursor.next_offset, reason);
}

/** A segment that is known to be there. Throws LogCorruption where it is not. */
export function open_segment(disk: Disk, segment: Segment, cursor: Cursor, log: string): ReadFile {
  try {
    return disk.open_read(segment.path);
  } catch (error) {
    throw unreadable(error, segment, cursor, log);
  }
}
