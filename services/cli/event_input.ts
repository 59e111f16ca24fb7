/** Events from a file or a pipe, each as the bytes that will be stored and the place that a person finds it at. */
import { encode_batch, encode_event, walk_batch } from "../events/codec.js";
import { delimited_messages } from "../events/delimited.js";
import { event_from_json } from "../events/json.js";
import { at_line, ndjson_lines } from "../events/ndjson.js";
import { item_at } from "../events/place.js";
import { fault_problem, fault_within } from "../events/record_error.js";
import { parse_json } from "../events/strict_json.js";
import { validate_event } from "../events/validate.js";

export const EVENT_FORMATS = ["ndjson", "protobuf"] as const;
export type EventFormat = (typeof EVENT_FORMATS)[number];

export interface PlacedEvent {
  bytes: Uint8Array;
  /** Of NDJSON the line, of protobuf the event's number in the file; both from 1. */
  place: number;
}

/** Throws Problem, for a line with `line`. */
export function read_events(
  source: AsyncIterable<Uint8Array>,
  format: EventFormat,
): AsyncGenerator<PlacedEvent> {
  return format === "ndjson" ? events_of_lines(source) : events_of_messages(source);
}

async function* events_of_lines(source: AsyncIterable<Uint8Array>): AsyncGenerator<PlacedEvent> {
  for await (const { line, text } of ndjson_lines(source)) {
    const bytes = at_line(line, () => encode_event(event_from_json(parse_json(text))));
    yield { bytes, place: line };
  }
}

async function* events_of_messages(source: AsyncIterable<Uint8Array>): AsyncGenerator<PlacedEvent> {
  let message_index = 0;
  let place = 1;
  for await (const message of delimited_messages(source)) {
    const batch = is_event(message) ? encode_batch([message]) : message;
    for (const found of walk_batch(batch)) {
      const place_in_file = item_at("messages", message_index);
      if ("code" in found) throw fault_problem(fault_within(found, place_in_file));
      const bytes = batch.slice(found.start, found.end);
      const fault = validate_event(found.event, bytes);
      if (fault !== null) {
        const in_batch = fault_within(fault, item_at("events", found.index));
        throw fault_problem(fault_within(in_batch, place_in_file));
      }
      yield { bytes, place };
      place++;
    }
    message_index++;
  }
}

/** HostEvent.stream: field 2, fixed64. */
const STREAM_TAG = (2 << 3) | 1;

/**
 * Both kinds of messages are common in files: EventBatch, as records are, and single HostEvents. A HostEvent that may
 * be stored has a stream behind its host id; an EventBatch has events only.
 */
function is_event(message: Uint8Array): boolean {
  if (message[0] !== ((1 << 3) | 2)) return message[0] === STREAM_TAG;
  let at = 1;
  let length = 0;
  for (let shift = 0; at < message.length && shift < 28; shift += 7) {
    const byte = message[at++]!;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return message[at + length] === STREAM_TAG;
}
