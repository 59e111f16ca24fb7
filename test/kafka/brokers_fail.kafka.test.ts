// Three brokers, of which one is killed, stops, stands still, or has a partition to itself: nodes go on.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { create_topics } from "#services/kafka/topics.js";
import { post } from "../e2e/klpstate.js";
import { type Broker, type Brokers, start_brokers } from "./brokers.js";
import {
  answers_all,
  eventually,
  expect_folded,
  fleet_of,
  make_registry,
  type Node,
  publish,
  start_node,
} from "./nodes.js";
import { event } from "./published.js";
import { events_of, read_topic, with_admin } from "./topic_records.js";

const PARTITIONS = 4;
const HOSTS = 40;
/** As `topics create` makes them. */
const KEEPS_ALL = Object.entries({
  "cleanup.policy": "delete",
  "retention.ms": "-1",
  "retention.bytes": "-1",
  "message.timestamp.type": "LogAppendTime",
}).map(([name, value]) => ({ name, value }));

let cluster: Brokers;
beforeAll(async () => {
  cluster = await start_brokers({ count: 3 });
});
afterAll(() => cluster.end());

function settings_of(name: string, env: Record<string, string> = {}): KafkaSettings {
  return cluster.settings({
    KLPSTATE_KAFKA_TOPIC_PREFIX: `${name}.`,
    KLPSTATE_KAFKA_GROUP: name,
    KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}`,
    ...env,
  });
}

/** Publishes until it is told to end; what was acknowledged, as HOST#SEQUENCE. */
function keep_publishing(node: Node, prefix: string): { end(): Promise<string[]> } {
  const acknowledged: string[] = [];
  let ends = false;
  const work = (async () => {
    for (let sequence = 1; !ends; sequence++) {
      await publish(node, { hosts: HOSTS, sequence, prefix });
      acknowledged.push(...Array.from({ length: HOSTS }, (_, i) => `${prefix}-${i}#${sequence}`));
      await sleep(20);
    }
  })();
  // Told by `end`.
  work.catch(() => {});
  return {
    async end() {
      ends = true;
      await work;
      return acknowledged;
    },
  };
}

type Fault = { name: string; begin(broker: Broker): Promise<void>; end(broker: Broker): Promise<void> };

const FAULTS: Fault[] = [
  { name: "is killed", begin: (broker) => broker.kill(), end: (broker) => broker.start() },
  {
    name: "stops, so that its partitions get other leaders",
    begin: (broker) => broker.stop(),
    end: (broker) => broker.start(),
  },
  {
    name: "stands still",
    begin: async (broker) => broker.pause(),
    end: async (broker) => broker.resume(),
  },
];

/** Three brokers one after the other, each with its recovery, on a machine that is busy. */
const FAULTS_WITHIN_MS = 900_000;

describe.each(FAULTS.map((fault) => [fault.name, fault] as const))("a broker %s", (_name, { begin, end }) => {
  test(
    "while events come in at two nodes: all that was acknowledged is folded, and answers are complete again",
    async () => {
      const settings = await make_registry(settings_of(`f${process.hrtime.bigint()}`));
      const nodes = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
      await publish(nodes[0]!, { hosts: HOSTS, sequence: 1 });
      await expect_folded(settings, nodes);

      const publishers = nodes.map((node) => keep_publishing(node, node.name));
      // Each of them once: one is the group's coordinator, and each leads a partition or two.
      for (const broker of cluster.brokers) {
        await sleep(500);
        await begin(broker);
        await sleep(5_000);
        await end(broker);
        await eventually(async () => {
          for (const node of nodes) expect(await fleet_of(node)).toMatchObject({ complete: true });
        });
      }
      const acknowledged = (await Promise.all(publishers.map((publisher) => publisher.end()))).flat();
      const stored = new Set(events_of((await read_topic(settings, settings.topics.host_events)).flat()));
      expect(acknowledged.filter((one) => !stored.has(one))).toEqual([]);
      for (const node of nodes) await answers_all(node, settings);
      await expect_folded(settings, nodes);
      await Promise.all(nodes.map((node) => node.stop()));
    },
    FAULTS_WITHIN_MS,
  );
});

test("a client that knows the leaders of before asks the new ones for a topic's ends", async () => {
  const settings = await make_registry(settings_of("leaders"));
  await with_admin(settings, async (admin) => {
    const ends = () => admin.fetchTopicOffsets(settings.topics.host_events);
    expect(await ends()).toHaveLength(PARTITIONS);
    const [broker] = cluster.brokers;
    await broker!.stop();
    await broker!.start();
    // It is there, and leads nothing: it says so, and nothing else.
    await eventually(async () => expect(await ends()).toHaveLength(PARTITIONS), 30_000);
  });
});

describe("a partition whose only replica is away", () => {
  const LOST = 2;
  let lost_broker: Broker;
  let settings: KafkaSettings;

  beforeAll(async () => {
    settings = settings_of("lost", { KLPSTATE_KAFKA_REPLICATION: "1" });
    await with_admin(settings, async (admin) => {
      const { controller } = await admin.describeCluster();
      lost_broker = cluster.brokers.find(({ id }) => id !== controller)!;
      const others = cluster.brokers.filter((broker) => broker !== lost_broker).map(({ id }) => id);
      // The others' places first: `topics create` leaves what is there.
      await admin.createTopics({
        topics: [
          {
            topic: settings.topics.host_events,
            replicaAssignment: [others[0]!, others[1]!, lost_broker.id, others[0]!].map((id, partition) => ({
              partition,
              replicas: [id],
            })),
            configEntries: KEEPS_ALL,
          },
          {
            topic: settings.topics.catalog,
            replicaAssignment: [{ partition: 0, replicas: [others[0]!] }],
            configEntries: KEEPS_ALL,
          },
        ],
      });
    });
    await create_topics(kafka_of(settings, "test"), settings);
  });

  const of = (partition: number, name: string) =>
    Array.from({ length: 200 }, (_, i) => `${name}-${i}`).find(
      (host_id) => partition_of(Buffer.from(host_id), PARTITIONS) === partition,
    )!;

  async function publish_to(node: Node, partitions: number[], sequence: number): Promise<void> {
    const batch = encode_batch(partitions.map((partition) => event(of(partition, "web"), sequence)));
    await eventually(async () => {
      const answer = await post(node, "/v1/events", "application/x-protobuf", batch);
      expect(answer.status, answer.text).toBe(200);
    });
  }

  test("is missing from answers where it is not known to be folded; the others take events, also behind a restart", async () => {
    const others = [0, 1, 3];
    const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
    await publish_to(a!, [0, 1, LOST, 3], 1);
    await expect_folded(settings, [a!, b!]);

    await lost_broker.kill();
    await eventually(async () => {
      const offsets = await with_admin(settings, (admin) =>
        admin.fetchTopicOffsets(settings.topics.host_events),
      );
      expect(offsets).toHaveLength(others.length);
    });
    await publish_to(a!, others, 2);
    await publish_to(b!, others, 3);
    for (const node of [a!, b!]) {
      await eventually(async () => {
        expect((await fleet_of(node)).at.position).toMatchObject({ 0: "3", 1: "3", 3: "3" });
      });
    }

    // Nobody knows whether the topic has more of the lost one.
    await Promise.all([a!.stop(), b!.stop()]);
    const again = await start_node(settings, "a");
    await eventually(async () => {
      const page = await fleet_of(again);
      expect(page).toMatchObject({ complete: false, missing_partitions: [LOST] });
    });
    await publish_to(again, others, 4);
    // A node that joins gets its share of the others meanwhile.
    const joined = await start_node(settings, "b");
    await publish_to(joined, others, 5);
    for (const node of [again, joined]) {
      await eventually(async () => {
        expect((await fleet_of(node)).at.position).toMatchObject({ 0: "5", 1: "5", 3: "5" });
      });
    }

    await lost_broker.start();
    await publish_to(joined, [0, 1, LOST, 3], 6);
    for (const node of [again, joined]) await answers_all(node, settings);
    await expect_folded(settings, [again, joined]);
  });
});
