/** A directory whose room can run out: a file system of its own where one may be mounted, else a limit on files' length. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const ROOM_MIB = 512;
/** What a process may still append to any file, where nothing can be mounted. */
const FILE_BYTES_MAX = 4096;

export class Room {
  readonly #is_mounted: boolean;
  readonly #ballast: string;
  #pid: () => number | null = () => null;

  constructor(readonly directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#is_mounted = succeeds(
      "mount",
      "-t",
      "tmpfs",
      "-o",
      `size=${ROOM_MIB}m`,
      "klpstate-test",
      directory,
    );
    this.#ballast = join(directory, "ballast");
  }

  /** Whose files they are. */
  used_by(pid: () => number | null): void {
    this.#pid = pid;
  }

  /** To the last byte. */
  fill(): void {
    if (!this.#is_mounted) {
      this.#limit(String(FILE_BYTES_MAX));
      return;
    }
    const file = openSync(this.#ballast, "w");
    const piece = Buffer.alloc(1024 * 1024, 1);
    try {
      for (let bytes = piece.length; bytes > 0; ) {
        try {
          writeSync(file, piece, 0, bytes);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          bytes >>>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  make_room(): void {
    if (this.#is_mounted) rmSync(this.#ballast, { force: true });
    else this.#limit("unlimited");
  }

  remove(): void {
    if (this.#is_mounted) execFileSync("umount", ["--lazy", this.directory]);
  }

  #limit(bytes: string): void {
    const pid = this.#pid();
    if (pid !== null) succeeds("prlimit", `--pid=${pid}`, `--fsize=${bytes}:`);
  }
}

function succeeds(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
