/**
 * What a host shows at one instant, and the stack that it means. Pure: reading /sys and /proc is somebody else's.
 */
import type { klpstate } from "../events/proto.js";
import type { Fact, Transition } from "./facts.js";

export type PhaseName = "enabling" | "enabled" | "disabling";
export type LivepatchingName = "supported" | "not_built" | "unreadable";
export type Policy = klpstate.v1.Policy.$Properties;

/** A directory of /sys/kernel/livepatch. */
export interface ShownPatch {
  name: string;
  enabled: number | boolean;
  transition: number | boolean;
  /** From kernel 6.11. */
  replace?: number | boolean | undefined;
  /** From kernel 6.14. */
  stack_order?: number | undefined;
  /** Lower-case hex. */
  build_id?: string | undefined;
}

/** A line of /proc/modules. */
export interface ShownModule {
  name: string;
  refcount: number;
  /** Live, Loading or Unloading. */
  state: string;
  /** The flags, as `(OEK)`. */
  taints: string;
  /** Lower-case hex. */
  build_id?: string | undefined;
}

export interface Snapshot {
  /** As /proc/sys/kernel/random/boot_id has it; empty if it could not be read. */
  boot_id: string;
  /** Unix seconds. */
  boot_time: number;
  kernel_release: string;
  arch: string;
  /** In any order: that of sysfs means nothing. */
  patches: readonly ShownPatch[];
  /** Newest first, as in /proc/modules. */
  modules: readonly ShownModule[];
  policy?: Policy | undefined;
  /** Default: supported. */
  livepatching?: LivepatchingName | undefined;
  /** When it was taken, on the host's clock: the end of a loss, and the beginning of the next. */
  taken_unix_ms?: number | undefined;
}

export interface StackPatch {
  name: string;
  phase: PhaseName;
  build_id?: string | undefined;
  /** As sysfs shows it; undefined where it does not. */
  replace?: boolean | undefined;
}

/** What is last known of a name's transition. */
export interface LastSaid {
  what: "patching" | "patched" | "unpatching";
  /** An earlier snapshot showed it on the stack. */
  seen: boolean;
  /** No turn of it goes without a line that is read, if not now then the next time. */
  lines_tell: boolean;
}

/** What an earlier stack and the facts since say of each name. Patches that were replaced meanwhile are still in it. */
export function last_said(
  stack: readonly StackPatch[],
  facts: readonly Fact[],
  lines_tell: boolean,
): Map<string, LastSaid> {
  const said = new Map<string, LastSaid>();
  const says = (name: string, what: LastSaid["what"], seen: boolean) =>
    said.set(name, { what, seen, lines_tell });
  for (const { name, phase } of stack) {
    const what = phase === "enabling" ? "patching" : phase === "enabled" ? "patched" : "unpatching";
    says(name, what, true);
  }
  for (const fact of facts) {
    if (fact.kind === "began") said.delete(fact.name);
    if (fact.kind === "started") says(fact.name, fact.to, said.get(fact.name)?.seen ?? false);
    if (fact.kind === "completed") {
      if (fact.to === "unpatching") said.delete(fact.name);
      else says(fact.name, "patched", said.get(fact.name)?.seen ?? false);
    }
  }
  return said;
}

function is_being_replaced(
  patch: ShownPatch,
  said: LastSaid | undefined,
  others: readonly ShownPatch[],
): boolean {
  if (!said?.lines_tell || said.what !== "patched") return false;
  return others.some(({ name, enabled, transition }) => name !== patch.name && enabled && transition);
}

function phase_of(
  patch: ShownPatch,
  said: LastSaid | undefined,
  others: readonly ShownPatch[],
): PhaseName | null {
  // A patch that leaves shows 0 and 0 until its directory is gone; so does one that klp_init_patch has just made, and,
  // while post_patch runs of the one that replaces it, one that is still there (klp_unpatch_replaced_patches).
  if (!patch.transition) return patch.enabled || is_being_replaced(patch, said, others) ? "enabled" : null;
  if (said === undefined) return patch.enabled ? "enabling" : null;
  // `enabled` turns after the line of a transition that begins (__klp_enable_patch, __klp_disable_patch), before that
  // of one that is reversed (klp_reverse_transition), and `transition` is 1 while pre_unpatch still runs and behind the
  // line that completes: which way it goes is only to be had from the lines.
  if (said.lines_tell && said.what !== "patched") return said.what === "patching" ? "enabling" : "disabling";
  if (said.lines_tell) return patch.enabled ? "enabled" : "disabling";
  if (patch.enabled) return "enabling";
  return said.what === "patching" && !said.seen ? "enabling" : "disabling";
}

/** Oldest first: by stack_order, and before 6.14 by the order in which the modules were loaded. */
function by_age(snapshot: Snapshot): (a: ShownPatch, b: ShownPatch) => number {
  const newest_first = new Map(snapshot.modules.map(({ name }, position) => [name, position]));
  return (a, b) => {
    if (a.stack_order !== undefined && b.stack_order !== undefined) return a.stack_order - b.stack_order;
    const age = (newest_first.get(b.name) ?? -1) - (newest_first.get(a.name) ?? -1);
    return age !== 0 ? age : a.name < b.name ? -1 : 1;
  };
}

/** Only these are livepatches. */
export function is_livepatch(module: ShownModule): boolean {
  return module.taints.includes("K");
}

/** The build id that the snapshot shows for a name. */
export function build_id_of(snapshot: Snapshot, name: string): string | undefined {
  const patch = snapshot.patches.find((patch) => patch.name === name);
  return (
    (patch?.build_id || undefined) ??
    (snapshot.modules.find((module) => module.name === name && is_livepatch(module))?.build_id || undefined)
  );
}

/** `replace` as sysfs shows it for a name. */
export function replace_of(snapshot: Snapshot, name: string): boolean | undefined {
  const shown = snapshot.patches.find((patch) => patch.name === name)?.replace;
  return shown === undefined ? undefined : Boolean(shown);
}

/** The stack that the snapshot shows, oldest first. `said` tells a patch that is leaving from one that is not there yet. */
export function shown_stack(snapshot: Snapshot, said: ReadonlyMap<string, LastSaid>): StackPatch[] {
  // Before they are sorted: a patch that has left may show the stack_order of another.
  const { patches } = snapshot;
  const phases = new Map(
    patches.map((patch) => [patch, phase_of(patch, said.get(patch.name), patches)] as const),
  );
  const on_stack = patches.filter((patch) => phases.get(patch) !== null);
  return on_stack.sort(by_age(snapshot)).map((patch) => ({
    name: patch.name,
    phase: phases.get(patch)!,
    build_id: build_id_of(snapshot, patch.name),
    replace: replace_of(snapshot, patch.name),
  }));
}

/** Names of patches that have a directory but are not on the stack yet. */
export function shown_pending(snapshot: Snapshot, said: ReadonlyMap<string, LastSaid>): string[] {
  return snapshot.patches
    .filter(({ enabled, transition }) => !enabled && transition)
    .filter((patch) => phase_of(patch, said.get(patch.name), snapshot.patches) === null)
    .map(({ name }) => name);
}

/** The transition that runs on a stack: the kernel allows one at a time. */
export function transition_on(stack: readonly StackPatch[]): Transition | null {
  const patch = stack.find(({ phase }) => phase !== "enabled");
  return patch ? { name: patch.name, to: patch.phase === "enabling" ? "patching" : "unpatching" } : null;
}
