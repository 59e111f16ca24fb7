/** The figure of the check: one candidate against a fleet, outcomes read into TypeScript and counted. */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, CONFIGURATIONS, Fleet, manifests } from "./data.js";
import { type Figure, figure_of, RUNS, type Run, timed } from "./measure.js";

/** One call is too short for the clock and for the processor's boost to settle. */
const CALLS_PER_RUN = 200;
const NO_BUILD_ID = new Uint8Array(0);

export function check_figure(hosts: number): Figure {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  for (const piece of new Fleet(hosts).baseline().pieces) core.fold_frames(piece, false);
  for (const manifest of manifests()) core.put_manifest(manifest);
  const outcomes = core.check(CANDIDATE, NO_BUILD_ID);
  const verdicts = new Set(outcomes.map((outcome) => outcome.verdict));
  const counted = outcomes.reduce((sum, outcome) => sum + outcome.hosts, 0);
  if (counted !== hosts || !verdicts.has("ok") || !verdicts.has("incompatible") || !verdicts.has("busy")) {
    throw new Error(`the check is not what it should be: ${counted} hosts, ${[...verdicts].join(", ")}`);
  }
  if (hosts >= 1e6 && core.configuration_count !== CONFIGURATIONS) {
    throw new Error(`${core.configuration_count} configurations instead of ${CONFIGURATIONS}`);
  }

  const run = () =>
    timed(() => {
      for (let i = 0; i < CALLS_PER_RUN; i++) core.check(CANDIDATE, NO_BUILD_ID);
    });
  run();
  const runs: Run[] = Array.from({ length: RUNS }, run);
  const microseconds = (each: Run) => (each.seconds / CALLS_PER_RUN) * 1e6;
  return figure_of("check", "µs/call", runs, microseconds, core.memory_used_bytes);
}
