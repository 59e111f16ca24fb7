/**
 * What is wanted of the figures, in one place: of a figure's median, or of its ratio to a peer of the same run. A ratio of
 * rates is the greater the better, of times the smaller.
 */
import type { Figure } from "./measure.js";
import type { RunFacts } from "./run_facts.js";

export interface Target {
  figure: string;
  /** Absent: the figure itself is meant, in this unit. */
  peer?: string;
  unit?: string;
  at_least?: number;
  at_most?: number;
  /** What --hosts and --events have to be for it: a smaller run says nothing of it. */
  hosts?: number;
  events?: number;
}

const MILLION = 1_000_000;

/** Of a check where every host has a configuration of its own; 100 times as fast as lists are 0.01 of their time. */
const HOSTILE = ["check-hostile-over", "check-hostile-replacing"].flatMap((figure): Target[] => [
  { figure, peer: "check-read", at_most: 1.6, hosts: 10 * MILLION },
  { figure, peer: "check-lists", at_most: 1 / 100, hosts: 10 * MILLION },
  { figure, peer: "check-duckdb", at_most: 1 / 15, hosts: 10 * MILLION },
]);

/** Counts and bitmap, by what share of the hosts is too old. */
const MAX_AGE = ["counts", "bitmap"].flatMap((what) =>
  ["none", "tenth", "half"].map(
    (share): Target => ({
      figure: `max-age-${what}-${share}`,
      peer: "bitmap",
      at_most: 2,
      hosts: 10 * MILLION,
    }),
  ),
);

export const TARGETS: readonly Target[] = [
  { figure: "fold", peer: "fold-c", at_least: 0.9, hosts: MILLION },
  { figure: "fold-churn", peer: "fold", at_least: 0.6, hosts: MILLION },
  { figure: "check", unit: "µs/call", at_most: 50, hosts: 10 * MILLION },
  { figure: "check-http-p50", unit: "ms", at_most: 1, hosts: 10 * MILLION },
  { figure: "bitmap", peer: "column-read", at_most: 4, hosts: 10 * MILLION },
  ...HOSTILE,
  { figure: "hosts-list", unit: "hosts/s", at_least: 5 * MILLION, hosts: 10 * MILLION },
  { figure: "check-batch", peer: "check-one-by-one", at_most: 1, hosts: 10 * MILLION },
  { figure: "check-batch-hostile", peer: "check-one-by-one", at_most: 1, hosts: 10 * MILLION },
  ...MAX_AGE,
  { figure: "memory", unit: "B/host", at_most: 112, hosts: 10 * MILLION },
  { figure: "memory-peak", peer: "memory", at_most: 1.3, hosts: 10 * MILLION },
  { figure: "growth-pause", unit: "ms", at_most: 20, hosts: 10 * MILLION },
  { figure: "replay", unit: "events/s", at_least: 3 * MILLION, hosts: MILLION },
  { figure: "replay-two", peer: "replay", at_least: 1.7, hosts: MILLION },
  { figure: "restart", unit: "ms", at_most: 300, hosts: MILLION },
  { figure: "append", unit: "events/s", at_least: 3 * MILLION },
  { figure: "append-one-p99", unit: "ms", at_most: 20 },
  // Of a log of twice --events.
  { figure: "history-one", unit: "ms", at_most: 5, events: 50 * MILLION },
  { figure: "disk", unit: "of the events", at_most: 1.35 },
];

/** The number that a target speaks of; undefined: the figure has no such peer in its run. */
export function value_for({ peer }: Target, figure: Figure, run: readonly Figure[]): number | undefined {
  if (peer === undefined) return figure.median;
  const other = run.find(({ name }) => name === peer);
  return figure.against[peer] ?? (other && figure.median / other.median);
}

/** How many times better than wanted; below 1 it falls short. */
export function margin_of({ at_least, at_most }: Target, value: number): number {
  return at_least !== undefined ? value / at_least : at_most! / value;
}

export function is_large_enough({ hosts = 0, events = 0 }: Target, run: RunFacts): boolean {
  return run.hosts >= hosts && run.events >= events;
}
