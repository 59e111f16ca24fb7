/** Deciding where state changes are told from, of partitions of which nobody knows how far they were told. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, Consumer, Kafka } from "kafkajs";
import { Problem } from "../../events/problem.js";
import { unavailable } from "../broker_problem.js";
import { parse_committed } from "../committed.js";
import type { KafkaSettings } from "../settings.js";
import { outlet_writers } from "./partition_sender.js";
import { begin_again_message, cause_from_headers } from "./record.js";

export interface BeginAgain {
  /** Null: all. */
  partition: number | null;
  at: "beginning" | "end";
  /** Also of partitions of which it is known how far they were told. */
  forced: boolean;
}

export interface Begun {
  partition: number;
  /** Changes are told of records from this offset on; null: it was known how far they were told, and stays so. */
  begins_at: bigint | null;
}

const READ_WITHIN_MS = 30_000;
const ASKED_AGAIN_AFTER_MS = 500;

/** Throws Problem where the brokers cannot be asked, or there is no such partition. */
export async function begin_again(
  kafka: Kafka,
  settings: KafkaSettings,
  wanted: BeginAgain,
): Promise<Begun[]> {
  const admin = kafka.admin({ retry: { retries: 3 } });
  const { state_changes } = outlet_writers(kafka, settings.topics);
  try {
    await admin.connect();
    const ends = await admin.fetchTopicOffsets(settings.topics.host_events);
    const chosen = ends.filter(({ partition }) => partition === (wanted.partition ?? partition));
    if (chosen.length === 0) {
      throw new Problem("not_found", `${settings.topics.host_events} has no partition ${wanted.partition}`);
    }
    const told = wanted.forced ? new Set<number>() : await told_partitions(kafka, admin, settings);
    const begun: Begun[] = [];
    for (const { partition, high } of chosen.sort((a, b) => a.partition - b.partition)) {
      if (told.has(partition)) {
        begun.push({ partition, begins_at: null });
        continue;
      }
      const begins_at = wanted.at === "end" ? BigInt(high) : 0n;
      const attempt = await state_changes.attempt(partition, [begin_again_message(partition, begins_at)]);
      if ("why" in attempt) throw new Error(attempt.why);
      begun.push({ partition, begins_at });
    }
    return begun;
  } catch (error) {
    throw unavailable(error, settings);
  } finally {
    await state_changes.close();
    await admin.disconnect();
  }
}

/** Of which the topic or the group knows. */
async function told_partitions(kafka: Kafka, admin: Admin, settings: KafkaSettings): Promise<Set<number>> {
  const { topics, group_id } = settings;
  const told = new Set<number>();
  const committed = await once_answered(() =>
    admin.fetchOffsets({ groupId: group_id, topics: [topics.host_events] }),
  );
  for (const { partition, metadata } of committed[0]?.partitions ?? []) {
    if ((parse_committed(metadata ?? "")?.cause ?? null) !== null) told.add(partition);
  }
  const ends = await admin.fetchTopicOffsets(topics.state_changes);
  const last = ends
    .filter(({ low, high }) => BigInt(high) > BigInt(low))
    .map(({ partition, high }) => ({ partition, offset: String(BigInt(high) - 1n) }));
  if (last.length === 0) return told;
  const consumer = kafka.consumer({ groupId: `${group_id}.begin.${randomUUID()}`, maxWaitTimeInMs: 100 });
  try {
    await consumer.connect();
    for (const partition of await known_in(consumer, topics.state_changes, last)) told.add(partition);
  } finally {
    await consumer.disconnect();
  }
  return told;
}

/** kafkajs does not try again by itself; the coordinator of a cluster's first group takes a while to be found. */
async function once_answered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const until = performance.now() + READ_WITHIN_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if ((error as { retriable?: boolean }).retriable !== true || performance.now() > until) throw error;
      await sleep(ASKED_AGAIN_AFTER_MS);
    }
  }
}

/** Reads one record of each partition; those whose record says how far was told. */
async function known_in(
  consumer: Consumer,
  topic: string,
  last: { partition: number; offset: string }[],
): Promise<number[]> {
  const known: number[] = [];
  const missing = new Map(last.map(({ partition, offset }) => [partition, offset]));
  await consumer.subscribe({ topic, fromBeginning: true });
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the end of ${topic} cannot be read`)), READ_WITHIN_MS);
    consumer.on(consumer.events.GROUP_JOIN, () => {
      for (const [partition, offset] of missing) consumer.seek({ topic, partition, offset });
    });
    void consumer.run({
      autoCommit: false,
      async eachMessage({ partition, message }) {
        if (missing.get(partition) !== message.offset) return;
        missing.delete(partition);
        if (cause_from_headers(message.headers) !== null) known.push(partition);
        if (missing.size === 0) resolve();
      },
    });
  }).finally(() => clearTimeout(timer));
  return known;
}
