/**
 * The figures of the check of a hundred candidates at once, on 300 configurations and where every host has its own, against
 * a check of each in the same run. Both say the same numbers before a time is believed.
 */
import { type CheckCount, Core, type CoreCandidate, type CoreManifest } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { ARCH, BASES, Fleet, KERNELS, manifests, name_going_round, release_of } from "./data.js";
import {
  fold_hostile,
  hostile_manifests,
  hostile_stacks,
  name_of,
  RELEASE,
  STATES,
  VERSIONS,
} from "./hostile.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed } from "./measure.js";
import { type Random, random_from } from "./random.js";

export const BATCH_FIGURES = ["check-batch", "check-batch-hostile"];

const SEED = 20261127;
const NO_BUILD_ID = new Uint8Array(0);
const CANDIDATES = 100;
/** Of them, so many are on hosts already. */
const INSTALLED = 10;
/** So many configurations at least take long enough for one call a run. */
const CONFIGURATIONS_A_RUN = 1_500_000;

interface Batch {
  core: Core;
  candidates: CoreCandidate[];
}

/** New versions that each offer most of the states, every other one in place of all others. */
function new_manifests(releases: readonly string[], versions_max: number, random: Random): CoreManifest[] {
  return Array.from({ length: CANDIDATES - INSTALLED }, (_, i) => {
    const ids = Array.from({ length: STATES }, (_, state) => 1 + state).filter(() => random() % 16 !== 0);
    const states = ids.map((id) => ({
      id: BigInt(id),
      version: versions_max - (random() % 4 === 0 ? random() % versions_max : 0),
    }));
    return releases.map((kernel_release) => ({
      ...{ name: `livepatch_next_${i}`, kernel_release, arch: ARCH, build_id: NO_BUILD_ID },
      ...{ replace: i % 2 === 0, states_unknown: false, irreversible: false, signed: false, states },
    }));
  }).flat();
}

function batch_of(core: Core, added: readonly CoreManifest[], installed: readonly string[]): Batch {
  for (const manifest of added) core.put_manifest(manifest);
  const names = [...new Set(added.map(({ name }) => name)), ...installed];
  if (names.length !== CANDIDATES) throw new Error(`${names.length} candidates`);
  return { core, candidates: names.map((name) => ({ name, build_id: NO_BUILD_ID })) };
}

function realistic_batch(hosts: number): Batch {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  for (const piece of new Fleet(hosts).baseline().pieces) core.fold_frames(piece, false);
  for (const manifest of manifests()) core.put_manifest(manifest);
  const releases = Array.from({ length: KERNELS }, (_, base) => release_of(base));
  const installed = Array.from({ length: INSTALLED }, (_, i) => name_going_round((i * BASES) / INSTALLED));
  return batch_of(core, new_manifests(releases, 4, random_from(SEED)), installed);
}

function hostile_batch(hosts: number): Batch {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  fold_hostile(core, hostile_stacks(hosts));
  for (const manifest of hostile_manifests()) core.put_manifest(manifest);
  const installed = Array.from({ length: INSTALLED }, (_, i) => name_of(1 + 6 * i, 1 + i));
  return batch_of(core, new_manifests([RELEASE], VERSIONS, random_from(SEED)), installed);
}

function by_words(counts: readonly CheckCount[]): string {
  const sums = new Map<string, number>();
  for (const { verdict, reason, warnings, hosts } of counts) {
    const words = `${verdict} ${reason} ${warnings}`;
    sums.set(words, (sums.get(words) ?? 0) + hosts);
  }
  return [...sums]
    .map(([words, hosts]) => `${words}: ${hosts}`)
    .sort()
    .join("; ");
}

function batch_figure(name: string, { core, candidates }: Batch): Figure {
  const one_by_one = () => candidates.map((one) => core.check(one.name, one.build_id));
  const together = core.check_batch(candidates, null);
  for (const [i, outcomes] of one_by_one().entries()) {
    const [wanted, found] = [by_words(outcomes), by_words(together[i]!)];
    if (wanted !== found) throw new Error(`${candidates[i]!.name}: ${found}, and not ${wanted}`);
  }
  const calls = Math.max(1, Math.ceil(CONFIGURATIONS_A_RUN / (CANDIDATES * core.configuration_count)));
  const repeated = (work: () => unknown) => () => {
    for (let call = 0; call < calls; call++) work();
  };
  const runs: Run[] = [];
  const separate: Run[] = [];
  for (let i = 0; i < RUNS; i++) {
    runs.push(timed(repeated(() => core.check_batch(candidates, null))));
    separate.push(timed(repeated(one_by_one)));
  }
  const milliseconds = ({ seconds }: Run) => (seconds * 1000) / calls;
  const figure = figure_of(name, "ms", runs, milliseconds, core.memory_used_bytes);
  figure.against["check-one-by-one"] = 1 / speed_against(runs, separate);
  return figure;
}

export function batch_figures(hosts: number, wanted: ReadonlySet<string>): Figure[] {
  const [realistic, hostile] = BATCH_FIGURES as [string, string];
  const figures: Figure[] = [];
  if (wanted.has(realistic)) figures.push(batch_figure(realistic, realistic_batch(hosts)));
  if (wanted.has(hostile)) figures.push(batch_figure(hostile, hostile_batch(hosts)));
  return figures;
}
