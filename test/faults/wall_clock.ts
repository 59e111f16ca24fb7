/** A process whose wall clock can step: step_clock.c, preloaded, follows a file. Its monotonic clock is the machine's. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Compiles what is preloaded; the path of the shared object. */
export function build_step_clock(source: string, directory: string): string {
  const library = join(directory, "step_clock.so");
  execFileSync("gcc", ["-O2", "-shared", "-fPIC", "-o", library, source], { stdio: "inherit" });
  return library;
}

export class WallClock {
  readonly #file: string;

  constructor(
    readonly library: string,
    file: string,
  ) {
    this.#file = file;
    writeFileSync(file, Buffer.alloc(8));
  }

  /** Of the process that is to have this clock. */
  get environment(): Record<string, string> {
    return { LD_PRELOAD: this.library, KLPSTATE_TEST_CLOCK: this.#file };
  }

  /** So far from the machine's. */
  step_to(offset_ms: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offset_ms) * 1_000_000n);
    // In place, and at once: the process has these eight bytes mapped.
    const file = openSync(this.#file, "r+");
    writeSync(file, bytes, 0, 8, 0);
    closeSync(file);
  }
}
