/**
 * Unsigned 64-bit integers between their four forms: Long (protobufjs), bigint, decimal text (JSON) and, up to
 * 2^53-1, number. State ids and streams use the whole range, so nothing here rounds.
 */
import Long from "long";
import { U64_MAX } from "./limits.js";
import { shorten } from "./place.js";
import { Problem } from "./problem.js";

/** A 64-bit field of a protobufjs object; absent is 0. */
export type U64Field = Long | number | null | undefined;

const LIMIT = "0 to 18446744073709551615 (2^64-1)";

/** Throws RangeError for a number that is no exact integer: a programming error, not input. */
export function u64_to_bigint(field: U64Field): bigint {
  if (field === null || field === undefined) return 0n;
  if (typeof field !== "number") return (BigInt(field.high >>> 0) << 32n) | BigInt(field.low >>> 0);
  if (!Number.isSafeInteger(field) || field < 0)
    throw new RangeError(`not an exact unsigned integer: ${field}`);
  return BigInt(field);
}

/** Throws RangeError outside 0..2^64-1. */
export function u64_from_bigint(value: bigint): Long {
  if (value < 0n || value > U64_MAX) throw new RangeError(`not an unsigned 64-bit integer: ${value}`);
  return Long.fromBits(Number(value & 0xffff_ffffn), Number(value >> 32n), true);
}

export function u64_to_decimal(field: U64Field): string {
  return u64_to_bigint(field).toString();
}

/**
 * A 64-bit integer as a person or a program wrote it: decimal text, or a number that is exact.
 * Throws Problem with `field`.
 */
export function parse_u64(value: unknown, field: string): bigint {
  if (typeof value === "number") {
    if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    const advice =
      value > Number.MAX_SAFE_INTEGER ? "; above 2^53-1 write it as decimal text, in quotes" : "";
    throw refused(value, field, advice);
  }
  if (typeof value !== "string" || !/^(0|[1-9][0-9]{0,19})$/.test(value)) throw refused(value, field, "");
  const number = BigInt(value);
  if (number > U64_MAX) throw refused(value, field, "");
  return number;
}

function refused(value: unknown, field: string, advice: string): Problem {
  const text = shorten(value);
  return new Problem("bad_input", `${field}: ${text} is no whole number from ${LIMIT}${advice}`, {
    field,
    value: text,
    limit: LIMIT,
  });
}
