/**
 * How one event changes what is known of one host: docs/rules.md F1 to F8, written to be read beside that page.
 * The oracle of the tests; the product folds in WebAssembly and shares no code with this.
 */
import { klpstate } from "#services/events/proto.js";

type HostEvent = klpstate.v1.HostEvent;
type Observed = klpstate.v1.Observed.$Properties;
type Patch = klpstate.v1.Patch.$Properties;
type U64Field = klpstate.v1.HostEvent["stream"] | null | undefined;

export type Phase = "enabling" | "enabled" | "disabling";

/** From best to worst. */
export const KNOWLEDGE = ["complete", "gap", "unreadable", "no_baseline", "disputed"] as const;
export type Knowledge = (typeof KNOWLEDGE)[number];

/** In the order of the rules; an event's anomalies are listed in this order. */
export const ANOMALIES = [
  "sequence_reused",
  "gap",
  "two_writers",
  "stale",
  "loaded_twice",
  "not_on_stack",
  "not_in_transition",
  "not_allowed",
  "missed_reversal",
  "missed_removal",
  "not_known",
  "removed_on_stack",
  "left_not_on_stack",
  "replace_left_some",
  "build_differs",
  "diverged",
  "unknown_change",
  "over_limit",
] as const;
export type Anomaly = (typeof ANOMALIES)[number];

export type Effect = "applied" | "repeated" | "stale" | "foreign";

export const STACK_ENTRIES_MAX = 64;
export const LINGERING_ENTRIES_MAX = 256;

/** What a host sees of a patch. */
export interface Reference {
  name: string;
  /** Lower-case hex; empty: unknown. */
  build_id: string;
}

export interface StackEntry extends Reference {
  phase: Phase;
}

export interface Lingering extends Reference {
  pinned: boolean;
}

export interface Policy {
  modules_disabled: boolean;
  signature_required: boolean;
  ftrace_off: boolean;
}

/** Everything about a host that a check depends on. */
export interface Configuration {
  /** Null: unknown. */
  kernel_release: string | null;
  arch: string | null;
  livepatching: "supported" | "not_built" | null;
  policy: Policy;
  /** Oldest first. */
  stack: StackEntry[];
  /** By name. */
  lingering: Map<string, Lingering>;
  /** A transition was forced in this boot. */
  forced: boolean;
  knowledge: Knowledge;
}

export interface HostModel extends Configuration {
  host_id: string;
  stream: bigint;
  /** The last one of the current stream. */
  sequence: bigint;
  previous: { stream: bigint; sequence: bigint } | null;
  /** Time of the current stream's first event, clamped to its record's log time. */
  stream_start_ms: bigint;
  effective_time_ms: bigint;
  last_event_bytes: Uint8Array;
  /** Lower-case hex; null: unknown. */
  boot_id: string | null;
}

export interface Folded {
  host: HostModel;
  effect: Effect;
  anomalies: Anomaly[];
  effective_time_ms: bigint;
}

export function u64(value: U64Field): bigint {
  return value === null || value === undefined ? 0n : BigInt.asUintN(64, BigInt(value.toString()));
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function worse(a: Knowledge, b: Knowledge): Knowledge {
  return KNOWLEDGE.indexOf(a) > KNOWLEDGE.indexOf(b) ? a : b;
}

function reference(patch: Patch | null | undefined): Reference {
  return { name: patch?.name ?? "", build_id: Buffer.from(patch?.build_id ?? []).toString("hex") };
}

function phase_of(phase: klpstate.v1.Phase | null | undefined): Phase {
  if (phase === klpstate.v1.Phase.ENABLING) return "enabling";
  if (phase === klpstate.v1.Phase.ENABLED) return "enabled";
  if (phase === klpstate.v1.Phase.DISABLING) return "disabling";
  throw new Error(`phase ${phase} should have been quarantined`);
}

/** An event without effect: the host keeps everything, its effective time too. */
function without_effect(
  host: HostModel,
  effect: Effect,
  anomalies: Anomaly[],
  knowledge?: Knowledge,
): Folded {
  return {
    host: knowledge === undefined ? host : { ...host, knowledge },
    effect,
    anomalies,
    effective_time_ms: host.effective_time_ms,
  };
}

/**
 * Folds one valid event; `host` is undefined where this is the first event of its host. Nothing that comes in is
 * changed. `event_bytes` are the event's bytes in its record, `record_log_time_ms` the record's log time.
 */
export function fold_event(
  host: HostModel | undefined,
  event: HostEvent,
  event_bytes: Uint8Array,
  record_log_time_ms: bigint,
): Folded {
  const stream = u64(event.stream);
  const sequence = u64(event.sequence);
  const clamped_time_ms = min(u64(event.time_unix_ms), record_log_time_ms);
  const is_observed = event.change === "observed";

  if (host !== undefined && stream === host.stream) {
    // F1
    if (sequence < host.sequence) return without_effect(host, "repeated", []);
    if (sequence === host.sequence) {
      const same = Buffer.compare(event_bytes, host.last_event_bytes) === 0;
      return same
        ? without_effect(host, "repeated", [])
        : without_effect(host, "repeated", ["sequence_reused"], "disputed");
    }
  } else if (host !== undefined && stream === host.previous?.stream) {
    // F3 (a), (b)
    if (sequence <= host.previous.sequence) return without_effect(host, "repeated", []);
    return without_effect(host, "foreign", ["two_writers"], "disputed");
  } else if (host !== undefined && clamped_time_ms < host.stream_start_ms) {
    // F3 (c)
    return without_effect(host, "stale", ["stale"], is_observed ? "disputed" : undefined);
  }

  const next: HostModel = host === undefined ? new_host(event.host_id) : structuredClone(host);
  const anomalies = new Set<Anomaly>();

  const begins_stream = host === undefined || stream !== host.stream;
  if (begins_stream) {
    // F3 (d)
    next.previous = host === undefined ? null : { stream: host.stream, sequence: host.sequence };
    next.stream = stream;
    next.stream_start_ms = clamped_time_ms;
    next.knowledge = "no_baseline";
    if (!is_observed) {
      next.stack = [];
      next.lingering = new Map();
      next.boot_id = null;
    }
  } else if (sequence > next.sequence + 1n) {
    // F2
    anomalies.add("gap");
    next.knowledge = worse(next.knowledge, "gap");
  }

  next.sequence = sequence;
  next.last_event_bytes = Uint8Array.from(event_bytes);
  next.effective_time_ms = max(next.effective_time_ms, clamped_time_ms);

  switch (event.change) {
    case undefined:
      // F7: from a newer publisher.
      anomalies.add("unknown_change");
      next.knowledge = worse(next.knowledge, "gap");
      break;
    case "observed":
      observe(next, event.observed!, begins_stream, anomalies);
      break;
    case "forced":
      next.forced = true;
      if (!next.stack.some((entry) => entry.name === event.forced!.patch?.name))
        anomalies.add("not_on_stack");
      break;
    case "refused":
    case "stalled":
    case "object_changed":
      break;
    default: {
      const found = change_stack(next.stack, next.lingering, event);
      if (found.stack.length > STACK_ENTRIES_MAX || found.lingering.size > LINGERING_ENTRIES_MAX) {
        // F7: the change is not made, and its own anomalies and a gap's go with it.
        anomalies.clear();
        anomalies.add("over_limit");
        next.knowledge = worse(next.knowledge, "gap");
      } else {
        next.stack = found.stack;
        next.lingering = found.lingering;
        for (const anomaly of found.anomalies) anomalies.add(anomaly);
      }
    }
  }

  return {
    host: next,
    effect: "applied",
    anomalies: ANOMALIES.filter((anomaly) => anomalies.has(anomaly)),
    effective_time_ms: next.effective_time_ms,
  };
}

function new_host(host_id: string): HostModel {
  return {
    host_id,
    stream: 0n,
    sequence: 0n,
    previous: null,
    stream_start_ms: 0n,
    effective_time_ms: 0n,
    last_event_bytes: new Uint8Array(),
    boot_id: null,
    kernel_release: null,
    arch: null,
    livepatching: null,
    policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
    stack: [],
    lingering: new Map(),
    forced: false,
    knowledge: "no_baseline",
  };
}

/** F5. `host.knowledge` is what it is after F2 and F3. */
function observe(host: HostModel, observed: Observed, begins_stream: boolean, anomalies: Set<Anomaly>): void {
  const boot_id = Buffer.from(observed.boot_id ?? []).toString("hex") || null;
  if (host.boot_id !== null && boot_id !== null && host.boot_id !== boot_id) host.forced = false;
  host.boot_id = boot_id;
  host.kernel_release = observed.kernel_release ?? "";
  host.arch = observed.arch ?? "";
  host.policy = {
    modules_disabled: observed.policy?.modules_disabled ?? false,
    signature_required: observed.policy?.signature_required ?? false,
    ftrace_off: observed.policy?.ftrace_off ?? false,
  };

  const lifts_to = observed.livepatching === klpstate.v1.Livepatching.UNREADABLE ? "unreadable" : "complete";
  const knowledge_before = host.knowledge;
  // A new stream has made `disputed` no_baseline before; within a stream it stays.
  if (host.knowledge !== "disputed") host.knowledge = lifts_to;
  if (lifts_to === "unreadable") return;

  if (observed.livepatching === klpstate.v1.Livepatching.SUPPORTED) host.livepatching = "supported";
  else if (observed.livepatching === klpstate.v1.Livepatching.NOT_BUILT) host.livepatching = "not_built";
  else host.livepatching = null;

  const stack: StackEntry[] = (observed.stack ?? []).map((entry) => ({
    ...reference(entry.patch),
    phase: phase_of(entry.phase),
  }));
  const lingering = new Map<string, Lingering>(
    (observed.lingering ?? []).map((entry) => [
      reference(entry.patch).name,
      { ...reference(entry.patch), pinned: entry.pinned ?? false },
    ]),
  );
  if (
    knowledge_before === "complete" &&
    !begins_stream &&
    !(same_stack(host.stack, stack) && same_names(host.lingering, lingering))
  )
    anomalies.add("diverged");
  host.stack = stack;
  host.lingering = lingering;
}

function same_stack(a: StackEntry[], b: StackEntry[]): boolean {
  return (
    a.length === b.length &&
    a.every((entry, index) => entry.name === b[index]!.name && entry.phase === b[index]!.phase)
  );
}

function same_names(a: Map<string, Lingering>, b: Map<string, Lingering>): boolean {
  return a.size === b.size && [...a.keys()].every((name) => b.has(name));
}

type StackChange = "loading" | "loaded" | "replaced" | "disabling" | "disabled" | "reversed" | "removed";

/** What becomes of P: a phase, or where it goes. Absent: it stays as it is. */
interface Cell {
  becomes?: Phase | "lingering" | "gone";
  anomaly?: Anomaly;
}

/** The table of F4; absent and Removed is the lingering set's own case and stands in the code. */
const F4: Record<"absent" | Phase, Record<StackChange, Cell>> = {
  absent: {
    loading: { becomes: "enabling" },
    loaded: { becomes: "enabled" },
    replaced: { becomes: "enabled" },
    disabling: { anomaly: "not_on_stack" },
    disabled: { anomaly: "not_on_stack" },
    reversed: { anomaly: "not_on_stack" },
    removed: {},
  },
  enabling: {
    loading: { anomaly: "loaded_twice" },
    loaded: { becomes: "enabled" },
    replaced: { becomes: "enabled" },
    disabling: { becomes: "disabling", anomaly: "not_allowed" },
    disabled: { becomes: "lingering", anomaly: "missed_reversal" },
    reversed: { becomes: "disabling" },
    removed: { becomes: "gone", anomaly: "removed_on_stack" },
  },
  enabled: {
    loading: { anomaly: "loaded_twice" },
    loaded: { anomaly: "loaded_twice" },
    replaced: { anomaly: "loaded_twice" },
    disabling: { becomes: "disabling" },
    disabled: { becomes: "lingering" },
    reversed: { anomaly: "not_in_transition" },
    removed: { becomes: "gone", anomaly: "removed_on_stack" },
  },
  disabling: {
    loading: { anomaly: "loaded_twice" },
    loaded: { becomes: "enabled", anomaly: "missed_reversal" },
    replaced: { becomes: "enabled", anomaly: "missed_reversal" },
    disabling: {},
    disabled: { becomes: "lingering" },
    reversed: { becomes: "enabling" },
    removed: { becomes: "gone", anomaly: "removed_on_stack" },
  },
};

interface Changed {
  stack: StackEntry[];
  lingering: Map<string, Lingering>;
  anomalies: Set<Anomaly>;
}

/** F4 on copies, so that a result over a limit can be dropped whole. */
function change_stack(
  stack_before: StackEntry[],
  lingering_before: Map<string, Lingering>,
  event: HostEvent,
): Changed {
  const change = event.change as StackChange;
  const stack = stack_before.map((entry) => ({ ...entry }));
  const lingering = new Map(lingering_before);
  const anomalies = new Set<Anomaly>();
  const p = reference(event[change]!.patch);

  function leave(name: string): void {
    const index = stack.findIndex((entry) => entry.name === name);
    const [left] = stack.splice(index, 1);
    lingering.set(name, { name, build_id: left!.build_id, pinned: false });
  }

  const entry = stack.find((candidate) => candidate.name === p.name);
  const cell = { ...F4[entry?.phase ?? "absent"][change] };
  if (change === "reversed" && (entry?.phase === "enabling" || entry?.phase === "disabling")) {
    const to = phase_of(event.reversed!.to);
    if (to !== cell.becomes) {
      cell.becomes = to;
      cell.anomaly = "not_allowed";
    }
  }
  if (cell.anomaly !== undefined) anomalies.add(cell.anomaly);

  if (entry === undefined) {
    if (change === "removed") {
      if (!lingering.delete(p.name)) anomalies.add("not_known");
    } else if (cell.becomes === "enabling" || cell.becomes === "enabled") {
      if (lingering.delete(p.name)) anomalies.add("missed_removal");
      stack.push({ ...p, phase: cell.becomes });
    }
  } else {
    if (p.build_id !== "") {
      if (entry.build_id !== "" && entry.build_id !== p.build_id) anomalies.add("build_differs");
      // Before it leaves: what lingers has the stack's reference.
      entry.build_id = p.build_id;
    }
    if (cell.becomes === "lingering") leave(p.name);
    else if (cell.becomes === "gone") stack.splice(stack.indexOf(entry), 1);
    else if (cell.becomes !== undefined) entry.phase = cell.becomes;
  }

  if (change === "replaced") {
    for (const left of event.replaced!.left ?? []) {
      const position = stack.findIndex((candidate) => candidate.name === p.name);
      const left_position = stack.findIndex((candidate) => candidate.name === reference(left).name);
      if (left_position >= 0 && left_position < position) leave(reference(left).name);
      else anomalies.add("left_not_on_stack");
    }
    if (stack[0]!.name !== p.name) anomalies.add("replace_left_some");
  }

  return { stack, lingering, anomalies };
}
