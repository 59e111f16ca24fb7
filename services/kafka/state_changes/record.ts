/** A change as a record of the topic of state changes, with CloudEvents' headers (Kafka protocol binding, binary mode). */
import type { IHeaders, Message } from "kafkajs";
import { BEGIN_AGAIN_HEADER, type CausePosition, cause_text, parse_cause } from "../../events/cause.js";
import { RECORD_EVENTS_MAX } from "../../events/limits.js";
import { encode_state_change, type ToldChange } from "../../events/state_change.js";
import { format_time } from "../../events/time.js";

/** Of one record in a batch beside key, value and headers: at most this, with the lengths of each header. */
const RECORD_FRAMING_BYTES = 128;
/** Of the mark that a partition's changes begin with: the first offset that they are told of. */
const BEGIN_HEADER = "klpstate_begin";

/** Up to where changes are told. */
export interface ToldTo extends CausePosition {
  /** Somebody has decided so, whatever was told before. */
  decided: boolean;
}

export interface SizedMessage {
  message: Message;
  /** As it counts towards the size of a send; not less than it takes. */
  bytes: number;
}

/** `source`: the topic of host events, which the cause is an address in. */
export function state_change_message(change: ToldChange, source: string): SizedMessage {
  const { cause, host_id, effective_time_ms } = change;
  const value = encode_state_change(change) as Buffer;
  const headers = {
    ce_specversion: "1.0",
    ce_id: cause_text(cause),
    ce_source: source,
    ce_type: "klpstate.v1.StateChange",
    ce_time: format_time(effective_time_ms),
    ce_subject: host_id,
    "content-type": "application/protobuf",
  };
  let bytes = RECORD_FRAMING_BYTES + value.length + Buffer.byteLength(host_id);
  for (const [name, text] of Object.entries(headers)) bytes += name.length + Buffer.byteLength(text);
  return { message: { partition: cause.partition, key: host_id, value, headers }, bytes };
}

/** The record that the changes of a partition without any record begin with. */
export function begin_message(partition: number): Message {
  return { partition, key: null, value: null, headers: { [BEGIN_HEADER]: "0" } };
}

/** The record by which somebody decides that changes are told of records from `next_offset` on, whatever was told before. */
export function begin_again_message(partition: number, next_offset: bigint): Message {
  return { partition, key: null, value: null, headers: { [BEGIN_AGAIN_HEADER]: String(next_offset) } };
}

/** Everything up to the record that ends before the offset. */
export function all_before(next_offset: bigint): CausePosition {
  return { offset: next_offset - 1n, index: RECORD_EVENTS_MAX - 1 };
}

/** By a record of the topic; null: it is none of klpstate's. */
export function cause_from_headers(headers: IHeaders | undefined): ToldTo | null {
  const begin = header_text(headers?.[BEGIN_HEADER]);
  const again = header_text(headers?.[BEGIN_AGAIN_HEADER]);
  const mark = again ?? begin;
  if (mark !== null && /^\d{1,19}$/.test(mark))
    return { ...all_before(BigInt(mark)), decided: again !== null };
  const cause = parse_cause(header_text(headers?.ce_id) ?? "");
  return cause && { offset: cause.offset, index: cause.index, decided: false };
}

function header_text(value: IHeaders[string]): string | null {
  const one = Array.isArray(value) ? value.at(-1) : value;
  return one === undefined ? null : one.toString();
}
