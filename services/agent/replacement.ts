/**
 * Which patches left when a load completed. The kernel prints no line for a patch that is replaced, and before 6.11
 * does not show that a patch replaces: only what is, or is not, there later tells. A replacing patch takes all earlier
 * ones with it (klp_unpatch_replaced_patches), so one that stays proves that none left.
 */
import type { Fact } from "./facts.js";

/** A load whose transition completed with the fact at `at`. */
export interface CompletedLoad {
  name: string;
  at: number;
  /** As sysfs shows it; undefined where it does not. */
  replace: boolean | undefined;
}

export interface Evidence {
  /** In order; all of the interval between two snapshots. */
  facts: readonly Fact[];
  /** Names on the stack at the interval's end. */
  on_stack: ReadonlySet<string>;
  /** What the snapshot at the end shows of `replace`, for the patch of this name that the fact at `at` completed. */
  replace_of(name: string, at: number): boolean | undefined;
}

/** The first proof behind `at` that the patch is still on the stack, or that it is not. */
function fate(name: string, at: number, { facts, on_stack }: Evidence): { stays: boolean; until: number } {
  for (let later = at + 1; later < facts.length; later++) {
    const fact = facts[later]!;
    if (!("name" in fact) || fact.name !== name) continue;
    // A load that gets past the check for its own name was neither on the stack nor lingering.
    if (fact.kind === "began" || (fact.kind === "refused" && fact.name_was_free))
      return { stays: false, until: later };
    if (fact.kind === "started" || fact.kind === "completed") return { stays: true, until: later };
  }
  return { stays: on_stack.has(name), until: facts.length };
}

/** Whether the load that completed at `later` may as well be what took the earlier patches away. */
function is_rival(load: CompletedLoad, later: number, evidence: Evidence): boolean {
  const fact = evidence.facts[later]!;
  if (fact.kind !== "completed" || fact.to !== "patching") return false;
  if (evidence.replace_of(fact.name, later) === false) return false;
  const between = evidence.facts.slice(load.at + 1, later);
  const is_same_load =
    fact.name === load.name && !between.some((fact) => fact.kind === "began" && fact.name === load.name);
  if (is_same_load) return false;
  const before = [
    load.name,
    ...between.flatMap((f) => (f.kind === "completed" && f.to === "patching" ? [f.name] : [])),
  ];
  return !before.some((name) => name !== fact.name && fate(name, later, evidence).stays);
}

/**
 * Those of `earlier` that left with the load: all or none. Null if it is open which of several loads took them,
 * as when two loads complete between two snapshots and only the last one is there at the end.
 */
export function left_with(
  load: CompletedLoad,
  earlier: readonly string[],
  evidence: Evidence,
): readonly string[] | null {
  if (earlier.length === 0) return [];
  if (load.replace !== undefined) return load.replace ? earlier : [];
  const fates = earlier.map((name) => fate(name, load.at, evidence));
  if (fates.some(({ stays }) => stays)) return [];
  const until = Math.min(...fates.map(({ until }) => until));
  for (let later = load.at + 1; later < until; later++) {
    if (is_rival(load, later, evidence)) return null;
  }
  return earlier;
}
