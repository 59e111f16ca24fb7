/** The Disk that is a real one: node:fs. */
import { closeSync, constants, fstatSync, openSync, read, readSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { promisify } from "node:util";
import { type Disk, error_code, type ReadFile, type WriteFile } from "./disk.js";

/** One call writes at most 2^31-1 bytes (Linux: 0x7ffff000), and at most IOV_MAX buffers. */
const WRITE_CALL_BYTES_MAX = 0x40000000;
const WRITE_CALL_BUFFERS_MAX = 1024;

const read_async = promisify(read);

class NodeWriteFile implements WriteFile {
  readonly #handle: FileHandle;
  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    let waiting = buffers.filter((buffer) => buffer.length > 0);
    let at = position;
    while (waiting.length > 0) {
      const call = first_bytes(waiting, WRITE_CALL_BYTES_MAX);
      const { bytesWritten } = await this.#handle.writev(call, at);
      if (bytesWritten === 0) throw Object.assign(new Error("a write took nothing"), { code: "EIO" });
      at += bytesWritten;
      // A write may be short, for example just before the disk is full: the next one says why.
      waiting = without_first_bytes(waiting, bytesWritten);
    }
  }

  async truncate(bytes: number): Promise<void> {
    await this.#handle.truncate(bytes);
  }

  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

function first_bytes(buffers: readonly Uint8Array[], bytes_max: number): Uint8Array[] {
  const taken: Uint8Array[] = [];
  let bytes = 0;
  for (const buffer of buffers) {
    if (taken.length === WRITE_CALL_BUFFERS_MAX || bytes === bytes_max) break;
    const part = buffer.subarray(0, bytes_max - bytes);
    taken.push(part);
    bytes += part.length;
  }
  return taken;
}

function without_first_bytes(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = bytes;
  for (const buffer of buffers) {
    if (skip < buffer.length) rest.push(skip === 0 ? buffer : buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.length);
  }
  return rest;
}

class NodeReadFile implements ReadFile {
  readonly #fd: number;
  constructor(fd: number) {
    this.#fd = fd;
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      const { bytesRead } = await read_async(this.#fd, into, filled, into.length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  read_sync(into: Uint8Array, position: number): number {
    let filled = 0;
    while (filled < into.length) {
      const bytes = readSync(this.#fd, into, filled, into.length - filled, position + filled);
      if (bytes === 0) break;
      filled += bytes;
    }
    return filled;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export const node_disk: Disk = {
  async open_write(path) {
    // Not O_APPEND: with it Linux ignores the position of a write.
    return new NodeWriteFile(await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600));
  },

  open_read(path) {
    return new NodeReadFile(openSync(path, "r"));
  },

  async list(directory) {
    try {
      return await readdir(directory);
    } catch (error) {
      if (error_code(error) === "ENOENT") return null;
      throw error;
    }
  },

  async make_directory(path) {
    try {
      await mkdir(path, 0o700);
    } catch (error) {
      if (error_code(error) !== "EEXIST") throw error;
    }
  },

  async remove(path) {
    await rm(path);
  },

  async rename(from, to) {
    await rename(from, to);
  },

  async sync_directory(path) {
    const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};
