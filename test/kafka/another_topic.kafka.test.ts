// A topic that is not the one that a node has replicas of, or lacks some of it: nothing of that is served, and the rest is.
import { openSync, readdirSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { NotOwner } from "#services/kafka/peer_protocol.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { create_topics } from "#services/kafka/topics.js";
import { log_directory } from "#services/registry/partition_place.js";
import { ask, host_path, problem_of } from "../e2e/klpstate.js";
import {
  answers_all,
  digest_at,
  directory_of,
  eventually,
  expect_folded,
  fleet_of,
  make_registry,
  type Node,
  owners,
  partitions_of,
  publish,
  start_node,
} from "./nodes.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";
import { with_admin } from "./topic_records.js";

const PARTITIONS = 3;
const HOSTS = 30;

const registry = () => make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));

/** With three records in each partition. */
async function filled(settings: KafkaSettings, node: Node): Promise<void> {
  for (const sequence of [1, 2, 3]) await publish(node, { hosts: HOSTS, sequence });
  await answers_all(node, settings);
  expect(Object.values((await fleet_of(node)).at.position)).toEqual(["3", "3", "3"]);
}

function host_in(partition: number, name: string): string {
  for (let i = 0; ; i++) {
    const host_id = `${name}-${i}`;
    if (partition_of(Buffer.from(host_id), PARTITIONS) === partition) return host_id;
  }
}

/** So many records to each partition, past any node. */
async function produce(settings: KafkaSettings, counts: readonly number[], name = "anew"): Promise<void> {
  const producer = kafka_of(settings, "test").producer();
  await producer.connect();
  const messages = counts.flatMap((count, partition) =>
    Array.from({ length: count }, (_, i) => {
      const host_id = host_in(partition, name);
      return { partition, value: Buffer.from(encode_batch([event(host_id, i + 1)])) };
    }),
  );
  for (const message of messages)
    await producer.send({ topic: settings.topics.host_events, messages: [message] });
  await producer.disconnect();
}

async function make_anew(settings: KafkaSettings, counts: readonly number[]): Promise<void> {
  const topic = settings.topics.host_events;
  await with_admin(settings, async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    while ((await admin.listTopics()).includes(topic)) await sleep(100);
  });
  await eventually(() => create_topics(kafka_of(settings, "test"), settings));
  await eventually(() => produce(settings, counts));
}

/** Of what a node says in /readyz. */
async function reasons(node: Node): Promise<Record<number, string>> {
  const { broken } = JSON.parse((await ask(node, "/readyz")).text) as {
    broken: { partition: number; reason: string }[];
  };
  return Object.fromEntries(broken.map(({ partition, reason }) => [partition, reason.split(":")[0]!]));
}

async function expect_not_served(node: Node, partitions: number[]): Promise<void> {
  const page = await fleet_of(node);
  expect(page.missing_partitions).toEqual(partitions);
  for (const partition of partitions) {
    expect(Object.keys(page.at.position)).not.toContain(`${partition}`);
    await expect(digest_at(node, partition)).rejects.toBeInstanceOf(NotOwner);
    await expect(digest_at(node, partition, "standby")).rejects.toBeInstanceOf(NotOwner);
    for (const name of ["web", "anew"]) {
      problem_of(await ask(node, host_path(host_in(partition, name))), 503);
    }
  }
}

/** More than each partition had, fewer, and none. */
const ANEW = [5, 1, 0];

describe("a topic that was deleted and made anew", () => {
  test.each(["while it runs", "while it does not run"])(
    "breaks a node's replicas %s: log_diverged",
    async (when) => {
      const settings = await registry();
      let node = await start_node(settings, "a");
      await filled(settings, node);
      if (when === "while it does not run") expect(await node.stop()).toBe(0);
      await make_anew(settings, ANEW);
      if (when === "while it does not run") node = await start_node(settings, "a");
      const diverged = "log_diverged";
      await eventually(async () =>
        expect(await reasons(node)).toEqual({ 0: diverged, 1: diverged, 2: diverged }),
      );
      await expect_not_served(node, [0, 1, 2]);
      // It stays so, whatever comes in.
      await produce(settings, [6, 6, 6], "later");
      expect(await node.stop()).toBe(0);
      node = await start_node(settings, "a");
      await eventually(async () =>
        expect(await reasons(node)).toEqual({ 0: diverged, 1: diverged, 2: diverged }),
      );
      await expect_not_served(node, [0, 1, 2]);
    },
  );
});

describe("records that were deleted", () => {
  test("before a node had them are a hole, with records behind it or none; what it has may be deleted", async () => {
    const settings = await registry();
    let node = await start_node(settings, "a");
    await filled(settings, node);
    expect(await node.stop()).toBe(0);
    await produce(settings, [3, 3, 3]);
    await with_admin(settings, async (admin) => {
      // kafkajs deletes records only of topics that it was asked about before.
      await admin.fetchTopicOffsets(settings.topics.host_events);
      await admin.deleteTopicRecords({
        topic: settings.topics.host_events,
        partitions: [
          { partition: 0, offset: "5" },
          { partition: 1, offset: "6" },
          { partition: 2, offset: "3" },
        ],
      });
    });
    node = await start_node(settings, "a");
    await eventually(async () => expect(await reasons(node)).toEqual({ 0: "hole", 1: "hole" }));
    await expect_not_served(node, [0, 1]);
    await eventually(async () => expect((await fleet_of(node)).at.position).toEqual({ 2: "6" }));
    await produce(settings, [1, 1, 1], "later");
    await eventually(async () => expect((await fleet_of(node)).at.position).toEqual({ 2: "7" }));
    await expect_not_served(node, [0, 1]);
  });
});

describe("another number of partitions", () => {
  test("breaks all of them while it runs, and is refused by the next start", async () => {
    const settings = await registry();
    const node = await start_node(settings, "a");
    await filled(settings, node);
    const { host_events, quarantine, state_changes } = settings.topics;
    const topics = [host_events, quarantine, state_changes];
    await with_admin(settings, (admin) =>
      admin.createPartitions({
        topicPartitions: topics.map((topic) => ({ topic, count: PARTITIONS + 1 })),
      }),
    );
    const changed = "partition_count_changed";
    await eventually(async () => expect(await reasons(node)).toEqual({ 0: changed, 1: changed, 2: changed }));
    await expect_not_served(node, [0, 1, 2]);
    expect(await node.stop()).toBe(0);
    await expect(start_node(settings, "a")).rejects.toThrow(/partition_count_changed/);
  });
});

test("a directory with replicas of another cluster's topic is refused", async () => {
  const settings = await registry();
  const node = await start_node(settings, "a");
  expect(await node.stop()).toBe(0);
  const file = join(directory_of(settings, "a"), "registry.json");
  const { cluster_id } = JSON.parse(readFileSync(file, "utf8")) as { cluster_id: string };
  writeFileSync(file, readFileSync(file, "utf8").replace(cluster_id, "ThatOfAnotherCluster__"));
  await expect(start_node(settings, "a")).rejects.toThrow(/ThatOfAnotherCluster__.*log_diverged/);
});

describe("a log that is damaged on one node's disk", () => {
  /** In its first frame, of several. */
  function damage(data: string, partition: number): void {
    const directory = log_directory(data, partition);
    const name = readdirSync(directory).find((file) => file.endsWith(".log"))!;
    const file = openSync(join(directory, name), "r+");
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, 60);
    writeSync(file, Buffer.from([byte[0]! ^ 1]), 0, 1, 60);
  }

  test("breaks that partition there, and the others serve", async () => {
    const settings = await registry();
    let node = await start_node(settings, "a");
    await filled(settings, node);
    expect(await node.stop()).toBe(0);
    damage(directory_of(settings, "a"), 1);
    node = await start_node(settings, "a");
    await eventually(async () => expect(await partitions_of(node, settings)).toEqual([0, 2]));
    expect(await reasons(node)).toEqual({ 1: "corrupt" });
    await expect_not_served(node, [1]);
    await publish(node, { hosts: HOSTS, sequence: 4 });
    await answers_all(node, settings, [0, 2]);
  });

  test("leaves the partition to a node that has it whole, and answers are complete", async () => {
    const settings = await registry();
    const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
    await filled(settings, a!);
    await expect_folded(settings, [a!, b!]);
    expect(await a!.stop()).toBe(0);
    for (const partition of [0, 1]) damage(directory_of(settings, "a"), partition);
    const again = await start_node(settings, "a");
    await eventually(async () => expect(await reasons(again)).toEqual({ 0: "corrupt", 1: "corrupt" }));
    await publish(again, { hosts: HOSTS, sequence: 4 });
    for (const node of [again, b!]) await answers_all(node, settings);
    const found = await owners(settings, [again, b!]);
    expect([found[0], found[1]]).toEqual([b, b]);
  });
});
