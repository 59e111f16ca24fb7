/**
 * The figures of growth: the same work of fleets each ten times as large as the one before, and of patches that declare
 * more states (growth_states.ts). A figure's name ends in its size, so that growth_table.ts finds again what belongs
 * together, also in files of several runs.
 */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, Fleet, manifests } from "./data.js";
import { fold_figures } from "./fold.js";
import { growth_states_figures } from "./growth_states.js";
import { fold_hostile, HOSTILE_CANDIDATES, hostile_manifests, hostile_stacks } from "./hostile.js";
import {
  bits_in,
  type Floors,
  must_be,
  plain_refused,
  refused_bitmap,
  refused_by,
  start_floors,
} from "./hostile_check.js";
import { type Figure, figure_of, RUNS, type Run, repeated, speed_against } from "./measure.js";
import { restart_figures } from "./restart.js";

const SIZES = [10_000, 100_000, 1_000_000, 10_000_000];
const FOLDS = new Set(["fold", "fold-new-hosts"]);
const NO_BUILD_ID = new Uint8Array(0);
/** Beside the plot in the table of growth, and in memory: more would not make its slope clearer. */
const STATES_HOSTS_MAX = 1_000_000;
const OVER = HOSTILE_CANDIDATES[0]!;

const milliseconds = ({ seconds }: Run) => seconds * 1e3;
const microseconds = ({ seconds }: Run) => seconds * 1e6;

/** A floor's times are of one call, as it says them. */
async function with_floor(run: () => Run, floor: (() => Promise<{ run: Run }>) | null) {
  const runs: Run[] = [];
  const floor_runs: Run[] = [];
  for (let i = 0; i < RUNS; i++) {
    runs.push(run());
    if (floor) floor_runs.push((await floor()).run);
  }
  return { runs, of_floor: floor === null ? undefined : 1 / speed_against(runs, floor_runs) };
}

/** 300 configurations: memory before anything was asked, the counts, the bitmap. */
async function realistic_figures(hosts: number, floors: Floors | null): Promise<Figure[]> {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  new Fleet(hosts).baseline_frames((frame) => {
    if (core.fold_frames(frame, false) !== "folded")
      throw new Error("the partition is full: give fewer --hosts");
  });
  const bytes = core.memory_used_bytes;
  for (const manifest of manifests()) core.put_manifest(manifest);
  const none: Run = { seconds: 0, cpu_seconds: 0 };
  const memory = figure_of("memory", "B/host", [none], () => bytes / core.host_count, bytes);

  const refused = refused_by(core, CANDIDATE);
  const check = repeated(() => core.check(CANDIDATE, NO_BUILD_ID));
  const checks = Array.from({ length: RUNS }, check);
  const bitmap = refused_bitmap(core, CANDIDATE);
  must_be("bitmap", bits_in(bitmap()), refused);
  const column = floors && (() => floors.run("column", OVER));
  const { runs, of_floor } = await with_floor(repeated(bitmap), column);
  const bitmap_figure = figure_of("bitmap", "ms", runs, milliseconds, 4 * hosts);
  if (of_floor !== undefined) bitmap_figure.against["column-read"] = of_floor;
  return [memory, figure_of("check", "µs/call", checks, microseconds, bytes), bitmap_figure];
}

async function hostile_figure(stacks: readonly Uint16Array[], floors: Floors | null): Promise<Figure> {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  fold_hostile(core, stacks);
  for (const manifest of hostile_manifests()) core.put_manifest(manifest);
  must_be("a Map of JavaScript", plain_refused(stacks, OVER), refused_by(core, OVER.name));
  const read = floors && (() => floors.run("read", OVER));
  const { runs, of_floor } = await with_floor(
    repeated(() => core.check(OVER.name, NO_BUILD_ID)),
    read,
  );
  const figure = figure_of("check-hostile-over", "ms", runs, milliseconds, core.memory_used_bytes);
  if (of_floor !== undefined) figure.against["check-read"] = of_floor;
  return figure;
}

async function figures_of_size(hosts: number, events: number): Promise<Figure[]> {
  const folds = await fold_figures(hosts, events, FOLDS);
  const stacks = hostile_stacks(hosts);
  const floors = start_floors(stacks);
  try {
    const figures = [
      ...folds.filter(({ name }) => FOLDS.has(name)),
      ...(await realistic_figures(hosts, floors)),
      await hostile_figure(stacks, floors),
      ...(await restart_figures(hosts, new Set(["restart"]))),
    ];
    return figures.map((figure) => ({ ...figure, name: `growth-${figure.name}-${hosts}-hosts` }));
  } finally {
    await floors?.end();
  }
}

export async function growth_figures(hosts: number, events: number): Promise<Figure[]> {
  const within = SIZES.filter((size) => size <= hosts);
  const sizes = within.length > 1 ? within : [Math.ceil(hosts / 10), hosts];
  const figures: Figure[] = [];
  for (const size of sizes) figures.push(...(await figures_of_size(size, events)));
  return [...figures, ...growth_states_figures(Math.min(hosts, STATES_HOSTS_MAX))];
}
