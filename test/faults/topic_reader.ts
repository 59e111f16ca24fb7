/** Reads topics to their end, as a program does that knows Kafka and nothing of klpstate. */
import kafkajs from "kafkajs";
import type { TopicRecord } from "./truth.js";

/** So long nothing more comes: what is left up to the end are control records, which no reader is given. */
const QUIET_MS = 4_000;

export interface ReadRecord extends TopicRecord {
  partition: number;
  key: Buffer | null;
  headers: Readonly<Record<string, string>>;
}

/** By partition. Only what is committed. */
export async function read_topic(brokers: string[], topic: string): Promise<ReadRecord[][]> {
  const kafka = new kafkajs.Kafka({ clientId: "reader", brokers, logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const read: ReadRecord[][] = ends.map(() => []);
  const next = new Map(ends.map(({ partition, low }) => [partition, BigInt(low)]));
  const is_read = () => ends.every(({ partition, high }) => next.get(partition)! >= BigInt(high));
  if (is_read()) return read;

  const consumer = kafka.consumer({
    groupId: `reader-${topic}-${process.pid}-${performance.now()}`,
    maxBytes: 16 * 1024 * 1024,
    maxWaitTimeInMs: 200,
    readUncommitted: false,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let last_ms = Number.POSITIVE_INFINITY;
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: true,
    async eachBatch({ batch }) {
      last_ms = performance.now();
      for (const { offset, value, timestamp, key, headers = {} } of batch.messages) {
        read[batch.partition]!.push({
          partition: batch.partition,
          offset: BigInt(offset),
          bytes: value ?? new Uint8Array(),
          log_time_ms: BigInt(timestamp),
          key,
          headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, String(text)])),
        });
      }
      next.set(batch.partition, BigInt(batch.lastOffset()) + 1n);
    },
  });
  while (!is_read() && performance.now() - last_ms < QUIET_MS) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await consumer.disconnect();
  return read;
}
