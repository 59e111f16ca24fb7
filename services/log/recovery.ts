/**
 * From the files of a directory to a log that may be written: every frame checked once, a torn tail cut, and the last
 * commit, which the page cache may show and the disk may lack, made durable before anything of it is served.
 */
import { join } from "node:path";
import { LogCorruption } from "./corruption.js";
import { type Disk, make_directory_durably, type WriteFile } from "./disk.js";
import { check_frame, view_of } from "./frame.js";
import {
  type Cursor,
  type LogPosition,
  new_segment,
  open_segment,
  SCAN_BYTES,
  type ScanTarget,
  type Segment,
  scan,
  segment_name,
  segment_offset,
  unreadable,
  walk,
} from "./segment.js";
import { find_witness } from "./torn_tail.js";

/** The end of the last segment that a crash left and a start took away. No acknowledged record was in it. */
export interface TornTail {
  file: string;
  /** Where it was cut. */
  byte: number;
  /** How many bytes were taken away. */
  bytes: number;
  /** The log's next offset after it. */
  offset: bigint;
  /** What was wrong with the first bytes of it. */
  reason: string;
}

/** Of what is durable: segments by offset, and where the log goes on. */
export interface LogState {
  segments: Segment[];
  next_offset: bigint;
  /** Of the last frame; 0 where there is none. */
  log_time_ms: number;
  /** The last frame is an empty one, so that damage to the last commit is told from a torn tail. */
  sealed: boolean;
}

export interface Place {
  disk: Disk;
  directory: string;
  /** For messages: which log. */
  name: string;
  replica: boolean;
}

export interface Recovered {
  state: LogState;
  /** The last segment, open for writing; null: the log is empty. */
  tail: WriteFile | null;
  torn: TornTail | null;
}

/**
 * What stands before `from` (null: the beginning) is not read; the rest is, once, and handed to the target, which holds
 * bytes that are not durable yet until this resolves. Throws LogCorruption, also where the log ends before `reaches`.
 */
export async function recover(
  place: Place,
  from: LogPosition | null,
  reaches: bigint,
  target: ScanTarget,
): Promise<Recovered> {
  const { disk, directory, name, replica } = place;
  await make_directory_durably(disk, directory);
  const from_offset = from?.offset ?? 0n;
  const known_end = from_offset > reaches ? from_offset : reaches;
  const segments = await find_segments(place);
  const last = segments.at(-1);
  if (last === undefined) {
    if (known_end > 0n) throw too_short(place, join(directory, segment_name(0n)), 0, 0n, known_end);
    const state: LogState = { segments, next_offset: 0n, log_time_ms: 0, sealed: true };
    return { state, tail: null, torn: null };
  }

  const { start, at } = find_start(segments, from_offset, from);
  for (const [index, segment] of segments.slice(0, start).entries()) {
    segment.unchecked = { to: segment.bytes, offset: segments[index + 1]!.first_offset };
  }
  let torn: TornTail | null = null;
  let cursor: Cursor = at;
  for (const segment of segments.slice(start)) {
    if (segment !== segments[start]) {
      const { log_time_ms } = cursor;
      check_join(place, segment, cursor.next_offset);
      cursor = { ...segment_start(segment), log_time_ms };
    } else if (cursor.position > 0) {
      segment.unchecked = { to: cursor.position, offset: cursor.next_offset };
    }
    const file = disk.open_read(segment.path);
    try {
      const fault = await scan(segment, file, cursor, segment.bytes, name, replica, from_offset, target);
      if (fault !== null) {
        // Only the last segment can be torn: the one behind it was begun when this one was durable.
        const witness =
          segment === last && !fault.misplaced ? find_witness(segment, file, cursor, segment.bytes, name) : 0;
        if (witness !== null) {
          const reason =
            witness > 0
              ? `${fault.reason}; the good frame at byte ${witness} shows that it was durable`
              : fault.reason;
          throw new LogCorruption(name, segment.path, cursor.position, cursor.next_offset, reason);
        }
        torn = {
          file: segment.path,
          byte: cursor.position,
          bytes: segment.bytes - cursor.position,
          offset: cursor.next_offset,
          reason: fault.reason,
        };
        segment.bytes = cursor.position;
      }
    } finally {
      file.close();
    }
  }
  if (cursor.next_offset < known_end) {
    throw too_short(place, last.path, cursor.position, cursor.next_offset, known_end);
  }

  let { log_time_ms } = cursor;
  // A last segment without a frame does not know the log's time; the one before it does.
  const before = segments[start - 1];
  if (log_time_ms === 0 && cursor.last === null && before !== undefined) {
    log_time_ms = (await check_segment(place, before, last)).log_time_ms;
  }

  const tail = await disk.open_write(last.path);
  try {
    // Also where nothing was torn: a part of a failed write may have been taken out of the page cache only.
    await tail.truncate(last.bytes);
    await rewrite_last_commit(place, last, cursor, tail);
    await tail.sync();
    await disk.sync_directory(directory);
  } catch (error) {
    await tail.close();
    throw error;
  }

  // What stands before `from` may have no empty frame behind it.
  const sealed = cursor.last === null ? cursor.position === 0 : cursor.last.count === 0;
  return { state: { segments, next_offset: cursor.next_offset, log_time_ms, sealed }, tail, torn };
}

/** Index of the segment where a reading from the offset begins, and where in it; `position`: where the offset stood. */
export function find_start(
  segments: readonly Segment[],
  offset: bigint,
  position: LogPosition | null,
): { start: number; at: Cursor } {
  const named = segments.findIndex(({ first_offset }) => first_offset === position?.segment);
  if (position !== null && named >= 0 && segments[named]!.bytes >= position.byte) {
    const { byte, log_time_ms } = position;
    return { start: named, at: { position: byte, next_offset: offset, log_time_ms, last: null } };
  }
  // A segment that was begun, and never written to, is lost in a crash: the one before it goes on. Where it is not the
  // log that it was, what is missing is named by who reads from before that.
  const start = Math.max(
    0,
    segments.findLastIndex(({ first_offset }) => first_offset <= offset),
  );
  const segment = segments[start];
  const at = segment === undefined ? NOTHING_READ : segment_start(segment);
  return { start, at: { ...at } };
}

/**
 * Reads and checks what a start has skipped of a segment, up to where the next one (null: it is the last) begins.
 * Throws LogCorruption.
 */
export async function check_segment(place: Place, segment: Segment, next: Segment | null): Promise<Cursor> {
  const { disk, name, replica } = place;
  const cursor = segment_start(segment);
  const { to, offset } = segment.unchecked ?? { to: segment.bytes, offset: next?.first_offset ?? 0n };
  // Marks of its own until all is checked: another reader may be at the same segment.
  const checked: Segment = { ...segment, mark_positions: [], mark_offsets: [] };
  const buffer = Buffer.allocUnsafeSlow(SCAN_BYTES);
  const file = open_segment(disk, segment, cursor, name);
  try {
    const nobody: ScanTarget = { buffer: () => buffer, on_frames: () => {} };
    const fault = await scan(checked, file, cursor, to, name, replica, 0n, nobody);
    if (fault !== null) {
      throw new LogCorruption(name, segment.path, cursor.position, cursor.next_offset, fault.reason);
    }
  } finally {
    file.close();
  }
  if (to === segment.bytes && next !== null) check_join(place, next, cursor.next_offset);
  else if (cursor.next_offset !== offset) {
    const reason = `it goes on at offset ${cursor.next_offset}, and ${offset} stands there`;
    throw new LogCorruption(name, segment.path, cursor.position, cursor.next_offset, reason);
  }
  if (segment.unchecked !== null) {
    segment.mark_positions = [...checked.mark_positions, ...segment.mark_positions];
    segment.mark_offsets = [...checked.mark_offsets, ...segment.mark_offsets];
    segment.unchecked = null;
  }
  return cursor;
}

const NOTHING_READ: Cursor = { position: 0, next_offset: 0n, log_time_ms: 0, last: null };

export function segment_start(segment: Segment): Cursor {
  return { position: 0, next_offset: segment.first_offset, log_time_ms: 0, last: null };
}

/** The directory's segments by offset, unread; the first one begins at 0. Throws LogCorruption. */
export async function find_segments(place: Place): Promise<Segment[]> {
  const names = (await place.disk.list(place.directory)) ?? [];
  const segments: Segment[] = [];
  for (const name of names) {
    const first_offset = segment_offset(name);
    if (first_offset === null) continue;
    const path = join(place.directory, name);
    const file = place.disk.open_read(path);
    segments.push({ ...new_segment(first_offset, path), bytes: file.size() });
    file.close();
  }
  segments.sort((a, b) => (a.first_offset < b.first_offset ? -1 : 1));
  const first = segments[0];
  if (first !== undefined) check_join(place, first, 0n);
  return segments;
}

/** A segment begins where the one before it ends, the first one at 0. */
export function check_join(place: Place, segment: Segment, next_offset: bigint): void {
  if (segment.first_offset === next_offset) return;
  const reason =
    segment.first_offset > next_offset
      ? `the records ${next_offset} to ${segment.first_offset - 1n} are missing before this file`
      : `the file before this one goes on to offset ${next_offset}`;
  throw new LogCorruption(place.name, segment.path, 0, next_offset, reason);
}

function too_short(place: Place, file: string, byte: number, offset: bigint, from: bigint): LogCorruption {
  return new LogCorruption(
    place.name,
    file,
    byte,
    offset,
    `the log ends here, and it had records up to ${from}`,
  );
}

/**
 * Writes what stands behind the last good frame's `synced` once more: after a failed fsync, or a crash of the process
 * alone, it may be in the page cache, marked clean, and nowhere else; an fdatasync would then write nothing.
 * In place: a crash in between leaves a mixture of equal bytes (what SQLite calls powersafe overwrite).
 */
async function rewrite_last_commit(
  place: Place,
  segment: Segment,
  end: Cursor,
  tail: WriteFile,
): Promise<void> {
  if (end.last === null) return;
  const from = end.last.synced;
  const bytes: Uint8Array = Buffer.allocUnsafeSlow(segment.bytes - from);
  const cursor: Cursor = { position: from, next_offset: end.next_offset, log_time_ms: 0, last: null };
  const file = place.disk.open_read(segment.path);
  try {
    file.read_sync(bytes, from);
  } catch (error) {
    throw unreadable(error, segment, cursor, place.name);
  } finally {
    file.close();
  }
  // Checked again: what goes to the disk now is what the scan has seen.
  const first = check_frame(bytes, view_of(bytes), 0);
  if (first !== null && typeof first !== "string") cursor.next_offset = first.first_offset;
  const fault = walk(bytes, cursor, segment.bytes, place.replica, () => {});
  if (fault !== null) {
    throw new LogCorruption(place.name, segment.path, cursor.position, cursor.next_offset, fault.reason);
  }
  await tail.write([bytes], from);
}
