import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { murmur2, partition_of } from "#services/events/partition.js";

const kafkajs_murmur2: (key: Buffer) => number = createRequire(import.meta.url)(
  "kafkajs/src/producer/partitioners/default/murmur2.js",
);

describe("murmur2", () => {
  // org.apache.kafka.common.utils.UtilsTest.testMurmur2
  it.each([
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ])("%s is %i, as in Kafka's own tests", (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  it("agrees with kafkajs on keys of every length and every byte", () => {
    for (let length = 0; length < 300; length++) {
      const key = Buffer.from(Array.from({ length }, (_, at) => (at * 89 + length * 131) & 0xff));
      expect(murmur2(key)).toBe(kafkajs_murmur2(key));
    }
  });
});

describe("partition of a host", () => {
  it("is that of Kafka's Java client", () => {
    const host_id = Buffer.from("wéb-17");
    for (const partitions of [1, 3, 64, 1000]) {
      expect(partition_of(host_id, partitions)).toBe((kafkajs_murmur2(host_id) & 0x7fffffff) % partitions);
    }
  });
});
