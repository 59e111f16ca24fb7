/**
 * `klpstate conform`, as somebody runs it who has recordings of their own: all of ours are as this build answers, and
 * every kind of damage to one is found. Exit codes: 0 all passed, 1 one failed, 2 the file cannot be read.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run_captured } from "../unit/cli/captured_terminal.js";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const SCENARIOS = join(FIXTURES, "kernel/scenarios.jsonl.gz");
const POLICY = join(FIXTURES, "kernel/policy.jsonl.gz");
const VECTORS = join(FIXTURES, "conformance/compat-vectors.jsonl.gz");

interface Step {
  op: string;
  target: string;
  result: string;
  dmesg: string[];
  after: { name: string; order: number; stack_order?: number; enabled: number; transition: number }[];
  modules: [name: string, refcount: number, state: string, taints: string][];
  arg?: string | null;
}
interface Scenario {
  name: string;
  kernel: string;
  modules: Record<string, { replace: boolean; states: { id: string; version: number }[] }>;
  steps: Step[];
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function lines_of(file: string): string[] {
  return gunzipSync(readFileSync(file)).toString().trimEnd().split("\n");
}

async function conform(what: "scenarios" | "vectors", lines: string[]) {
  const file = join(directory, `${what}.jsonl`);
  writeFileSync(file, lines.join("\n"));
  const { code, out, err } = await run_captured(["conform", what, file]);
  return { code, out, err: err.replace(file, "FILE"), last: out.trimEnd().split("\n").at(-1) };
}

describe("vectors", () => {
  test("all 5,500 are what the core says", async () => {
    const { code, out } = await run_captured(["conform", "vectors", VECTORS]);
    expect([code, out.split("\n").at(-2)]).toEqual([0, "5500 passed, 0 failed"]);
  });

  const vectors = lines_of(VECTORS)
    .slice(0, 40)
    .map((line) => JSON.parse(line));
  const refused = vectors.findIndex(({ compatible }) => !compatible);
  const held = vectors.findIndex(({ prev }) => prev.patch >= 0);
  const with_states = vectors.findIndex(({ installed }) => installed[0]?.states?.length > 1);

  test.each<[string, number, (vector: (typeof vectors)[number]) => void]>([
    ["another verdict", refused, (vector) => Object.assign(vector, { compatible: true })],
    ["a conflict further on", refused, ({ conflict }) => Object.assign(conflict, { state: 99 })],
    ["another previous holder", held, ({ prev }) => Object.assign(prev, { patch: prev.patch + 1 })],
    ["another previous version", held, ({ prev }) => Object.assign(prev, { version: prev.version ^ 1 })],
  ])("%s fails that vector alone", async (_, at, damage) => {
    const copy = structuredClone(vectors);
    damage(copy[at]);
    const { code, last, out } = await conform(
      "vectors",
      copy.map((vector) => JSON.stringify(vector)),
    );
    expect([code, last]).toEqual([1, "39 passed, 1 failed"]);
    expect(out).toContain(`line ${at + 1}, `);
  });

  test("what stands behind an id 0 reaches the core, which cuts it", async () => {
    const patch = (states: unknown) => ({ replace: true, states });
    const vector = (installed: unknown, candidate: unknown, compatible: boolean) => ({
      installed: [patch(installed)],
      candidate: patch(candidate),
      compatible,
      ...(compatible ? {} : { conflict: { patch: 0, state: 0 } }),
      prev: { id: "7", patch: -1, version: null },
    });
    const cut = [
      ["0", 3],
      ["7", 5],
    ];
    const { code, last } = await conform(
      "vectors",
      [
        vector(cut, null, true),
        vector(
          [["8", 1]],
          [
            ["0", 3],
            ["8", 1],
          ],
          false,
        ),
      ].map((v) => JSON.stringify(v)),
    );
    expect([code, last]).toEqual([0, "2 passed, 0 failed"]);
  });

  test.each<[string, (lines: string[]) => string[], RegExp]>([
    [
      "a line that is no JSON",
      (lines) => lines.with(2, lines[2]!.slice(0, -5)),
      /^klpstate: FILE:3: is not JSON/,
    ],
    [
      "a version that is none",
      (lines) => {
        const vector = structuredClone(vectors[with_states]);
        vector.installed[0].states[1][1] = 2 ** 32;
        return lines.with(with_states, JSON.stringify(vector));
      },
      new RegExp(`^klpstate: FILE:${with_states + 1}: installed\\[0\\]\\.states\\[1\\]\\[1\\]: `),
    ],
    [
      "an id that JavaScript would round",
      (lines) => [...lines, ROUNDED],
      /^klpstate: FILE:41: candidate\.states\[0\]\[0\]: /,
    ],
    ["an empty file", () => [], /has no line/],
  ])("%s is exit code 2, and named", async (_, damage, said) => {
    const { code, out, err } = await conform(
      "vectors",
      damage(vectors.map((vector) => JSON.stringify(vector))),
    );
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(said);
  });

  test("so is a file that is not there, or was cut", async () => {
    const cut = join(directory, "cut.jsonl.gz");
    writeFileSync(cut, readFileSync(VECTORS).subarray(0, 3_000));
    for (const file of [cut, join(directory, "none")]) {
      const { code, err } = await run_captured(["conform", "vectors", file]);
      expect([code, err.startsWith(`klpstate: ${file} cannot be read: `)]).toEqual([2, true]);
    }
  });
});

const ROUNDED =
  '{"installed":[],"candidate":{"replace":false,"states":[[9007199254740993,1]]},"compatible":true,"prev":{"id":"1","patch":-1,"version":null}}';

describe("scenarios", () => {
  test("all 973 are explained and foreseen; what is not compared is counted", async () => {
    const { code, out } = await run_captured(["conform", "scenarios", SCENARIOS, "--json"]);
    const { passed, failed, counts, kernels, events } = JSON.parse(out);
    expect([code, passed, failed]).toEqual([0, 973, 0]);
    const loads = Object.values(kernels as Record<string, { loads: number }>).map((kernel) => kernel.loads);
    expect(loads).toEqual([1_590, 1_584, 1_584]);
    const compared = Object.fromEntries(
      (counts.compared as { verdict: string; result: string; loads: number }[]).map(
        ({ verdict, result, loads }) => [`${verdict} ${result}`, loads],
      ),
    );
    expect(compared).toEqual({
      "ok ok": 2_183,
      "incompatible EINVAL": 1_697,
      "done EEXIST": 415,
      "name_taken EEXIST": 156,
      "busy EBUSY": 93,
    });
    expect(counts.unforeseen).toEqual({ not_livepatch: 46, symbol_missing: 9, pre_patch: 7, ftrace: 2 });
    expect([counts.overtaken, counts.no_livepatch]).toEqual([0, 150]);
    expect(counts.refused_in_history).toBe(1_761);
    expect(counts.refused_unseen).toEqual({ EEXIST: 571, EBUSY: 93 });
    // One Observed a host in the first pass, and one more after each step in the second.
    expect(events.B - events.A).toBe(7_602);
  }, 300_000);

  test("recordings without facts about modules are compared as far as they go", async () => {
    const { code, out } = await run_captured(["conform", "scenarios", POLICY]);
    expect([code, out.split("\n").at(-2)]).toEqual([0, "20 passed, 0 failed"]);
    expect(out).toContain("100  no livepatch");
    expect(out).toContain("20 scenarios without facts about modules");
  });

  const scenarios: Scenario[] = lines_of(SCENARIOS).map((line) => JSON.parse(line));
  /** `before`: the step before it; in a scenario's first step none was taken. */
  type Choose = (step: Step, scenario: Scenario, before: Step | undefined) => boolean;
  const load =
    (result: string): Choose =>
    ({ op, target, result: recorded }, { modules }) =>
      op === "load" && recorded === result && target in modules;
  const two_enabled: Choose = ({ after }) =>
    after.length === 2 && after.every(({ enabled }) => enabled === 1);

  /** A scenario that has such a step, and the number of the step. */
  function find(choose: Choose): { scenario: Scenario; at: number } {
    for (const scenario of scenarios) {
      const at = scenario.steps.findIndex((step, at) => choose(step, scenario, scenario.steps[at - 1]));
      if (at >= 0) return { scenario: structuredClone(scenario), at };
    }
    throw new Error("no scenario has such a step");
  }

  test.each<[string, Choose, (step: Step, scenario: Scenario) => void, string]>([
    [
      "a load that was refused instead",
      load("ok"),
      (step) => Object.assign(step, { result: "EINVAL" }),
      "verdict",
    ],
    [
      "a load that was blocked instead",
      load("ok"),
      (step) => Object.assign(step, { result: "EPERM" }),
      "verdict",
    ],
    ["a refusal that was none", load("EINVAL"), (step) => Object.assign(step, { result: "ok" }), "verdict"],
    ["a name that was free", load("EEXIST"), (step) => Object.assign(step, { result: "ok" }), "verdict"],
    [
      "a transition that held up no load",
      (step, scenario) => load("EBUSY")(step, scenario, undefined) && step.dmesg.length === 0,
      (step) => Object.assign(step, { result: "ok" }),
      "verdict",
    ],
    [
      "states that were compatible after all",
      (step) => step.dmesg.some((line) => line.includes("is not compatible")),
      (step) => Object.assign(step, { dmesg: ["livepatch: symbol 'f' not found in symbol table"] }),
      "verdict",
    ],
    [
      "other states than the kernel saw",
      (step) => step.dmesg.some((line) => line.includes("is not compatible")),
      (_, { modules }) => {
        for (const { states } of Object.values(modules)) for (const state of states) state.version = 0;
      },
      "verdict",
    ],
    [
      "patches that replaced others unsaid",
      (step, scenario, before) =>
        load("ok")(step, scenario, before) && step.after.length === 1 && before?.after.length === 1,
      (_, { modules }) => {
        for (const module of Object.values(modules)) module.replace = false;
      },
      "replaced patches",
    ],
    [
      "a patch less on the stack",
      two_enabled,
      ({ after }) => void after.pop(),
      "the changes explain the step",
    ],
    [
      "a patch in another phase",
      two_enabled,
      ({ after }) => Object.assign(after[0]!, { transition: 1 }),
      "stack",
    ],
    [
      "another order of loads",
      (step, scenario) => two_enabled(step, scenario, undefined) && step.after[0]!.stack_order === undefined,
      ({ after: [a, b] }) => {
        [a!.order, b!.order] = [b!.order, a!.order];
      },
      "stack",
    ],
    [
      "lines that were not printed",
      (step, scenario) => load("ok")(step, scenario, undefined) && step !== scenario.steps[0],
      (step) => Object.assign(step, { dmesg: [] }),
      "the changes explain the step",
    ],
    [
      "a module that is gone",
      // Not where it is removed in the next step: that says nothing, now or then.
      ({ op, after, modules }, { steps }) =>
        op === "read" &&
        after.length === 0 &&
        modules[0]?.[3] === "(OEK)" &&
        steps.at(-1)!.modules.length === 1,
      (step) => Object.assign(step, { modules: [] }),
      "the changes explain the step",
    ],
  ])("%s: the scenario fails, and its neighbours pass", async (_, choose, damage, what) => {
    const { scenario, at } = find(choose);
    damage(scenario.steps[at]!, scenario);
    const others = scenarios.slice(0, 2).map((other) => JSON.stringify(other));
    const { code, last, out } = await conform("scenarios", others.toSpliced(1, 0, JSON.stringify(scenario)));
    expect([code, last]).toEqual([1, "2 passed, 1 failed"]);
    expect(out).toContain(`line 2, ${scenario.kernel} ${scenario.name} step `);
    expect(out).toContain(`pass A: ${what}\n`);
  });

  test("a transition that ended just before a load is told apart from a wrong verdict", async () => {
    const { scenario, at } = find(
      (step, found) =>
        load("EBUSY")(step, found, undefined) &&
        step.dmesg.length === 0 &&
        !found.modules[step.target]!.replace,
    );
    const step = scenario.steps[at]!;
    const running = step.after.find(({ transition }) => transition === 1)!;
    // As the recorder writes it: what ended meanwhile comes before the step's own lines.
    step.result = "ok";
    step.dmesg = [
      `livepatch: '${running.name}': patching complete`,
      `livepatch: enabling patch '${step.target}'`,
      `livepatch: '${step.target}': starting patching transition`,
      `livepatch: '${step.target}': patching complete`,
    ];
    running.transition = 0;
    step.after.push({ name: step.target, order: 99, stack_order: 99, enabled: 1, transition: 0 });
    step.modules.unshift([step.target, 1, "Live", "(OEK)"]);
    scenario.steps = scenario.steps.slice(0, at + 1);
    const { code, out } = await conform("scenarios", [JSON.stringify(scenario)]);
    expect(out).toMatch(/ 1 {2}overtaken/);
    expect([code, out.split("\n").at(-2)]).toEqual([0, "1 passed, 0 failed"]);
  });

  test("the same name may be another build in another recording", async () => {
    const { scenario } = find(load("EINVAL"));
    const other = structuredClone(scenario);
    for (const { states } of Object.values(other.modules)) for (const state of states) state.version += 7;
    const { code, last } = await conform(
      "scenarios",
      [scenario, other].map((s) => JSON.stringify(s)),
    );
    expect([code, last]).toEqual([0, "2 passed, 0 failed"]);
  });

  test.each<[string, (scenario: Scenario) => string, RegExp]>([
    [
      "a line that is no JSON",
      (scenario) => JSON.stringify(scenario).slice(0, -1),
      /^klpstate: FILE:2: is not JSON/,
    ],
    [
      "a patch twice on the stack",
      (scenario) => {
        const patch = { name: "twice", order: 0, enabled: 1, transition: 0 };
        scenario.steps[0]!.after = [patch, patch];
        return JSON.stringify(scenario);
      },
      /^klpstate: FILE:2: steps\[\d+\]\.after: has a name twice/,
    ],
    ["no steps", ({ steps: _, ...scenario }) => JSON.stringify(scenario), /^klpstate: FILE:2: steps: /],
  ])("%s is exit code 2, and named", async (_, damage, said) => {
    const whole = scenarios.slice(0, 3).map((scenario) => JSON.stringify(scenario));
    const { code, out, err } = await conform(
      "scenarios",
      whole.with(1, damage(structuredClone(scenarios[1]!))),
    );
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(said);
  });
});
