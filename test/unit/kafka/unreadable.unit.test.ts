// A batch of records that cannot be read: what a consumer is given in its place.
import { createRequire } from "node:module";
import type { Batch, KafkaMessage } from "kafkajs";
import { describe, expect, test } from "vitest";
import "#services/kafka/kafkajs.js";
import { Replica } from "#services/kafka/replica.js";
import { unreadable_in } from "#services/kafka/unreadable.js";

const require_part = createRequire(import.meta.url);
const { RecordBatch } = require_part("kafkajs/src/protocol/recordBatch/v0");
const Record = require_part("kafkajs/src/protocol/recordBatch/record/v0");
const Long = require_part("kafkajs/src/utils/long");
const Decoder = require_part("kafkajs/src/protocol/decoder");
const KafkajsBatch = require_part("kafkajs/src/consumer/batch");

const ATTRIBUTES_AT = 21;
const ZSTD = 4;

async function record_batch(first_offset: number, values: Buffer[], transactional = false): Promise<Buffer> {
  const records = values.map((value, offsetDelta) => Record({ offsetDelta, key: null, value }));
  const encoder = await RecordBatch({
    ...{ records, transactional, lastOffsetDelta: values.length - 1 },
    ...{ firstOffset: Long.fromValue(first_offset), producerId: Long.fromValue(77) },
  });
  return encoder.buffer;
}

/** Says that it is compressed, and is not. */
function damaged(batch: Buffer): Buffer {
  const bytes = Buffer.from(batch);
  bytes.writeInt16BE(bytes.readInt16BE(ATTRIBUTES_AT) | ZSTD, ATTRIBUTES_AT);
  return bytes;
}

/** As the consumer of kafkajs hands over what came of a fetch from `fetched`. */
async function fetched(from: number, batches: Buffer[], more: object = {}): Promise<Batch> {
  const length = Buffer.alloc(4);
  length.writeInt32BE(Buffer.concat(batches).length);
  const decode = require_part("kafkajs/src/protocol/requests/fetch/v4/decodeMessages");
  const messages: KafkaMessage[] = await decode(new Decoder(Buffer.concat([length, ...batches])));
  const data = { partition: 0, highWatermark: "1000", abortedTransactions: [], messages, ...more };
  return new KafkajsBatch("events", `${from}`, data);
}

const texts = (batch: Batch) => batch.messages.map(({ offset, value }) => `${offset} ${value}`);

describe("a batch that cannot be read", () => {
  test("leaves what stands before it as it is, and then is told by its offsets", async () => {
    const good = await record_batch(0, [Buffer.from("a"), Buffer.from("b")]);
    const bad = damaged(await record_batch(2, [Buffer.from("c"), Buffer.from("d"), Buffer.from("e")]));
    const behind = await record_batch(5, [Buffer.from("f")]);
    const first = await fetched(0, [good, bad, behind]);
    expect(texts(first)).toEqual(["0 a", "1 b"]);
    expect(unreadable_in(first)).toBeNull();

    for (const from of [2, 4]) {
      const next = await fetched(from, [bad, behind]);
      expect(unreadable_in(next)).toMatchObject({ first_offset: 2n, last_offset: 4n });
      expect(next.lastOffset()).toBe("4");
      expect(() => next.messages[0]!.value).toThrow("the records at offsets 2 to 4 cannot be read");
    }
    expect(texts(await fetched(5, [behind]))).toEqual(["5 f"]);
  });

  test("of an aborted transaction is passed by as one that can be read", async () => {
    const bad = damaged(await record_batch(2, [Buffer.from("c")], true));
    const aborted = { abortedTransactions: [{ producerId: "77", firstOffset: "2" }] };
    const batch = await fetched(2, [bad], aborted);
    expect(batch.messages).toEqual([]);
    expect((batch as Batch & { isEmptyDueToFiltering(): boolean }).isEmptyDueToFiltering()).toBe(true);
  });

  test("breaks its partition's replica, which takes nothing of it", async () => {
    const log = {
      next_offset: 2n,
      append: () => Promise.reject(new Error("nothing is to be appended")),
      bytes_at: async () => Buffer.from("b"),
    };
    const replica = new Replica({
      ...{ partition: 0, log, begins_anywhere: false, now: () => 0 },
      earliest: async () => 0n,
      failed(error) {
        throw error;
      },
      reached() {},
    });
    const bad = damaged(await record_batch(2, [Buffer.from("c")]));
    expect(await replica.take(await fetched(2, [bad]))).toEqual({
      reason: "corrupt",
      says: expect.stringMatching(/^the topic's records at offsets 2 to 2 cannot be read: /),
    });
  });
});

describe("a fetch", () => {
  test("that cuts its last batch off is read up to there", async () => {
    const good = await record_batch(0, [Buffer.from("a")]);
    const cut = (await record_batch(1, [Buffer.alloc(100, "b")])).subarray(0, -10);
    const batch = await fetched(0, [good, cut]);
    expect(texts(batch)).toEqual(["0 a"]);
    expect(texts(await fetched(1, [cut]))).toEqual([]);
  });

  test("may have more records in one batch than a call has arguments", async () => {
    const count = 200_000;
    const batch = await fetched(0, [await record_batch(0, Array<Buffer>(count).fill(Buffer.from("x")))]);
    expect(batch.messages).toHaveLength(count);
    expect(batch.lastOffset()).toBe(`${count - 1}`);
  });
});
