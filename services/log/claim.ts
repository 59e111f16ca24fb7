/**
 * One process's claim on a directory: flock(2) on DIR/lock. Node has no flock, so util-linux's `flock` takes it on a
 * descriptor that it inherits: the lock belongs to the open file, which stays open here, and the kernel lets go of it
 * when this process dies, however that happens.
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Problem } from "../events/problem.js";
import { error_code } from "./disk.js";
import { type Door, open_door, SOCKET_NAME } from "./door.js";

export const LOCK_NAME = "lock";
const FLOCK_TIMEOUT_MS = 10_000;

export interface Claim {
  readonly directory: string;
  /** For listening. A socket that a dead owner left is gone. */
  readonly door: Door;
  /** Lets go of the directory; whoever listens at the door has stopped. */
  release(): void;
}

/**
 * Takes an existing directory for this process. Throws a Problem: `unavailable` where another process has it,
 * `bad_input` where it cannot be taken: no directory, not writable, no `flock`.
 */
export function claim_directory(directory: string): Claim {
  const path = join(directory, LOCK_NAME);
  let lock: number;
  try {
    lock = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    throw not_claimable(directory, path, error);
  }
  let door: Door | undefined;
  try {
    lock_open_file(directory, lock);
    door = open_door(directory);
    // Under the lock: a socket that is there has no owner any more.
    rmSync(door.path, { force: true });
  } catch (error) {
    door?.close();
    closeSync(lock);
    throw error;
  }
  const held = door;
  return {
    directory,
    door: held,
    release() {
      rmSync(join(directory, SOCKET_NAME), { force: true });
      held.close();
      closeSync(lock);
    },
  };
}

function lock_open_file(directory: string, lock: number): void {
  const flock = spawnSync("flock", ["-n", "-x", "3"], {
    stdio: ["ignore", "ignore", "pipe", lock],
    encoding: "utf8",
    timeout: FLOCK_TIMEOUT_MS,
  });
  if (error_code(flock.error) === "ENOENT") {
    throw new Problem(
      "bad_input",
      `${directory} cannot be claimed: the program \`flock\` is missing; install util-linux`,
    );
  }
  if (flock.status === 0) return;
  // util-linux: 1 and silence mean that the lock is taken.
  if (flock.status === 1 && flock.stderr.trim() === "") {
    throw new Problem(
      "unavailable",
      `another process has ${directory}: ask it through ${join(directory, SOCKET_NAME)} or with --server URL, ` +
        "or stop it",
      { value: directory },
    );
  }
  const reason =
    flock.error?.message ?? (flock.stderr.trim() || `flock ended with ${flock.signal ?? flock.status}`);
  throw new Problem("bad_input", `${directory} cannot be claimed: ${reason}`, { value: directory });
}

function not_claimable(directory: string, path: string, error: unknown): unknown {
  const reasons: Record<string, string> = {
    ENOENT: "there is no such directory",
    ENOTDIR: "it is not a directory",
    EACCES: `${path} may not be written; run as the user that owns the registry`,
    EPERM: `${path} may not be written; run as the user that owns the registry`,
    EROFS: "it is on a read-only file system",
    ENOSPC: "there is no room on the disk",
  };
  const reason = reasons[error_code(error)];
  if (reason === undefined) return error;
  return new Problem("bad_input", `${directory} cannot be claimed: ${reason}`, { value: directory });
}
