/**
 * What a crash leaves at the end of the last segment, told from damage. A commit is one write and one fdatasync, and
 * each frame states `synced`, what was durable when it was written. So a frame that does not check, with a good frame
 * somewhere behind it that calls its bytes durable, was damaged later; with none it may never have been whole.
 *
 * Bytes of a record that look like such a frame, in a commit that was torn, make the log damaged where it was torn:
 * of the two mistakes the one that a person sees, and that loses nothing.
 */

import type { ReadFile } from "./disk.js";
import { check_frame, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FRAME_MAGIC, view_of } from "./frame.js";
import { type Cursor, SCAN_BYTES, type Segment, unreadable } from "./segment.js";

/**
 * Position of a good frame behind the cursor, at any byte, that calls the byte at the cursor durable; null: none.
 * `end` is the file's length.
 */
export function find_witness(
  segment: Segment,
  file: ReadFile,
  cursor: Cursor,
  end: number,
  log: string,
): number | null {
  const bad = cursor.position;
  const buffer: Buffer = Buffer.allocUnsafeSlow(Math.max(FRAME_BYTES_MAX, Math.min(SCAN_BYTES, end - bad)));
  // Each turn moves `from` on, or moves a candidate that was cut by the buffer's end to its beginning.
  for (let from = bad + 1; end - from >= FRAME_HEADER_BYTES; ) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, end - from));
    try {
      file.read_sync(chunk, from);
    } catch (error) {
      throw unreadable(error, segment, cursor, log);
    }
    const view = view_of(chunk);
    const whole_file_seen = from + chunk.length === end;
    let next = from + chunk.length - (FRAME_HEADER_BYTES - 1);
    for (let at = chunk.indexOf(FRAME_MAGIC); at >= 0; at = chunk.indexOf(FRAME_MAGIC, at + 1)) {
      const frame = check_frame(chunk, view, at);
      if (frame === null && !whole_file_seen && at > 0) {
        next = from + at;
        break;
      }
      if (frame === null || typeof frame === "string") continue;
      // A frame was written behind what was durable, so one that calls itself durable is no frame of this log.
      if (frame.synced > bad && frame.synced <= from + at) return from + at;
    }
    from = next;
  }
  return null;
}
