/**
 * The figures of the fold: by the core, by the C floor over the same bytes, and by a Map of JavaScript over fewer of them,
 * run after run alternately.
 */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { Fleet, type Pieces } from "./data.js";
import { facts_of } from "./fleet_facts.js";
import { type FoldFloor, start_fold_floor } from "./fold_floor.js";
import { JavaScriptFold } from "./fold_javascript.js";
import { type Figure, figure_of, median, RUNS, type Run, speed_against, timed } from "./measure.js";

export const FOLD_FIGURES = ["fold", "fold-new-hosts", "fold-churn", "fold-c", "fold-javascript-map"];

/** It takes a microsecond or two an event: rates are compared. */
const JAVASCRIPT_EVENTS = 1_000_000;
/** More do not fit into what Node gives itself of memory. */
const JAVASCRIPT_HOSTS_MAX = 3_000_000;

interface FoldRun {
  new_hosts: Run;
  events: Run;
}

function fold(core: Core, { pieces }: Pieces): void {
  for (const piece of pieces) {
    if (core.fold_frames(piece, false) !== "folded")
      throw new Error("the partition is full: give fewer --hosts");
  }
}

function run_core(core: Core, baseline: Pieces, events: Pieces): FoldRun {
  core.restart({ partition: 0, partitions: 1 });
  const run = { new_hosts: timed(() => fold(core, baseline)), events: timed(() => fold(core, events)) };
  const odd = Object.entries(core.anomalies_seen()).filter(([, count]) => count > 0);
  if (
    odd.length > 0 ||
    core.records_quarantined > 0 ||
    core.events_folded !== baseline.events + events.events
  ) {
    throw new Error(`the data is not what it should be: ${JSON.stringify(odd)}`);
  }
  return run;
}

function must_agree(facts: string[], peer_facts: string[], peer: string): void {
  const differing = facts.findIndex((line, i) => line !== peer_facts[i]);
  if (differing < 0 && facts.length === peer_facts.length) return;
  throw new Error(`the core and ${peer} differ: ${facts[differing]} / ${peer_facts[differing]}`);
}

interface FoldData {
  baseline: Pieces;
  events: Pieces;
}

function data_of(fleet: Fleet, event_count: number): FoldData {
  return { baseline: fleet.baseline(), events: fleet.events(event_count) };
}

interface JavaScriptRun {
  events: number;
  run: Run;
}

/** The first of the events, in whole pieces; null where the Map is not wanted or would have too many hosts. */
function javascript_pieces(
  { pieces, events, bytes }: Pieces,
  hosts: number,
  wanted: ReadonlySet<string>,
): Pieces | null {
  if (!wanted.has("fold-javascript-map")) return null;
  if (hosts > JAVASCRIPT_HOSTS_MAX) {
    console.log(`fold-javascript-map: left out above ${JAVASCRIPT_HOSTS_MAX} hosts`);
    return null;
  }
  const share = Math.min(1, JAVASCRIPT_EVENTS / events);
  const count = Math.ceil(pieces.length * share);
  return { pieces: pieces.slice(0, count), events: Math.ceil(events * share), bytes: bytes * share };
}

function run_javascript(baseline: Pieces, events: Pieces): JavaScriptRun & { map: JavaScriptFold } {
  const map = new JavaScriptFold();
  map.fold(baseline);
  const before = map.events;
  const run = timed(() => map.fold(events));
  return { map, events: map.events - before, run };
}

/** Hosts by configuration; the last line of the core's is of more than a Map knows. */
function must_agree_with_javascript(core: Core, baseline: Pieces, events: Pieces): void {
  core.restart({ partition: 0, partitions: 1 });
  fold(core, baseline);
  fold(core, events);
  const { map } = run_javascript(baseline, events);
  must_agree(facts_of(core).slice(0, -1), map.facts(), "the Map of JavaScript");
}

/** Those of the figures that are wanted, and what they are measured against. */
export async function fold_figures(
  hosts: number,
  event_count: number,
  wanted: ReadonlySet<string>,
): Promise<Figure[]> {
  const { baseline, events } = data_of(new Fleet(hosts), event_count);
  const churn = wanted.has("fold-churn") ? data_of(new Fleet(hosts, "churning"), event_count) : null;
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  const floor: FoldFloor | null = start_fold_floor(hosts, baseline, events);
  const first_events = javascript_pieces(events, hosts, wanted);

  const runs: FoldRun[] = [];
  const churn_runs: FoldRun[] = [];
  const floor_runs: FoldRun[] = [];
  const javascript_runs: JavaScriptRun[] = [];
  try {
    run_core(core, baseline, events);
    if (floor) {
      await floor.run();
      must_agree(facts_of(core), await floor.facts(), "the C floor");
    }
    if (first_events) must_agree_with_javascript(core, baseline, first_events);
    for (let i = 0; i < RUNS; i++) {
      runs.push(run_core(core, baseline, events));
      if (churn) churn_runs.push(run_core(core, churn.baseline, churn.events));
      if (floor) floor_runs.push(await floor.run());
      if (first_events) {
        const { events: folded, run } = run_javascript(baseline, first_events);
        javascript_runs.push({ events: folded, run });
      }
    }
  } finally {
    await floor?.end();
  }

  const rate = (count: number) => (run: Run) => count / run.seconds;
  const of = (name: string, from: FoldRun[], part: keyof FoldRun, pieces: Pieces) =>
    figure_of(
      name,
      "events/s",
      from.map((run) => run[part]),
      rate(pieces.events),
      pieces.bytes,
    );
  const core_fold = of("fold", runs, "events", events);
  const core_new = of("fold-new-hosts", runs, "new_hosts", baseline);
  const figures = [core_fold, core_new];
  if (churn) {
    const core_churn = of("fold-churn", churn_runs, "events", churn.events);
    core_churn.against.fold = speed_against(
      churn_runs.map((run) => run.events),
      runs.map((run) => run.events),
    );
    figures.push(core_churn);
  }
  if (first_events) {
    figures.push(javascript_figure(core_fold, runs, javascript_runs, events.events, first_events.bytes));
  }
  if (!floor) return figures;
  for (const [figure, part] of [
    [core_fold, "events"],
    [core_new, "new_hosts"],
  ] as const) {
    figure.against["fold-c"] = speed_against(
      runs.map((run) => run[part]),
      floor_runs.map((run) => run[part]),
    );
  }
  return [...figures, of("fold-c", floor_runs, "events", events)];
}

/** Of fewer events than the core's, which are compared by their rates. */
function javascript_figure(
  core_fold: Figure,
  core_runs: readonly FoldRun[],
  runs: readonly JavaScriptRun[],
  core_events: number,
  bytes: number,
): Figure {
  const rates = runs.map(({ events, run }) => ({ ...run, rate: events / run.seconds }));
  core_fold.against["fold-javascript-map"] = median(
    rates.map(({ rate }, i) => core_events / core_runs[i]!.events.seconds / rate),
  );
  return figure_of("fold-javascript-map", "events/s", rates, ({ rate }) => rate, bytes);
}
