/** What `conform scenarios` found, for people: what was compared, what was not and why, every difference, the score. */
import type { Difference } from "../conform_pass.js";
import type { ScenariosOutcome } from "../conform_scenarios.js";
import { counted, number, plain, table } from "./text.js";

const REFUSAL_WORDS: Record<string, string> = {
  modules_disabled: "modules are disabled; recordings show no policy",
  signature: "only signed modules are taken; recordings show no policy",
  lockdown: "the kernel is locked down; recordings show no policy",
  other_kernel: "the file was built for another kernel",
  format: "the file is no module",
  import_missing: "an imported symbol is missing",
  no_objects: "the patch has no objects",
  not_livepatch: "the module is not marked as a livepatch",
  symbol_missing: "a patched symbol is missing",
  pre_patch: "its pre_patch refused",
  ftrace: "ftrace refused; recordings show no policy",
  enabling_failed: "enabling it failed",
};

export function scenarios_text(outcome: ScenariosOutcome): string {
  const { passed, failed } = outcome;
  return [
    kernels(outcome),
    compared(outcome),
    apart(outcome),
    refused(outcome),
    notes(outcome),
    differences(outcome.differences),
    `\n${passed} passed, ${failed} failed\n`,
  ].join("");
}

function kernels({ kernels: found }: ScenariosOutcome): string {
  const rows = Object.entries(found)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kernel, { scenarios, steps, loads }]) => [
      plain(kernel),
      number(scenarios),
      number(steps),
      number(loads),
    ]);
  return table(
    [
      { title: "KERNEL" },
      { title: "SCENARIOS", align: "right" },
      { title: "STEPS", align: "right" },
      { title: "LOADS", align: "right" },
    ],
    rows,
  );
}

function compared({ counts }: ScenariosOutcome): string {
  if (counts.compared.length === 0) return "\nNo verdict was compared with a kernel's answer\n";
  const rows = [...counts.compared]
    .sort((a, b) => b.loads - a.loads)
    .map(({ verdict, result, loads }) => [verdict, plain(result), number(loads)]);
  return `\nVerdicts before loads, equal to the kernel's answer\n${table(
    [{ title: "VERDICT" }, { title: "KERNEL" }, { title: "LOADS", align: "right" }],
    rows,
    "  ",
  )}`;
}

function apart({ counts }: ScenariosOutcome): string {
  const rows = [
    ...Object.entries(counts.unforeseen).map(([refusal, loads]) => [
      number(loads),
      refusal,
      REFUSAL_WORDS[refusal] ?? "",
    ]),
    ...row(counts.overtaken, "overtaken", "a transition ended between the question and the load"),
    ...row(counts.no_livepatch, "no livepatch", "what was loaded has no entry in `modules`"),
  ];
  if (rows.length === 0) return "";
  return `\nLoads not compared\n${table(
    [{ title: "LOADS", align: "right" }, { title: "WHY" }, { title: "" }],
    rows,
    "  ",
  )}`;
}

function row(count: number, why: string, words: string): string[][] {
  return count === 0 ? [] : [[number(count), why, words]];
}

function refused({ counts }: ScenariosOutcome): string {
  const unseen = Object.entries(counts.refused_unseen);
  const count = unseen.reduce((sum, [, loads]) => sum + loads, 0);
  const by_errno = unseen.map(([errno, loads]) => `${plain(errno)} ${number(loads)}`).join(", ");
  return (
    `\nRefused loads: ${number(counts.refused_in_history)} in the histories, ` +
    `${number(count)} unseen since the kernel was silent${count === 0 ? "" : ` (${by_errno})`}\n`
  );
}

function notes({ events, states_cut, without_modules }: ScenariosOutcome): string {
  const cut = `${counted(states_cut, "module")} with states behind an id 0, which the kernel does not see`;
  const bare = `${counted(without_modules, "scenario")} without facts about modules: no verdict can be asked there`;
  return [
    `Events: ${number(events.A)} in pass A (changes alone), ${number(events.B)} in pass B (an Observed after each step)\n`,
    ...(states_cut === 0 ? [] : [`Warning: ${cut}\n`]),
    ...(without_modules === 0 ? [] : [`Warning: ${bare}\n`]),
  ].join("");
}

function differences(found: Difference[]): string {
  if (found.length === 0) return "";
  const lines = found.map(({ line, kernel, scenario, pass, step, did, what, kernel_says, klpstate_says }) => {
    const where = step === null ? "" : ` step ${step} (${plain(did)})`;
    return (
      `  line ${line}, ${plain(kernel)} ${plain(scenario)}${where}, pass ${pass}: ${plain(what)}\n` +
      `    kernel   ${plain(kernel_says)}\n    klpstate ${plain(klpstate_says)}\n`
    );
  });
  return `\nDifferences\n${lines.join("")}`;
}
