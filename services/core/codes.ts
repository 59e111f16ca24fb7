/** Names of the core's numbers, in its order. The sources are in core-wasm/assembly/; a test compares them with RULES. */

/** RULES F1, F3: fold.ts. */
export const EFFECTS = ["applied", "repeated", "stale", "foreign"] as const;
export type Effect = (typeof EFFECTS)[number];

/** RULES F: one bit each, changes.ts. */
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

/** The schema's Phase. */
export const PHASES = ["unspecified", "enabling", "enabled", "disabling"] as const;
export type Phase = "enabling" | "enabled" | "disabling";

/** The schema's Knowledge, the worse the later. */
export const KNOWLEDGE = ["unspecified", "complete", "gap", "unreadable", "no_baseline", "disputed"] as const;
export type Knowledge = "complete" | "gap" | "unreadable" | "no_baseline" | "disputed";

/** The schema's Livepatching as far as a configuration keeps it; null: not known. */
export const LIVEPATCHING = [null, "supported", "not_built"] as const;
export type Livepatching = "supported" | "not_built";

/** RULES C: check.ts. */
export const VERDICTS = [
  "unknown",
  "unsupported",
  "other_kernel",
  "blocked",
  "done",
  "name_taken",
  "incompatible",
  "busy",
  "ok",
] as const;
export type Verdict = (typeof VERDICTS)[number];

export const REASONS = [
  null,
  "no_baseline",
  "disputed",
  "unreadable",
  "gap",
  "ambiguous",
  "manifest",
  "stale",
  "modules_disabled",
  "unsigned",
  "ftrace_off",
  "in_transition",
  "other_build",
  "lingering",
  "pinned",
] as const;
export type Reason = NonNullable<(typeof REASONS)[number]>;

/** Bits, check.ts. */
export const WARNINGS = ["forced", "irreversible", "built_for_other_kernel"] as const;
export type Warning = (typeof WARNINGS)[number];

/** The names of the bits that are set, lowest first. */
export function names_of_bits<Name extends string>(bits: number, names: readonly Name[]): Name[] {
  return names.filter((_, bit) => (bits >>> bit) & 1);
}
