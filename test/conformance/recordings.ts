/** What three real kernels did, step by step, and what a host showed of it. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Snapshot } from "#services/agent/derive.js";

interface Shown {
  name: string;
  order?: number;
  enabled: number;
  transition: number;
  replace?: number;
  stack_order?: number;
}
export interface Step {
  i: number;
  op: string;
  target: string;
  result: string;
  dmesg: string[];
  after: Shown[];
  modules: [name: string, refcount: number, state: string, taints: string][];
}
export interface Scenario {
  name: string;
  kernel: string;
  steps: Step[];
}

function read_scenarios(file: string): Scenario[] {
  const bytes = readFileSync(new URL(`../fixtures/kernel/${file}`, import.meta.url));
  return gunzipSync(bytes)
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

export const SCENARIOS = read_scenarios("scenarios.jsonl.gz");
export const POLICY = read_scenarios("policy.jsonl.gz");

export const of_step = (step: Step): Snapshot => ({
  boot_id: "6b3a1c0e-5d53-4a52-9f6e-0a4a9f0f1b11",
  boot_time: 1_790_000_000,
  kernel_release: "6.12.117+deb12-cloud-amd64",
  arch: "x86_64",
  // Without the recorder's own order, and in one that says nothing.
  patches: [...step.after].sort((a, b) => (a.name < b.name ? 1 : -1)).map(({ order: _, ...patch }) => patch),
  modules: step.modules.map(([name, refcount, state, taints]) => ({ name, refcount, state, taints })),
});

export const EMPTY: Snapshot = of_step({
  i: -1,
  op: "",
  target: "",
  result: "",
  dmesg: [],
  after: [],
  modules: [],
});

/** The kernel's own order of loads where it shows it, else the recorder's; policy.jsonl.gz has neither. */
export function expected(
  step: Step,
  was_enabled: ReadonlySet<string>,
): { stack: string[]; lingering: string[] } {
  const order = (patch: Shown) => patch.stack_order ?? patch.order ?? load_position(step, patch.name);
  const on_stack = step.after.filter(
    ({ name, enabled, transition }) => enabled || (transition && was_enabled.has(name)),
  );
  const names = new Set(on_stack.map(({ name }) => name));
  return {
    stack: on_stack
      .sort((a, b) => order(a) - order(b))
      .map(
        ({ name, enabled, transition }) =>
          `${name} ${!enabled ? "disabling" : transition ? "enabling" : "enabled"}`,
      ),
    lingering: step.modules
      .filter(([name, , , taints]) => taints.includes("K") && !names.has(name))
      .map(([name]) => name)
      .sort(),
  };
}

function load_position(step: Step, name: string): number {
  return -step.modules.findIndex(([module]) => module === name);
}
