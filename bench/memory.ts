/**
 * The figures of the core's memory: bytes a host, realistic data (D1) and hostile (D2); the most that it is of a host
 * while the fleet grows; and the longest call of the fold while it does, which is the longest that growth stops anybody.
 */
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, Fleet, manifests } from "./data.js";
import { HOSTILE_CANDIDATES, hostile_frames, hostile_manifests, hostile_stacks } from "./hostile.js";
import { type Figure, figure_of, quantile, type Run, start_run, timed } from "./measure.js";

/** Each is asked for with its neighbours, of realistic data or of hostile. */
const REALISTIC = ["memory", "memory-peak", "growth-pause"];
const HOSTILE = ["memory-hostile"];
export const MEMORY_FIGURES = [...REALISTIC, ...HOSTILE];

const RUNS = 3;
const NO_BUILD_ID = new Uint8Array(0);
/** Fewer hosts than this share of all say nothing: what does not grow is most of their memory. */
const PEAK_FROM = 0.5;
/** An event has at most 512 bytes, and the last frame may be short. */
const HOSTS_PER_CALL_MIN = 16;

interface Growth extends Run {
  core: Core;
  /** Of each call, of one frame. */
  calls_ms: Float64Array;
  /** Likewise, by the processor, the collector's threads with it: others that have the core are not in it. */
  calls_cpu_ms: Float64Array;
  peak_bytes_per_host: number;
}

type EachFrame = (take: (frame: Uint8Array) => void) => void;

/** A new core: one that starts again has its pages already. */
function grow(hosts: number, each_frame: EachFrame): Growth {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  // Outside of the heap: what the collector does of lists so long would be in the calls.
  const calls_ms = new Float64Array(Math.ceil(hosts / HOSTS_PER_CALL_MIN));
  const calls_cpu_ms = new Float64Array(calls_ms.length);
  let calls = 0;
  let peak_bytes_per_host = 0;
  const end = start_run();
  each_frame((frame) => {
    const run = timed(() => {
      if (core.fold_frames(frame, false) !== "folded")
        throw new Error("the partition is full: give fewer --hosts");
    });
    calls_ms[calls] = run.seconds * 1000;
    calls_cpu_ms[calls++] = run.cpu_seconds * 1000;
    if (core.host_count >= PEAK_FROM * hosts)
      peak_bytes_per_host = Math.max(peak_bytes_per_host, core.memory_bytes / core.host_count);
  });
  if (core.host_count !== hosts) throw new Error(`${core.host_count} hosts came of ${hosts}`);
  const made = (of_calls: Float64Array) => of_calls.subarray(0, calls);
  return {
    ...end(),
    core,
    calls_ms: made(calls_ms),
    calls_cpu_ms: made(calls_cpu_ms),
    peak_bytes_per_host,
  };
}

/** All of the linear memory, after a check and a bitmap, which have tables of their own. */
function memory_figure(name: string, core: Core, candidate: string): Figure {
  const outcomes = core.check(candidate, NO_BUILD_ID);
  core.hosts_bitmap(outcomes.map(({ verdict }) => verdict === "incompatible"));
  const bytes = core.memory_bytes;
  return figure_of(name, "B/host", [{ seconds: 0, cpu_seconds: 0 }], () => bytes / core.host_count, bytes);
}

function growth_figures(suffix: string, runs: readonly Growth[]): Figure[] {
  const { memory_bytes } = runs[0]!.core;
  const of = (name: string, unit: string, value_of: (run: Growth) => number) =>
    figure_of(`${name}${suffix}`, unit, runs, value_of, memory_bytes);
  return [
    of("memory-peak", "B/host", (run) => run.peak_bytes_per_host),
    of("growth-pause", "ms", (run) => quantile([...run.calls_ms], 1)),
    of("growth-pause-p99.99", "ms", (run) => quantile([...run.calls_ms], 0.9999)),
    of("growth-pause-cpu", "ms", (run) => quantile([...run.calls_cpu_ms], 1)),
  ];
}

function runs_of(hosts: number, each_frame: () => EachFrame): Growth[] {
  return Array.from({ length: RUNS }, () => grow(hosts, each_frame()));
}

function realistic_figures(hosts: number): Figure[] {
  const runs = runs_of(hosts, () => {
    const fleet = new Fleet(hosts);
    return (take) => fleet.baseline_frames(take);
  });
  const { core } = runs[0]!;
  for (const manifest of manifests()) core.put_manifest(manifest);
  return [memory_figure("memory", core, CANDIDATE), ...growth_figures("", runs)];
}

function hostile_memory_figures(hosts: number): Figure[] {
  const stacks = hostile_stacks(hosts);
  const runs = runs_of(hosts, () => (take) => hostile_frames(stacks, take));
  const { core } = runs[0]!;
  for (const manifest of hostile_manifests()) core.put_manifest(manifest);
  return [
    memory_figure("memory-hostile", core, HOSTILE_CANDIDATES[0]!.name),
    ...growth_figures("-hostile", runs),
  ];
}

export function memory_figures(hosts: number, wanted: ReadonlySet<string>): Figure[] {
  return [
    ...(REALISTIC.some((name) => wanted.has(name)) ? realistic_figures(hosts) : []),
    ...(HOSTILE.some((name) => wanted.has(name)) ? hostile_memory_figures(hosts) : []),
  ];
}
