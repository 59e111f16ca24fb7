/** A host's events as they stand in the log: by the chain, from event to event; without one, by reading all of it. */
import type { Core } from "../core/core.js";
import { batch_spans, decode_event, encode_batch, type HostEvent, span_of_event } from "../events/codec.js";
import { records_of } from "../log/frame.js";
import { FRAME_GUESS_BYTES, type Log, type LogFrame } from "../log/log.js";
import type { EventInLog } from "./fold_event.js";
import type { FoundEvent } from "./partition.js";

export interface HostEventInLog extends EventInLog {
  event: HostEvent;
}

/**
 * Oldest first, up to `known_at_ms` (null: all). `found`: where the chain leads to; null: it does not. `judge`: a core
 * that says which records the fold takes. Throws LogCorruption.
 */
export async function* host_events(
  log: Log,
  host_id: string,
  found: FoundEvent[] | null,
  known_at_ms: number | null,
  judge: Core,
): AsyncGenerator<HostEventInLog> {
  let read_from = 0n;
  let read_behind = -1;
  if (found !== null) {
    const chained = new ChainedReader(log, host_id);
    let is_lost = false;
    for (const place of found) {
      const event = chained.read(place);
      is_lost = event === null;
      if (event === null) break;
      if (known_at_ms !== null && event.log_time_ms > known_at_ms) return;
      yield event;
      ({ offset: read_from, index: read_behind } = event);
    }
    if (!is_lost) return;
    // What the chain says of this one is not so, nor perhaps that nothing stands before it: from the last good one on
    // the log itself is read, which says what is wrong.
  }
  const needle = Buffer.from(host_id, "utf8");
  for await (const frame of log.read(read_from)) {
    if (known_at_ms !== null && frame.log_time_ms > known_at_ms) return;
    for (const { offset, log_time_ms, bytes } of records_of(frame.bytes)) {
      if (offset < read_from) continue;
      for (const { index, event, batch } of events_in(judge, bytes, host_id, needle)) {
        if (offset === read_from && index <= read_behind) continue;
        yield { offset, index, log_time_ms, event, batch };
      }
    }
  }
}

class ChainedReader {
  readonly #log: Log;
  readonly #host_id: string;
  readonly #memory: Uint8Array = Buffer.allocUnsafeSlow(FRAME_GUESS_BYTES);
  #frame: LogFrame | null = null;
  #frame_place: FoundEvent | null = null;

  constructor(log: Log, host_id: string) {
    this.#log = log;
    this.#host_id = host_id;
  }

  /** Null: the event does not stand there. */
  read(place: FoundEvent): HostEventInLog | null {
    const known = this.#frame_place;
    if (known === null || known.segment !== place.segment || known.byte !== place.byte) {
      this.#frame = this.#log.frame_at(place, place.frame_crc32, this.#memory);
      this.#frame_place = place;
    }
    if (this.#frame === null) return null;
    const { offset, index } = place;
    for (const record of records_of(this.#frame.bytes)) {
      if (record.offset !== offset) continue;
      const span = span_of_event(record.bytes, index);
      if (span === null) return null;
      // A copy: the frame's memory is used for the next one, and what is decoded may be views of it.
      const bytes = new Uint8Array(record.bytes.subarray(span.start, span.end));
      const event = decode_event(bytes);
      if (event.host_id !== this.#host_id) return null;
      return { offset, index, log_time_ms: record.log_time_ms, event, batch: encode_batch([bytes]) };
    }
    return null;
  }
}

/** The host's part of a record that the fold takes. */
function* events_in(judge: Core, record: Uint8Array, host_id: string, needle: Buffer) {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  if (!bytes.includes(needle) || !judge.takes_record(record)) return;
  for (const { index, start, end } of batch_spans(record)) {
    if (!bytes.subarray(start, end).includes(needle)) continue;
    const event = decode_event(record.subarray(start, end));
    if (event.host_id === host_id) yield { index, event, batch: encode_batch([record.slice(start, end)]) };
  }
}
