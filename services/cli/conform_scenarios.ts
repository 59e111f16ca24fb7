/**
 * Recorded kernels against the whole product: catalog, agent, codec, log, core, registry. What is compared with what is
 * conform_pass.ts's business; here a pass gets its registry, and the findings of two become an outcome.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConformOutcome } from "./conform.js";
import { ConformPass, type Difference, type PassCounts, type PassName } from "./conform_pass.js";
import type { Progress } from "./progress.js";
import { manifests_of, type Recording, read_recordings } from "./recording.js";
import { scenarios_text } from "./render/scenarios_text.js";

export interface ScenariosOutcome {
  file: string;
  passed: number;
  failed: number;
  kernels: Record<string, { scenarios: number; steps: number; loads: number }>;
  /** Scenarios without any facts about modules: no verdict can be asked there. */
  without_modules: number;
  /** Modules with entries behind an id 0, which ends an array for the kernel. */
  states_cut: number;
  /** Of pass A; B asks and compares the same. */
  counts: PassCounts;
  events: Record<PassName, number>;
  differences: Difference[];
}

/** Throws Problem where the file cannot be read. */
export async function conform_scenarios(file: string, progress?: Progress): Promise<ConformOutcome> {
  const recordings = await read_recordings(file);
  const passes = [];
  for (const [at, name] of (["A", "B"] as const).entries()) {
    const show = (fraction: number) =>
      progress?.show((at + fraction) / 2, `pass ${name} over ${recordings.length} scenarios`);
    passes.push(await run_pass(recordings, name, show));
  }
  const [a, b] = passes as [ConformPass, ConformPass];
  const differences = [...a.differences, ...b.differences].sort((x, y) => x.line - y.line);
  const failed = new Set(differences.map(({ line }) => line)).size;
  const outcome: ScenariosOutcome = {
    file,
    passed: recordings.length - failed,
    failed,
    kernels: kernels_of(recordings),
    without_modules: recordings.filter(({ modules }) => modules.size === 0).length,
    states_cut: recordings.reduce((sum, { modules }) => sum + cut_modules(modules), 0),
    counts: a.counts,
    events: { A: a.events, B: b.events },
    differences,
  };
  return { conforms: failed === 0, document: outcome, text: scenarios_text(outcome) };
}

function kernels_of(recordings: Recording[]): ScenariosOutcome["kernels"] {
  const kernels: ScenariosOutcome["kernels"] = {};
  for (const { kernel, steps } of recordings) {
    kernels[kernel] ??= { scenarios: 0, steps: 0, loads: 0 };
    kernels[kernel].scenarios++;
    kernels[kernel].steps += steps.length;
    kernels[kernel].loads += steps.filter(({ op }) => op === "load").length;
  }
  return kernels;
}

function cut_modules(modules: Recording["modules"]): number {
  return [...modules.values()].filter(({ states_cut }) => states_cut > 0).length;
}

async function run_pass(
  recordings: Recording[],
  name: PassName,
  show: (fraction: number) => void,
): Promise<ConformPass> {
  // Loaded only here: other commands need neither the core nor worker threads.
  const { open_registry } = await import("../registry/open_registry.js");
  const directory = await mkdtemp(join(tmpdir(), "klpstate-conform-"));
  try {
    const registry = await open_registry({ data: directory });
    try {
      await Promise.all(manifests_of(recordings).map((manifest) => registry.publish(manifest)));
      const pass = new ConformPass(name, registry, recordings);
      await pass.run(show);
      return pass;
    } finally {
      await registry.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
