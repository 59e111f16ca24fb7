/** Parts of batches as the messages of one send: small neighbours joined, and where each part ends. */
import type { Message } from "kafkajs";
import type { BatchPart } from "../core/way_in.js";
import { RECORD_CUT_BYTES } from "../events/limits.js";

/**
 * Of a message in Kafka's record batch, at most: its length, attributes, time, offset, the key's and the value's length
 * as varints, no headers. The batch's own 61 bytes are of no account beside what 900 KiB leaves of 1,048,588.
 */
const MESSAGE_FRAMING_BYTES = 24;

export interface Outgoing {
  messages: Message[];
  /** Of each part, in their order: the index behind its last message. */
  ends: number[];
}

/** What a part needs of a send, at most. */
export function bytes_in_send({ records, demand, hosts }: BatchPart): number {
  const framing = MESSAGE_FRAMING_BYTES + (hosts.count === 1 ? hosts.bytes.length : 0);
  return demand.bytes + records.length * framing;
}

/**
 * EventBatches behind one another are an EventBatch: small records of several requests become one, in their order. Whoever
 * reads the topic is held up by messages, hardly by events. The key is the host id where a message is surely about one
 * host; the partition is set either way.
 */
export function outgoing(partition: number, parts: readonly BatchPart[]): Outgoing {
  const messages: Message[] = [];
  const ends: number[] = [];
  let joined: Uint8Array[] = [];
  let joined_bytes = 0;
  let key: Buffer | null = null;

  function end_message(): void {
    if (joined.length === 0) return;
    messages.push({
      partition,
      key,
      value: joined.length === 1 ? as_buffer(joined[0]!) : Buffer.concat(joined),
    });
    joined = [];
    joined_bytes = 0;
  }

  for (const { records, hosts } of parts) {
    const host = hosts.count === 1 ? as_buffer(hosts.bytes.subarray(1)) : null;
    for (const { bytes } of records) {
      if (joined_bytes + bytes.length > RECORD_CUT_BYTES) end_message();
      key = joined.length === 0 || (key !== null && host?.equals(key)) ? host : null;
      joined.push(bytes);
      joined_bytes += bytes.length;
    }
    ends.push(messages.length + 1);
  }
  end_message();
  return { messages, ends };
}

function as_buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
