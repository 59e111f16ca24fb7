/** The floors: small C programs of bench/native, built with the system's gcc, that answer lines with lines. */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Run } from "./measure.js";

// Seen from dist/bench/.
const SOURCES = fileURLToPath(new URL("../../bench/native/", import.meta.url));

export interface NativeProgram {
  /** Sends a line. */
  tell(line: string): void;
  /** The next line of the answer. */
  next_line(): Promise<string>;
  /** Ends the program, and removes its directory. */
  end(): Promise<void>;
}

function compile(name: string, into: string): boolean {
  const source = join(SOURCES, `${name}.c`);
  try {
    execFileSync("gcc", ["-O3", "-march=native", "-std=gnu11", "-Wall", "-Wextra", "-o", into, source], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** `prepare` writes its input into the directory and returns its arguments. Null where there is no gcc. */
export function start_native(name: string, prepare: (directory: string) => string[]): NativeProgram | null {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  const program = join(directory, name);
  if (!compile(name, program)) {
    rmSync(directory, { recursive: true });
    return null;
  }
  const child = spawn(program, prepare(directory), { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    tell: (line) => void child.stdin.write(`${line}\n`),
    async next_line() {
      const line = await lines.next();
      if (line.done) throw new Error(`native/${name}.c ended before its answer`);
      return line.value;
    },
    async end() {
      child.stdin.end();
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}

/** Seconds and seconds of processor, as the programs say them. */
export function run_of([seconds, cpu_seconds]: readonly (number | undefined)[]): Run {
  return { seconds: seconds!, cpu_seconds: cpu_seconds! };
}
