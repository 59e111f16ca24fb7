/**
 * How figures grow with their size: by what power of it the work of all does, between each size and the next. 1 is
 * linear; above it, every host, event or state costs more the more there are.
 */
import { count_of, short, table } from "./figure_line.js";
import { log_log_plot, type PlotLine } from "./log_log_plot.js";
import type { Figure } from "./measure.js";

/** What grows: a fleet's hosts, or the states that each patch declares. */
const AXES = ["hosts", "states"] as const;
type Axis = (typeof AXES)[number];

/** A slope between two sizes is of two medians of minutes that differ: this much above 1 is no noise. */
const LINEAR_MAX = 1.1;

interface Size {
  size: number;
  figure: Figure;
  /** Nanoseconds or bytes, of one host or one event. */
  cost: number;
  /** Of all: the power of the size by which it grew since the one before. */
  exponent: number | null;
}

interface Series {
  name: string;
  axis: Axis;
  sizes: Size[];
}

/** By unit: nanoseconds or bytes, and whether of one host or event, or of the whole fleet. */
const COSTS: Readonly<Record<string, { of: (value: number) => number; whole: boolean }>> = {
  "events/s": { of: (value) => 1e9 / value, whole: false },
  "ns/host": { of: (value) => value, whole: false },
  "B/host": { of: (value) => value, whole: false },
  "µs/call": { of: (value) => value * 1e3, whole: true },
  ms: { of: (value) => value * 1e6, whole: true },
};

export function series_of(figures: readonly Figure[]): Series[] {
  const series = new Map<string, Series>();
  for (const figure of figures) {
    const [, name, size_text, axis] = /^growth-(.+)-([0-9]+)-(hosts|states)$/.exec(figure.name) ?? [];
    const cost = COSTS[figure.unit];
    if (name === undefined || cost === undefined) continue;
    const key = `${name} ${axis}`;
    const one = series.get(key) ?? { name, axis: axis as Axis, sizes: [] };
    series.set(key, one);
    const size = Number(size_text);
    const each = cost.of(figure.median) / (cost.whole ? size : 1);
    const before = one.sizes.at(-1);
    const slope = before && Math.log(each / before.cost) / Math.log(size / before.size);
    // What is told of one host is, of all, more by the power 1; a host's states are not more hosts.
    const exponent = slope === undefined ? null : slope + (axis === "hosts" ? 1 : 0);
    one.sizes.push({ size, figure, cost: each, exponent });
  }
  return [...series.values()];
}

function growth_text(sizes: readonly Size[]): string {
  return sizes
    .flatMap(({ exponent }) => (exponent === null ? [] : [exponent.toFixed(2).replace("-0.00", "0.00")]))
    .join(", ");
}

function mark(sizes: readonly Size[]): string {
  const steep = sizes.filter(({ exponent }) => exponent !== null && exponent > LINEAR_MAX);
  return steep.length === 0
    ? ""
    : `faster than linearly, to ${steep.map(({ size }) => count_of(size)).join(", ")}`;
}

/** Of one axis, in Markdown; null: nothing was measured along it. */
function table_of(series: readonly Series[], axis: Axis): string | null {
  const own = series.filter((one) => one.axis === axis);
  if (own.length === 0) return null;
  const sizes = [...new Set(own.flatMap((one) => one.sizes.map(({ size }) => size)))].sort((a, b) => a - b);
  const rows = own.map((one) => [
    one.name,
    one.sizes[0]!.figure.unit,
    ...sizes.map((size) => {
      const found = one.sizes.find((each) => each.size === size);
      return found === undefined ? "" : short(found.figure.median);
    }),
    growth_text(one.sizes),
    mark(one.sizes),
  ]);
  const head = ["figure", "unit", ...sizes.map(count_of), `power of ${axis}`, `grows`];
  return table(
    head,
    rows,
    sizes.map((_, i) => 2 + i),
  );
}

const EXPLAINED: Readonly<Record<Axis, string>> = {
  hosts: `By hosts. The power is that by which the work of all hosts grows from one size to the next: 0 is none, 1 linear. Above
${LINEAR_MAX} it is marked.\n`,
  states:
    "By states that each patch of a stack of five declares, where every host has a configuration of its own.\n",
};

/** Null: there are no such figures. */
export function growth_text_of(figures: readonly Figure[]): string | null {
  const series = series_of(figures);
  const tables = AXES.flatMap((axis) => {
    const found = table_of(series, axis);
    return found === null ? [] : [EXPLAINED[axis], found];
  });
  return tables.length === 0 ? null : tables.join("\n");
}

function lines_of(series: readonly Series[], axis: Axis): PlotLine[] {
  return series
    .filter((one) => one.axis === axis)
    .map(({ name, sizes }) => ({ name, points: sizes.map(({ size, cost }) => [size, cost]) }));
}

/** An SVG document; null: there are no such figures. */
export function growth_plot_of(figures: readonly Figure[]): string | null {
  const series = series_of(figures);
  if (series.length === 0) return null;
  const steep = series.filter(({ sizes }) => mark(sizes) !== "").map(({ name }) => name);
  return log_log_plot({
    title: "What a host costs in a larger fleet, and with more states",
    description:
      "A level line is growth in proportion, a falling one less, a rising one more. Faster than linearly grow: " +
      `${[...new Set(steep)].join(", ") || "none"}.`,
    panels: [
      {
        x_label: "hosts",
        y_label: "ns per host or event; memory: bytes per host",
        lines: lines_of(series, "hosts"),
      },
      { x_label: "states of a patch", y_label: "ns per host", lines: lines_of(series, "states") },
    ].filter(({ lines }) => lines.length > 0),
  });
}
