// Three brokers: a topic outlasts the loss of one, and a partition that does not leaves the others alone.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kafka_of } from "#services/kafka/kafka_client.js";
import kafkajs from "#services/kafka/kafkajs.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { topic_shapes } from "#services/kafka/topic_settings.js";
import { create_topics, verify_topics } from "#services/kafka/topics.js";
import { type Broker, type Brokers, start_brokers } from "./brokers.js";
import { make_topic, with_admin } from "./topic_records.js";

const TOPIC = "events";
const LOST = 2;

let cluster: Brokers;
let settings: KafkaSettings;
/** The only replica of the lost partition. */
let lost_broker: Broker;

beforeAll(async () => {
  cluster = await start_brokers({ count: 3 });
  settings = cluster.settings();
  const { controller } = await with_admin(settings, (admin) => admin.describeCluster());
  // Not the one that answers for groups and topics, so that the fault is the partition's alone.
  lost_broker = cluster.brokers.find(({ id }) => id !== controller)!;
  const others = cluster.brokers.filter((broker) => broker !== lost_broker).map(({ id }) => id);
  await make_topic(settings, TOPIC, {
    replicationFactor: -1,
    replicaAssignment: [
      { partition: 0, replicas: [others[0]!] },
      { partition: 1, replicas: [others[1]!] },
      { partition: LOST, replicas: [lost_broker.id] },
    ],
  });
});
afterAll(() => cluster.end());

describe("topics of three replicas", () => {
  test("are made to need two for an acknowledgement, and one that needs none is refused", async () => {
    const wanted = cluster.settings({ KLPSTATE_KAFKA_PARTITIONS: "2", KLPSTATE_KAFKA_REPLICATION: "3" });
    const kafka = kafka_of(wanted, "topics");
    expect(await create_topics(kafka, wanted)).toMatchObject({ partitions: 2, problems: [] });
    const admin = kafka.admin();
    await admin.connect();
    const [topic] = (await admin.fetchTopicMetadata({ topics: [wanted.topics.catalog] })).topics;
    expect(topic!.partitions[0]!.replicas).toHaveLength(3);
    const shape = topic_shapes(wanted).find(({ role }) => role === "catalog")!;
    const but = shape.settings(1).map(({ name, value }) => ({ name, value }));
    const catalog = {
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name: wanted.topics.catalog,
      configEntries: but,
    };
    await admin.alterConfigs({ validateOnly: false, resources: [catalog] });
    await admin.disconnect();
    const problems = async () => (await verify_topics(kafka, wanted)).problems;
    await expect
      .poll(problems, { timeout: 30_000 })
      .toMatchObject([{ topic: wanted.topics.catalog, setting: "min.insync.replicas", is: "1" }]);
  });
});

describe("a partition whose only replica is killed", () => {
  test("the others are produced to and consumed meanwhile, and it too once the broker is back", async () => {
    const producer = kafka_of(settings, "producer").producer({ retry: { retries: 2 } });
    const consumer = kafka_of(settings, "consumer").consumer({ groupId: "readers", sessionTimeout: 6000 });
    const seen = new Set<string>();
    await producer.connect();
    await consumer.connect();
    await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
    await consumer.run({
      async eachBatch({ batch }) {
        for (const { value } of batch.messages) seen.add(`${batch.partition} ${value}`);
      },
    });
    async function send(partition: number, value: string): Promise<void> {
      await producer.send({ topic: TOPIC, acks: -1, messages: [{ partition, value }] });
    }
    for (const partition of [0, 1, LOST]) await send(partition, "before");
    await expect.poll(() => seen.size, { timeout: 60_000 }).toBe(3);

    await lost_broker.kill();
    const admin = kafka_of(settings, "admin").admin();
    await admin.connect();
    await expect.poll(() => leader_of(admin, LOST), { timeout: 30_000 }).toBe(-1);

    await expect(send(LOST, "meanwhile")).rejects.toThrow();
    for (const partition of [0, 1]) await send(partition, "meanwhile");
    await expect.poll(() => seen.size, { timeout: 60_000 }).toBe(5);
    expect(seen).toContain("0 meanwhile");
    expect(seen).toContain("1 meanwhile");
    // A consumer that begins now reads the others, too.
    expect(await read_anew([0, 1])).toEqual(new Set(["0 before", "0 meanwhile", "1 before", "1 meanwhile"]));
    const offsets = await admin.fetchTopicOffsets(TOPIC);
    expect(offsets.map(({ partition }) => partition).sort()).toEqual([0, 1]);

    await lost_broker.start();
    await expect.poll(() => leader_of(admin, LOST), { timeout: 30_000 }).toBe(lost_broker.id);
    await expect
      .poll(
        () =>
          send(LOST, "after").then(
            () => true,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true);
    await expect.poll(() => seen.has(`${LOST} after`), { timeout: 60_000 }).toBe(true);
    await Promise.all([producer.disconnect(), consumer.disconnect(), admin.disconnect()]);
  });

  test("its replica's death is all that its brokers see: no other partition lost its leader", async () => {
    const admin = kafka_of(settings, "admin").admin();
    await admin.connect();
    for (const partition of [0, 1]) expect(await leader_of(admin, partition)).toBeGreaterThan(0);
    await admin.disconnect();
  });
});

async function leader_of(admin: ReturnType<ReturnType<typeof kafka_of>["admin"]>, partition: number) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] });
  return topics[0]!.partitions.find(({ partitionId }) => partitionId === partition)!.leader;
}

async function read_anew(partitions: number[]): Promise<Set<string>> {
  const consumer = kafka_of(settings, "anew").consumer({ groupId: "anew", sessionTimeout: 6000 });
  const seen = new Set<string>();
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
  await consumer.run({
    async eachBatch({ batch }) {
      for (const { value } of batch.messages) seen.add(`${batch.partition} ${value}`);
    },
  });
  await expect.poll(() => seen.size, { timeout: 60_000 }).toBe(2 * partitions.length);
  await consumer.disconnect();
  return seen;
}
