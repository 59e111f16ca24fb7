/**
 * The figure of the check: one candidate against a fleet, outcomes read into TypeScript and counted; beside it the rule in
 * JavaScript over an object for each configuration.
 */
import { Core, type CoreManifest } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, CONFIGURATIONS, Fleet, manifests } from "./data.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed } from "./measure.js";

/** One call is too short for the clock and for the processor's boost to settle. */
const CALLS_PER_RUN = 200;
const NO_BUILD_ID = new Uint8Array(0);

type Counts = Map<string, number>;

/** What a configuration holds, looked up beforehand, as the core has it looked up too. */
interface PlainConfiguration {
  replaces: boolean;
  offered: Map<number, number>;
  held: [state: number, version: number][][];
  in_transition: boolean;
  hosts: number;
}

function plain_configurations(core: Core): PlainConfiguration[] {
  const key = (name: string, release: string) => `${name} ${release}`;
  const known = new Map(
    manifests().map((one): [string, CoreManifest] => [key(one.name, one.kernel_release), one]),
  );
  const states_of = (name: string, release: string) =>
    known.get(key(name, release))!.states.map(({ id, version }): [number, number] => [Number(id), version]);
  return [...core.configurations()].map((id) => {
    const { kernel_release, stack, hosts } = core.configuration(id);
    return {
      replaces: known.get(key(CANDIDATE, kernel_release!))!.replace,
      offered: new Map(states_of(CANDIDATE, kernel_release!)),
      held: stack.map(({ name }) => states_of(name, kernel_release!)),
      in_transition: stack.some(({ phase }) => phase !== "enabled"),
      hosts,
    };
  });
}

/** RULES C, those verdicts that this data has; the core says of each also which state and which patch. */
function plain_check(configurations: readonly PlainConfiguration[]): Counts {
  const counts: Counts = new Map();
  for (const { replaces, offered, held, in_transition, hosts } of configurations) {
    const is_refused = held.some((states) =>
      states.some(([state, version]) => {
        const offer = offered.get(state);
        return offer === undefined ? replaces : offer < version;
      }),
    );
    const verdict = is_refused ? "incompatible" : in_transition ? "busy" : "ok";
    counts.set(verdict, (counts.get(verdict) ?? 0) + hosts);
  }
  return counts;
}

function must_agree(counts: Counts, plain: Counts): void {
  for (const verdict of new Set([...counts.keys(), ...plain.keys()])) {
    const [found, wanted] = [counts.get(verdict), plain.get(verdict)];
    if (found !== wanted)
      throw new Error(`${verdict}: the core says ${found} hosts, and JavaScript ${wanted}`);
  }
}

export function check_figure(hosts: number): Figure {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  for (const piece of new Fleet(hosts).baseline().pieces) core.fold_frames(piece, false);
  for (const manifest of manifests()) core.put_manifest(manifest);
  const counts: Counts = new Map();
  for (const { verdict, hosts: some } of core.check(CANDIDATE, NO_BUILD_ID))
    counts.set(verdict, (counts.get(verdict) ?? 0) + some);
  const counted = [...counts.values()].reduce((sum, some) => sum + some, 0);
  if (counted !== hosts || ["ok", "incompatible", "busy"].some((verdict) => !counts.has(verdict))) {
    throw new Error(`the check is not what it should be: ${counted} hosts, ${[...counts.keys()].join(", ")}`);
  }
  if (hosts >= 1e6 && core.configuration_count !== CONFIGURATIONS) {
    throw new Error(`${core.configuration_count} configurations instead of ${CONFIGURATIONS}`);
  }
  const plain = plain_configurations(core);
  must_agree(counts, plain_check(plain));

  const run_of = (call: () => unknown) =>
    timed(() => {
      for (let i = 0; i < CALLS_PER_RUN; i++) call();
    });
  const runs: Run[] = [];
  const plain_runs: Run[] = [];
  for (let i = 0; i <= RUNS; i++) {
    const run = run_of(() => core.check(CANDIDATE, NO_BUILD_ID));
    const plain_run = run_of(() => plain_check(plain));
    // The first run is for the compiler.
    if (i === 0) continue;
    runs.push(run);
    plain_runs.push(plain_run);
  }
  const microseconds = (each: Run) => (each.seconds / CALLS_PER_RUN) * 1e6;
  const figure = figure_of("check", "µs/call", runs, microseconds, core.memory_used_bytes);
  figure.against["check-javascript-configurations"] = 1 / speed_against(runs, plain_runs);
  return figure;
}
