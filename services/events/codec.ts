/**
 * Events, batches, manifests and catalog records as protobuf bytes. Encoding is canonical: fields in the order of
 * their numbers, defaults left out. The bytes given back own their memory and may be transferred to another thread.
 */
import protobuf from "protobufjs/minimal.js";
import { item_at } from "./place.js";
import { Problem } from "./problem.js";
import { klpstate } from "./proto.js";
import { type Fault, fault, fault_problem } from "./record_error.js";

export type HostEvent = klpstate.v1.HostEvent.$Properties;
export type Manifest = klpstate.v1.Manifest.$Properties;
export type CatalogRecord = klpstate.v1.CatalogRecord.$Properties;

const { EventBatch, HostEvent, Manifest, CatalogRecord } = klpstate.v1;
const { Reader, Writer } = protobuf;

/** EventBatch.events, length-delimited. */
const EVENTS_TAG = (1 << 3) | 2;

/** Where an event's bytes stand in their batch: those of the HostEvent, without tag and length. */
export interface EventSpan {
  /** Of the event in the batch, from 0. */
  index: number;
  start: number;
  end: number;
}

export interface DecodedEvent extends EventSpan {
  event: HostEvent;
}

/** Nothing is validated: what the object says is what is written. */
export function encode_event(event: HostEvent): Uint8Array {
  return owned(HostEvent.encode(event).finish());
}

/** An event given as bytes enters the batch as it is. */
export function encode_batch(events: Iterable<HostEvent | Uint8Array>): Uint8Array {
  const writer = Writer.create();
  for (const event of events) {
    writer.uint32(EVENTS_TAG).bytes(event instanceof Uint8Array ? event : encode_event(event));
  }
  return owned(writer.finish());
}

/**
 * The batch's events, one after another. What protobufjs does not decode, and an event beyond `events_max`, is
 * yielded as a Fault and ends the batch: what stands behind it cannot be trusted, or need not be looked at.
 */
export function* walk_batch(
  bytes: Uint8Array,
  events_max = Number.POSITIVE_INFINITY,
): Generator<DecodedEvent | Fault> {
  const reader = Reader.create(bytes);
  let index = 0;
  while (reader.pos < reader.len) {
    const field_start = reader.pos;
    try {
      const tag = reader.tag();
      if (tag !== EVENTS_TAG) {
        reader.skipType(tag & 7, 0, tag >>> 3);
        continue;
      }
      if (index === events_max) {
        yield fault(
          "too_many_events",
          place_of(index),
          undefined,
          "is one too many; send several records",
          `${events_max} events`,
        );
        return;
      }
      const size = reader.size();
      const start = reader.pos;
      reader.skip(size);
      // As a batch of one, so that nested groups count towards the same depth as in the whole batch.
      const event = EventBatch.decode(bytes.subarray(field_start, reader.pos)).events[0] as HostEvent;
      yield { index, start, end: reader.pos, event };
      index++;
    } catch (error) {
      yield fault(
        "malformed",
        place_of(index),
        undefined,
        `is not decodable (${reason_of(error)})`,
        "EventBatch",
      );
      return;
    }
  }
}

/** And where its field begins, with tag and length: from there to the end it is a batch of one. */
export interface FieldSpan extends EventSpan {
  from: number;
}

/** Where the events of a batch that is known to be good are; decodes none of them. */
export function* batch_spans(bytes: Uint8Array): Generator<FieldSpan> {
  const reader = Reader.create(bytes);
  for (let index = 0; reader.pos < reader.len; ) {
    const from = reader.pos;
    const tag = reader.tag();
    if (tag !== EVENTS_TAG) {
      reader.skipType(tag & 7, 0, tag >>> 3);
      continue;
    }
    const size = reader.size();
    const start = reader.pos;
    reader.skip(size);
    yield { index: index++, from, start, end: reader.pos };
  }
}

/** Where one event of such a batch is; null: it has no so many. One after the other to it, and nothing made of those before. */
export function span_of_event(bytes: Uint8Array, index: number): EventSpan | null {
  const reader = Reader.create(bytes);
  for (let left = index; reader.pos < reader.len; ) {
    const tag = reader.tag();
    if (tag !== EVENTS_TAG) {
      reader.skipType(tag & 7, 0, tag >>> 3);
      continue;
    }
    const size = reader.size();
    if (left-- === 0) return { index, start: reader.pos, end: reader.pos + size };
    reader.skip(size);
  }
  return null;
}

/** Throws Problem for what does not decode; validates nothing else. */
export function decode_batch(bytes: Uint8Array): DecodedEvent[] {
  const events: DecodedEvent[] = [];
  for (const found of walk_batch(bytes)) {
    if ("code" in found) throw fault_problem(found);
    events.push(found);
  }
  return events;
}

/** Throws Problem for what does not decode. */
export function decode_event(bytes: Uint8Array): HostEvent {
  return decoded("event", () => HostEvent.decode(bytes));
}

export function encode_manifest(manifest: Manifest): Uint8Array {
  return owned(Manifest.encode(manifest).finish());
}

/** Throws Problem for what does not decode. */
export function decode_manifest(bytes: Uint8Array): Manifest {
  return decoded("manifest", () => Manifest.decode(bytes));
}

export function encode_catalog_record(record: CatalogRecord): Uint8Array {
  return owned(CatalogRecord.encode(record).finish());
}

/** Throws Problem for what does not decode. */
export function decode_catalog_record(bytes: Uint8Array): CatalogRecord {
  return decoded("catalog record", () => CatalogRecord.decode(bytes));
}

function place_of(index: number): string {
  return item_at("events", index);
}

function decoded<Message>(what: string, decode: () => Message): Message {
  try {
    return decode();
  } catch (error) {
    throw new Problem("bad_input", `${what}: not decodable as protobuf (${reason_of(error)})`, {
      field: what,
    });
  }
}

function reason_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** protobufjs takes its memory from Node's pool, which cannot be transferred and is kept alive by any part of it. */
function owned(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
