/** Figures as people read them: a line on a terminal, a table of Markdown, and the numbers in both. */
import type { Figure } from "./measure.js";

export function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value < 0.1 && value > 0) return value.toPrecision(2);
  return value.toFixed(value < 10 ? 2 : 1);
}

/** Its ratios to its peers. */
export function ratios_of({ against }: Figure): string[] {
  return Object.entries(against).map(([peer, ratio]) => `${short(ratio)} of ${peer}`);
}

export function line_of(figure: Figure, name_width: number): string {
  const { name, unit, median, min, max, runs } = figure;
  const range = `min ${short(min)}  max ${short(max)}  runs ${runs}`;
  const columns = [name.padEnd(name_width), short(median).padStart(8), unit.padEnd(9), range];
  return [...columns, ...ratios_of(figure)].join("  ");
}

/** Whole numbers with commas; millions and thousands by their name. */
export function count_of(count: number): string {
  for (const [size, name] of [
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (count >= size && count % (size / 10) === 0) return `${count / size}${name}`;
  }
  return count.toLocaleString("en");
}

/** Formatted as biome does; `right`: columns of numbers. */
export function table(head: string[], rows: string[][], right: readonly number[] = []): string {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join(" | ")} |`;
  const rule = widths.map((width, i) =>
    right.includes(i) ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  return [line(head), `| ${rule.join(" | ")} |`, ...rows.map(line), ""].join("\n");
}
