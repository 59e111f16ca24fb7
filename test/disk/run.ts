/**
 * npm run test:disk -- --seed S --lives N: many lives, and what has happened in them. Exits with 1 on a failure, and
 * where something that is simulated never happened in a run that is long enough for all of it. It ends early after
 * `--failures F`.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { EVENT_KINDS } from "./life.js";
import type { Lived } from "./run_worker.js";

/** In so many lives everything of EVENT_KINDS has happened; the rarest is in about one of 200. */
const LIVES_FOR_ALL_KINDS = 10_000;
const PROGRESS_MS = 2000;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    lives: { type: "string", default: "1000" },
    failures: { type: "string", default: "400" },
  },
});
const first_seed = Number(values.seed);
const lives = Number(values.lives);
const failures_max = Number(values.failures);
if (![first_seed, lives, failures_max].every(Number.isSafeInteger) || lives < 1 || failures_max < 1) {
  console.error("usage: npm run test:disk -- --seed S --lives N --failures F");
  process.exit(2);
}

const began_ms = Date.now();
const lives_with = new Map<string, number>(EVENT_KINDS.map((kind) => [kind, 0]));
const sum = { lived: 0, starts: 0, acknowledged: 0, steps: 0 };
const failures: string[] = [];
let next = 0;
let shown_ms = began_ms;

function take(lived: Lived): void {
  sum.lived += 1;
  if ("failure" in lived) {
    failures.push(`seed ${lived.seed}: ${lived.failure}`);
    console.error(
      `seed ${lived.seed} fails: ${lived.failure}\n` +
        `  again: npm run test:disk -- --seed ${lived.seed} --lives 1`,
    );
    return;
  }
  const { happened, starts, acknowledged, steps } = lived.report;
  sum.starts += starts;
  sum.acknowledged += acknowledged;
  sum.steps += steps;
  for (const kind of happened) lives_with.set(kind, lives_with.get(kind)! + 1);
}

function show_progress(): void {
  if (Date.now() - shown_ms < PROGRESS_MS) return;
  shown_ms = Date.now();
  console.error(`${sum.lived} of ${lives} lives, ${failures.length} failed`);
}

function work(): Promise<void> {
  const worker = new Worker(new URL("./run_worker.js", import.meta.url));
  const send_next = () => {
    if (next === lives || failures.length >= failures_max) return false;
    worker.postMessage(first_seed + next);
    next += 1;
    return true;
  };
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("message", (lived: Lived) => {
      take(lived);
      show_progress();
      if (!send_next()) void worker.terminate().then(() => resolve());
    });
    if (!send_next()) void worker.terminate().then(() => resolve());
  });
}

await Promise.all(Array.from({ length: Math.min(lives, availableParallelism()) }, work));

const seconds = (Date.now() - began_ms) / 1000;
for (const [kind, count] of lives_with) console.log(`${String(count).padStart(7)} lives with: ${kind}`);
console.log(
  `${sum.lived} lives from seed ${first_seed} in ${seconds.toFixed(1)} s: ${sum.starts} starts, ` +
    `${sum.acknowledged} records acknowledged, ${sum.steps} steps of the disk, ${failures.length} failures`,
);
const missing = [...lives_with].filter(([, count]) => count === 0 && sum.lived >= LIVES_FOR_ALL_KINDS);
for (const [kind] of missing) console.error(`the simulated disk lacks something: no life with ${kind}`);
process.exitCode = failures.length === 0 && missing.length === 0 ? 0 : 1;
