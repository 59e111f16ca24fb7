/** `npm run bench`: runs the figures that are named, or all, and prints them with the machine that they are of. */
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, relative } from "node:path";
import { parseArgs } from "node:util";
import { agent_figures } from "./agent.js";
import { append_figures, append_one_figures } from "./append.js";
import { check_figure } from "./check.js";
import { BATCH_FIGURES, batch_figures } from "./check_batch.js";
import { check_http_figures } from "./check_http.js";
import { file_system_of } from "./directory.js";
import { line_of } from "./figure_line.js";
import { FOLD_FIGURES, fold_figures } from "./fold.js";
import { growth_figures } from "./growth.js";
import { growth_plot_of, growth_text_of } from "./growth_table.js";
import { HISTORY_FIGURES, history_figures } from "./history.js";
import { HOSTILE_FIGURES, hostile_figures } from "./hostile_check.js";
import { HOSTS_LIST_FIGURES, hosts_list_figures } from "./hosts_list.js";
import { ingest_figures } from "./ingest.js";
import { KAFKA_FIGURES, kafka_figures } from "./kafka/kafka_figures.js";
import { MAX_AGE_FIGURES, max_age_figures } from "./max_age.js";
import type { Figure } from "./measure.js";
import { MEMORY_FIGURES, memory_figures } from "./memory.js";
import { type MeasuredRun, page_of, read_run } from "./page.js";
import { past_figures } from "./past.js";
import { REPLAY_FIGURES, replay_figures } from "./replay.js";
import { RESTART_FIGURES, restart_figures } from "./restart.js";
import { begin_run, machine_line, this_machine, write_facts } from "./run_facts.js";
import { keep_ratios, smoke_figures, worse_ratios } from "./smoke.js";

const ON_DISK = ["append", "append-one", "ingest", "check-http", "past", ...HISTORY_FIGURES];
/** What runs where nothing is named: Kafka's figures need Java and an hour. */
const FIGURES = [
  ...FOLD_FIGURES,
  "check",
  ...MAX_AGE_FIGURES,
  ...HOSTS_LIST_FIGURES,
  ...BATCH_FIGURES,
  ...HOSTILE_FIGURES,
  ...MEMORY_FIGURES,
  ...REPLAY_FIGURES,
  ...RESTART_FIGURES,
  ...ON_DISK,
  "agent",
  "growth",
];

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`--${name} ${text}: give a whole number above 0`);
  return value;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    hosts: { type: "string", default: "1000000" },
    events: { type: "string", default: "10000000" },
    directory: { type: "string", default: tmpdir() },
    profile: { type: "string" },
    json: { type: "string" },
    results: { type: "string" },
    svg: { type: "string" },
    smoke: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
function write_plot(path: string, figures: readonly Figure[]): void {
  const plot = growth_plot_of(figures);
  if (plot === null) throw new Error("--svg: no figures of growth are here");
  writeFileSync(path, plot);
}

/** The page, and the plot that it shows. */
function write_page(runs: readonly MeasuredRun[]): void {
  const { results, svg } = values;
  if (svg !== undefined) {
    write_plot(
      svg,
      runs.flatMap((run) => run.figures),
    );
  }
  const page = page_of(runs, svg && relative(dirname(results ?? ""), svg));
  if (results === undefined) process.stdout.write(page);
  else writeFileSync(results, page);
}

if (positionals[0] === "page") {
  const paths = positionals.slice(1);
  if (paths.length === 0) throw new Error("page: name the files that --json wrote");
  write_page(paths.map(read_run));
  process.exit();
}
const named = positionals.flatMap((name) => (name === "kafka" ? KAFKA_FIGURES : [name]));
const known = [...FIGURES, ...KAFKA_FIGURES];
const unknown = named.filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`${unknown.join(", ")}: the figures are ${known.join(", ")}, kafka`);
const hosts = positive("hosts", values.hosts);
const events = positive("events", values.events);
const wanted = new Set(named.length > 0 ? named : FIGURES);

console.log(machine_line(this_machine()));
if (values.smoke) {
  const measure = async (): Promise<Figure[]> => {
    const measured = await smoke_figures();
    const width = Math.max(...measured.map(({ name }) => name.length));
    for (const figure of measured) console.log(line_of(figure, width));
    return measured;
  };
  const measured = await measure();
  if (values.keep) keep_ratios(measured);
  let worse = worse_ratios(measured);
  if (worse.length > 0) {
    // Somebody else may have come by: what is worse for good is so again.
    for (const { said } of worse) console.log(`${said}; once more:`);
    const before = worse;
    worse = worse_ratios(await measure()).filter(({ ratio }) =>
      before.some((first) => first.ratio === ratio),
    );
  }
  for (const { said } of worse) console.error(said);
  process.exit(worse.length === 0 ? 0 : 1);
}
console.log(`${hosts} hosts, ${events} events`);
if ([...ON_DISK, ...KAFKA_FIGURES].some((name) => wanted.has(name))) {
  console.log(`${values.directory} is on ${file_system_of(values.directory)}`);
}
const end_run = begin_run({ hosts, events, directory: values.directory });
const figures: Figure[] = [];
if (FOLD_FIGURES.some((name) => wanted.has(name))) {
  const folded = await fold_figures(hosts, events, wanted);
  if (!folded.some((figure) => figure.name === "fold-c")) console.log("fold-c: no gcc here, so no ratio");
  figures.push(...folded.filter((figure) => wanted.has(figure.name)));
}
if (wanted.has("check")) figures.push(check_figure(hosts));
if (wanted.has("max-age")) figures.push(...max_age_figures(hosts));
if (HOSTS_LIST_FIGURES.some((name) => wanted.has(name))) {
  const listed = await hosts_list_figures(hosts);
  figures.push(...listed.filter((figure) => wanted.has(figure.name)));
}
if (BATCH_FIGURES.some((name) => wanted.has(name))) figures.push(...batch_figures(hosts, wanted));
if (HOSTILE_FIGURES.some((name) => wanted.has(name))) figures.push(...(await hostile_figures(hosts)));
if (MEMORY_FIGURES.some((name) => wanted.has(name))) figures.push(...memory_figures(hosts, wanted));
if (REPLAY_FIGURES.some((name) => wanted.has(name))) {
  const replayed = await replay_figures(hosts, events);
  figures.push(...replayed.filter((figure) => wanted.has(figure.name)));
}
if (wanted.has("append"))
  figures.push(...(await append_figures(values.directory, hosts, Math.ceil(events / 5))));
if (wanted.has("append-one")) figures.push(...(await append_one_figures(values.directory)));
if (wanted.has("ingest")) {
  figures.push(...(await ingest_figures(values.directory, hosts, Math.ceil(events / 5), values.profile)));
}
if (wanted.has("check-http"))
  figures.push(...(await check_http_figures(values.directory, hosts, values.profile)));
if (wanted.has("past")) figures.push(...(await past_figures(values.directory, hosts, 2 * events)));
if (RESTART_FIGURES.some((name) => wanted.has(name))) {
  figures.push(...(await restart_figures(hosts, wanted)));
}
if (HISTORY_FIGURES.some((name) => wanted.has(name))) {
  figures.push(...(await history_figures(values.directory, 2 * events, wanted)));
}
if (wanted.has("agent")) figures.push(...(await agent_figures()));
if (wanted.has("growth")) figures.push(...(await growth_figures(hosts, events)));
if (KAFKA_FIGURES.some((name) => wanted.has(name))) {
  figures.push(
    ...(await kafka_figures(
      values.directory,
      wanted,
      { hosts, events: Math.ceil(events / 2) },
      values.profile,
    )),
  );
}
const name_width = Math.max(16, ...figures.map(({ name }) => name.length));
for (const figure of figures) console.log(line_of(figure, name_width));
const growth = growth_text_of(figures);
if (growth !== null) console.log(`\n${growth}`);
const facts = end_run();
if (values.json !== undefined) {
  writeFileSync(values.json, JSON.stringify(figures, null, 2) + "\n");
  write_facts(values.json, facts);
}
if (values.results !== undefined) write_page([{ facts, figures }]);
else if (values.svg !== undefined) write_plot(values.svg, figures);
