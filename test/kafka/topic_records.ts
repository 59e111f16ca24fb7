/** Topics of a test, and what they have. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, ITopicConfig } from "kafkajs";
import { decode_batch } from "#services/events/codec.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";

export interface TopicRecord {
  offset: bigint;
  key: string | null;
  value: Buffer;
  /** When the broker appended it. */
  time_ms: number;
}

export async function with_admin<Result>(
  settings: KafkaSettings,
  use: (admin: Admin) => Promise<Result>,
): Promise<Result> {
  const admin = kafka_of(settings, "test").admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/** With a leader for each partition; a broker that has not heard of it yet says that it is not there. */
export async function make_topic(
  settings: KafkaSettings,
  topic: string,
  { config = {}, ...more }: Omit<ITopicConfig, "topic"> & { config?: Record<string, string> },
): Promise<void> {
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
  await with_admin(settings, async (admin) => {
    const topics = [{ topic, replicationFactor: 1, configEntries, ...more }];
    // kafkajs ends its own wait with the first broker that has not heard of it.
    await admin.createTopics({ topics, waitForLeaders: false });
    const has_leaders = async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]!.partitions.every(({ leader }) => leader >= 0);
    };
    while (!(await has_leaders().catch(() => false))) await sleep(50);
  });
}

/** Read from its beginning up to where it ends now; by partition, each in its order. */
export async function read_topic(settings: KafkaSettings, topic: string): Promise<TopicRecord[][]> {
  const ends = await with_admin(settings, (admin) => admin.fetchTopicOffsets(topic));
  const found: TopicRecord[][] = ends.map(() => []);
  const left = new Map(
    ends
      .filter(({ low, high }) => BigInt(high) > BigInt(low))
      .map((end) => [end.partition, BigInt(end.high)]),
  );
  if (left.size === 0) return found;
  const group = `reader-${process.hrtime.bigint()}`;
  const consumer = kafka_of(settings, "reader").consumer({ groupId: group, maxWaitTimeInMs: 100 });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on("consumer.crash", ({ payload }) => payload.restart || reject(payload.error));
      consumer
        .run({
          autoCommit: false,
          async eachBatch({ batch }) {
            for (const { offset, key, value, timestamp } of batch.messages) {
              const time_ms = Number(timestamp);
              const record = { offset: BigInt(offset), key: key?.toString() ?? null, value: value!, time_ms };
              found[batch.partition]!.push(record);
            }
            const end = left.get(batch.partition);
            if (end !== undefined && BigInt(batch.lastOffset()) + 1n >= end) left.delete(batch.partition);
            if (left.size === 0) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return found;
}

/** HOST#SEQUENCE of each event, in order. */
export function events_of(records: readonly Pick<TopicRecord, "value">[]): string[] {
  return records.flatMap(({ value }) =>
    decode_batch(value).map(({ event }) => `${event.host_id}#${event.sequence}`),
  );
}
