/** Who reads a topic: runs, and the two figures that are made of them. */
import { type Figure, figure_of, type Run } from "../measure.js";

export interface ReaderRun extends Run {
  /** That it took in this time. */
  events: number;
}

export const per_cpu_second = ({ events, cpu_seconds }: ReaderRun) => events / cpu_seconds;

/** Rates by the clock, and per second of processor: what is to be compared where others have the cores too. */
export function reader_figures(
  name: string,
  runs: readonly ReaderRun[],
  bytes: number,
): [rate: Figure, per_cpu: Figure] {
  return [
    figure_of(name, "events/s", runs, (run) => run.events / run.seconds, bytes),
    figure_of(`${name}-cpu`, "events/cpu-s", runs, per_cpu_second, bytes),
  ];
}
