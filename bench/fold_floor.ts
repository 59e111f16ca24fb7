/** Builds and drives native/fold.c: a process that folds the same bytes each time it is asked to. */
import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Pieces } from "./data.js";
import type { Run } from "./measure.js";

// Seen from dist/bench/.
const SOURCE = fileURLToPath(new URL("../../bench/native/fold.c", import.meta.url));

export interface FoldFloor {
  run(): Promise<{ new_hosts: Run; events: Run }>;
  /** Of the last run, as fleet_facts.ts says them. */
  facts(): Promise<string[]>;
  end(): Promise<void>;
}

function compile(into: string): boolean {
  try {
    execFileSync("gcc", ["-O3", "-march=native", "-std=gnu11", "-Wall", "-Wextra", "-o", into, SOURCE], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

function write_pieces(path: string, { pieces }: Pieces): void {
  writeFileSync(path, "");
  for (const piece of pieces) appendFileSync(path, piece);
}

/** Null where there is no gcc. */
export function start_fold_floor(hosts: number, baseline: Pieces, events: Pieces): FoldFloor | null {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  const program = join(directory, "fold");
  if (!compile(program)) {
    rmSync(directory, { recursive: true });
    return null;
  }
  const files = [join(directory, "baseline"), join(directory, "events")] as const;
  write_pieces(files[0], baseline);
  write_pieces(files[1], events);
  const child = spawn(program, [...files, String(hosts), "1"], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  async function next_line(): Promise<string> {
    const line = await lines.next();
    if (line.done) throw new Error("native/fold.c ended before its answer");
    return line.value;
  }
  return {
    async run() {
      child.stdin.write("run\n");
      const [new_s, new_cpu_s, events_s, events_cpu_s] = (await next_line()).split(" ").map(Number);
      return {
        new_hosts: { seconds: new_s!, cpu_seconds: new_cpu_s! },
        events: { seconds: events_s!, cpu_seconds: events_cpu_s! },
      };
    },
    async facts() {
      child.stdin.write("facts\n");
      const facts: string[] = [];
      for (let line = await next_line(); line !== ""; line = await next_line()) facts.push(line);
      const total = facts.pop()!;
      return [...facts.sort(), total];
    },
    async end() {
      child.stdin.end();
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}
