/** One thread of the fuzzing: reads its part of the inputs, and looks at its memory after each block of them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import { read_module_bytes } from "#services/catalog/module/read_module.js";
import { memory_source } from "#services/catalog/module/source.js";
import { Problem } from "#services/events/problem.js";
import { dice, mutated } from "./mutation.js";
import { written_modules } from "./written_modules.js";

export interface Fuzzed {
  /** The first input that is not yet done. */
  next: number;
  read: number;
  refused: number;
  failures: string[];
}

const BLOCK = 1_000;
/** What code that was compiled meanwhile and the like may take. */
const GROWTH_BYTES_MAX = 16 * 1024 ** 2;
const FIXTURES = "test/fixtures/kernel/ko";

setFlagsFromString("--expose-gc");
const collect_garbage = runInNewContext("gc") as () => void;

const { seed, begin, end } = workerData as { seed: number; begin: number; end: number };
const modules = [
  ...readdirSync(FIXTURES, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ko"))
    .sort()
    .map((name) => readFileSync(join(FIXTURES, name))),
  ...written_modules(),
];
let used_bytes: number | null = null;

for (let from = begin; from < end; from += BLOCK) {
  const fuzzed: Fuzzed = { next: Math.min(from + BLOCK, end), read: 0, refused: 0, failures: [] };
  for (let number = from; number < fuzzed.next; number++) {
    const failure = read_one(number, fuzzed);
    if (failure !== null) fuzzed.failures.push(`input ${number} of seed ${seed}: ${failure}`);
  }
  collect_garbage();
  const { heapUsed, external } = process.memoryUsage();
  // The first block compiles what it runs.
  used_bytes ??= heapUsed + external;
  const grown_bytes = heapUsed + external - used_bytes;
  if (grown_bytes > GROWTH_BYTES_MAX)
    fuzzed.failures.push(
      `inputs ${from} to ${fuzzed.next}: ${grown_bytes} bytes more than after the first ones`,
    );
  parentPort!.postMessage(fuzzed);
}

function read_one(number: number, fuzzed: Fuzzed): string | null {
  const random = dice(seed * 2 ** 32 + number);
  const module = modules[Math.floor(random() * modules.length)]!;
  try {
    read_module_bytes(memory_source(mutated(module, random)));
    fuzzed.read++;
    return null;
  } catch (error) {
    if (!(error instanceof Problem)) return String((error as Error).stack);
    fuzzed.refused++;
    return null;
  }
}
