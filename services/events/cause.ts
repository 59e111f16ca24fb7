/** Where the event that caused a change stands. Causes of a partition are in the log's order. */

/**
 * Of a record of the topic of state changes that has no value: somebody has decided where changes are told from, and what
 * follows may have causes that came before.
 */
export const BEGIN_AGAIN_HEADER = "klpstate_begin_again";

/** Within a partition. */
export interface CausePosition {
  /** Of the record. */
  readonly offset: bigint;
  /** Of the event in the record, from 0. */
  readonly index: number;
}

export interface Cause extends CausePosition {
  readonly partition: number;
}

/** As `ce_id` has it: `3:1042:0`. */
export function cause_text({ partition, offset, index }: Cause): string {
  return `${partition}:${offset}:${index}`;
}

/** Null: it is no cause. */
export function parse_cause(text: string): Cause | null {
  const found = /^(\d{1,9}):(\d{1,20}):(\d{1,9})$/.exec(text);
  if (found === null) return null;
  const [, partition, offset, index] = found;
  return { partition: Number(partition), offset: BigInt(offset!), index: Number(index) };
}

/** Within a partition, as it is committed: `1042:0`. */
export function position_text({ offset, index }: CausePosition): string {
  return `${offset}:${index}`;
}

/** Null: it is none. */
export function parse_position(text: string): CausePosition | null {
  const cause = parse_cause(`0:${text}`);
  return cause && { offset: cause.offset, index: cause.index };
}

/** Of one partition; null stands before all. */
export function is_after(a: CausePosition | null, b: CausePosition | null): boolean {
  if (a === null) return false;
  if (b === null || a.offset > b.offset) return true;
  return a.offset === b.offset && a.index > b.index;
}
