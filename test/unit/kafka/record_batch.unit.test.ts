// Batches of records read whole, beside kafkajs's own reading of the same bytes, record by record.
import { createRequire } from "node:module";
import fc from "fast-check";
import type { KafkaMessage } from "kafkajs";
import { describe, expect, test } from "vitest";
import { without_aborted } from "#services/kafka/aborted.js";
import "#services/kafka/kafkajs.js";
import { record_at, records_of_message, whole_batch } from "#services/kafka/record_batch.js";

const require_part = createRequire(import.meta.url);
const { RecordBatch } = require_part("kafkajs/src/protocol/recordBatch/v0");
const decode_batch = require_part("kafkajs/src/protocol/recordBatch/v0/decoder");
const Record = require_part("kafkajs/src/protocol/recordBatch/record/v0");
const Long = require_part("kafkajs/src/utils/long");
const Decoder = require_part("kafkajs/src/protocol/decoder");
const { lookupCodecByAttributes } = require_part("kafkajs/src/protocol/message/compression");

const ATTRIBUTES_AT = 21;
const LOG_APPEND_TIME = 8;
const HEADER_BYTES = 61;
const [NONE, GZIP] = [0, 1];

const decompress = (attributes: number, bytes: Buffer) =>
  lookupCodecByAttributes(attributes).decompress(bytes);

const bytes_or_none = fc.option(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)));
/** kafkajs takes what every object has, such as `valueOf`, for a header that came before. */
const header_name = fc.string({ maxLength: 20 }).map((name) => `x${name}`);
const record = fc.record({
  key: bytes_or_none,
  value: bytes_or_none,
  headers: fc.dictionary(header_name, fc.string({ maxLength: 20 }), {
    maxKeys: 3,
  }),
  timestampDelta: fc.integer({ min: -(2 ** 33), max: 2 ** 40 }),
  gap: fc.integer({ min: 1, max: 100_000 }),
});

async function batch_of(records: object[], first_offset: number, more: object = {}): Promise<Buffer> {
  const { buffer } = await RecordBatch({
    firstOffset: Long.fromValue(first_offset),
    firstTimestamp: 2 ** 41,
    maxTimestamp: 2 ** 42,
    ...{ lastOffsetDelta: 5, producerId: Long.fromValue(77), records, ...more },
  });
  return buffer;
}

describe("a whole batch", () => {
  test("has the same records as one that kafkajs takes apart, compressed or not, of either kind of time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { minLength: 1, maxLength: 40 }),
        fc.maxSafeInteger().map((n) => Math.floor(Math.abs(n) / 2)),
        fc.constantFrom(NONE, GZIP),
        fc.boolean(),
        async (given, first_offset, compression, append_time) => {
          let offsetDelta = -1;
          const records = given.map(({ gap, ...each }) => {
            offsetDelta += gap;
            return Record({ ...each, offsetDelta });
          });
          const more = { compression, lastOffsetDelta: offsetDelta };
          const bytes = await batch_of(records, first_offset, more);
          if (append_time) bytes[ATTRIBUTES_AT + 1]! |= LOG_APPEND_TIME;
          const expected: KafkaMessage[] = (await decode_batch(new Decoder(Buffer.from(bytes)))).records;

          // Behind something else, as in a fetch.
          const fetched = Buffer.concat([Buffer.alloc(7), bytes]);
          const message = (await whole_batch(fetched, 7, decompress)) as KafkaMessage;
          expect(message.offset).toBe(expected.at(-1)!.offset);
          const whole = records_of_message(message);
          const found = whole.offsets.map((_, i) => ({
            ...record_at(whole, i),
            log_time_ms: whole.log_times_ms[i],
          }));
          expect(found).toEqual(
            expected.map(({ offset, timestamp, value, headers }) => ({
              ...{ offset: Number(offset), value, headers, log_time_ms: Number(timestamp) },
            })),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("whose records do not fill their bytes, or reach beyond them, cannot be read", async () => {
    const values = ["a", "bb", "ccc"].map((text) => Buffer.from(text));
    const good = await batch_of(
      values.map((value, offsetDelta) => Record({ offsetDelta, key: null, value })),
      10,
    );
    const read = (bytes: Buffer) => whole_batch(bytes, 0, decompress);
    await expect(read(good)).resolves.toMatchObject({ offset: "15" });
    for (let cut = 1; cut < good.length - HEADER_BYTES; cut++) {
      const bytes = Buffer.from(good.subarray(0, good.length - cut));
      bytes.writeInt32BE(bytes.length - 12, 8);
      await expect(read(bytes)).rejects.toThrow("record");
    }
    const fewer = Buffer.from(good);
    fewer.writeInt32BE(2, HEADER_BYTES - 4);
    await expect(read(fewer)).rejects.toThrow("2 records do not fill");
  });
});

describe("aborted transactions", () => {
  const message = (offset: number, producerId: string, more: object = {}) => ({
    offset: `${offset}`,
    key: null as Buffer | null,
    isControlRecord: false,
    batchContext: { producerId, inTransaction: true },
    ...more,
  });
  const ABORT = { key: Buffer.from([0, 0, 0, 0]), isControlRecord: true };
  const offsets = (messages: { offset: string }[]) => messages.map(({ offset }) => Number(offset));

  test("that both began before the fetch does are left out from its first record on", () => {
    const messages = [message(20, "2"), message(21, "1"), message(22, "3")];
    const abortedTransactions = [
      { producerId: "1", firstOffset: "5" },
      { producerId: "2", firstOffset: "8" },
    ];
    expect(offsets(without_aborted({ messages, abortedTransactions }))).toEqual([22]);
  });

  test("end at their producer's mark and at nothing that looks like one", () => {
    const like_a_mark = { key: Buffer.from([0, 0, 0, 0]) };
    const messages = [
      message(5, "1"),
      message(6, "1", like_a_mark),
      message(7, "1"),
      message(8, "1", ABORT),
      message(9, "1"),
    ];
    const abortedTransactions = [{ producerId: "1", firstOffset: "5" }];
    // The mark itself is left to whoever leaves out control records.
    expect(offsets(without_aborted({ messages, abortedTransactions }))).toEqual([8, 9]);
  });

  test("leave what their producer wrote outside of any", () => {
    const plain = message(6, "1", { batchContext: { producerId: "1", inTransaction: false } });
    const abortedTransactions = [{ producerId: "1", firstOffset: "5" }];
    expect(offsets(without_aborted({ messages: [message(5, "1"), plain], abortedTransactions }))).toEqual([
      6,
    ]);
  });
});
