/** One event folded by itself, so that what became of it and of its host can be told. */
import type { Core, HostFacts, Outcome } from "../core/core.js";

/** Where an event stands, and its bytes as a batch of one. */
export interface EventInLog {
  offset: bigint;
  /** In its record. */
  index: number;
  log_time_ms: number;
  batch: Uint8Array;
}

export interface FoldedEvent extends Outcome {
  /** The host, afterwards. */
  facts: HostFacts;
}

/** Of a record that the fold takes. Null: it does not fit into the core. */
export function fold_event(
  core: Core,
  { offset, index, log_time_ms, batch }: EventInLog,
): FoldedEvent | null {
  if (core.fold_record(batch, { offset, index }, log_time_ms) !== "folded") return null;
  const outcome = core.outcome(0);
  return { ...outcome, facts: core.host(outcome.host) };
}
