/** A figure: what some runs of one work took, and how that compares with a peer in the same minutes. */

/** Fewer say nothing of a median. */
export const RUNS = 7;

export interface Figure {
  name: string;
  unit: string;
  median: number;
  min: number;
  max: number;
  runs: number;
  /** CPU time of the median run, seconds: well below the clock's where others had the core. */
  cpu_s: number;
  /** What a run reads. */
  bytes: number;
  /** This figure by that of a peer: the median over runs that were made one after the other. */
  against: Record<string, number>;
}

export interface Run {
  seconds: number;
  cpu_seconds: number;
}

/** Reads the clocks; what it returns reads them again, and is the run in between. CPU time is this process's. */
export function start_run(): () => Run {
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  return () => {
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const { user, system } = process.cpuUsage(cpu);
    return { seconds, cpu_seconds: (user + system) / 1e6 };
  };
}

export function timed(work: () => void): Run {
  const end = start_run();
  work();
  return end();
}

/** As `timed`, to when it resolves. */
export async function timed_until(work: () => Promise<unknown>): Promise<Run> {
  const end = start_run();
  await work();
  return end();
}

/** One call is too short for the clock, and for the processor to settle. */
const REPEATED_SECONDS = 0.01;

/** For short work: runs of so many calls as take long enough, each with the times of one call. */
export function repeated(work: () => unknown): () => Run {
  const run = (calls: number) =>
    timed(() => {
      for (let call = 0; call < calls; call++) work();
    });
  let calls = 1;
  while (run(calls).seconds < REPEATED_SECONDS) calls *= 2;
  return () => {
    const { seconds, cpu_seconds } = run(calls);
    return { seconds: seconds / calls, cpu_seconds: cpu_seconds / calls };
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** `value_of`: from a run to a number of `unit`. */
export function figure_of<Each extends Run>(
  name: string,
  unit: string,
  runs: readonly Each[],
  value_of: (run: Each) => number,
  bytes: number,
): Figure {
  const values = runs.map(value_of);
  return {
    name,
    unit,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    runs: runs.length,
    cpu_s: median(runs.map((run) => run.cpu_seconds)),
    bytes,
    against: {},
  };
}

/** How many times as fast as the peer's runs, which were made alternately. */
export function speed_against(runs: readonly Run[], peer: readonly Run[]): number {
  return median(runs.map((run, i) => peer[i]!.seconds / run.seconds));
}

/** The value that `share` of all are not above: the nearest rank. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}
