/** A system state's life (RULES K11), told from a host's stack before and after an event. */
import type { Configuration, CoreState, StackEntry } from "../core/core.js";

export type StateChange =
  | "declared"
  | "taken_over"
  | "updated"
  | "withdrawn"
  | "returned"
  | "undone"
  | "lost";

export interface StateLife {
  id: bigint;
  change: StateChange;
  from: number | null;
  to: number | null;
  /** The patch that has the state afterwards; where none has it any more, the one that had it. */
  patch: string;
}

interface Holder {
  patch: string;
  version: number;
}

/** The states of a manifest by its number; null: not known. */
export type StatesOf = (manifest: number) => readonly CoreState[] | null;

/** For each id the latest patch on the stack that has it: the one whose version is in effect. */
function holders(stack: Configuration["stack"], states_of: StatesOf): Map<bigint, Holder> {
  const latest = new Map<bigint, Holder>();
  for (const { name, manifest } of stack) {
    const states = typeof manifest === "number" ? (states_of(manifest) ?? []) : [];
    // Backwards, so that the first entry of an id is the one that stays: klp_get_state finds that one.
    for (const state of states.toReversed()) latest.set(state.id, { patch: name, version: state.version });
  }
  return latest;
}

/**
 * What the event between the two stacks did to the states of known patches, by id. `disabled` is the patch that the
 * event let leave by a transition of its own, `completed` whether that patch's load had ever completed.
 */
export function state_lives(
  before: Configuration["stack"],
  after: Configuration["stack"],
  states_of: StatesOf,
  disabled: string | null,
  completed: boolean,
): StateLife[] {
  const was = holders(before, states_of);
  const is = holders(after, states_of);
  const stood_before = new Set(before.map((entry) => entry.name));
  const lives: StateLife[] = [];
  for (const [id, now] of is) {
    const earlier = was.get(id);
    const to = { id, to: now.version, patch: now.patch };
    if (!earlier) lives.push({ ...to, change: "declared", from: null });
    else if (earlier.patch !== now.patch || earlier.version !== now.version) {
      const from = earlier.version;
      if (stood_before.has(now.patch) && earlier.patch !== now.patch)
        lives.push({ ...to, change: "returned", from });
      else lives.push({ ...to, change: from === now.version ? "taken_over" : "updated", from });
    }
  }
  for (const [id, earlier] of was) {
    if (is.has(id)) continue;
    const left_by_itself = earlier.patch === disabled;
    const change = left_by_itself ? (completed ? "withdrawn" : "undone") : "lost";
    lives.push({ id, change, from: earlier.version, to: null, patch: earlier.patch });
  }
  return lives.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * Whether the load of a patch that stands on the stack after an event has ever completed, as `state_lives` asks of one
 * that leaves. `before` is the stack before the event, `was_completed` what this said of its patches.
 */
export function load_completed<Known>(
  entry: StackEntry,
  before: Configuration["stack"],
  was_completed: (name: string) => Known,
): Known | boolean {
  if (entry.phase === "enabled") return true;
  if (before.some(({ name }) => name === entry.name)) return was_completed(entry.name);
  return entry.phase === "disabling";
}
