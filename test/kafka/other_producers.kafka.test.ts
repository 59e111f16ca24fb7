// Other programs' producers: which of them put a host's events in its partition, as docs/kafka.md says.
import { spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { run_java } from "./jars.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";
import { events_of, make_topic, read_topic } from "./topic_records.js";

const PARTITIONS = 7;
const HOSTS = Array.from({ length: 60 }, (_, i) => `web-${i}.example.org${"é".repeat(i % 3)}`);
const settings = shared_settings();
const brokers = settings.brokers.join(",");

/** Where each host's event came to lie; as kcat, a record for each key. */
async function partitions_of(topic: string): Promise<Map<string, number>> {
  const found = await read_topic(settings, topic);
  const placed = found.flatMap((records, partition) =>
    records.map((record): [string, number] => {
      expect(events_of([record])).toEqual([`${record.key}#1`]);
      return [record.key!, partition];
    }),
  );
  expect(placed.map(([host_id]) => host_id).sort()).toEqual(HOSTS.toSorted());
  return new Map(placed);
}

const own = new Map(HOSTS.map((host_id) => [host_id, partition_of(Buffer.from(host_id), PARTITIONS)]));
const batch_of = (host_id: string) => Buffer.from(encode_batch([event(host_id, 1)]));

/** Debian's package; a key and a value of any bytes, parted by bytes that neither has. */
function kcat(topic: string, ...options: string[]): void {
  const [key_end, record_end] = ["<KEY-ENDS>", "<RECORD-ENDS>"];
  const input = Buffer.concat(
    HOSTS.flatMap((host_id) => [Buffer.from(host_id + key_end), batch_of(host_id), Buffer.from(record_end)]),
  );
  const args = ["-P", "-b", brokers, "-t", topic, "-K", key_end, "-D", record_end, ...options];
  const { status, stderr, error } = spawnSync("kcat", args, { input, encoding: "utf8" });
  if (error) throw new Error(`kcat cannot be run (apt-get install kcat): ${error.message}`);
  expect([status, stderr]).toEqual([0, ""]);
}

describe("a host's own partition is that", () => {
  const topic = (name: string) => `${settings.topics.host_events}.${name}`;

  beforeAll(async () => {
    for (const name of ["kcat", "crc32", "java"])
      await make_topic(settings, topic(name), { numPartitions: PARTITIONS });
  });

  test("of kcat with murmur2_random, and so of all that librdkafka is in", async () => {
    kcat(topic("kcat"), "-X", "partitioner=murmur2_random");
    expect(await partitions_of(topic("kcat"))).toEqual(own);
  });

  test("not of kcat by default: CRC-32 puts most hosts elsewhere, and each always in the same place", async () => {
    kcat(topic("crc32"));
    const placed = await partitions_of(topic("crc32"));
    const misplaced = HOSTS.filter((host_id) => placed.get(host_id) !== own.get(host_id));
    expect(misplaced.length).toBeGreaterThan(HOSTS.length / 2);
  });

  test("of Kafka's own Java client by default", async () => {
    const lines = HOSTS.map((host_id) => {
      const [key, value] = [Buffer.from(host_id), batch_of(host_id)].map((bytes) => bytes.toString("hex"));
      return `send ${topic("java")} - ${key} ${value}\n`;
    });
    await run_java("Produce", [`bootstrap.servers=${brokers}`], lines.join(""));
    expect(await partitions_of(topic("java"))).toEqual(own);
  });
});
