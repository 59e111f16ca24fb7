/** Words, numbers and tables for people. What comes from hosts is shown so that it cannot steer a terminal. */
import type { At } from "../../registry/answers.js";

/** Control and format characters are shown as their code points. */
export function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** 3,812 */
export function number(count: number): string {
  return count.toLocaleString("en-US");
}

/** `1 host`, `3,812 hosts`. */
export function counted(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `kp_2`, or `kp_2@ab12…` with the beginning of the build id. */
export function reference({ name, build_id }: { name: string; build_id?: string | null }): string {
  if (!build_id) return plain(name);
  return `${plain(name)}@${build_id.length > BUILD_ID_CHARACTERS ? `${build_id.slice(0, BUILD_ID_CHARACTERS)}…` : build_id}`;
}

/** As many as people compare of a commit. */
const BUILD_ID_CHARACTERS = 12;

/** `1:2 5:1`, a state with its version. */
export function states(entries: { id: string; version: number }[]): string {
  return entries.length === 0 ? "none" : entries.map(({ id, version }) => `${id}:${version}`).join(" ");
}

export interface Column {
  title: string;
  align?: "right";
}

/** Lines with their ends; no rule is drawn, a reader's grep should find rows only. The last column is not padded. */
export function table(columns: Column[], rows: string[][], indent = ""): string {
  const widths = columns.map(({ title }, at) =>
    rows.reduce((width, row) => Math.max(width, width_of(row[at] ?? "")), width_of(title)),
  );
  const line = (cells: string[]) =>
    indent +
    columns
      .map(({ align }, at) => {
        const cell = cells[at] ?? "";
        const space = " ".repeat(widths[at]! - width_of(cell));
        return align === "right" ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd();
  return [columns.map(({ title }) => title), ...rows].map((cells) => `${line(cells)}\n`).join("");
}

/** Code points; wide characters in a host's name make its row crooked, no more. */
function width_of(text: string): number {
  return Array.from(text).length;
}

/** What an answer is a function of, but for positions. */
export function instants({ as_of, known_at, catalog }: At): string {
  const known = known_at === null ? "" : `, by what had arrived at ${known_at}`;
  return `as of ${as_of}${known}, catalog ${catalog}`;
}
