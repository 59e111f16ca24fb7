/** Drives native/fold.c: a process that folds the same bytes each time it is asked to. */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pieces } from "./data.js";
import type { Run } from "./measure.js";
import { run_of, start_native } from "./native_program.js";

export interface FoldFloor {
  run(): Promise<{ new_hosts: Run; events: Run }>;
  /** Of the last run, as fleet_facts.ts says them. */
  facts(): Promise<string[]>;
  end(): Promise<void>;
}

function write_pieces(path: string, { pieces }: Pieces): string {
  writeFileSync(path, "");
  for (const piece of pieces) appendFileSync(path, piece);
  return path;
}

/** Null where there is no gcc. */
export function start_fold_floor(hosts: number, baseline: Pieces, events: Pieces): FoldFloor | null {
  const program = start_native("fold", (directory) => [
    write_pieces(join(directory, "baseline"), baseline),
    write_pieces(join(directory, "events"), events),
    String(hosts),
    "1",
  ]);
  if (program === null) return null;
  return {
    async run() {
      program.tell("run");
      const times = (await program.next_line()).split(" ").map(Number);
      return { new_hosts: run_of(times), events: run_of(times.slice(2)) };
    },
    async facts() {
      program.tell("facts");
      const facts: string[] = [];
      for (let line = await program.next_line(); line !== ""; line = await program.next_line())
        facts.push(line);
      const total = facts.pop()!;
      return [...facts.sort(), total];
    },
    end: () => program.end(),
  };
}
