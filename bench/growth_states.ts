/**
 * The fold and the check of hostile data against what manifests declare of a patch: 1, 4, 16 and 64 states, of 64 ids and
 * of more. All fleets are there at once and take turns, so that each is measured against the one with a single state.
 */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import {
  type Declared,
  declared_states,
  type HostileCandidate,
  hostile_candidates,
  hostile_frames,
  hostile_manifests,
  hostile_stacks,
  STATES,
  VERSIONS,
} from "./hostile.js";
import { must_be, refused_by } from "./hostile_check.js";
import { type Figure, figure_of, RUNS, type Run, repeated, speed_against, timed } from "./measure.js";

const STATES_A_PATCH = [1, 4, 16, 64];
/** Beyond what a table of 64 places or a byte of an id holds. */
const IDS = [STATES, 16 * STATES];
const NO_BUILD_ID = new Uint8Array(0);

interface DeclaredFleet {
  declared: Declared;
  core: Core;
  folds: Run[];
  checks: { candidate: HostileCandidate; runs: Run[]; plain: Run[] }[];
}

/** The rule, in JavaScript: what each installed patch says to the candidate, by its packed name. */
function refused_patches(declared: Declared, { replace, offered }: HostileCandidate): Uint8Array {
  const refused = new Uint8Array(STATES << 8);
  for (let state = 0; state < STATES; state++) {
    for (let version = 1; version <= VERSIONS; version++) {
      const packed = (state << 8) | version;
      const is_refused = declared_states(packed, declared).some(([id, held]) =>
        offered[id] === 0 ? replace : offered[id]! < held,
      );
      refused[packed] = Number(is_refused);
    }
  }
  return refused;
}

function plain_refused(stacks: readonly Uint16Array[], refused: Uint8Array): number {
  let count = 0;
  const hosts = stacks[0]!.length;
  for (let host = 0; host < hosts; host++) {
    for (const column of stacks) {
      if (refused[column[host]!] === 0) continue;
      count++;
      break;
    }
  }
  return count;
}

function run_fleet(
  fleet: DeclaredFleet,
  stacks: readonly Uint16Array[],
  frames: readonly Uint8Array[],
): void {
  const { declared, core } = fleet;
  core.restart({ partition: 0, partitions: 1 });
  for (const manifest of hostile_manifests(declared)) core.put_manifest(manifest);
  fleet.folds.push(
    timed(() => {
      for (const frame of frames) {
        if (core.fold_frames(frame, false) !== "folded")
          throw new Error("the partition is full: give fewer --hosts");
      }
    }),
  );
  for (const { candidate, runs, plain } of fleet.checks) {
    const refused = refused_by(core, candidate.name);
    runs.push(repeated(() => core.check(candidate.name, NO_BUILD_ID))());
    const table = refused_patches(declared, candidate);
    plain.push(timed(() => must_be("JavaScript", plain_refused(stacks, table), refused)));
  }
}

function figures_of(
  { declared, folds, checks }: DeclaredFleet,
  first: DeclaredFleet,
  hosts: number,
): Figure[] {
  const { states, ids } = declared;
  const name_of = (what: string, of_states: number) =>
    `growth-${what}${ids === STATES ? "" : `-of-${ids}-ids`}-${of_states}-states`;
  const figure = (what: string, runs: Run[], first_runs: Run[]) => {
    const made = figure_of(
      name_of(what, states),
      "ns/host",
      runs,
      ({ seconds }) => (seconds / hosts) * 1e9,
      0,
    );
    if (runs !== first_runs) made.against[name_of(what, 1)] = 1 / speed_against(runs, first_runs);
    return made;
  };
  return [
    figure("fold-hostile", folds, first.folds),
    ...checks.map(({ candidate, runs, plain }, i) => {
      const made = figure(
        `check-hostile-${candidate.replace ? "replacing" : "over"}`,
        runs,
        first.checks[i]!.runs,
      );
      made.against["check-javascript-table"] = 1 / speed_against(runs, plain);
      return made;
    }),
  ];
}

export function growth_states_figures(hosts: number): Figure[] {
  const stacks = hostile_stacks(hosts);
  const frames: Uint8Array[] = [];
  hostile_frames(stacks, (frame) => frames.push(frame));
  const fleets = IDS.flatMap((ids) =>
    STATES_A_PATCH.map((states): DeclaredFleet => {
      const declared = { states, ids };
      return {
        declared,
        core: new Core(load_core_module(), { partition: 0, partitions: 1 }),
        folds: [],
        checks: hostile_candidates(declared).map((candidate) => ({ candidate, runs: [], plain: [] })),
      };
    }),
  );
  // The first run grows each memory and warms the code.
  for (let i = 0; i <= RUNS; i++) {
    for (const fleet of fleets) run_fleet(fleet, stacks, frames);
    if (i > 0) continue;
    for (const { folds, checks } of fleets) {
      for (const runs of [folds, ...checks.flatMap((check) => [check.runs, check.plain])]) runs.length = 0;
    }
  }
  return fleets.flatMap((fleet) => {
    const first = fleets.find(({ declared }) => declared.ids === fleet.declared.ids)!;
    return figures_of(fleet, first, hosts);
  });
}
