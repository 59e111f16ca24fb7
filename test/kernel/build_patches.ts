/** From specs to module files, built with the kernel's headers and kept in the cache until a source changes. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Kernel } from "./debian.js";
import { GATE_SOURCE, patch_source } from "./module_source.js";
import { GATE, type PatchSpec } from "./patches.js";

/** In a `struct modversion_info`: the checksum, then the symbol's name in 56 bytes. */
const CHECKSUM_BYTES = 8;
const LAYOUT_SYMBOL = Buffer.from("module_layout".padEnd(64 - CHECKSUM_BYTES, "\0"));

/** The directory with a NAME.ko for each spec, and the gate's. */
export function build_patches(
  specs: readonly PatchSpec[],
  kernel: Kernel,
  say: (line: string) => void,
): string {
  const sources = new Map([
    [GATE, GATE_SOURCE],
    ...specs.map((spec): [string, string] => [spec.name, patch_source(spec)]),
  ]);
  const described = JSON.stringify([...sources, specs.map((spec) => spec.of_other_kernel ?? null)]);
  const built = join(
    kernel.cache,
    `patches-${createHash("sha256").update(described).digest("hex").slice(0, 16)}`,
  );
  if (existsSync(built)) return built;
  say(`builds ${sources.size} modules for ${kernel.release}`);
  const half_made = `${built}.${process.pid}`;
  mkdirSync(half_made, { recursive: true });
  try {
    for (const [name, source] of sources) writeFileSync(join(half_made, `${name}.c`), source);
    writeFileSync(
      join(half_made, "Kbuild"),
      [...sources.keys()].map((name) => `obj-m += ${name}.o\n`).join(""),
    );
    make(half_made, kernel);
    for (const name of sources.keys()) execFileSync("strip", ["-g", join(half_made, `${name}.ko`)]);
    for (const spec of specs) {
      if (spec.of_other_kernel === undefined) continue;
      const file = join(half_made, `${spec.name}.ko`);
      writeFileSync(file, for_other_kernel(readFileSync(file), spec.of_other_kernel, kernel.release));
    }
    renameSync(half_made, built);
  } catch (error) {
    rmSync(half_made, { recursive: true, force: true });
    throw error;
  }
  return built;
}

function make(directory: string, kernel: Kernel): void {
  const jobs = `-j${availableParallelism()}`;
  // The headers name the compiler of the kernel's build, whose version need not be installed.
  const { status, stderr } = spawnSync(
    "make",
    [jobs, "-C", kernel.headers, `M=${directory}`, "CC=gcc", "modules"],
    {
      encoding: "utf8",
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  if (status !== 0) throw new Error(`make: ${stderr}`);
}

/** What a build for another release differs in; the code, which nobody looks at, stays. */
function for_other_kernel(
  module: Buffer,
  differs_in: NonNullable<PatchSpec["of_other_kernel"]>,
  release: string,
): Buffer {
  const changed = Buffer.from(module);
  const magic = Buffer.from(`vermagic=${release} `);
  changed.write(`vermagic=${other_release(release)} `, only_place(changed, magic), "latin1");
  if (differs_in === "symbol_versions") {
    const checksum = only_place(changed, LAYOUT_SYMBOL) - CHECKSUM_BYTES;
    changed[checksum] = changed[checksum]! ^ 1;
  }
  return changed;
}

/** As long as the release, so that nothing in the file moves. */
export function other_release(release: string): string {
  const at = /\d(?=\D*(-cloud|$))/.exec(release.split("+")[0]!)?.index ?? 0;
  const digit = (Number(release[at]) + 1) % 10;
  return release.slice(0, at) + digit + release.slice(at + 1);
}

function only_place(bytes: Buffer, wanted: Buffer): number {
  const at = bytes.indexOf(wanted);
  if (at < 0 || bytes.indexOf(wanted, at + 1) >= 0)
    throw new Error(`${wanted.toString("latin1").replace(/\0+$/, "")} is not once in the module's file`);
  return at;
}
