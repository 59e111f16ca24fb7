/**
 * The one interface through which the log touches a disk, and what is made of its steps: whole small files and
 * directories that survive a crash. Errors are Node's: an Error with `code` (ENOSPC, EIO, ENOENT, ...).
 */
import { dirname } from "node:path";

export interface WriteFile {
  /**
   * Writes all bytes of the buffers, one behind the other, from `position` on. After an error any part of them may
   * stand in the file.
   */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  /** fdatasync: contents and length are durable, the name is not (that is `Disk.sync_directory`). */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface ReadFile {
  /** Bytes. */
  size(): number;
  /** Fills `into` with what stands from `position` on; returns how many bytes, fewer only at the file's end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** As `read`, at once: for memory that may move while others run (WebAssembly's), and for short reads. */
  read_sync(into: Uint8Array, position: number): number;
  close(): void;
}

export interface Disk {
  /** For writing; an empty file is made where there is none. */
  open_write(path: string): Promise<WriteFile>;
  open_read(path: string): ReadFile;
  /** Names in a directory, in no order; null: there is no such directory. */
  list(directory: string): Promise<string[] | null>;
  /** One directory; its parent is there. One that exists is left as it is. */
  make_directory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** fsync of a directory: the names in it are durable. */
  sync_directory(path: string): Promise<void>;
}

/** The `code` of an error from a Disk: "ENOSPC"; "" where it has none. */
export function error_code(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Of the disk, of a quota, or under a limit on the length of files: room can be made while the process runs. */
export function is_out_of_room(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EFBIG"].includes(error_code(error));
}

/**
 * Makes a directory and its missing parents. Each name is durable before anything is made below it, so whatever is
 * found in a directory proves the names above it; only the deepest one found may be younger than the last fsync.
 */
export async function make_directory_durably(disk: Disk, path: string): Promise<void> {
  const parent = dirname(path);
  if ((await disk.list(path)) !== null) {
    try {
      await disk.sync_directory(parent);
    } catch (error) {
      // A parent that may not be opened is somebody else's, and so is the name in it.
      if (error_code(error) !== "EACCES") throw error;
    }
    return;
  }
  if (parent !== path) await make_directory_durably(disk, parent);
  await disk.make_directory(path);
  await disk.sync_directory(parent);
}

/** A small file as a whole; null: there is none. Throws RangeError above `bytes_max`. */
export function read_whole(disk: Disk, path: string, bytes_max: number): Uint8Array | null {
  let file: ReadFile;
  try {
    file = disk.open_read(path);
  } catch (error) {
    if (error_code(error) === "ENOENT") return null;
    throw error;
  }
  try {
    const size = file.size();
    if (size > bytes_max) throw new RangeError(`${path} has ${size} bytes, more than ${bytes_max}`);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, file.read_sync(bytes, 0));
  } finally {
    file.close();
  }
}

/** Suffix of a small file that is being written; one that is found was left by a crash and means nothing. */
export const UNFINISHED_SUFFIX = ".new";

/** Replaces a file: afterwards, and after a crash in between, it is the old one or the new one, whole. */
export async function write_whole(disk: Disk, path: string, buffers: readonly Uint8Array[]): Promise<void> {
  const beside = path + UNFINISHED_SUFFIX;
  const file = await disk.open_write(beside);
  try {
    await file.truncate(0);
    await file.write(buffers, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(beside, path);
  await disk.sync_directory(dirname(path));
}
