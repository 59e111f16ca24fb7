// What a client says of its brokers: nothing in an ordinary day, and what is wrong.
import { afterAll, describe, expect, test } from "vitest";
import type { KafkaLog } from "#services/kafka/client_log.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { type Brokers, start_brokers } from "./brokers.js";
import { make_topic } from "./topic_records.js";

const clusters: Brokers[] = [];
afterAll(() => Promise.all(clusters.map((cluster) => cluster.end())));

/** Keeps what a person would see. */
function listener(): { log: KafkaLog; seen: string[]; debug: string[] } {
  const seen: string[] = [];
  const debug: string[] = [];
  const say = (to: string[]) => (_: object, message: string) => void to.push(message);
  return { seen, debug, log: { debug: say(debug), info: say(seen), warn: say(seen), error: say(seen) } };
}

describe("the log of a client", () => {
  test("is silent while a coordinator starts and members come and go, and names a broker that is away", async () => {
    const cluster = await start_brokers({ count: 1 });
    clusters.push(cluster);
    const settings = cluster.settings();
    await make_topic(settings, "events", { numPartitions: 4 });
    const { log, seen, debug } = listener();
    // The first that ask a fresh broker for a coordinator.
    const members = ["one", "two", "three"].map((name) =>
      kafka_of(settings, name, log).consumer({ groupId: "g", sessionTimeout: 6000, heartbeatInterval: 300 }),
    );
    let joins = 0;
    for (const member of members) {
      member.on("consumer.group_join", () => void joins++);
      await member.connect();
      await member.subscribe({ topics: ["events"] });
      await member.run({ eachBatch: async () => {} });
    }
    await expect.poll(() => joins, { timeout: 60_000 }).toBeGreaterThan(members.length);
    await members[0]!.disconnect();
    const before = joins;
    await expect.poll(() => joins, { timeout: 60_000 }).toBeGreaterThan(before);
    expect(seen).toEqual([]);
    expect(debug.some((message) => /rebalanc/.test(message))).toBe(true);

    const [broker] = cluster.brokers;
    await broker!.kill();
    const away = `kafka: Connection error: connect ECONNREFUSED ${broker!.address}`;
    await expect.poll(() => seen, { timeout: 60_000 }).toContain(away);
    await Promise.all(members.map((member) => member.disconnect()));
  });
});
