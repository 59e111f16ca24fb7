/**
 * The pure half of the host agent: what a snapshot and the kernel's lines since the last one mean, as changes of
 * klpstate.v1.HostEvent. No I/O, no clock; host, stream, sequence and time are the caller's.
 */
import { BOOT_ID_BYTES } from "../events/limits.js";
import { klpstate } from "../events/proto.js";
import { bytes_of, type Change, change_of, LIVEPATCHING, PHASES, patch_of, type Told } from "./changes.js";
import {
  type Fact,
  type Line,
  NOTHING_UNFINISHED,
  read_facts,
  type Transition,
  type Unfinished,
} from "./facts.js";
import { explain, unsaid_facts } from "./interpreter.js";
import {
  build_id_of,
  is_livepatch,
  type LivepatchingName,
  last_said,
  type Policy,
  type Snapshot,
  type StackPatch,
  shown_pending,
  shown_stack,
  transition_on,
} from "./snapshot.js";

export type { Change, ChangeName } from "./changes.js";
export type { Line } from "./facts.js";
export type { LivepatchingName, Policy, ShownModule, ShownPatch, Snapshot } from "./snapshot.js";

const { Source } = klpstate.v1;

export interface LingeringPatch {
  name: string;
  build_id?: string | undefined;
  pinned: boolean;
}

/** What is known of a host after a call, for the next one. Plain data: it survives JSON. */
export interface Known {
  boot_id: string;
  livepatching: LivepatchingName;
  policy: Policy | null;
  /** The record that the next line must have; null while no line was read in this boot. */
  next_record: number | null;
  /** When the last snapshot was taken that could be read. */
  taken_unix_ms: number | null;
  stack: StackPatch[];
  lingering: LingeringPatch[];
  unfinished: Unfinished;
}

/** Why there is an `Observed`. The one for `policy` follows a full explanation and loses nothing. */
export type Baseline = "first" | "another_boot" | "livepatching" | "hole" | "unexplained" | "policy";

export interface Derived {
  /** In the order in which they are to be sent. */
  changes: Change[];
  /** For each change the record of the line that told it; null where only the snapshot did. */
  records: (number | null)[];
  next: Known;
  /** Set where `changes` holds an `Observed`; `detail` is for the agent's own log. */
  baseline?: { cause: Baseline; detail: string };
}

/** What is there now, in full: the `Observed` for a moment at which `known` came from this snapshot. */
export function observe(
  known: Known,
  snapshot: Snapshot,
  losses: klpstate.v1.Loss.$Properties[] = [],
): klpstate.v1.Observed.$Properties {
  const boot_id = bytes_of(snapshot.boot_id);
  return {
    kernel_release: snapshot.kernel_release,
    arch: snapshot.arch,
    // Anything but 0 or BOOT_ID_BYTES bytes would be refused (RULES F7).
    boot_id: boot_id.length === BOOT_ID_BYTES ? boot_id : new Uint8Array(0),
    boot_time_unix_s: snapshot.boot_time,
    livepatching: LIVEPATCHING[known.livepatching],
    stack: known.stack.map((patch) => ({
      patch: patch_of(patch),
      phase: PHASES[patch.phase],
      ...(patch.replace === undefined ? {} : { replace: patch.replace }),
    })),
    lingering: known.lingering.map((module) => ({ patch: patch_of(module), pinned: module.pinned })),
    ...(known.policy === null ? {} : { policy: known.policy }),
    losses,
  };
}

/** The lines not read yet, and where records are missing. Records that came before are read once only. */
function unread(lines: readonly Line[], next_record: number | null): { fresh: Line[]; hole: string | null } {
  const fresh: Line[] = [];
  let expected = next_record;
  let hole: string | null = null;
  for (const line of lines) {
    if (expected !== null && line.record < expected) continue;
    if (expected !== null && line.record > expected)
      hole ??= `kernel log records ${expected} to ${line.record - 1}`;
    fresh.push(line);
    expected = line.record + 1;
  }
  return { fresh, hole };
}

/** Livepatch modules that the snapshot shows off the stack, oldest first; those that come or go are none yet, or no more. */
function shown_lingering(
  snapshot: Snapshot,
  stack: readonly StackPatch[],
  comes_or_goes: (name: string) => boolean,
): { name: string; build_id?: string | undefined }[] {
  const on_stack = new Set(stack.map(({ name }) => name));
  return snapshot.modules
    .filter((module) => is_livepatch(module) && !on_stack.has(module.name) && !comes_or_goes(module.name))
    .map(({ name }) => ({ name, build_id: build_id_of(snapshot, name) }))
    .reverse();
}

/**
 * Pinned is a module that is held though its patch is gone: a forced transition never gives it back. For a moment every
 * leaving module looks like that (klp_free_patch_finish waits for the directory before it lets go), so where there is an
 * earlier look, both must have shown it.
 */
function is_pinned(name: string, snapshot: Snapshot, earlier: Known | null, facts: readonly Fact[]): boolean {
  if (snapshot.patches.some((patch) => patch.name === name)) return false;
  const is_held = snapshot.modules.some((module) => module.name === name && module.refcount > 0);
  const has_just_left =
    earlier !== null &&
    !earlier.lingering.some((module) => module.name === name) &&
    facts.some((fact) => fact.kind === "completed");
  return is_held && !has_just_left;
}

/** What lines tell that needs no stack: refusals, forcings, target modules. `Observed` cannot say it. */
function own_changes(facts: readonly Fact[]): Told[] {
  return facts.flatMap((fact) => {
    const change = change_of(fact, (name) => ({ name }));
    return change ? [{ change, record: fact.record }] : [];
  });
}

function differs(a: Policy, b: Policy | null): boolean {
  return (["modules_disabled", "signature_required", "ftrace_off"] as const).some(
    (key) => Boolean(a[key]) !== Boolean(b?.[key]),
  );
}

/**
 * The changes between `previous` and `snapshot`. `lines` are all records of the kernel's log since the last call, in
 * order, read before the snapshot was taken; only of a first call, or one in another boot, they may begin anywhere.
 * Where lines and snapshots do not explain each other the answer is an `Observed` with a Loss, never a guess.
 * `log_was_read`: at the last call and at this one. Else lines may be of before looks that did without them.
 */
export function derive(
  previous: Known | null,
  snapshot: Snapshot,
  lines: readonly Line[],
  log_was_read = true,
): Derived {
  const earlier = previous !== null && previous.boot_id === snapshot.boot_id ? previous : null;
  const livepatching = snapshot.livepatching ?? "supported";
  const { fresh, hole: missing } = unread(lines, earlier?.next_record ?? null);
  // What they tell, snapshots may have told already.
  const is_late = !log_was_read && fresh.length > 0;
  const hole = missing ?? (is_late ? "kernel log records that were not read when they came" : null);
  // Behind a hole nothing that was open before can be trusted to be open still.
  const is_continued = earlier !== null && hole === null;
  const running = earlier && transition_on(earlier.stack);
  const { facts, unfinished } = read_facts(
    fresh,
    is_continued ? earlier.unfinished : NOTHING_UNFINISHED,
    is_continued ? running : null,
    shown_transition(snapshot) ?? running,
  );
  const reads_log = log_was_read && (fresh.length > 0 || (earlier?.next_record ?? null) !== null);
  const said = last_said(earlier?.stack ?? [], facts, reads_log && hole === null);
  const shown = shown_stack(snapshot, said);

  const in_between = new Set([
    ...shown_pending(snapshot, said),
    // Between klp_init_patch and the start of its transition; without a directory its load has ended.
    ...snapshot.patches.map(({ name }) => name).filter((name) => name === unfinished.pending),
    // A load that has not come to its patch, or failed; a removal.
    ...snapshot.modules.filter(({ state }) => state !== "Live").map(({ name }) => name),
  ]);
  const was_lingering = new Set(earlier?.lingering.map(({ name }) => name));
  const is_known_to_linger = (name: string) =>
    was_lingering.has(name) && !facts.some((fact) => fact.kind === "began" && fact.name === name);

  const next_of = (stack: StackPatch[], lingering: { name: string; build_id?: string | undefined }[]) => {
    const is_readable = livepatching !== "unreadable";
    const next: Known = {
      boot_id: snapshot.boot_id,
      livepatching,
      policy: snapshot.policy ?? earlier?.policy ?? null,
      next_record: fresh.length > 0 ? fresh[fresh.length - 1]!.record + 1 : (earlier?.next_record ?? null),
      taken_unix_ms: (is_readable ? snapshot.taken_unix_ms : previous?.taken_unix_ms) ?? null,
      stack: is_readable ? stack : [],
      lingering: is_readable
        ? lingering.map((module) => ({
            ...module,
            pinned: is_pinned(module.name, snapshot, earlier, facts),
          }))
        : [],
      unfinished,
    };
    return next;
  };
  const derived = (told: Told[], next: Known, baseline?: Derived["baseline"]): Derived => ({
    changes: told.map(({ change }) => change),
    records: told.map(({ record }) => record),
    next,
    ...(baseline ? { baseline } : {}),
  });
  const observed = (cause: Baseline, detail: string): Derived => {
    const next = next_of(
      shown,
      shown_lingering(snapshot, shown, (name) => in_between.has(name) && !is_known_to_linger(name)),
    );
    const losses: klpstate.v1.Loss.$Properties[] = [];
    // What was before the first look is not lost: nobody was to see it. And a host that goes out of sight
    // has lost nothing yet; the span is told when it is back.
    if (previous !== null && livepatching !== "unreadable") {
      losses.push({
        source: cause === "livepatching" ? Source.SNAPSHOT : Source.KERNEL_LOG,
        from_unix_ms: previous.taken_unix_ms ?? 0,
        to_unix_ms: snapshot.taken_unix_ms ?? 0,
      });
    }
    const baseline: Told = { change: { observed: observe(next, snapshot, losses) }, record: null };
    // Where no line of this boot was read before, nobody knows which refusals were told already; that this boot was
    // forced can be said twice.
    const is_first_reading = cause === "first" || (is_late && earlier?.next_record === null);
    const own = own_changes(facts).filter(({ change }) => !is_first_reading || "forced" in change);
    if (earlier !== null) {
      // A forcing belongs where its patch is on the stack: before, or only after.
      const is_of_now = ({ change }: Told) =>
        "forced" in change && !earlier.stack.some(({ name }) => name === change.forced.patch?.name);
      const told = [...own.filter((t) => !is_of_now(t)), baseline, ...own.filter(is_of_now)];
      return derived(told, next, { cause, detail });
    }
    // A new stream begins with Observed, and in a new boot only Observed ends the old boot's `forced`.
    return derived([baseline, ...own], next, { cause, detail });
  };

  if (previous === null) return observed("first", "nothing is known of before");
  if (earlier === null) return observed("another_boot", `boot ${previous.boot_id || "?"} ended`);
  if (earlier.livepatching !== livepatching)
    return observed("livepatching", `was ${earlier.livepatching}, is ${livepatching}`);
  if (livepatching === "unreadable") return derived(own_changes(facts), next_of([], []));
  if (hole !== null) return observed("hole", hole);

  const all_facts = [...facts, ...unsaid_facts(said, shown)];
  const explained = explain(earlier, all_facts, shown, snapshot, in_between);
  if ("unexplained" in explained) return observed("unexplained", explained.unexplained);
  const next = next_of(explained.stack, explained.lingering);
  if (snapshot.policy && differs(snapshot.policy, earlier.policy)) {
    const told: Told = { change: { observed: observe(next, snapshot) }, record: null };
    return derived([...explained.told, told], next, { cause: "policy", detail: "the policy changed" });
  }
  return derived(explained.told, next);
}

/** The transition that sysfs shows, whatever the lines say. */
function shown_transition(snapshot: Snapshot): Transition | null {
  const patch = snapshot.patches.find(({ transition }) => transition);
  return patch ? { name: patch.name, to: patch.enabled ? "patching" : "unpatching" } : null;
}
