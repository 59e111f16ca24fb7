/**
 * The kernel's log as /dev/kmsg gives it: one record a read, with its sequence number. A FIFO or a file with the same
 * text is read likewise. Reads never block: Node would lose one of its few threads to a device that is silent for days.
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import type { Line } from "./facts.js";
import { errno_of } from "./host_files.js";

export const KMSG = "/dev/kmsg";

/** Above what a record can have: PRINTKRB_RECORD_MAX is 1 KiB of text, escaped at most fourfold, and its dictionary. */
const READ_BYTES = 16 * 1024;
/** Above what a ring of 16 MiB holds: a log that is written as fast as it is read does not hold a look forever. */
const RECORDS_AT_ONCE = 262_144;

/** A descriptor that is read: bytes read, 0 for nothing now. Throws errors with an errno's name. */
export interface KmsgFile {
  read(into: Uint8Array): number;
  close(): void;
}

/** Throws where it may not be opened. */
export function open_kmsg(path: string): KmsgFile {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { read: (into) => readSync(fd, into), close: () => closeSync(fd) };
}

/** `prefix;text`, where the prefix is `facility and level,sequence,microseconds,flags[,more]` (Documentation/ABI/testing/dev-kmsg). */
const RECORD = /^([0-9]+),([0-9]+),[^;]*;(.*)$/;
/** Facility 0 is the kernel's. */
const LEVEL_BITS = 3;

/** Null for a line of a record's dictionary, and for what is no record. */
export function read_record(line: string): Line | null {
  const [, priority, record, text] = RECORD.exec(line) ?? [];
  if (priority === undefined) return null;
  return { record: Number(record), text: Number(priority) >> LEVEL_BITS === 0 ? text! : "" };
}

export interface KmsgRead {
  lines: Line[];
  /** Why it cannot be read; null if it can. */
  errno: string | null;
}

export class Kmsg {
  private file: KmsgFile | null = null;
  private readonly buffer = new Uint8Array(READ_BYTES);
  /** Of a record that is not there to its end: only a file's or a FIFO's. */
  private rest = "";

  constructor(private readonly open: () => KmsgFile) {}

  /** What was written since the last call; the first call reads all that the ring still has. */
  read(): KmsgRead {
    const lines: Line[] = [];
    try {
      this.file ??= this.open();
      while (lines.length < RECORDS_AT_ONCE) {
        const bytes = this.read_some(this.file);
        if (bytes === 0) break;
        const text = this.rest + Buffer.from(this.buffer.subarray(0, bytes)).toString("latin1");
        const parts = text.split("\n");
        this.rest = parts.pop()!;
        for (const part of parts) {
          // Cut where a character may not be: only behind the line feed is it UTF-8 again.
          const line = read_record(Buffer.from(part, "latin1").toString("utf8"));
          if (line) lines.push(line);
        }
      }
      return { lines, errno: null };
    } catch (error) {
      const errno = errno_of(error);
      this.close();
      return { lines, errno };
    }
  }

  close(): void {
    this.file?.close();
    this.file = null;
    this.rest = "";
  }

  private read_some(file: KmsgFile): number {
    for (;;) {
      try {
        return file.read(this.buffer);
      } catch (error) {
        const errno = errno_of(error);
        if (errno === "EAGAIN") return 0;
        // The ring was overrun: the next read gives the oldest record that is left, whose number tells of the hole.
        if (errno !== "EPIPE" && errno !== "EINTR") throw error;
      }
    }
  }
}
