/**
 * Kafka's batch of records (https://kafka.apache.org/documentation/#recordbatch) read without an object for each record:
 * kafkajs makes seven, with a text for each number, which takes longer than all that becomes of a small event here. Where
 * `keep_batches_whole` was called, a consumer's message is a batch of records; `records_of_message` takes either apart.
 *
 * A whole batch has the offset of its last record, so that kafkajs goes on behind it; a fetch may begin within it. Control
 * records stay as they were: kafkajs looks into them for the ends of transactions.
 */
import type { KafkaMessage } from "kafkajs";

/** Some records as columns. */
export interface FetchedRecords {
  offsets: number[];
  /** ms since 1970. */
  log_times_ms: number[];
  /** Where each value stands in `bytes`. */
  value_begins: number[];
  /** Bytes; -1: a tombstone, without a value. */
  value_lengths: number[];
  bytes: Buffer;
  /** Of a record by its index. */
  headers(index: number): KafkaMessage["headers"];
}

export interface FetchedRecord {
  offset: number;
  value: Buffer | null;
  headers: KafkaMessage["headers"];
}

export function record_at(records: FetchedRecords, index: number): FetchedRecord {
  const begin = records.value_begins[index]!;
  const length = records.value_lengths[index]!;
  return {
    offset: records.offsets[index]!,
    value: length < 0 ? null : records.bytes.subarray(begin, begin + length),
    headers: records.headers(index),
  };
}

const RECORDS = Symbol("records");
type WholeBatch = Pick<KafkaMessage, "offset"> & { [RECORDS]?: FetchedRecords };

const LAST_OFFSET_DELTA_AT = 23;
const ATTRIBUTES_AT = 21;
const FIRST_TIMESTAMP_AT = 27;
const MAX_TIMESTAMP_AT = 35;
const PRODUCER_ID_AT = 43;
const COUNT_AT = 57;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CODEC = 0x07;
export const BATCH_HEADER_BYTES = 61;
/** Bytes of a batch before those that its length counts. */
const LENGTH_END = 12;

let is_whole = false;

/** From now on, for every consumer of this thread. */
export function keep_batches_whole(): void {
  is_whole = true;
}

export function batches_are_whole(): boolean {
  return is_whole;
}

/** By the codec that a batch's attributes name. */
export type Decompress = (attributes: number, compressed: Buffer) => Promise<Buffer>;

/** The batch at a byte of what was fetched, which has all of it, as one message. Throws where it cannot be read. */
export async function whole_batch(fetched: Buffer, at: number, decompress: Decompress): Promise<object> {
  const end = at + LENGTH_END + fetched.readInt32BE(at + 8);
  const attributes = fetched.readInt16BE(at + ATTRIBUTES_AT);
  const first_offset = fetched.readBigInt64BE(at);
  const stored = fetched.subarray(at + BATCH_HEADER_BYTES, end);
  const records = read_records(
    (attributes & CODEC) === 0 ? stored : await decompress(attributes, stored),
    fetched.readInt32BE(at + COUNT_AT),
    Number(first_offset),
    Number(fetched.readBigInt64BE(at + FIRST_TIMESTAMP_AT)),
    (attributes & LOG_APPEND_TIME) === 0 ? null : Number(fetched.readBigInt64BE(at + MAX_TIMESTAMP_AT)),
  );
  return {
    offset: `${first_offset + BigInt(fetched.readInt32BE(at + LAST_OFFSET_DELTA_AT))}`,
    key: null,
    value: null,
    timestamp: "0",
    isControlRecord: false,
    batchContext: {
      producerId: `${fetched.readBigInt64BE(at + PRODUCER_ID_AT)}`,
      inTransaction: (attributes & TRANSACTIONAL) !== 0,
    },
    [RECORDS]: records,
  };
}

/** Mends kafkajs's Batch, to which a message is one record: it begins with the first one of a whole batch. */
export function begin_with_the_first_record(batch: {
  messagesWithinOffset: WholeBatch[];
  fetchedOffset: string;
  firstOffset(): string | null;
}): void {
  const { firstOffset } = batch;
  batch.firstOffset = function (this: typeof batch): string | null {
    const first = this.messagesWithinOffset[0]?.[RECORDS]?.offsets[0];
    return first === undefined ? firstOffset.call(this) : String(Math.max(first, Number(this.fetchedOffset)));
  };
}

/** Of a message as kafkajs makes it, or of a whole batch. */
export function records_of_message(message: KafkaMessage): FetchedRecords {
  const whole = (message as WholeBatch)[RECORDS];
  if (whole !== undefined) return whole;
  const { offset, timestamp, value } = message;
  return {
    offsets: [Number(offset)],
    log_times_ms: [Number(timestamp)],
    value_begins: [0],
    value_lengths: [value?.length ?? -1],
    bytes: value ?? Buffer.alloc(0),
    headers: () => message.headers,
  };
}

/** `append_time_ms`: of all records; null: each has its own. */
function read_records(
  bytes: Buffer,
  count: number,
  first_offset: number,
  first_time_ms: number,
  append_time_ms: number | null,
): FetchedRecords {
  const offsets: number[] = [];
  const log_times_ms: number[] = [];
  const value_begins: number[] = [];
  const value_lengths: number[] = [];
  const header_begins: number[] = [];
  const reader = new Reader(bytes);
  for (let i = 0; i < count; i++) {
    const length = reader.varint();
    const end = reader.at + length;
    // Behind the record's attributes, of which none is in use.
    reader.at += 1;
    const time_delta = reader.varint();
    offsets.push(first_offset + reader.varint());
    log_times_ms.push(append_time_ms ?? first_time_ms + time_delta);
    const key_length = reader.varint();
    if (key_length > 0) reader.at += key_length;
    const value_length = reader.varint();
    value_begins.push(reader.at);
    value_lengths.push(value_length);
    if (value_length > 0) reader.at += value_length;
    header_begins.push(reader.at);
    // A number that is none, as behind the end of the bytes, fails each of these.
    if (!(value_length >= -1 && key_length >= -1 && reader.at < end && end <= bytes.length)) {
      throw new Error(`record ${i} of ${count} does not stand within its ${length} bytes`);
    }
    reader.at = end;
  }
  if (reader.at !== bytes.length) throw new Error(`${count} records do not fill their ${bytes.length} bytes`);
  return {
    ...{ offsets, log_times_ms, value_begins, value_lengths, bytes },
    headers: (index) => new Reader(bytes, header_begins[index]).headers(),
  };
}

class Reader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** Zigzag, up to 64 bits, of which a number holds 53. */
  varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.at++]!;
    let value = byte & 0x7f;
    for (let scale = 128; byte >= 0x80; scale *= 128) {
      byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
    }
    // Nothing stands behind the end.
    if (byte === undefined) return Number.NaN;
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  headers(): Record<string, Buffer> {
    const headers: Record<string, Buffer> = Object.create(null);
    for (let left = this.varint(); left > 0; left--) {
      const name = this.#take(this.varint()).toString();
      headers[name] = this.#take(Math.max(0, this.varint()));
    }
    return headers;
  }

  #take(length: number): Buffer {
    const taken = this.#bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }
}
