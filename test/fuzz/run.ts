/**
 * npm run test:fuzz -- --seed S --inputs N: damaged modules, each of which must be read or refused with a Problem. A
 * reader that hangs, that throws anything else, or that keeps memory fails; what failed is named by its number, which
 * `--first F --inputs 1` tries again.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { Fuzzed } from "./run_worker.js";

/** A worker that says nothing for so long hangs: its inputs take a millisecond each. */
const SILENCE_MAX_MS = 60_000;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    inputs: { type: "string", default: "100000" },
    first: { type: "string", default: "0" },
  },
});
const [seed, inputs, first] = [values.seed, values.inputs, values.first].map(Number) as [
  number,
  number,
  number,
];
if (![seed, inputs, first].every(Number.isSafeInteger) || inputs < 1 || first < 0) {
  console.error("usage: npm run test:fuzz -- --seed S --inputs N --first F");
  process.exit(2);
}

const workers = Math.min(availableParallelism(), inputs);
const part = Math.ceil(inputs / workers);
const runs = Array.from({ length: workers }, (_, at) => {
  const begin = first + at * part;
  return fuzz({ seed, begin, end: Math.min(begin + part, first + inputs) });
});
const outcomes = await Promise.all(runs);
const failures = outcomes.flatMap(({ failures }) => failures);
for (const failure of failures) console.error(failure);
const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0);
console.log(
  `${sum(({ read }) => read)} read, ${sum(({ refused }) => refused)} refused of ${inputs} damaged modules, seed ${seed}; ` +
    `${failures.length} failures`,
);
process.exitCode = failures.length === 0 ? 0 : 1;

interface Part {
  seed: number;
  begin: number;
  end: number;
}

interface Outcome {
  read: number;
  refused: number;
  failures: string[];
}

function fuzz(part: Part): Promise<Outcome> {
  return new Promise((resolve) => {
    const worker = new Worker(fileURLToPath(new URL("./run_worker.js", import.meta.url)), {
      workerData: part,
    });
    const outcome: Outcome = { read: 0, refused: 0, failures: [] };
    let next = part.begin;
    const end = (failure?: string) => {
      clearTimeout(silence);
      if (failure !== undefined) outcome.failures.push(failure);
      void worker.terminate();
      resolve(outcome);
    };
    const hangs = () => end(`an input from ${next} on hangs`);
    let silence = setTimeout(hangs, SILENCE_MAX_MS);
    worker.on("message", (fuzzed: Fuzzed) => {
      clearTimeout(silence);
      silence = setTimeout(hangs, SILENCE_MAX_MS);
      next = fuzzed.next;
      outcome.read += fuzzed.read;
      outcome.refused += fuzzed.refused;
      outcome.failures.push(...fuzzed.failures);
      if (next === part.end) end();
    });
    worker.on("error", (error) => end(`an input from ${next} on: ${error.stack}`));
  });
}
