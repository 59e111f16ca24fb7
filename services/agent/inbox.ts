/**
 * Refusals that only the loader saw, from `klpstate load` to the agent: a file each, in a directory beside the spool.
 * A file is whole or not there, and stays until the event that tells of it is durable.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
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

/** Throws what the disk says: no agent ever ran on this spool, or it may not be written. */
export function report_refusal(spool_directory: string, refusal: LoaderRefusal): void {
  const directory = join(spool_directory, DIRECTORY);
  const path = join(directory, `${refusal.time_unix_ms}-${randomBytes(8).toString("hex")}`);
  writeFileSync(path, JSON.stringify(refusal));
  // The agent is another user than who loads.
  chmodSync(path, 0o644);
  renameSync(path, `${path}${SUFFIX}`);
}

export class Inbox {
  /** Makes the directory, as the agent's user: of one that root made it could take nothing away. */
  constructor(private readonly spool_directory: string) {
    mkdirSync(join(spool_directory, DIRECTORY), { recursive: true, mode: 0o700 });
  }

  /** In the order of their times; what is no refusal is taken away. */
  refusals(): { file: string; refusal: LoaderRefusal }[] {
    return this.files().flatMap((file) => {
      const refusal = read_refusal(join(this.spool_directory, DIRECTORY, file));
      if (refusal === null) this.remove([file]);
      return refusal === null ? [] : [{ file, refusal }];
    });
  }

  remove(files: readonly string[]): void {
    for (const file of files)
      rmSync(join(this.spool_directory, DIRECTORY, file), { force: true, recursive: true });
  }

  private files(): string[] {
    try {
      const names = readdirSync(join(this.spool_directory, DIRECTORY));
      return names
        .filter((name) => name.endsWith(SUFFIX))
        .sort()
        .slice(0, FILES_MAX);
    } catch (error) {
      // Somebody took it away.
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
