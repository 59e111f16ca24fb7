/** Reads a log that somebody else may be writing, from its beginning to an offset that is known to be durable. */
import { LogCorruption } from "./corruption.js";
import type { Disk } from "./disk.js";
import { view_of } from "./frame.js";
import { check_join, find_segments, segment_start } from "./recovery.js";
import { type Cursor, scan } from "./segment.js";

export interface ReadOnlyOptions {
  disk: Disk;
  directory: string;
  /** For messages: "partition 3". */
  name: string;
  replica?: boolean;
  /** Frames from here on are not handed over. */
  to: bigint;
  /** See ScanTarget. */
  buffer(): Uint8Array;
  /** Whole checked frames, every record below `to` once, in order. */
  on_frames(frames: Uint8Array): void;
}

/** How many bytes at the beginning of the frames stand before `to`. */
function bytes_before(frames: Uint8Array, to: bigint): number {
  const view = view_of(frames);
  let at = 0;
  while (at < frames.length && view.getBigUint64(at + 24, true) < to) at += view.getUint32(at + 4, true);
  return at;
}

/** Throws LogCorruption, also where the log ends before `to`. Nothing is written. */
export async function read_log(options: ReadOnlyOptions): Promise<void> {
  const { disk, directory, name, replica = false, to, buffer, on_frames } = options;
  const place = { disk, directory, name, replica };
  let cursor: Cursor = { position: 0, next_offset: 0n, log_time_ms: 0, last: null };
  let path = directory;
  for (const segment of await find_segments(place)) {
    if (cursor.next_offset >= to) return;
    check_join(place, segment, cursor.next_offset);
    path = segment.path;
    cursor = { ...segment_start(segment), log_time_ms: cursor.log_time_ms };
    const file = disk.open_read(path);
    try {
      const target = {
        buffer,
        on_frames(frames: Uint8Array) {
          const length = bytes_before(frames, to);
          if (length > 0) on_frames(frames.subarray(0, length));
        },
      };
      const fault = await scan(segment, file, cursor, segment.bytes, name, replica, 0n, target);
      // What stands behind `to` may be half written: it is not of this reading.
      if (fault !== null && cursor.next_offset < to) {
        throw new LogCorruption(name, path, cursor.position, cursor.next_offset, fault.reason);
      }
    } finally {
      file.close();
    }
  }
  if (cursor.next_offset < to) {
    throw new LogCorruption(
      name,
      path,
      cursor.position,
      cursor.next_offset,
      `the log ends before offset ${to}`,
    );
  }
}
