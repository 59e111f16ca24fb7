/**
 * A short run of the figures that have a peer, beside ratios that were kept (smoke.json): one that has become half as
 * good is a defect. Never a time, which is of one machine on one day. `npm run bench -- --smoke`; `--smoke --keep` keeps
 * the ratios of this run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fold_figures } from "./fold.js";
import { hostile_figures } from "./hostile_check.js";
import type { Figure } from "./measure.js";

// Seen from dist/bench/.
const KEPT = fileURLToPath(new URL("../../bench/smoke.json", import.meta.url));
/** Beyond any cache of the second level, and a few seconds each. */
const HOSTS = 300_000;
const EVENTS = 1_500_000;
/** Without the fold of JavaScript, which alone takes longer than all others. */
const FOLDS = new Set(["fold", "fold-new-hosts", "fold-churn"]);
const WORSE = 2;
/** Peers whose own times are long enough, and of runs enough, to be the same twice, also where others use the machine. */
const PEERS = ["fold-c", "fold", "check-columns", "check-javascript-map"];

/** By figure, by peer. */
type Ratios = Record<string, Record<string, number>>;

export async function smoke_figures(): Promise<Figure[]> {
  return [...(await fold_figures(HOSTS, EVENTS, FOLDS)), ...(await hostile_figures(HOSTS))].filter(
    ({ against }) => Object.keys(against).length > 0,
  );
}

export function keep_ratios(figures: readonly Figure[]): void {
  const kept = Object.fromEntries(
    figures.map(({ name, against }) => {
      const lasting = Object.entries(against).filter(([peer]) => PEERS.includes(peer));
      return [name, Object.fromEntries(lasting.map(([peer, ratio]) => [peer, Number(ratio.toPrecision(3))]))];
    }),
  );
  writeFileSync(KEPT, `${JSON.stringify(kept, null, 2)}\n`);
}

export interface WorseRatio {
  /** Its figure and its peer. */
  ratio: string;
  /** For a person. */
  said: string;
}

/** What has become worse; a ratio without its peer here is left out, and one that is new. */
export function worse_ratios(figures: readonly Figure[]): WorseRatio[] {
  const kept = JSON.parse(readFileSync(KEPT, "utf8")) as Ratios;
  return figures.flatMap(({ name, unit, against }) =>
    Object.entries(against).flatMap(([peer, ratio]) => {
      const before = kept[name]?.[peer];
      if (before === undefined) return [];
      // Of a rate, less is worse; of a time, more.
      const worse = unit.endsWith("/s") ? before / ratio : ratio / before;
      if (worse <= WORSE) return [];
      const said = `${name} is ${ratio.toPrecision(3)} of ${peer}, and was ${before}`;
      return [{ ratio: `${name} ${peer}`, said }];
    }),
  );
}
