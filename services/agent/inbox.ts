/**
 * Refusals that only the loader saw, from `klpstate load` to the agent: a file each, in a directory beside the spool.
 * A file is whole or not there, and stays until the event that tells of it is durable.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PATCH_NAME_BYTES_MAX } from "../events/limits.js";
import { errno_of } from "./host_files.js";

export interface LoaderRefusal {
  name: string;
  /** The errno's name, as EEXIST. */
  errno: string;
  /** When the load was tried. */
  time_unix_ms: number;
}

const DIRECTORY = "inbox";
const SUFFIX = ".json";
/** So many at once; the others wait for the next look. */
const FILES_MAX = 100;

/** Throws what the disk says: there is no spool, or it may not be written. */
export function report_refusal(spool_directory: string, refusal: LoaderRefusal): void {
  const directory = join(spool_directory, DIRECTORY);
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${refusal.time_unix_ms}-${randomBytes(8).toString("hex")}`);
  writeFileSync(path, JSON.stringify(refusal));
  renameSync(path, `${path}${SUFFIX}`);
}

export class Inbox {
  constructor(private readonly spool_directory: string) {}

  /** In the order of their times; what is no refusal is taken away. */
  refusals(): { file: string; refusal: LoaderRefusal }[] {
    return this.files().flatMap((file) => {
      const refusal = read_refusal(join(this.spool_directory, DIRECTORY, file));
      if (refusal === null) this.remove([file]);
      return refusal === null ? [] : [{ file, refusal }];
    });
  }

  remove(files: readonly string[]): void {
    for (const file of files) rmSync(join(this.spool_directory, DIRECTORY, file), { force: true });
  }

  private files(): string[] {
    try {
      const names = readdirSync(join(this.spool_directory, DIRECTORY));
      return names
        .filter((name) => name.endsWith(SUFFIX))
        .sort()
        .slice(0, FILES_MAX);
    } catch (error) {
      // Nothing was ever reported.
      errno_of(error);
      return [];
    }
  }
}

function read_refusal(path: string): LoaderRefusal | null {
  try {
    const { name, errno, time_unix_ms } = JSON.parse(readFileSync(path, "utf8")) as LoaderRefusal;
    const is_name =
      typeof name === "string" && name !== "" && Buffer.byteLength(name) <= PATCH_NAME_BYTES_MAX;
    if (!is_name || !/^E[A-Z0-9]{1,30}$/.test(errno) || !Number.isSafeInteger(time_unix_ms)) return null;
    return { name, errno, time_unix_ms };
  } catch {
    return null;
  }
}
