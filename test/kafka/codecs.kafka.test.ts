// What producers compress is read, whoever compressed it.
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { DECOMPRESSED_BYTES_MAX } from "#services/kafka/codecs.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import kafkajs from "#services/kafka/kafkajs.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { unreadable_in } from "#services/kafka/unreadable.js";
import { run_java } from "./jars.js";
import { shared_settings } from "./shared_broker.js";
import { make_topic, read_topic } from "./topic_records.js";

const RECORDS = 500;

let settings: KafkaSettings;
let topic: string;
beforeAll(async () => {
  settings = shared_settings();
  topic = settings.topics.host_events;
  await make_topic(settings, topic, { numPartitions: 8 });
});

/** Compressible, and longer than a block of any codec together. */
const VALUES = Array.from({ length: RECORDS }, (_, i) =>
  Buffer.concat([Buffer.alloc(200 + i, `record ${i} `), randomBytes(50)]),
);

async function values_of(partition: number): Promise<Buffer[]> {
  return (await read_topic(settings, topic))[partition]!.map(({ value }) => value);
}

describe("a compressed batch", () => {
  const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];
  test.each(CODECS.map((codec, partition) => ({ codec, partition })))(
    "of a Java producer with $codec is read",
    async ({ codec, partition }) => {
      const sends = VALUES.map((value) => `send ${topic} ${partition} - ${value.toString("hex")}\n`);
      await run_java(
        "Produce",
        [
          `bootstrap.servers=${settings.brokers.join(",")}`,
          `compression.type=${codec}`,
          "linger.ms=500",
          "batch.size=400000",
        ],
        sends.join(""),
      );
      expect(await values_of(partition)).toEqual(VALUES);
    },
  );

  test("of kafkajs with gzip is read", async () => {
    const producer = kafka_of(settings, "test").producer();
    await producer.connect();
    await producer.send({
      topic,
      acks: -1,
      compression: kafkajs.CompressionTypes.GZIP,
      messages: VALUES.map((value) => ({ value, partition: 5 })),
    });
    await producer.disconnect();
    expect(await values_of(5)).toEqual(VALUES);
  });
});

describe("a batch that would fill the memory", () => {
  test("stops its own partition, at its place; the others are read on", async () => {
    const other = `${topic}.bombed`;
    await make_topic(settings, other, { numPartitions: 2 });
    const lines = [
      `send ${other} 0 - 00`,
      "flush",
      `zeros ${other} 0 ${DECOMPRESSED_BYTES_MAX + 1}`,
      "flush",
      `send ${other} 0 - 01`,
      `send ${other} 1 - 02`,
    ];
    const room = `${2 * DECOMPRESSED_BYTES_MAX}`;
    await run_java(
      "Produce",
      [
        `bootstrap.servers=${settings.brokers.join(",")}`,
        "compression.type=zstd",
        ...[`max.request.size=${room}`, `buffer.memory=${room}`],
      ],
      `${lines.join("\n")}\n`,
    );
    const consumer = kafka_of(settings, "test").consumer({ groupId: settings.group_id });
    const seen: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topics: [other], fromBeginning: true });
    await consumer.run({
      async eachBatch({ batch }) {
        const unreadable = unreadable_in(batch);
        if (unreadable === null) {
          for (const { offset, value } of batch.messages)
            seen.push(`${batch.partition} ${offset} ${value![0]}`);
          return;
        }
        const { first_offset, last_offset, why } = unreadable;
        seen.push(`${batch.partition} ${first_offset} to ${last_offset}: ${why}`);
        expect(() => batch.messages[0]!.value).toThrow("cannot be read");
      },
    });
    await expect.poll(() => seen.length, { timeout: 60_000 }).toBe(4);
    await consumer.disconnect();
    const bound = `a zstd frame has more than ${DECOMPRESSED_BYTES_MAX} bytes`;
    expect(seen.filter((line) => line.startsWith("0"))).toEqual(["0 0 0", `0 1 to 1: ${bound}`, "0 2 1"]);
    expect(seen.filter((line) => line.startsWith("1"))).toEqual(["1 0 2"]);
  });
});
