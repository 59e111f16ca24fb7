/**
 * The figures of a check's `max_age`: how many hosts of each outcome were last heard of too long ago, and which are
 * refused and were not, beside the bitmap of all that are refused.
 */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, DAY_MS, Fleet, manifests, START_MS } from "./data.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed } from "./measure.js";

export const MAX_AGE_FIGURES = ["max-age"];

const NO_BUILD_ID = new Uint8Array(0);
const MINUTE_MS = 60_000;
const SHARES = [
  ["none", 0],
  ["tenth", 0.1],
  ["half", 0.5],
] as const;

/** Hosts at random were heard of again in the day behind the first observation: their ages differ. */
function fleet_core(hosts: number): Core {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  const fleet = new Fleet(hosts);
  for (const piece of fleet.baseline().pieces) core.fold_frames(piece, false);
  for (const piece of fleet.events(2 * hosts).pieces) core.fold_frames(piece, false);
  for (const manifest of manifests()) core.put_manifest(manifest);
  return core;
}

/** The minute that about that share of the hosts were last heard of before. */
function minute_of_share(core: Core, hosts: number, share: number): number {
  let low = Math.floor(START_MS / MINUTE_MS);
  let high = low + DAY_MS / MINUTE_MS + 1;
  if (share === 0) return low;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (core.hosts_before_minute(middle) < share * hosts) low = middle + 1;
    else high = middle;
  }
  return low;
}

function bits_in(bytes: Uint8Array): number {
  let count = 0;
  for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}

export function max_age_figures(hosts: number): Figure[] {
  const core = fleet_core(hosts);
  const outcomes = core.check(CANDIDATE, NO_BUILD_ID);
  const wanted = outcomes.map(({ verdict }) => verdict === "incompatible");
  const milliseconds = ({ seconds }: Run) => seconds * 1000;
  const figures: Figure[] = [];
  const plain_runs: Run[] = [];
  for (const [name, share] of SHARES) {
    const minute = minute_of_share(core, hosts, share);
    const age = { minute, wanted: false };
    const aged = core.age_check(minute);
    const total = aged.reduce((sum, outcome) => sum + outcome.aged, 0);
    const left = aged.reduce((sum, { hosts, aged }, i) => sum + (wanted[i] ? hosts - aged : 0), 0);
    if (total !== core.hosts_before_minute(minute) || bits_in(core.hosts_bitmap(wanted, age)) !== left)
      throw new Error(`max-age: ${total} hosts of each outcome are too old, and ${left} are refused`);
    const runs: Record<"counts" | "bitmap", Run[]> = { counts: [], bitmap: [] };
    const plain: Run[] = [];
    for (let i = 0; i < RUNS; i++) {
      runs.counts.push(timed(() => core.age_check(minute)));
      runs.bitmap.push(timed(() => core.hosts_bitmap(wanted, age)));
      plain.push(timed(() => core.hosts_bitmap(wanted)));
    }
    plain_runs.push(...plain);
    for (const [what, of_what] of Object.entries(runs)) {
      const figure = figure_of(`max-age-${what}-${name}`, "ms", of_what, milliseconds, 8 * hosts);
      figure.against.bitmap = 1 / speed_against(of_what, plain);
      figures.push(figure);
    }
  }
  return [figure_of("max-age-peer-bitmap", "ms", plain_runs, milliseconds, 4 * hosts), ...figures];
}
