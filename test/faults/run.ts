/**
 * npm run test:faults -- --seed S --minutes M: brokers, nodes and clients while things go wrong as the seed says; then
 * whether all that clients were told is so. Exits with 1 where something is not; its last line has the totals.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { embedded_place } from "./embedded_place.js";
import type { Fact } from "./ending.js";
import { kafka_place } from "./kafka_place.js";
import { live } from "./life.js";
import { Operations } from "./operations.js";
import { TROUBLES, type Trouble } from "./plan.js";
import { build_step_clock } from "./wall_clock.js";

/** What is wrong is told so often; the rest is counted. */
const WRONG_SHOWN_MAX = 8;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    minutes: { type: "string", default: "2" },
    /** Troubles, separated by commas; by default all. */
    only: { type: "string", default: "" },
    embedded: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes);
const only = values.only === "" ? [] : (values.only.split(",") as Trouble[]);
const stray = only.find((trouble) => !TROUBLES.includes(trouble));
if (!Number.isSafeInteger(seed) || !(minutes > 0) || stray !== undefined) {
  if (stray !== undefined) console.error(`no such trouble: ${stray}; there are ${TROUBLES.join(", ")}`);
  console.error(
    "usage: npm run test:faults -- --seed S --minutes M [--only TROUBLE,…] [--embedded] [--keep]",
  );
  process.exit(2);
}

/** This file is dist/test/faults/run.js of the product that is tried; the rest of this directory is not compiled. */
const product = fileURLToPath(new URL("../../../", import.meta.url));
const began_ms = performance.now();
function say(line: string): void {
  console.log(`${((performance.now() - began_ms) / 1000).toFixed(1).padStart(6)} s  ${line}`);
}

function tell(facts: readonly Fact[]): { passed: number; failed: number } {
  let passed = 0;
  let failed = 0;
  for (const { name, count, wrong } of facts) {
    if (wrong.length === 0) {
      // What nothing was there to try is not kept by that.
      if (count > 0) passed += 1;
      say(`${String(count).padStart(7)} × ${name}`);
      continue;
    }
    failed += 1;
    say(`FAILED ${wrong.length} of ${count} × ${name}`);
    for (const line of wrong.slice(0, WRONG_SHOWN_MAX)) console.log(`    ${line}`);
    if (wrong.length > WRONG_SHOWN_MAX) console.log(`    and ${wrong.length - WRONG_SHOWN_MAX} more`);
  }
  return { passed, failed };
}

const workplace = mkdtempSync(join(tmpdir(), "klpstate-faults-"));
const clock_library = build_step_clock(join(product, "test", "faults", "step_clock.c"), workplace);
const operations = new Operations(join(workplace, "operations.ndjson"), () => performance.now() - began_ms);
const command = join(product, "bin", "klpstate.js");
const place_of = values.embedded ? embedded_place : kafka_place;
const place = await place_of({ workplace, command, clock_library, say });
const again = [
  `npm run test:faults -- --seed ${seed} --minutes ${minutes}`,
  ...(only.length > 0 ? [`--only '${values.only}'`] : []),
  ...(place.option === "" ? [] : [place.option]),
].join(" ");
say(`seed ${seed}, ${minutes} minutes of trouble, files in ${workplace}`);

// Also where the run itself is at fault, or somebody ends it.
let is_closed = false;
process.on("exit", () => is_closed || place.abandon());
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

let failed = 1;
try {
  const lived = await live({ seed, trouble_ms: minutes * 60_000, only, place, operations, say });
  for (const [trouble, count] of [...lived.troubles].sort()) say(`${String(count).padStart(7)} × ${trouble}`);
  const by_outcome = new Map<string, number>();
  for (const { kind, outcome } of operations.ended) {
    by_outcome.set(`${kind}: ${outcome}`, (by_outcome.get(`${kind}: ${outcome}`) ?? 0) + 1);
  }
  for (const [what, count] of [...by_outcome].sort()) say(`${String(count).padStart(7)} × ${what}`);
  const totals = tell(lived.facts);
  failed = totals.failed;
  if (failed > 0) say(`again: ${again}; what was asked and answered is in ${workplace}`);
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
} finally {
  await place.close();
  is_closed = true;
  await operations.close();
  if (failed === 0 && !values.keep) rmSync(workplace, { recursive: true, force: true });
}
// Clients of brokers that are gone would try on.
process.exit(failed === 0 ? 0 : 1);
