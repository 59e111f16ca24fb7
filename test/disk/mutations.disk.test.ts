/**
 * Whether lives on the simulated disk see what they are there for: the built product with one mistake put in, and lives
 * until one fails. A mistake that the lives do not see is one that the product may have.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const FIRST_SEED = 1;
const LIVES_MAX = 1000;
const RUN_MS_MAX = 100_000;
const FAILS = /^seed (\d+) fails: (.*)$/gm;

interface Mutation {
  name: string;
  /** Of dist/services/. */
  file: string;
  /** Stands in the file once. */
  code: string;
  instead: string;
}

const MUTATIONS: readonly Mutation[] = [
  {
    name: "records are acknowledged before they are synced",
    file: "log/writer.js",
    code: "await tail.sync();\n            if (!this.#tail_named)",
    instead: "tail.sync().catch(() => {});\n            if (!this.#tail_named)",
  },
  {
    name: "the name of a new segment is not synced",
    file: "log/writer.js",
    code: "await disk.sync_directory(directory);",
    instead: ";",
  },
  {
    name: "the name of a new directory is not synced",
    file: "log/disk.js",
    code: "await disk.make_directory(path);\n    await disk.sync_directory(parent);",
    instead: "await disk.make_directory(path);",
  },
  {
    name: "checksums are not compared",
    file: "log/frame.js",
    code: "crc32(bytes.subarray(at + CRC_FROM, end)) !== view.getUint32(at + CRC_AT, true)",
    instead: "false",
  },
  {
    name: "what a later frame calls durable is ignored",
    file: "log/torn_tail.js",
    code: "frame.synced > bad && frame.synced <= from + at",
    instead: "false",
  },
  {
    name: "the last commit is not written again at a start",
    file: "log/recovery.js",
    code: "await rewrite_last_commit(place, last, cursor, tail);",
    instead: "",
  },
  {
    name: "a torn tail stays in the file",
    file: "log/recovery.js",
    code: "await tail.truncate(last.bytes);",
    instead: "",
  },
  {
    name: "a torn tail is cut, and the cut is not synced",
    file: "log/recovery.js",
    code: "await tail.sync();",
    instead: "",
  },
  {
    name: "the part of a failed write stays in the file",
    file: "log/writer.js",
    code: "await this.#tail.truncate(segment.bytes);\n            await this.#tail.sync();",
    instead: "",
  },
  {
    name: "a log goes on after an fsync that failed",
    file: "log/writer.js",
    code: "throw this.#end(error, segment);",
    instead: "throw this.#problem(error, segment.path);",
  },
  {
    name: "a log that is closed gets no empty frame",
    file: "log/writer.js",
    code: "if (this.#seal_wanted && !this.#state.sealed && this.#ended === null)",
    instead: "if (false)",
  },
  {
    name: "a snapshot is renamed before it is synced",
    file: "log/disk.js",
    code: "await file.truncate(0);\n        await file.write(buffers, 0);\n        await file.sync();",
    instead: "await file.truncate(0);\n        await file.write(buffers, 0);",
  },
  {
    name: "the chain is not synced before the snapshot",
    file: "registry/partition.js",
    code: "(durable ? this.#follower.chains.sync() : this.#follower.chains.flush())",
    instead: "this.#follower.chains.flush()",
  },
  {
    name: "the chain of a segment that is full is not synced",
    file: "log/chain_writer.js",
    code: "async close() {\n        await this.sync();",
    instead: "async close() {\n        await this.flush();",
  },
  {
    name: "the checksum of a snapshot's body is not compared",
    file: "log/snapshot_file.js",
    code: "checksum === header.body_crc32",
    instead: "true",
  },
  {
    name: "a snapshot of another registry is taken",
    file: "log/snapshot_file.js",
    code: "header.registry_id !== stamp.registry_id",
    instead: "false",
  },
  {
    name: "a start reads from the snapshot's byte in another segment",
    file: "log/recovery.js",
    code: "first_offset === position?.segment",
    instead: "first_offset <= (position?.segment ?? 0n)",
  },
  {
    name: "a start passes over the empty frame behind a snapshot",
    file: "log/segment.js",
    code: "frame.first_offset < from_offset && frame.next_offset <= from_offset",
    instead: "frame.next_offset <= from_offset",
  },
  {
    name: "a log that ends before the snapshot is served",
    file: "log/recovery.js",
    code: "if (cursor.next_offset < known_end)",
    instead: "if (false)",
  },
  {
    name: "a chain goes on where the log does not",
    file: "log/chains.js",
    code: "if (!chain.cut(byte))\n            chain.clear();",
    instead: "",
  },
];

let directory: string;
/** The product as it was built, with the simulated disk beside it. */
let product: string;
/** The lives from FIRST_SEED on that at least one mutation needed to be seen. */
let lives_needed = 1;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-disk-"));
  product = join(directory, "product");
  for (const part of ["core-wasm", "generated", "services"]) {
    cpSync(join(ROOT, "dist", part), join(product, "dist", part), { recursive: true });
  }
  cpSync(join(ROOT, "package.json"), join(product, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(product, "node_modules"));
  const tsc = join(ROOT, "node_modules", ".bin", "tsc");
  execFileSync(tsc, ["-p", join(ROOT, "test", "disk"), "--outDir", join(product, "dist")]);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function mutated({ file, code, instead }: Mutation): string {
  const copy = mkdtempSync(join(directory, "mutated-"));
  cpSync(product, copy, { recursive: true });
  const path = join(copy, "dist", "services", file);
  const parts = readFileSync(path, "utf8").split(code);
  expect(parts, `${file} has ${JSON.stringify(code)} once`).toHaveLength(2);
  writeFileSync(path, parts.join(instead));
  return copy;
}

interface Run {
  status: number | null;
  failures: { seed: number; message: string }[];
}

/** Ends soon after the first failure. */
function live(copy: string, first_seed: number, lives: number): Run {
  const run = join(copy, "dist", "test", "disk", "run.js");
  const options = ["--seed", first_seed, "--lives", lives, "--failures", 1].map(String);
  // A mistake may also make a life wait for ever.
  const bound = { encoding: "utf8", timeout: RUN_MS_MAX } as const;
  const { status, stderr } = spawnSync(process.execPath, [run, ...options], bound);
  const failures = [...stderr.matchAll(FAILS)].map(([, seed, message]) => {
    return { seed: Number(seed), message: message! };
  });
  return { status, failures };
}

describe("lives on the simulated disk fail, and again from the seed that they name, where", () => {
  test.for(MUTATIONS)("$name", (mutation) => {
    const copy = mutated(mutation);
    const { status, failures } = live(copy, FIRST_SEED, LIVES_MAX);
    expect(status).toBe(1);
    expect(failures).not.toEqual([]);
    for (const failure of failures) {
      // A promise was broken: not a crash, of the product or of the lives.
      expect(failure.message).toMatch(/^LifeFailure: /);
      lives_needed = Math.max(lives_needed, failure.seed - FIRST_SEED + 1);
    }
    const [first] = failures;
    expect(live(copy, first!.seed, 1)).toEqual({ status: 1, failures: [first] });
  });
});

test("the same lives do not fail where nothing is wrong", () => {
  expect(live(product, FIRST_SEED, lives_needed)).toEqual({ status: 0, failures: [] });
});
