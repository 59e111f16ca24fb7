/** How far a group has read a partition: the next offset, and the last change's cause, which tells a repeat. */
import { type Cause, cause_text, parse_cause } from "../events/cause.js";

export interface Position {
  /** Of the topic of state changes. */
  readonly next_offset: bigint;
  /** Of the last change that was handled; null: none was. */
  readonly cause: Cause | null;
}

/** As it is committed beside the offset. */
export function commit_metadata({ cause }: Position): string {
  return JSON.stringify({ v: 1, cause: cause && cause_text(cause) });
}

/** Null: nothing is committed. Metadata of somebody else says nothing of a cause. */
export function committed_position(offset: string, metadata: string | null): Position | null {
  if (!/^\d+$/.test(offset)) return null;
  return { next_offset: BigInt(offset), cause: committed_cause(metadata ?? "") };
}

function committed_cause(metadata: string): Cause | null {
  try {
    const { v, cause } = JSON.parse(metadata) as { v?: unknown; cause?: unknown };
    return v === 1 && typeof cause === "string" ? parse_cause(cause) : null;
  } catch {
    return null;
  }
}

/** The one that is further. */
export function later_position(a: Position | null, b: Position | null): Position | null {
  if (a === null || b === null) return a ?? b;
  return a.next_offset >= b.next_offset ? a : b;
}
