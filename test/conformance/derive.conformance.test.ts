/**
 * What three real kernels did, as a host agent would have seen it: one host a scenario, one call a step. The changes
 * alone must add up to what the kernel showed after each step.
 */
import { describe, expect, test } from "vitest";
import { type Derived, derive, type Known, type Line, observe } from "#services/agent/derive.js";
import { klpstate } from "#services/events/proto.js";
import { PHASE_NAMES, PlainFold } from "../unit/agent/plain_fold.js";
import { EMPTY, expected, of_step, POLICY, SCENARIOS, type Scenario, type Step } from "./recordings.js";

// One line of each refused load that no accepted one prints.
const REFUSAL_LINES = [
  "is not compatible with the already installed livepatches",
  "is not marked as a livepatch module",
  "not found in symbol table",
  "failed to enable patch",
  "Loading of unsigned module is rejected",
  "unsigned module loading is restricted",
  "disagrees about version of symbol module_layout",
  "this_module section size must match",
  "Unknown symbol",
  "Invalid ELF",
];
const refusals_in = (lines: string[]) =>
  lines.filter((line) => REFUSAL_LINES.some((text) => line.includes(text))).length;

/** Runs a scenario step by step, `each` after every call. */
function play(
  steps: Step[],
  each: (
    step: Step,
    derived: Derived,
    truth: ReturnType<typeof expected>,
    lines: Line[],
    all_lines: Line[],
  ) => void,
): void {
  let record = 100;
  let known: Known = derive(null, EMPTY, []).next;
  const was_enabled = new Set<string>();
  const all_lines: Line[] = [];
  for (const step of steps) {
    const lines = step.dmesg.map((text) => ({ record: record++, text }));
    all_lines.push(...lines);
    for (const text of step.dmesg) {
      const started = /'(.+)': starting /.exec(text);
      if (started) was_enabled.add(started[1]!);
    }
    // As the agent keeps it: through a file.
    const derived = derive(JSON.parse(JSON.stringify(known)), of_step(step), lines);
    known = derived.next;
    each(step, derived, expected(step, was_enabled), lines, all_lines);
  }
}

/** Differences of a scenario, each as a readable line. */
function differences(scenario: Scenario, check: (differ: (what: string) => void) => void): string[] {
  const found: string[] = [];
  check((what) => found.push(`${scenario.kernel} ${scenario.name} ${what}`));
  return found;
}

describe.each([
  ["973 scenarios", SCENARIOS, 973],
  ["policies and foreign modules", POLICY, POLICY.length],
])("%s", (_, scenarios, count) => {
  test("are all there", () => {
    expect(scenarios).toHaveLength(count);
    expect(count).toBeGreaterThan(0);
  });

  test("the changes alone add up to what the kernel showed, without one Observed and without an anomaly", () => {
    const found = scenarios.flatMap((scenario) =>
      differences(scenario, (differ) => {
        const fold = new PlainFold();
        play(scenario.steps, (step, derived, truth) => {
          if (derived.baseline) differ(`${step.i}: observed: ${derived.baseline.detail}`);
          for (const change of derived.changes) fold.apply(change);
          const shows = JSON.stringify(fold.shows());
          if (shows !== JSON.stringify(truth)) differ(`${step.i}: ${shows} is ${JSON.stringify(truth)}`);
        });
        if (fold.anomalies.length > 0) differ(fold.anomalies.join());
      }),
    );
    expect(found).toEqual([]);
  });

  test("an Observed after each step does not diverge, with what is known and without", () => {
    const found = scenarios.flatMap((scenario) =>
      differences(scenario, (differ) => {
        const fold = new PlainFold();
        play(scenario.steps, (step, derived, _truth, _lines, all_lines) => {
          for (const change of derived.changes) fold.apply(change);
          const before = JSON.stringify(fold.shows());
          fold.apply({ observed: observe(derived.next, of_step(step)) });
          if (before !== JSON.stringify(fold.shows())) differ(`${step.i}: ${before} diverged`);
          const alone = new PlainFold();
          alone.apply(derive(null, of_step(step), all_lines).changes[0]!);
          if (before !== JSON.stringify(alone.shows()))
            differ(`${step.i}: ${before} diverged from a first look`);
        });
      }),
    );
    expect(found).toEqual([]);
  });

  test("a Refused for each load that the kernel refused with a line, and for no other", () => {
    const found = scenarios.flatMap((scenario) =>
      differences(scenario, (differ) => {
        play(scenario.steps, (step, derived, _truth, lines) => {
          const told = derived.changes.flatMap((change) => ("refused" in change ? [change.refused] : []));
          const lines_of = refusals_in(step.dmesg);
          if (told.length !== lines_of) differ(`${step.i}: ${told.length} for ${lines_of}`);
          for (const refused of told) {
            if (!step.dmesg.includes(refused.line!)) differ(`${step.i}: ${refused.line} was not printed`);
            if (step.op === "load" && lines_of === 1) {
              const name = refused.patch?.name;
              const target = step.target.replaceAll("-", "_").replace(/^f\d+_/, "");
              if (name && name !== target) differ(`${step.i}: ${name} is ${target}`);
              if (step.result === "ok") differ(`${step.i}: refused and loaded`);
            }
          }
          if (derived.records.some((record) => record !== null && !lines.some((l) => l.record === record)))
            differ(`${step.i}: told by a record that is not of this step`);
        });
      }),
    );
    expect(found).toEqual([]);
  });

  test("a forcing line is a Forced of the patch in transition", () => {
    const found = scenarios.flatMap((scenario) =>
      differences(scenario, (differ) => {
        let in_transition = "";
        play(scenario.steps, (step, derived) => {
          const told = derived.changes.flatMap((change) => ("forced" in change ? [change.forced] : []));
          const lines = step.dmesg.filter((line) => line.includes("forcing remaining tasks"));
          if (told.length !== lines.length) differ(`${step.i}: ${told.length} for ${lines.length}`);
          for (const forced of told) {
            const said = `${forced.patch!.name} ${PHASE_NAMES[forced.phase!]}`;
            if (said !== in_transition) differ(`${step.i}: ${said} is ${in_transition}`);
          }
          const shown = step.after.find(({ transition }) => transition);
          if (shown) in_transition = `${shown.name} ${shown.enabled ? "enabling" : "disabling"}`;
        });
      }),
    );
    expect(found).toEqual([]);
  });

  test("an agent that looks every third step only is right, too, with an Observed where it cannot know", () => {
    let observed = 0;
    let calls = 0;
    const found = scenarios.flatMap((scenario) =>
      differences(scenario, (differ) => {
        for (const offset of [0, 1, 2]) {
          const fold = new PlainFold();
          const seldom: Step[] = [];
          let dmesg: string[] = [];
          scenario.steps.forEach((step, at) => {
            dmesg.push(...step.dmesg);
            if (at % 3 !== offset) return;
            seldom.push({ ...step, dmesg });
            dmesg = [];
          });
          play(seldom, (step, derived, truth) => {
            calls++;
            if (derived.baseline) observed++;
            for (const change of derived.changes) fold.apply(change);
            const shows = JSON.stringify(fold.shows());
            if (shows !== JSON.stringify(truth)) differ(`${step.i}: ${shows} is ${JSON.stringify(truth)}`);
          });
          if (fold.anomalies.length > 0) differ(fold.anomalies.join());
        }
      }),
    );
    expect(found).toEqual([]);
    // Several loads within one interval, of which a later one replaced: which took the first away is open.
    expect(observed / calls).toBeLessThan(0.02);
  });
});

/** Each kind of line with which a recorded kernel refused a load, by a part of it, and what it means. */
const REASONS: [string, string][] = [
  ["is not compatible with the already installed livepatches", "INCOMPATIBLE"],
  ["is not marked as a livepatch module", "NOT_LIVEPATCH"],
  ["not found in symbol table", "SYMBOL_MISSING"],
  ["pre-patch callback failed for object", "PRE_PATCH"],
  ["failed to register ftrace handler", "FTRACE"],
  ["Loading of unsigned module is rejected", "UNSIGNED"],
  ["unsigned module loading is restricted", "LOCKDOWN"],
  ["disagrees about version of symbol module_layout", "OTHER_KERNEL"],
  ["this_module section size must match", "OTHER_KERNEL"],
  ["Unknown symbol", "IMPORT_MISSING"],
  ["Invalid ELF header", "OTHER"],
  ["Invalid ELF section header", "OTHER"],
];

describe("the reason of a refusal", () => {
  const told = [...SCENARIOS, ...POLICY].flatMap(({ steps }) => {
    const refused: { line: string; reason: string }[] = [];
    play(steps, (_, { changes }) => {
      for (const change of changes) {
        if (!("refused" in change)) continue;
        const { line, reason } = change.refused;
        refused.push({ line: line!, reason: klpstate.v1.Reason[reason!] });
      }
    });
    return refused;
  });

  test.each(REASONS)("%s: %s", (part, reason) => {
    const of_kind = told.filter(({ line }) => line.includes(part));
    expect(of_kind.length).toBeGreaterThan(0);
    expect(new Set(of_kind.map((refused) => refused.reason))).toEqual(new Set([reason]));
  });

  test("is told by a line of a kind that is listed here, for every refusal in the recordings", () => {
    expect(told.filter(({ line }) => !REASONS.some(([part]) => line.includes(part)))).toEqual([]);
  });
});
