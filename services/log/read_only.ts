/** Reads a log that somebody else may be writing, as far as it is known to be durable, or to its end. */
import { join } from "node:path";
import { LogCorruption } from "./corruption.js";
import type { Disk } from "./disk.js";
import { encode_frames, frames_of, records_of, view_of } from "./frame.js";
import { check_join, find_segments, find_start, type Place, segment_start } from "./recovery.js";
import {
  type Cursor,
  type Fault,
  type FramesPlace,
  type LogPosition,
  type Segment,
  scan,
  segment_name,
} from "./segment.js";
import { find_witness } from "./torn_tail.js";

export interface ReadOnlyOptions {
  disk: Disk;
  directory: string;
  /** For messages: "partition 3". */
  name: string;
  replica?: boolean;
  /** Records below are not handed over; a frame begins with it. Default: the first one. */
  from?: bigint;
  /** As `from`, where it is known where that is: what stands before it in its segment is not read. */
  position?: LogPosition | null;
  /** Records from here on are not handed over. Null: to the end, as a start would find it. */
  to: bigint | null;
  /** See ScanTarget. */
  buffer(): Uint8Array;
  /** Whole checked frames, every record below `to` once, in order. */
  on_frames(frames: Uint8Array, place: FramesPlace): void;
}

/** Throws LogCorruption, also where the log ends before `to`. Nothing is written. */
export async function read_log(options: ReadOnlyOptions): Promise<void> {
  const { disk, directory, name, replica = false, position = null, to, buffer, on_frames } = options;
  const from = position?.offset ?? options.from ?? 0n;
  const place: Place = { disk, directory, name, replica };
  const segments = await find_segments(place);
  const { start, at } = find_start(segments, from, position);
  let cursor = at;
  let path = join(directory, segment_name(from));
  for (const segment of segments.slice(start)) {
    if (segment !== segments[start]) {
      if (to !== null && cursor.next_offset >= to) return;
      check_join(place, segment, cursor.next_offset);
      cursor = { ...segment_start(segment), log_time_ms: cursor.log_time_ms };
    }
    path = segment.path;
    const file = disk.open_read(path);
    try {
      const target = {
        buffer,
        on_frames(frames: Uint8Array, at: FramesPlace) {
          // The cursor stands behind them already.
          if (to === null || cursor.next_offset <= to) on_frames(frames, at);
          else for (const part of parts_below(frames, to)) on_frames(part, at);
        },
      };
      const fault = await scan(segment, file, cursor, segment.bytes, name, replica, from, target);
      const ends_torn = to === null && segment === segments.at(-1) && fault !== null && !fault.misplaced;
      if (ends_torn && find_witness(segment, file, cursor, segment.bytes, name) === null) return;
      if (fault !== null) throw damage(name, segment, cursor, fault);
    } catch (error) {
      // What stands behind `to` may be half written: it is not of this reading.
      if (error instanceof LogCorruption && to !== null && error.offset >= to) return;
      throw error;
    } finally {
      file.close();
    }
  }
  if (to !== null && cursor.next_offset < to) {
    const reason = `the log ends before offset ${to}`;
    throw new LogCorruption(name, path, cursor.position, cursor.next_offset, reason);
  }
}

function damage(name: string, { path }: Segment, cursor: Cursor, { reason }: Fault): LogCorruption {
  return new LogCorruption(name, path, cursor.position, cursor.next_offset, reason);
}

/** Of frames that go on beyond `to`: those that end before it, and what the next one has below it as a frame of its own. */
function parts_below(frames: Uint8Array, to: bigint): Uint8Array[] {
  let bytes = 0;
  for (const frame of frames_of(frames)) {
    const records = [...records_of(frame)];
    const below = records.filter(({ offset }) => offset < to);
    if (below.length < records.length || view_of(frame).getBigUint64(24, true) >= to) {
      // Made before the whole ones are handed over: their bytes may be gone then.
      const cut = below.length > 0 ? [encode_frames(below, 0)] : [];
      return bytes > 0 ? [frames.subarray(0, bytes), ...cut] : cut;
    }
    bytes += frame.length;
  }
  return [frames];
}
