// What a publisher acknowledges is in the topic: on a broker that works, and behind a network that does not.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { partition_of } from "#services/events/partition.js";
import kafkajs from "#services/kafka/kafkajs.js";
import { all_stored } from "#services/kafka/publish_problem.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { type Brokers, start_brokers } from "./brokers.js";
import { API, BrokerProxy } from "./proxy.js";
import { event, parts_of, with_publisher } from "./published.js";
import { shared_settings } from "./shared_broker.js";
import { events_of, make_topic, read_topic } from "./topic_records.js";

describe("on a broker that works", () => {
  const settings = shared_settings();
  const topic = settings.topics.host_events;

  test("what is acknowledged is in the topic at its position, each host's events in its partition and order", async () => {
    const partitions = 4;
    await make_topic(settings, topic, { numPartitions: partitions });
    const hosts_of = (client: number) => Array.from({ length: 9 }, (_, i) => `host-${client}-${i}`);
    const said: { partition: number; next_offset: bigint; events: string[] }[] = [];
    await with_publisher(settings, { topic, partitions }, async (publisher) => {
      const clients = Array.from({ length: 20 }, async (_, client) => {
        for (let sequence = 1; sequence <= 30; sequence++) {
          const line_bytes = (client * sequence * 37) % 500;
          const batch = hosts_of(client).map((host_id) => event(host_id, sequence, line_bytes));
          const parts = parts_of(batch, partitions);
          const stored = all_stored(await publisher.store(parts));
          for (const [i, { partition, next_offset }] of stored.entries()) {
            const records = parts[i]!.records.map(({ bytes }) => ({ value: Buffer.from(bytes) }));
            said.push({ partition, next_offset, events: events_of(records) });
          }
        }
      });
      await Promise.all(clients);
    });

    const found = await read_topic(settings, topic);
    expect(found.flatMap(events_of)).toHaveLength(20 * 30 * 9);
    for (const [partition, records] of found.entries()) {
      const sequences = new Map<string, number>();
      for (const one of events_of(records)) {
        const [host_id = "", sequence] = one.split("#");
        expect(partition_of(Buffer.from(host_id), partitions)).toBe(partition);
        expect([host_id, Number(sequence)]).toEqual([host_id, (sequences.get(host_id) ?? 0) + 1]);
        sequences.set(host_id, Number(sequence));
      }
    }
    for (const { partition, next_offset, events } of said) {
      const last = found[partition]!.filter(({ offset }) => offset === next_offset - 1n);
      expect(events_of(last)).toContain(events.at(-1));
    }
  });

  test("what the topic's own limit refuses is not stored, says why, and what fits goes on", async () => {
    const small = `${topic}.small`;
    await make_topic(settings, small, { numPartitions: 1, config: { "max.message.bytes": "4096" } });
    await with_publisher(settings, { topic: small, partitions: 1 }, async (publisher) => {
      const large = Array.from({ length: 20 }, (_, i) => event("a", i + 1, 500));
      const [refused] = await publisher.store(parts_of(large, 1));
      expect(refused).toMatchObject({ fate: "refused", why: expect.stringMatching(/larger than.*max/i) });
      expect(all_stored(await publisher.store(parts_of(large.slice(0, 3), 1)))[0]!.next_offset).toBe(1n);
    });
    const [records] = await read_topic(settings, small);
    expect(events_of(records!)).toEqual(["a#1", "a#2", "a#3"]);
  });
});

describe("behind a network that does not", () => {
  let cluster: Brokers;
  let settings: KafkaSettings;
  let proxy: BrokerProxy;
  let topics = 0;
  let topic: string;

  beforeAll(async () => {
    cluster = await start_brokers({
      count: 1,
      advertise: async (_, port) => {
        proxy = await BrokerProxy.listen(0, port);
        return `127.0.0.1:${proxy.port}`;
      },
    });
    settings = cluster.settings();
  });
  afterAll(async () => {
    await cluster?.end();
    await proxy?.close();
  });

  async function new_topic(partitions = 1): Promise<void> {
    topic = `faulty-${topics++}`;
    await make_topic(settings, topic, { numPartitions: partitions });
  }

  test("a response that is lost after the append gives a repeat, and never a loss", async () => {
    await new_topic();
    const parts = { topic, partitions: 1, request_timeout_ms: 1_000 };
    const stored = await with_publisher(settings, parts, async (publisher) => {
      proxy.drop_next_responses(API.produce, 2);
      const storing = ["a", "b", "c"].map(async (host_id) => {
        // Behind the send before, so that each is one of its own.
        if (host_id !== "a") await proxy.dropped(1);
        return all_stored(await publisher.store(parts_of([event(host_id, 1)], 1)))[0]!.next_offset;
      });
      return await Promise.all(storing);
    });
    proxy.heal();
    const [records] = await read_topic(settings, topic);
    expect(events_of(records!)).toEqual(["a#1", "a#1", "a#1", "b#1", "c#1"]);
    expect(stored[0]).toBe(3n);
    for (const next_offset of stored.slice(1)) expect(next_offset).toBeGreaterThan(3n);
  });

  /**
   * The response to A's append is lost with its connection, and no other comes until A's publisher was told that its fate
   * is unknown. Then B is sent, which has as many records.
   */
  async function stored_behind_a_lost_response(idempotent: boolean) {
    await new_topic();
    const retry = { retries: 1, initialRetryTime: 50 };
    const kafka = new kafkajs.Kafka({ brokers: settings.brokers, retry, logLevel: kafkajs.logLevel.NOTHING });
    const producer = idempotent ? { idempotent, retry } : {};
    const parts = { kafka, topic, partitions: 1, deadline_ms: 2_000, producer };
    return await with_publisher(settings, parts, async (publisher) => {
      const lost = proxy.responses_dropped;
      proxy.drop_next_responses(API.produce);
      const storing_a = publisher.store(parts_of([event("a", 1)], 1));
      await proxy.dropped(lost + 1);
      proxy.refuse_new();
      proxy.reset();
      const [a] = await storing_a;
      expect(a).toMatchObject({ fate: "unknown" });
      await expect.poll(() => publisher.held_bytes).toBe(0);
      proxy.heal();
      const [b] = await publisher.store(parts_of([event("b", 1)], 1));
      expect(b).toMatchObject({ fate: "stored" });
      const [records] = await read_topic(settings, topic);
      return events_of(records!);
    });
  }

  test("what is acknowledged behind an unknown send is stored", async () => {
    expect(await stored_behind_a_lost_response(false)).toEqual(["a#1", "b#1"]);
  });

  test("with kafkajs's idempotent producer it is lost: the next send has the sequence of the one before", async () => {
    expect(await stored_behind_a_lost_response(true)).toEqual(["a#1"]);
  });

  test("what is acknowledged is stored, whatever resets, cuts and delays do", async () => {
    await new_topic(2);
    const acknowledged: string[] = [];
    const parts = { topic, partitions: 2, deadline_ms: 4_000, request_timeout_ms: 1_000 };
    await with_publisher(settings, parts, async (publisher) => {
      let going = true;
      const clients = Array.from({ length: 10 }, async (_, client) => {
        for (let sequence = 1; going; sequence++) {
          const outcomes = await publisher.store(parts_of([event(`host-${client}`, sequence)], 2));
          if (outcomes[0]!.fate === "stored") acknowledged.push(`host-${client}#${sequence}`);
        }
      });
      const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
      for (const fault of [
        () => proxy.reset(),
        () => proxy.cut("to_client"),
        () => proxy.cut("to_broker"),
        () => proxy.delay("to_client", 300),
        () => proxy.drop_responses(({ api }) => api === API.produce),
        () => proxy.refuse_new(),
      ]) {
        await pause(300);
        fault();
        proxy.reset();
        await pause(1_500);
        proxy.heal();
      }
      const before = acknowledged.length;
      await expect.poll(() => acknowledged.length, { timeout: 60_000 }).toBeGreaterThan(before + 100);
      going = false;
      await Promise.all(clients);
    });
    const found = new Set((await read_topic(settings, topic)).flatMap(events_of));
    expect(acknowledged.filter((one) => !found.has(one))).toEqual([]);
  });

  test("a broker that answers nothing fills a bounded memory, and is not waited for longer than the deadline", async () => {
    await new_topic(2);
    const parts = { topic, partitions: 2, deadline_ms: 2_000, held_bytes_max: 1_000_000 };
    await with_publisher(settings, { ...parts, request_timeout_ms: 3_000 }, async (publisher) => {
      proxy.cut("to_client", "to_broker");
      let busy = 0;
      let held_max = 0;
      const fates = new Map<string, number>();
      const waiting: Promise<void>[] = [];
      for (let i = 0; i < 5_000; i++) {
        const storing = publisher.store(parts_of([event(`host-${i}`, 1, 500)], 2));
        held_max = Math.max(held_max, publisher.held_bytes);
        waiting.push(
          storing.then(
            ([outcome]) => void fates.set(outcome!.fate, (fates.get(outcome!.fate) ?? 0) + 1),
            () => void busy++,
          ),
        );
      }
      await Promise.all(waiting);
      proxy.heal();
      expect(held_max).toBeLessThanOrEqual(1_000_000);
      expect(busy).toBeGreaterThan(3_000);
      expect([...fates.keys()]).toEqual(["unknown"]);
      await expect.poll(() => publisher.held_bytes, { timeout: 30_000 }).toBe(0);
      await expect
        .poll(async () => (await publisher.store(parts_of([event("later", 1)], 2)))[0]!.fate, {
          timeout: 60_000,
        })
        .toBe("stored");
    });
  });
});
