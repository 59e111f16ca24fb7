/** What a core is asked for and tells, as plain values. */
import type { Anomaly, Effect, Knowledge, Livepatching, Phase, Reason, Verdict, Warning } from "./codes.js";

export interface CoreOptions {
  /** Null: hosts of every partition belong. */
  partition: number | null;
  partitions: number;
  memory_bytes_max?: number;
  /** Spreads the hash tables; changes no answer. */
  seed?: bigint;
}

/** What records may need of a core's memory. */
export interface Demand {
  events: number;
  /** Of the events, those that say UNREADABLE: each may move all that is installed to another kernel. */
  unreadable: number;
  bytes: number;
}

/** Where an event stands in its partition: the record's offset and the event's index in the record. */
export interface Position {
  offset: bigint;
  index: number;
}

/** What became of an event. */
export interface Outcome {
  position: Position;
  /** The host's event before it, also one without effect; null for a host's first. */
  previous: Position | null;
  effective_time_ms: number;
  host: number;
  effect: Effect;
  anomalies: Anomaly[];
}

/** A record that was not applied, and why: a number of services/events/record_error.ts. */
export interface Quarantined {
  offset: bigint;
  error: number;
  index: number;
}

export interface Reference {
  name: string;
  /** Lower-case hex; null: not known. */
  build_id: string | null;
}

/** What the catalog says of a reference: the manifest's number, or why there is none. */
export type Resolved = number | "missing" | "ambiguous";

export interface StackEntry extends Reference {
  phase: Phase;
  manifest: Resolved;
  built_for_other_kernel: boolean;
}

export interface Configuration {
  kernel_release: string | null;
  arch: string | null;
  livepatching: Livepatching | null;
  policy: { modules_disabled: boolean; signature_required: boolean; ftrace_off: boolean };
  forced: boolean;
  knowledge: Knowledge;
  /** Oldest first. */
  stack: StackEntry[];
  /** By name. */
  lingering: (Reference & { pinned: boolean })[];
  hosts: number;
}

export interface HostFacts {
  host_id: string;
  stream: bigint;
  sequence: number;
  effective_time_ms: number;
  position: Position;
  configuration: number;
  knowledge: Knowledge;
}

export interface CheckConflict {
  state: bigint;
  holder: Reference;
  held: number;
  /** Null: the candidate replaces and lacks the state. */
  offered: number | null;
  transient: boolean;
  first: boolean;
}

export interface CheckOutcome {
  verdict: Verdict;
  reason: Reason | null;
  warnings: readonly Warning[];
  /** Null beside `incompatible` as `replaces` may be. */
  conflict: CheckConflict | null;
  /**
   * An installed patch that the catalog does not tell of; `candidate`: it is the candidate that is not told of. Null
   * beside `unknown: manifest` as `replaces` may be.
   */
  unresolved: (Reference & { manifest: "missing" | "ambiguous" | "states_unknown" }) | "candidate" | null;
  /** Names that would be replaced, oldest first; null where too many outcomes differ to tell them apart. */
  replaces: readonly string[] | null;
  hosts: number;
  /** Of the hosts, how many were last heard of before the minute given to `age_check`. */
  aged: number;
}

/** Of a check of many candidates: hosts that the same is said of, but for who conflicts, is missing or replaced. */
export type CheckCount = Pick<CheckOutcome, "verdict" | "reason" | "warnings" | "hosts" | "aged">;

export interface CoreCandidate {
  name: string;
  /** Empty: for each host the manifest of its release and arch. */
  build_id: Uint8Array;
}

export interface CoreState {
  id: bigint;
  version: number;
}

export interface CoreManifest {
  name: string;
  kernel_release: string;
  arch: string;
  build_id: Uint8Array;
  replace: boolean;
  states_unknown: boolean;
  irreversible: boolean;
  signed: boolean;
  states: CoreState[];
}

/** Some pages of the core's memory. */
export interface PageRun {
  page: number;
  pages: number;
}

/** All that the fold knows: counters, and which pages; their bytes are the core's. */
export interface CoreImage {
  counters: Uint8Array;
  /** How far the core's memory goes. */
  to_page: number;
  /** Pages with anything in them; the others are zero. */
  runs: PageRun[];
}

/** What one call of the fold found beside the state: tables as core-wasm/assembly/chain.ts has them; views. */
export interface ChainPiece {
  /** The frames that it is of, and how many bytes they are. */
  folded: Uint8Array;
  bytes: number;
  frames: Uint8Array;
  records: Uint8Array;
  entries: Uint8Array;
}

/** Hosts last heard of before a minute, whose outcome of a check does not count. */
export interface AgedHosts {
  minute: number;
  /** Whether these hosts are. */
  wanted: boolean;
}
