/** Records that are to be written, as columns: an object with a bigint for each takes longer than its bytes do. */
import type { LogRecord } from "./frame.js";

/** There is one record at least. */
export interface RecordColumns {
  /** Of the first record. */
  first_offset: bigint;
  /** Of each, less the first one's; they rise. */
  deltas: number[];
  /** ms since 1970. */
  log_times_ms: number[];
  bytes: Uint8Array[];
}

export function columns_of(records: readonly LogRecord[]): RecordColumns {
  const first_offset = records[0]!.offset;
  return {
    first_offset,
    deltas: records.map(({ offset }) => Number(offset - first_offset)),
    log_times_ms: records.map(({ log_time_ms }) => log_time_ms),
    bytes: records.map(({ bytes }) => bytes),
  };
}

/** One more than the last record's. */
export function next_offset_of({ first_offset, deltas }: RecordColumns): bigint {
  return first_offset + BigInt(deltas.at(-1)! + 1);
}
