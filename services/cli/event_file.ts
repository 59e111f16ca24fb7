/** The file or pipe that events are read from, and how far its reading is. */
import { type FileHandle, open } from "node:fs/promises";
import { Problem } from "../events/problem.js";
import type { Terminal } from "./terminal.js";

export interface EventFile {
  /** For messages. */
  name: string;
  bytes: AsyncIterable<Uint8Array>;
  /** Null where it is not known before the end. */
  size_bytes: number | null;
  close(): Promise<void>;
}

/** `file` - is standard input. Throws Problem where it cannot be read. */
export async function open_event_file(file: string, { stdin }: Terminal): Promise<EventFile> {
  if (file === "-") return { name: "standard input", bytes: stdin, size_bytes: null, async close() {} };
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, "r");
    const stat = await handle.stat();
    if (stat.isDirectory()) throw new Error("it is a directory");
    const opened = handle;
    return {
      name: file,
      bytes: opened.createReadStream({ highWaterMark: 256 * 1024, autoClose: false }),
      size_bytes: stat.isFile() ? stat.size : null,
      close: () => opened.close(),
    };
  } catch (error) {
    await handle?.close();
    throw new Problem("bad_input", `${file} cannot be read: ${(error as Error).message}`, { value: file });
  }
}
