/** When something is tried again, so that a fleet does not do it all at once: spans with jitter. */

export const DAY_MS = 24 * 3_600_000;
const RETRY_MAX_MS = 300_000;

/** 0 ≤ it < 1. */
export type Random = () => number;

/** Before try `tries` + 1: between half and all of base · 2^tries, at most five minutes. */
export function retry_after_ms(tries: number, base_ms: number, random: Random): number {
  const span_ms = Math.min(base_ms * 2 ** Math.min(tries, 20), RETRY_MAX_MS);
  return span_ms * (0.5 + random() / 2);
}

/** The next daily report: 22 to 24 hours on. The first is spread over the whole day, whenever a fleet was installed. */
export function next_daily_ms(now_ms: number, is_first: boolean, random: Random): number {
  return now_ms + (is_first ? random() : 1 - random() / 12) * DAY_MS;
}
