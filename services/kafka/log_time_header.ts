/**
 * The log time of a record that was copied from an embedded log, whose own time in Kafka is that of the copying. It
 * counts only below the ends that the catalog's migration states (services/catalog/migration.ts): else any producer could
 * date its events back.
 */
export const LOG_TIME_HEADER = "klpstate-log-time";

type HeaderValue = Buffer | string | (Buffer | string)[] | undefined;

export function log_time_header(log_time_ms: number): Record<string, string> {
  return { [LOG_TIME_HEADER]: String(log_time_ms) };
}

/** Ms since 1970; null: the record has none, or one that is no time. */
export function copied_log_time_ms(headers: Record<string, HeaderValue> | undefined): number | null {
  const value = headers?.[LOG_TIME_HEADER];
  if (value === undefined || Array.isArray(value)) return null;
  const text = value.toString();
  const time_ms = /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(time_ms) ? time_ms : null;
}
