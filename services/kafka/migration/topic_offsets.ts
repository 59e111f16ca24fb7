/** How far topics go, asked so that it is answered also while leaders move. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Kafka } from "kafkajs";
import { Problem } from "../../events/problem.js";

const ATTEMPTS = 8;
const WAIT_MS = 500;

export interface PartitionOffsets {
  partition: number;
  low: bigint;
  /** The high watermark. */
  high: bigint;
}

/** Of every partition of each topic, in order. Throws Problem `unavailable`. */
export async function topic_offsets(
  kafka: Kafka,
  topics: readonly string[],
): Promise<Map<string, PartitionOffsets[]>> {
  for (let attempt = 1; ; attempt++) {
    // Each time a new one: after NOT_LEADER_FOR_PARTITION kafkajs asks the same broker for five minutes.
    const admin = kafka.admin();
    try {
      await admin.connect();
      const found = new Map<string, PartitionOffsets[]>();
      for (const topic of topics) {
        const count = (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]!.partitions.length;
        const offsets = (await admin.fetchTopicOffsets(topic)).map(({ partition, low, high }) => ({
          partition,
          low: BigInt(low),
          high: BigInt(high),
        }));
        if (offsets.length < count) throw new Leaderless(`${count - offsets.length} partitions of ${topic}`);
        found.set(
          topic,
          offsets.sort((a, b) => a.partition - b.partition),
        );
      }
      return found;
    } catch (error) {
      const { retriable, message } = error as { retriable?: boolean; message: string };
      if (!(error instanceof Leaderless || retriable === true) || attempt === ATTEMPTS) {
        throw new Problem("unavailable", `Kafka does not say how far its topics go (${message})`);
      }
    } finally {
      await admin.disconnect();
    }
    await sleep(WAIT_MS);
  }
}

class Leaderless extends Error {
  constructor(what: string) {
    super(`${what} have no leader`);
  }
}
