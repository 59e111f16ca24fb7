/**
 * A batch of records that cannot be read (damaged, of an unknown codec, larger than its bound) must stop its own partition
 * only. kafkajs fails the whole fetch for it, with every partition of that broker, and asks for the same again for ever.
 * Here what stands before it is handed over, and then one message in its place: whoever looks finds out by
 * `unreadable_in`, and whoever does not is told by an error when it takes the message's value, rather than none.
 *
 * Records are also put together without a call that has one argument for each, which fails at some hundred thousand.
 */
import type { Batch, KafkaMessage } from "kafkajs";
import { BATCH_HEADER_BYTES, batches_are_whole, type Decompress, whole_batch } from "./record_batch.js";

/** kafkajs's reader of bytes. */
interface Decoder {
  buffer: Buffer;
  offset: number;
  readInt32(): number;
  readBytes(count: number): Buffer;
  canReadBytes(count: number): boolean;
}

type DecodeMessages = (decoder: Decoder) => Promise<object[]>;

export interface FetchParts {
  /** Reads what a fetch has of a partition, in any format. */
  decode_messages: DecodeMessages;
  /** Reads one batch of records, and moves the decoder behind it. */
  decode_batch(decoder: Decoder): Promise<{ records: object[] }>;
  decompress: Decompress;
  new_decoder(bytes: Buffer): Decoder;
}

export interface Unreadable {
  first_offset: bigint;
  last_offset: bigint;
  /** For a person. */
  why: string;
}

const UNREADABLE = Symbol("unreadable");

type StandIn = KafkaMessage & { [UNREADABLE]?: Unreadable };

// A batch's header: https://kafka.apache.org/documentation/#recordbatch
const MAGIC_AT = 16;
const ATTRIBUTES_AT = 21;
const LAST_OFFSET_DELTA_AT = 23;
const PRODUCER_ID_AT = 43;
const LENGTH_AT = 8;
const LENGTH_END = 12;
const MAGIC = 2;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;

/** In the place of `decode_messages`. */
export function reader_of_each_batch({
  decode_messages,
  decode_batch,
  decompress,
  new_decoder,
}: FetchParts): DecodeMessages {
  async function each(batches: Decoder): Promise<object[]> {
    const { buffer, offset } = batches;
    const end = offset + LENGTH_END + buffer.readInt32BE(offset + LENGTH_AT);
    const is_control = (buffer.readInt16BE(offset + ATTRIBUTES_AT) & CONTROL) !== 0;
    if (!batches_are_whole() || is_control || end > buffer.length)
      return (await decode_batch(batches)).records;
    batches.offset = end;
    return [await whole_batch(buffer, offset, decompress)];
  }

  return async (decoder) => {
    const begin = decoder.offset;
    const bytes = decoder.readInt32();
    if (bytes < BATCH_HEADER_BYTES || !decoder.canReadBytes(bytes)) return [];
    if (decoder.buffer.readInt8(decoder.offset + MAGIC_AT) !== MAGIC) {
      decoder.offset = begin;
      return decode_messages(decoder);
    }
    const batches = new_decoder(decoder.readBytes(bytes));
    const records: object[] = [];
    while (batches.canReadBytes(BATCH_HEADER_BYTES)) {
      const at = batches.offset;
      try {
        for (const record of await each(batches)) records.push(record);
      } catch (error) {
        // The last batch of a fetch may be cut off.
        const is_cut = (error as Error).name === "KafkaJSPartialMessageError";
        if (!is_cut && records.length === 0) records.push(stand_in(batches.buffer, at, error as Error));
        break;
      }
    }
    return records;
  };
}

/** Null: all of it could be read. */
export function unreadable_in({ messages }: Pick<Batch, "messages">): Unreadable | null {
  return (messages[0] as StandIn | undefined)?.[UNREADABLE] ?? null;
}

function stand_in(bytes: Buffer, at: number, { message: why }: Error): object {
  const first_offset = bytes.readBigInt64BE(at);
  const last_offset = first_offset + BigInt(bytes.readInt32BE(at + LAST_OFFSET_DELTA_AT));
  const attributes = bytes.readInt16BE(at + ATTRIBUTES_AT);
  const unreadable: Unreadable = { first_offset, last_offset, why };
  return {
    magicByte: MAGIC,
    attributes: 0,
    timestamp: "0",
    // A fetch may begin within the batch.
    offset: `${last_offset}`,
    key: null,
    headers: {},
    isControlRecord: (attributes & CONTROL) !== 0,
    // An aborted transaction is passed by, readable or not.
    batchContext: {
      producerId: `${bytes.readBigInt64BE(at + PRODUCER_ID_AT)}`,
      inTransaction: (attributes & TRANSACTIONAL) !== 0,
    },
    get value(): never {
      throw new Error(`the records at offsets ${first_offset} to ${last_offset} cannot be read: ${why}`);
    },
    [UNREADABLE]: unreadable,
  };
}
