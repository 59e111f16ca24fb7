/** Where a module's bytes are: a file, of which only the parts that are asked for are read, or memory. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { bad_module } from "./bad_module.js";

/** The largest modules, with all debugging information, have some hundred MB. */
export const FILE_BYTES_MAX = 1024 ** 3;

export interface Source {
  readonly size: number;
  /** Throws Problem where the bytes are not there. The bytes are not to be changed. */
  read(at: number, length: number): Buffer;
}

export function memory_source(bytes: Uint8Array): Source {
  const memory = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: memory.length,
    read(at, length) {
      require_range(memory.length, at, length);
      return memory.subarray(at, at + length);
    },
  };
}

/** A regular file; to be closed. Throws Problem where it is none, or too large. */
export function open_file(path: string): Source & { close(): void } {
  // Opening a pipe would wait for its writer.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw bad_module("is not a regular file");
    if (stat.size > FILE_BYTES_MAX)
      throw bad_module(`has ${stat.size} bytes and is no module`, `at most ${FILE_BYTES_MAX} bytes`);
    return file_source(descriptor, stat.size);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function file_source(descriptor: number, size: number): Source & { close(): void } {
  return {
    size,
    read(at, length) {
      require_range(size, at, length);
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const count = readSync(descriptor, bytes, done, length - done, at + done);
        if (count === 0) throw bad_module("became shorter while it was read");
        done += count;
      }
      return bytes;
    },
    close: () => closeSync(descriptor),
  };
}

function require_range(size: number, at: number, length: number): void {
  if (at >= 0 && length >= 0 && at + length <= size) return;
  throw bad_module(`is cut off: bytes ${at} to ${at + length} are beyond its ${size}`);
}
