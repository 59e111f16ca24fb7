// What a publisher acknowledges is in the topic also where brokers die; a partition that nobody leads holds up no other.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { type Brokers, start_brokers } from "./brokers.js";
import { event, parts_of, with_publisher } from "./published.js";
import { events_of, make_topic, read_topic, with_admin } from "./topic_records.js";

let cluster: Brokers;
let settings: KafkaSettings;

beforeAll(async () => {
  cluster = await start_brokers({ count: 3 });
  settings = cluster.settings();
});
afterAll(() => cluster?.end());

async function leader_of(topic: string, partition: number): Promise<number> {
  const { topics } = await with_admin(settings, (admin) => admin.fetchTopicMetadata({ topics: [topic] }));
  return topics[0]!.partitions.find(({ partitionId }) => partitionId === partition)!.leader;
}

test("brokers that are killed one after the other while events come take none that was acknowledged", async () => {
  const topic = "killed";
  const partitions = 3;
  const config = { "min.insync.replicas": "2" };
  await make_topic(settings, topic, { numPartitions: partitions, replicationFactor: 3, config });
  const acknowledged: string[] = [];
  await with_publisher(settings, { topic, partitions, request_timeout_ms: 12_000 }, async (publisher) => {
    let going = true;
    const last = new Map<number, number>();
    const clients = Array.from({ length: 12 }, async (_, client) => {
      for (let sequence = 1; going; sequence++) {
        const [outcome] = await publisher.store(parts_of([event(`host-${client}`, sequence)], partitions));
        if (outcome!.fate !== "stored") continue;
        acknowledged.push(`host-${client}#${sequence}`);
        last.set(outcome!.partition, acknowledged.length);
      }
    });
    async function all_go_on(): Promise<void> {
      const now = acknowledged.length;
      const is_so = () => [0, 1, 2].every((partition) => (last.get(partition) ?? 0) > now);
      await expect.poll(is_so, { timeout: 90_000 }).toBe(true);
    }
    await all_go_on();
    for (const partition of [0, 1]) {
      const leader = await leader_of(topic, partition);
      const broker = cluster.brokers.find(({ id }) => id === leader)!;
      await broker.kill();
      await all_go_on();
      await broker.start();
      await all_go_on();
    }
    going = false;
    await Promise.all(clients);
  });
  const found = new Set((await read_topic(settings, topic)).flatMap(events_of));
  expect(acknowledged.filter((one) => !found.has(one))).toEqual([]);
});

describe("a partition that nobody leads", () => {
  const topic = "leaderless";

  test("is told apart in the outcome, holds up no other, and is published to again once it has a leader", async () => {
    const controller = (await with_admin(settings, (admin) => admin.describeCluster())).controller;
    const lost = cluster.brokers.find(({ id }) => id !== controller)!;
    const [one, other] = cluster.brokers.filter((broker) => broker !== lost).map(({ id }) => id);
    const replicas = [one!, other!, lost.id];
    await make_topic(settings, topic, {
      replicationFactor: -1,
      replicaAssignment: replicas.map((id, partition) => ({ partition, replicas: [id] })),
    });
    const batch = (sequence: number) =>
      parts_of(
        Array.from({ length: 30 }, (_, i) => event(`host-${i}`, sequence)),
        3,
      );
    const parts = { topic, partitions: 3, deadline_ms: 5_000, request_timeout_ms: 3_000 };
    await with_publisher(settings, parts, async (publisher) => {
      expect((await publisher.store(batch(1))).map(({ fate }) => fate)).toEqual([
        "stored",
        "stored",
        "stored",
      ]);
      await lost.kill();
      await expect.poll(() => leader_of(topic, 2), { timeout: 30_000 }).toBe(-1);

      const outcomes = await publisher.store(batch(2));
      expect(outcomes.slice(0, 2).map(({ fate }) => fate)).toEqual(["stored", "stored"]);
      expect(outcomes[2]!.fate).not.toBe("stored");
      // While one batch waits for the lost partition, the others' are acknowledged one after the other.
      const waiting = publisher.store(batch(3));
      let is_waiting = true;
      void waiting.finally(() => {
        is_waiting = false;
      });
      let acknowledged = 0;
      for (let sequence = 4; is_waiting; sequence++) {
        const stored = await publisher.store(batch(sequence).slice(0, 2));
        expect(stored.map(({ fate }) => fate)).toEqual(["stored", "stored"]);
        acknowledged++;
      }
      expect(acknowledged).toBeGreaterThan(20);

      await lost.start();
      await expect
        .poll(async () => (await publisher.store(batch(1_000_000)))[2]!.fate, { timeout: 60_000 })
        .toBe("stored");
    });
  });
});
