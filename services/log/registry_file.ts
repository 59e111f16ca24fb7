/**
 * DIR/registry.json: that a directory is a registry, of which format, and what was fixed when it was made. A start
 * reads it, makes the directory if there is none, claims it, reads it again, and only then creates it.
 */
import { join } from "node:path";
import { Problem } from "../events/problem.js";
import { LOCK_NAME } from "./claim.js";
import {
  type Disk,
  error_code,
  is_out_of_room,
  make_directory_durably,
  read_whole,
  UNFINISHED_SUFFIX,
  write_whole,
} from "./disk.js";
import { SOCKET_NAME } from "./door.js";
import { type MigratedMode, parse_mode, type RegistryMode } from "./registry_mode.js";

export const FORMAT_VERSION = 1;
export const PARTITIONS_MAX = 4096;
const FILE_NAME = "registry.json";
const FILE_BYTES_MAX = 64 * 1024;

export type RegistryFile = RegistryMode & {
  format_version: typeof FORMAT_VERSION;
  /** A random UUID: two copies of one registry have the same. */
  registry_id: string;
  partitions: number;
  /** RFC 3339, UTC. */
  created: string;
};

/** What may stand in a directory that is still an empty one: a claim's, a crash's, a file system's. */
const NOTHING_YET = new Set([LOCK_NAME, SOCKET_NAME, FILE_NAME + UNFINISHED_SUFFIX, "lost+found"]);

/**
 * The directory's registry; null: it is missing or empty, one can be created there. `partitions`: what was asked for,
 * if anything was. Throws a Problem: `contradiction` (other partitions, files but no registry), `bad_input` (a newer
 * format, a damaged file, no directory).
 */
export async function read_registry(
  disk: Disk,
  directory: string,
  partitions?: number,
): Promise<RegistryFile | null> {
  const path = join(directory, FILE_NAME);
  let bytes: Uint8Array | null;
  try {
    bytes = read_whole(disk, path, FILE_BYTES_MAX);
    if (bytes === null) {
      await check_empty(disk, directory);
      return null;
    }
    // Its name may be younger than the last fsync: nothing that is made beside it may outlive it.
    await disk.sync_directory(directory);
  } catch (error) {
    throw not_readable(directory, path, error);
  }
  const registry = parse(path, bytes);
  if (partitions !== undefined && partitions !== registry.partitions) {
    throw new Problem(
      "contradiction",
      `${directory} has ${registry.partitions} partitions, which are fixed when a registry is made; ` +
        `${partitions} need a new directory`,
      { field: "partitions", value: String(partitions), limit: String(registry.partitions) },
    );
  }
  return registry;
}

export interface RegistryFacts {
  registry_id: string;
  partitions: number;
  created_ms: number;
  /** Default: embedded. */
  mode?: RegistryMode;
}

/** Creates the registry of a missing or empty directory, durably. Throws as read_registry. */
export async function create_registry(
  disk: Disk,
  directory: string,
  facts: RegistryFacts,
): Promise<RegistryFile> {
  const { registry_id, partitions, created_ms, mode = { mode: "embedded" } } = facts;
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    throw new Problem("bad_input", `a registry cannot have ${partitions} partitions`, {
      field: "partitions",
      value: String(partitions),
      limit: `1 to ${PARTITIONS_MAX}`,
    });
  }
  if ((await read_registry(disk, directory)) !== null) {
    throw new Problem("contradiction", `${directory} is a registry already`, { value: directory });
  }
  const registry: RegistryFile = {
    format_version: FORMAT_VERSION,
    registry_id,
    partitions,
    ...mode,
    created: new Date(created_ms).toISOString(),
  };
  try {
    await make_directory_durably(disk, directory);
    await write(disk, directory, registry);
  } catch (error) {
    throw not_writable(directory, error);
  }
  return registry;
}

/** From here on, and after a crash, nobody serves the directory's log any more. The caller has claimed it. */
export async function leave_registry(
  disk: Disk,
  directory: string,
  file: RegistryFile,
  place: MigratedMode,
): Promise<void> {
  try {
    await write(disk, directory, { ...file, ...place });
  } catch (error) {
    throw not_writable(directory, error);
  }
}

async function write(disk: Disk, directory: string, file: RegistryFile): Promise<void> {
  const text = JSON.stringify(file) + "\n";
  await write_whole(disk, join(directory, FILE_NAME), [new TextEncoder().encode(text)]);
}

async function check_empty(disk: Disk, directory: string): Promise<void> {
  const names = (await disk.list(directory)) ?? [];
  const foreign = names.find((name) => !NOTHING_YET.has(name));
  if (foreign === undefined) return;
  throw new Problem(
    "contradiction",
    `${directory} is not empty (${JSON.stringify(foreign)}) and has no ${FILE_NAME}: not a registry, and none is made there`,
    { value: directory },
  );
}

function parse(path: string, bytes: Uint8Array): RegistryFile {
  let found: Record<string, unknown> | null;
  try {
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw damaged(path, "it is not JSON");
  }
  if (typeof found !== "object" || found === null) throw damaged(path, "it is not a JSON object");
  const { format_version, registry_id, partitions, created } = found;
  if (!is_count(format_version)) throw damaged(path, "format_version is not a number", "format_version");
  if (format_version > FORMAT_VERSION) {
    throw new Problem("bad_input", `${path} has format ${format_version}: a newer klpstate made it`, {
      field: "format_version",
      value: String(format_version),
      limit: `up to ${FORMAT_VERSION}; use a newer klpstate`,
    });
  }
  if (typeof registry_id !== "string" || registry_id === "")
    throw damaged(path, "no registry_id", "registry_id");
  if (!is_count(partitions) || partitions > PARTITIONS_MAX) {
    throw damaged(path, `partitions is not 1 to ${PARTITIONS_MAX}`, "partitions");
  }
  const mode = parse_mode(found);
  if ("reason" in mode) throw damaged(path, mode.reason, mode.field);
  if (typeof created !== "string") throw damaged(path, "no created", "created");
  return { format_version: FORMAT_VERSION, registry_id, partitions, ...mode, created };
}

function is_count(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1;
}

function damaged(path: string, reason: string, field?: string): Problem {
  return new Problem(
    "bad_input",
    `${path} is not what klpstate wrote: ${reason}`,
    field === undefined ? {} : { field },
  );
}

function not_readable(directory: string, path: string, error: unknown): unknown {
  if (error instanceof RangeError) return damaged(path, error.message);
  const reasons: Record<string, string> = {
    ENOTDIR: `${directory} is not a directory`,
    EACCES: `${directory} may not be read; run as the user that owns the registry`,
  };
  const reason = reasons[error_code(error)];
  return reason === undefined ? error : new Problem("bad_input", reason, { value: directory });
}

function not_writable(directory: string, error: unknown): unknown {
  const code = error_code(error);
  if (is_out_of_room(error)) {
    return new Problem("disk_full", `no room on the disk for a registry in ${directory}`, {
      value: directory,
    });
  }
  if (!["EACCES", "EPERM", "EROFS"].includes(code)) return error;
  return new Problem("bad_input", `${directory} cannot be written (${code})`, { value: directory });
}
