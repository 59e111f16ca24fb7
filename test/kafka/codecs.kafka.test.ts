// What producers compress is read, whoever compressed it.
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { kafka_of } from "#services/kafka/kafka_client.js";
import kafkajs from "#services/kafka/kafkajs.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
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
