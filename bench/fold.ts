/** The figures of the fold: by the core, and by the C floor over the same bytes, run after run alternately. */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { Fleet, type Pieces } from "./data.js";
import { facts_of } from "./fleet_facts.js";
import { type FoldFloor, start_fold_floor } from "./fold_floor.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed } from "./measure.js";

export const FOLD_FIGURES = ["fold", "fold-new-hosts", "fold-churn", "fold-c"];

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

function must_agree(core: Core, floor_facts: string[]): void {
  const facts = facts_of(core);
  const differing = facts.findIndex((line, i) => line !== floor_facts[i]);
  if (differing < 0 && facts.length === floor_facts.length) return;
  throw new Error(`the core and the C floor differ: ${facts[differing]} / ${floor_facts[differing]}`);
}

interface FoldData {
  baseline: Pieces;
  events: Pieces;
}

function data_of(fleet: Fleet, event_count: number): FoldData {
  return { baseline: fleet.baseline(), events: fleet.events(event_count) };
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

  const runs: FoldRun[] = [];
  const churn_runs: FoldRun[] = [];
  const floor_runs: FoldRun[] = [];
  try {
    run_core(core, baseline, events);
    if (floor) {
      await floor.run();
      must_agree(core, await floor.facts());
    }
    for (let i = 0; i < RUNS; i++) {
      runs.push(run_core(core, baseline, events));
      if (churn) churn_runs.push(run_core(core, churn.baseline, churn.events));
      if (floor) floor_runs.push(await floor.run());
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
