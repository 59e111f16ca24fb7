/** Instants and spans as people write them: RFC 3339 and `26h`, to and from milliseconds. */
import { shorten } from "./place.js";
import { Problem } from "./problem.js";

const RFC_3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;
/** 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year. */
export const FORMATTED_MAX_MS = 253_402_300_799_999;

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds since 1970; what is finer is cut. Throws Problem for what is no instant or lies before 1970. */
export function parse_time(text: string, field = "time"): number {
  const match = RFC_3339.exec(text);
  if (match === null) throw no_time(text, field);
  const [
    ,
    year,
    month,
    day,
    hour,
    minute,
    second,
    fraction = "",
    sign,
    offset_hour = "0",
    offset_minute = "0",
  ] = match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const is_day = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  const is_clock = Number(hour) <= 23 && Number(minute) <= 59 && Number(second) <= 59;
  const is_zone = Number(offset_hour) <= 23 && Number(offset_minute) <= 59;
  if (!is_day || !is_clock || !is_zone) throw no_time(text, field);
  date.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.padEnd(3, "0").slice(0, 3)));
  const offset_minutes = (sign === "-" ? -1 : 1) * (Number(offset_hour) * 60 + Number(offset_minute));
  const time_ms = date.getTime() - offset_minutes * 60_000;
  if (time_ms < 0) throw no_time(text, field);
  return time_ms;
}

function no_time(text: string, field: string): Problem {
  const value = shorten(text);
  const limit = "RFC 3339 with a zone, from 1970 on, like 2026-03-01T12:00:00Z";
  return new Problem("bad_input", `${field}: ${value} is no time; write ${limit}`, { field, value, limit });
}

/**
 * RFC 3339, UTC, milliseconds. An event's clock may say anything up to 2^64-1: a time after the year 9999 or before
 * 1970 is shown as the nearest that can be written.
 */
export function format_time(time_ms: number | bigint): string {
  const ms = typeof time_ms === "bigint" ? Number(time_ms) : time_ms;
  return new Date(Math.min(Math.max(ms, 0), FORMATTED_MAX_MS)).toISOString();
}

/** `500ms`, `30s`, `90m`, `26h`, `2d`; milliseconds. Throws Problem. */
export function parse_duration(text: string, field = "duration"): number {
  const [, count, unit] = /^(\d{1,15})(ms|[smhd])$/.exec(text) ?? [];
  const duration_ms = Number(count) * (MS_PER_UNIT[unit ?? ""] ?? Number.NaN);
  if (Number.isSafeInteger(duration_ms)) return duration_ms;
  const value = shorten(text);
  const limit = "a whole number and ms, s, m, h or d, like 26h";
  throw new Problem("bad_input", `${field}: ${value} is no span of time; write ${limit}`, {
    field,
    value,
    limit,
  });
}
