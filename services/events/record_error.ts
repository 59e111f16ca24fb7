/** Why a record is not applied: the codes, shared with the core by their index, and what a message needs. */
import { shorten } from "./place.js";
import { Problem } from "./problem.js";

/**
 * The index is the core's numeric code, and within one event the order of precedence: of several errors the one
 * with the lowest index is reported, of one kind the first in the order of the fields.
 */
export const RECORD_ERRORS = [
  "ok",
  "malformed", // not decodable by protobufjs
  "given_twice", // a singular field, or the change
  "host_id", // empty, over 255 bytes, or with control characters
  "stream", // 0
  "sequence", // 0 or above 2^32-1
  "patch_name", // missing anywhere but in Refused, or over 55 bytes
  "build_id", // over 64 bytes
  "phase", // missing or unknown in StackEntry, Reversed or Forced; Reversed to ENABLED
  "kernel_release", // missing or over 64 bytes in Observed
  "arch", // missing or over 64 bytes in Observed
  "boot_id", // neither 0 nor 16 bytes
  "duplicate_name", // a name twice in stack and lingering
  "too_many_stack", // over 64 entries
  "too_many_lingering", // over 256 entries
  "line", // Refused's, over 512 bytes
  "too_many_events", // over 10,000 in the record
  "record_too_large", // over 900 KiB
  "wrong_partition", // the host belongs to another one
  "empty", // no event in the record
] as const;

export type RecordError = Exclude<(typeof RECORD_ERRORS)[number], "ok">;

export interface Fault {
  readonly code: RecordError;
  /** Where: `observed.stack[2].patch.name`, and in a batch with `events[3].` before it. */
  readonly field: string;
  /** The value, shortened; absent where there is none. */
  readonly value?: string;
  readonly limit: string;
  readonly message: string;
}

/** `says` completes the sentence that begins with the field. */
export function fault(code: RecordError, field: string, value: unknown, says: string, limit: string): Fault {
  const has_value = value !== undefined && value !== null && value !== "";
  const message = `${field}: ${has_value ? `${shorten(value)} ` : ""}${says}; ${limit}`;
  return { code, field, ...(has_value && { value: shorten(value) }), limit, message };
}

/** The same fault, seen from the document that holds the place where it was found. */
export function fault_within(found: Fault, place: string): Fault {
  if (place === "") return found;
  const field = `${place}.${found.field}`;
  return { ...found, field, message: field + found.message.slice(found.field.length) };
}

const TOO_LARGE: ReadonlySet<RecordError> = new Set(["too_many_events", "record_too_large"]);

export function fault_problem(found: Fault): Problem {
  const { code, field, value, limit, message } = found;
  return new Problem(TOO_LARGE.has(code) ? "too_large" : "bad_input", message, {
    field,
    ...(value !== undefined && { value }),
    limit,
  });
}
