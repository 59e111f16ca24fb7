/**
 * `npm run bench -- page FILE...`: one page of Markdown from the figures of several runs, each a file that `--json` wrote
 * with its facts beside it. What is wanted stands in front, met or not, and whatever was not measured is said.
 */
import { readFileSync } from "node:fs";
import { count_of, ratios_of, short, table } from "./figure_line.js";
import { growth_text_of } from "./growth_table.js";
import type { Figure } from "./measure.js";
import { type Machine, type RunFacts, read_facts } from "./run_facts.js";
import { is_large_enough, margin_of, TARGETS, type Target, value_for } from "./targets.js";

export interface MeasuredRun {
  facts: RunFacts;
  figures: Figure[];
}

const CAVEATS = `A time is of one machine in the minutes that are named; a ratio compares runs that were made alternately in those minutes,
after the results of both were compared, and is what lasts. It is the median of the ratios run by run, which is not the ratio
of two medians. Of a rate (events/s) more is better, of a time less: 2 of a peer's time is twice as long.

Where the load was above the number of cores, others had the processor too: trust the minimum of a time, the maximum of a
rate, and the ratios. A load of about 1 at the end is the benchmark's own; replay-two, past, ingest and DuckDB use all cores.

The C programs are built with gcc -O3 -march=native and may use instructions that WebAssembly has not. DuckDB runs with its
defaults and all cores; of two queries the faster counts. The figures of a disk are of a virtual machine's, whose host has a
cache of its own: what this machine has dropped from memory need not come from a platter or a chip.
`;

export function read_run(json_path: string): MeasuredRun {
  return { facts: read_facts(json_path), figures: JSON.parse(readFileSync(json_path, "utf8")) as Figure[] };
}

function wanted_text({ peer, unit, at_least, at_most }: Target): string {
  const limit = at_least !== undefined ? `at least ${short(at_least)}` : `at most ${short(at_most!)}`;
  return peer === undefined ? `${limit} ${unit}` : `${limit} of ${peer}`;
}

function size_text({ hosts, events }: { hosts?: number; events?: number }): string {
  const sizes = [
    hosts === undefined ? [] : `${count_of(hosts)} hosts`,
    events === undefined ? [] : `${count_of(events)} events`,
  ];
  return sizes.flat().join(", ");
}

function verdict(target: Target, value: number, facts: RunFacts): string {
  const margin = margin_of(target, value);
  const met = margin >= 1 ? "met" : `short by a factor of ${short(1 / margin)}`;
  return is_large_enough(target, facts) ? met : `${met}, but is wanted of ${size_text(target)}`;
}

/** The run that a target is judged by: of those with the figure, the last one that is large enough, or else the last. */
function judged_by(target: Target, runs: readonly MeasuredRun[]) {
  const measured = runs.flatMap(({ facts, figures }) => {
    const figure = figures.find(({ name }) => name === target.figure);
    const value = figure && value_for(target, figure, figures);
    return figure && value !== undefined ? [{ facts, figure, value }] : [];
  });
  return measured.findLast(({ facts }) => is_large_enough(target, facts)) ?? measured.at(-1);
}

function wanted_section(runs: readonly MeasuredRun[]): string {
  const rows = TARGETS.map((target) => {
    const judged = judged_by(target, runs);
    return [
      target.figure,
      wanted_text(target),
      judged ? short(judged.value) : "",
      judged ? size_text(judged.facts) : "",
      judged ? verdict(target, judged.value, judged.facts) : "not measured",
    ];
  });
  const met = rows.filter((row) => row[4] === "met").length;
  const measured = rows.filter((row) => row[4] !== "not measured").length;
  return [
    "## What is wanted\n",
    `Of ${rows.length}, ${measured} were measured and ${met} are met.\n`,
    table(["figure", "wanted", "measured", "of", "verdict"], rows, [2]),
  ].join("\n");
}

function minutes_between({ begin, end }: RunFacts): string {
  return `${Math.max(1, Math.round((Date.parse(end) - Date.parse(begin)) / 60_000))} min`;
}

function run_section({ facts, figures }: MeasuredRun, machine_is_said: boolean): string {
  const rows = figures.map((figure) => {
    const targets = TARGETS.filter((target) => target.figure === figure.name);
    const wanted = targets.map((target) => {
      const value = value_for(target, figure, figures);
      const found = value === undefined ? "not measured" : verdict(target, value, facts);
      return `${wanted_text(target)}: ${found}`;
    });
    return [
      figure.name,
      figure.unit,
      ...[figure.median, figure.min, figure.max].map(short),
      String(figure.runs),
      ratios_of(figure).join(", "),
      wanted.join("; "),
    ];
  });
  const minutes = `${facts.begin.slice(0, 16).replace("T", " ")} UTC, ${minutes_between(facts)}`;
  const loads = `load ${facts.load_at_begin.toFixed(2)} at the beginning, ${facts.load_at_end.toFixed(2)} at the end`;
  return [
    `## ${size_text(facts)}\n`,
    `${minutes}; ${loads}; files on ${facts.file_system}.\n`,
    ...(machine_is_said ? [] : [machine_text(facts.machine)]),
    table(["figure", "unit", "median", "min", "max", "runs", "against", "wanted"], rows, [2, 3, 4, 5]),
  ].join("\n");
}

function machine_text(machine: Machine): string {
  const { processor, cores, caches, memory_gib, kernel, node, klpstate, gcc, duckdb } = machine;
  const rows = [
    ["processor", `${processor}, ${cores} cores`],
    ["caches", caches.join(", ") || "not shown by the kernel"],
    ["memory", `${memory_gib} GiB`],
    ["kernel", kernel],
    ["node", node],
    ["gcc", gcc ?? "none, so no floors in C"],
    ["DuckDB", duckdb ?? "not installed, so no such peer"],
    ["klpstate", klpstate],
  ];
  return table(["what", "of these figures"], rows);
}

function growth_section(runs: readonly MeasuredRun[], plot: string | undefined): string[] {
  const growth = growth_text_of(runs.flatMap(({ figures }) => figures));
  if (growth === null) return [];
  return ["## Growth\n", ...(plot === undefined ? [] : [`![Growth](${plot})\n`]), growth];
}

/** `plot`: where the picture of growth is, as seen from the page. */
export function page_of(runs: readonly MeasuredRun[], plot?: string): string {
  const machine = runs[0]!.facts.machine;
  const is_the_first = (other: Machine) => JSON.stringify(other) === JSON.stringify(machine);
  return [
    "# Figures\n",
    "Written by `npm run bench`; bench/README.md says what each figure is.\n",
    machine_text(machine),
    wanted_section(runs),
    ...growth_section(runs, plot),
    ...runs.map((run) => run_section(run, is_the_first(run.facts.machine))),
    "## How to read them\n",
    CAVEATS,
  ].join("\n");
}
