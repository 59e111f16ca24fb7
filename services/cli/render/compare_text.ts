/** What `patch compare` found, for people: whether it may be loaded, and what changes. */
import type { HostVerdict } from "../../registry/answers.js";
import type { Changes } from "../patch_changes.js";
import type { Paint } from "../terminal.js";
import { plain } from "./text.js";
import { why } from "./verdict_words.js";

export interface Direction extends Omit<HostVerdict, "host_id" | "stale" | "uncertain"> {
  patch: string;
  /** Oldest first. */
  over: string[];
}

export interface Comparison {
  may_load: boolean;
  forth: Direction;
  /** The other way round; null: more than one patch is there. */
  back: Direction | null;
  changes: Changes;
}

export function comparison_text({ forth, back, changes }: Comparison, paint: Paint): string {
  const { functions, advisories, states } = changes;
  return [
    direction_text(forth, paint),
    ...(back === null ? [] : [direction_text(back, paint)]),
    "\n",
    section("functions", functions),
    ...(states === null
      ? ["states: not known\n"]
      : [
          counts("states", states),
          ...states.added.map(({ id, version }) => `  + ${id}:${version}\n`),
          ...states.updated.map(({ id, from, to }) => `  ~ ${id}:${from} to ${id}:${to}\n`),
          ...states.dropped.map(({ id, version }) => `  - ${id}:${version}\n`),
        ]),
    section("advisories", advisories),
  ].join("");
}

function direction_text(direction: Direction, paint: Paint): string {
  const { patch, over, verdict, warnings } = direction;
  const said = verdict === "ok" ? paint("green", "MAY BE LOADED") : paint("red", "MAY NOT BE LOADED");
  const reason = why({ ...direction, host_id: "", stale: false, uncertain: false }, plain(patch));
  const warned = warnings.map((warning) => `  warning: ${warning}\n`).join("");
  return `${said}: ${plain(patch)} over ${over.map(plain).join(", ")}\n  ${reason}\n${warned}`;
}

function section(name: string, changes: { kept: string[]; added: string[]; dropped: string[] }): string {
  const lines = [
    ...changes.added.map((entry) => `  + ${plain(entry)}\n`),
    ...changes.dropped.map((entry) => `  - ${plain(entry)}\n`),
  ];
  return `${counts(name, changes)}${lines.join("")}`;
}

function counts(name: string, lists: Record<string, unknown[]>): string {
  const parts = Object.entries(lists).map(([what, { length }]) => `${length} ${what}`);
  return `${name}: ${parts.join(", ")}\n`;
}
