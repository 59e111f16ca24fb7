// What other producers write: transactions, compressed batches, tombstones, and what is no batch of events. A node reads past it.
import { spawnSync } from "node:child_process";
import type { Message } from "kafkajs";
import { beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { ask, host_path } from "../e2e/klpstate.js";
import { run_java } from "./jars.js";
import {
  answers_all,
  ends_of,
  eventually,
  fleet_of,
  make_registry,
  metrics_of,
  type Node,
  publish,
  start_node,
} from "./nodes.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";

const PARTITIONS = 3;

const registry = () => make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));

/** One whose events belong to the partition. */
function host_in(partition: number, name: string): string {
  for (let i = 0; ; i++) {
    const host_id = `${name}-${i}`;
    if (partition_of(Buffer.from(host_id), PARTITIONS) === partition) return host_id;
  }
}

const batch = (...host_ids: string[]) =>
  Buffer.from(encode_batch(host_ids.map((host_id) => event(host_id, 1))));

/** A line for test/kafka/java/Produce.java. */
function send(settings: KafkaSettings, host_id: string): string {
  const partition = partition_of(Buffer.from(host_id), PARTITIONS);
  return `send ${settings.topics.host_events} ${partition} - ${batch(host_id).toString("hex")}\n`;
}

const java = (settings: KafkaSettings, ...more: string[]) => [
  `bootstrap.servers=${settings.brokers.join(",")}`,
  ...more,
];

const knows = async (node: Node, host_id: string) => (await ask(node, host_path(host_id))).status === 200;

async function produce(
  settings: KafkaSettings,
  partition: number,
  messages: Omit<Message, "partition">[],
): Promise<void> {
  const producer = kafka_of(settings, "test").producer();
  await producer.connect();
  await producer.send({
    topic: settings.topics.host_events,
    messages: messages.map((message) => ({ ...message, partition })),
  });
  await producer.disconnect();
}

/** Resolves when the topic has one, of an open transaction perhaps. */
async function first_record(settings: KafkaSettings): Promise<void> {
  const consumer = kafka_of(settings, "test").consumer({
    groupId: `${settings.group_id}.first`,
    readUncommitted: true,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [settings.topics.host_events], fromBeginning: true });
  await new Promise<void>((resolve) => {
    void consumer.run({ eachMessage: async () => resolve() });
  });
  await consumer.disconnect();
}

async function quarantined(node: Node): Promise<number | undefined> {
  return (await metrics_of(node)).get("klpstate_records_quarantined_total");
}

describe("transactions", () => {
  test("that were committed are folded, those that were aborted are not; a topic may end with either's mark", async () => {
    const settings = await registry();
    const node = await start_node(settings, "a");
    const [good, bad] = [0, 1, 2]
      .map((p) => [host_in(p, "good"), host_in(p, "bad")])
      .reduce(
        ([goods, bads], [g, b]) => [
          [...goods!, g!],
          [...bads!, b!],
        ],
        [[], []] as string[][],
      );
    const all = (hosts: string[]) => hosts.map((host_id) => send(settings, host_id)).join("");
    const input = `begin\n${all(bad!)}abort\nbegin\n${all(good!)}commit\nbegin\n${send(settings, bad![0]!)}abort\n`;
    await run_java("Produce", java(settings, "transactional.id=t"), input);
    for (const host_id of good!) await eventually(async () => expect(await knows(node, host_id)).toBe(true));
    for (const host_id of bad!) expect(await knows(node, host_id)).toBe(false);

    // A node that starts has to read past the marks at the end before it is asked.
    expect(await node.stop()).toBe(0);
    const again = await start_node(settings, "a");
    await eventually(async () => expect(await fleet_of(again)).toMatchObject({ complete: true }));
    expect((await ends_of(settings))[0]).toBeGreaterThan(BigInt((await fleet_of(again)).at.position[0]!));
    await publish(again, { hosts: 20, sequence: 1 });
    await answers_all(again, settings);
    for (const host_id of bad!) expect(await knows(again, host_id)).toBe(false);
  });

  test("that are open keep back what follows them in the partition, and nothing else; then all comes in", async () => {
    const settings = await registry();
    const node = await start_node(settings, "a");
    const [inside, behind, beside] = [host_in(0, "inside"), host_in(0, "behind"), host_in(1, "beside")];
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    async function* lines() {
      yield `begin\n${send(settings, inside)}flush\n`;
      await ended;
      yield "commit\n";
    }
    const props = java(settings, "transactional.id=open", "transaction.timeout.ms=600000");
    const transaction = run_java("Produce", props, lines());
    await first_record(settings);
    await run_java("Produce", java(settings), send(settings, behind) + send(settings, beside));
    await eventually(async () => expect(await knows(node, beside)).toBe(true));
    expect([await knows(node, inside), await knows(node, behind)]).toEqual([false, false]);

    // Also a node that starts meanwhile answers with all that may be read.
    await node.kill();
    const again = await start_node(settings, "a");
    await eventually(async () => expect(await fleet_of(again)).toMatchObject({ complete: true }));
    expect(await knows(again, beside)).toBe(true);

    end();
    await transaction;
    for (const host_id of [inside, behind]) {
      await eventually(async () => expect(await knows(again, host_id)).toBe(true));
    }
  });
});

test("batches of every codec are folded", async () => {
  const settings = await registry();
  const node = await start_node(settings, "a");
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    const hosts = Array.from({ length: 200 }, (_, i) => `${codec}-${i}`);
    const lines = hosts.map((host_id) => send(settings, host_id)).join("");
    await run_java("Produce", java(settings, `compression.type=${codec}`, "linger.ms=100"), lines);
    for (const host_id of [hosts[0]!, hosts[199]!]) {
      await eventually(async () => expect(await knows(node, host_id), host_id).toBe(true));
    }
  }
  const { fleet } = await answers_all(node, settings);
  expect(fleet.reduce((sum, { hosts }) => sum + hosts, 0)).toBe(1_000);
});

describe("what is no batch of this partition's events", () => {
  let settings: KafkaSettings;
  let node: Node;

  beforeAll(async () => {
    settings = await registry();
    node = await start_node(settings, "a");
  });

  /** One more good record behind it is folded: nothing stands still. */
  async function goes_on(partition: number, name: string): Promise<void> {
    const host_id = host_in(partition, name);
    await produce(settings, partition, [{ value: batch(host_id) }]);
    await eventually(async () => expect(await knows(node, host_id)).toBe(true));
  }

  test("a tombstone is nothing", async () => {
    await produce(settings, 0, [
      { key: "x", value: null },
      { value: batch(host_in(0, "t")) },
      { value: null },
    ]);
    await goes_on(0, "tombstone");
    expect(await quarantined(node)).toBe(0);
  });

  test("garbage, another schema, other hosts and one that is too long are counted, once each, also by the next start", async () => {
    const misplaced = host_in(1, "misplaced");
    const poison = [
      Buffer.from("no protobuf at all \xff\xff\xff", "latin1"),
      Buffer.from([0x0a, 0x05, 0x0a, 0x03, 0x61, 0x62, 0x63]),
      batch(host_in(0, "own"), misplaced),
      Buffer.alloc(960 * 1024, 7),
    ];
    for (const value of poison) await produce(settings, 0, [{ value }]);
    await goes_on(0, "poison");
    expect(await quarantined(node)).toBe(poison.length);
    expect(await knows(node, misplaced)).toBe(false);
    // Of a record that has a misplaced host nothing is taken.
    expect(await knows(node, host_in(0, "own"))).toBe(false);

    for (let start = 0; start < 2; start++) {
      await (start === 0 ? node.stop() : node.kill());
      node = await start_node(settings, "a");
      await eventually(async () => expect(await fleet_of(node)).toMatchObject({ complete: true }));
      expect(await quarantined(node)).toBe(poison.length);
    }
    await goes_on(0, "restarted");
  });

  test("hosts that kcat's default partitioner misplaces are counted, and the others are folded", async () => {
    const before = (await quarantined(node))!;
    const hosts = Array.from({ length: 40 }, (_, i) => `kcat-${i}`);
    const [key_end, record_end] = ["<KEY-ENDS>", "<RECORD-ENDS>"];
    const input = Buffer.concat(
      hosts.flatMap((host_id) => [Buffer.from(host_id + key_end), batch(host_id), Buffer.from(record_end)]),
    );
    const args = ["-P", "-b", settings.brokers.join(","), "-t", settings.topics.host_events];
    const { status, stderr } = spawnSync("kcat", [...args, "-K", key_end, "-D", record_end], { input });
    expect([status, `${stderr}`]).toEqual([0, ""]);
    for (const partition of [0, 1, 2]) await goes_on(partition, "kcat-end");
    const known = (await Promise.all(hosts.map((host_id) => knows(node, host_id)))).filter((is) => is).length;
    expect(known).toBeGreaterThan(0);
    expect(await quarantined(node)).toBe(before + hosts.length - known);
    expect(known).toBeLessThan(hosts.length);
  });
});
