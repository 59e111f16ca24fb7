/**
 * Whether runs see what they are there for: the built product with one mistake put in, and runs until one fails, by the
 * promise that the mistake breaks. `npm run test:faults -- mutations`.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PROMISES } from "./checker.js";
import type { Trouble } from "./plan.js";

const ROOT = join(import.meta.dirname, "..", "..");
const FIRST_SEED = 1;
/** So many seeds may not see a mistake; the next one has to. */
const SEEDS_MAX = 3;
const RUN_MS_MAX = 900_000;

interface Mutation {
  name: string;
  /** Of dist/services/. */
  file: string;
  /** Stands in the file once. */
  code: string;
  instead: string;
  /** What a run has to be about, so that it is short. */
  only: Trouble;
  minutes: number;
  /** The promise that is seen to be broken, as a run names it. */
  promise: string;
}

const MUTATIONS: readonly Mutation[] = [
  {
    name: "kafkajs's idempotent producer is used",
    file: "kafka/outlet.js",
    code: "idempotent: false,\n    retry: { retries: 0 },",
    instead: "idempotent: true,\n    retry: { retries: 1 },",
    only: "responses dropped until nobody waits",
    minutes: 1.5,
    promise: PROMISES.stored,
  },
  {
    name: "a node takes itself for an owner until it hears otherwise",
    file: "kafka/lease.js",
    code: "return clocks.monotonic() < cells[MONOTONIC_UNTIL] && clocks.wall() < cells[WALL_UNTIL];",
    instead: "return cells[MONOTONIC_UNTIL] > 0;",
    only: "node paused beyond its session",
    minutes: 1,
    promise: PROMISES.no_way_back,
  },
  {
    name: "a replica's last record is not compared with the topic's",
    file: "kafka/replica.js",
    code: "if (!same)",
    instead: "if (false)",
    only: "node paused",
    minutes: 0.1,
    promise: "a topic that was made anew is noticed, and named",
  },
];

let directory: string;
/** The product as it was built, with the runs beside it. */
let product: string;
/** The seeds that mutations needed, by what their runs are about. */
const needed = new Map<string, { mutation: Mutation; seed: number }>();

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-mutations-"));
  product = join(directory, "product");
  for (const part of ["core-wasm", "generated", "services", "test"]) {
    cpSync(join(ROOT, "dist", part), join(product, "dist", part), { recursive: true });
  }
  for (const part of ["bin", "package.json", join("test", "faults", "step_clock.c")]) {
    cpSync(join(ROOT, part), join(product, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(product, "node_modules"));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function mutated({ file, code, instead }: Mutation): string {
  const copy = mkdtempSync(join(directory, "mutated-"));
  cpSync(product, copy, { recursive: true, verbatimSymlinks: true });
  const path = join(copy, "dist", "services", file);
  const parts = readFileSync(path, "utf8").split(code);
  expect(parts, `${file} has ${JSON.stringify(code)} once`).toHaveLength(2);
  writeFileSync(path, parts.join(instead));
  return copy;
}

interface Run {
  status: number | null;
  /** The promises that were broken. */
  broken: string[];
  output: string;
}

function run(copy: string, seed: number, { only, minutes }: Mutation): Run {
  const command = join(copy, "dist", "test", "faults", "run.js");
  const args = ["--seed", seed, "--minutes", minutes, "--only", only].map(String);
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], {
    encoding: "utf8",
    timeout: RUN_MS_MAX,
    maxBuffer: 64 * 1024 * 1024,
  });
  const broken = [...stdout.matchAll(/FAILED \d+ of \d+ × (.*)/g)].map(([, promise]) => promise!);
  return { status, broken, output: stdout + stderr };
}

describe("a run sees it where", () => {
  test.for(MUTATIONS)("$name", (mutation) => {
    const copy = mutated(mutation);
    const outputs: string[] = [];
    for (let seed = FIRST_SEED; seed <= SEEDS_MAX; seed++) {
      const { status, broken, output } = run(copy, seed, mutation);
      outputs.push(output);
      if (broken.includes(mutation.promise)) {
        expect(status).toBe(1);
        needed.set(mutation.name, { mutation, seed });
        return;
      }
    }
    expect.fail(`${SEEDS_MAX} seeds did not see it:\n${outputs.join("\n")}`);
  });
});

test("the same runs do not fail where nothing is wrong", () => {
  expect(needed.size).toBe(MUTATIONS.length);
  for (const { mutation, seed } of needed.values()) {
    const { status, output } = run(product, seed, mutation);
    expect(status, output).toBe(0);
  }
});
