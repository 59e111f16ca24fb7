// klpstate topics: what it makes keeps what is written to it, and what does not is refused by its name.
import { describe, expect, test } from "vitest";
import { kafka_of } from "#services/kafka/kafka_client.js";
import kafkajs from "#services/kafka/kafkajs.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { refusal_of, type TopicsMade, verify_topics } from "#services/kafka/topics.js";
import { type Ended, expect_refused, klpstate } from "../e2e/klpstate.js";
import { shared_settings } from "./shared_broker.js";
import { make_topic, with_admin } from "./topic_records.js";

const DAY_MS = 86_400_000;

function topics(settings: KafkaSettings, ...args: string[]): Promise<Ended> {
  const prefix = settings.topics.catalog.replace(/catalog$/, "");
  const env = { KLPSTATE_KAFKA_BROKERS: settings.brokers.join(","), KLPSTATE_KAFKA_TOPIC_PREFIX: prefix };
  return klpstate(["topics", ...args], { env });
}

async function made(settings: KafkaSettings, ...args: string[]): Promise<TopicsMade & { ok: boolean }> {
  const { stdout, stderr, code } = await topics(settings, "create", "--replication", "1", "--json", ...args);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

async function settings_of(settings: KafkaSettings, name: string): Promise<Record<string, string>> {
  const { resources } = await with_admin(settings, (admin) =>
    admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name }],
    }),
  );
  const entries = resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]);
  return Object.fromEntries(entries);
}

/** Replaces all that it was made with. A broker hears of it a little later. */
async function set(settings: KafkaSettings, topic: string, entries: Record<string, string>): Promise<void> {
  const configEntries = Object.entries(entries).map(([name, value]) => ({ name, value }));
  await with_admin(settings, (admin) =>
    admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }],
    }),
  );
  await expect.poll(() => settings_of(settings, topic), { timeout: 30_000 }).toMatchObject(entries);
}

async function remove(settings: KafkaSettings, ...names: string[]): Promise<void> {
  await with_admin(settings, async (admin) => {
    await admin.deleteTopics({ topics: names });
    const left = async () => (await admin.listTopics()).filter((name) => names.includes(name));
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);
  });
}

describe("topics create", () => {
  test("makes the four topics, each as it must be, and they verify", async () => {
    const settings = shared_settings();
    const { host_events, catalog, quarantine, state_changes } = settings.topics;
    const answer = await made(settings, "--partitions", "5");
    expect(answer).toMatchObject({ ok: true, partitions: 5, problems: [] });
    expect(answer.made.sort()).toEqual([host_events, catalog, quarantine, state_changes].sort());
    expect(answer.topics).toEqual([
      { role: "host_events", name: host_events, partitions: 5, replication: 1 },
      { role: "catalog", name: catalog, partitions: 1, replication: 1 },
      { role: "quarantine", name: quarantine, partitions: 5, replication: 1 },
      { role: "state_changes", name: state_changes, partitions: 5, replication: 1 },
    ]);
    for (const truth of [host_events, catalog]) {
      expect(await settings_of(settings, truth)).toMatchObject({
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
      });
    }
    expect(await settings_of(settings, quarantine)).toMatchObject({ "retention.ms": `${30 * DAY_MS}` });
    expect(await settings_of(settings, state_changes)).toMatchObject({ "retention.ms": `${7 * DAY_MS}` });

    const verified = await topics(settings, "verify", "--json");
    expect(verified.code).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, partitions: 5 });
  });

  test("makes what is missing, of as many partitions as host-events has, and nothing twice", async () => {
    const settings = shared_settings();
    const { host_events, state_changes } = settings.topics;
    await made(settings, "--partitions", "3");
    await remove(settings, state_changes);
    const again = await made(settings);
    expect(again.made).toEqual([state_changes]);
    expect(again.topics.map(({ partitions }) => partitions)).toEqual([3, 1, 3, 3]);
    expect((await made(settings)).made).toEqual([]);

    const more = await topics(settings, "create", "--partitions", "4");
    expect(more.code).toBe(1);
    expect(more.stdout).toContain(`REFUSED: ${host_events}: partitions is 3, must be 4: it was there before`);
  });

  test("says what the brokers said where they make none, and makes none", async () => {
    const settings = shared_settings();
    expect_refused(await topics(settings, "create"), "--replication is 3, of brokers there are 1");
    expect((await verify_topics(kafka_of(settings, "test"), settings)).partitions).toBeNull();
  });
});

describe("topics verify", () => {
  test("names each setting that would lose the truth, with the command that mends it", async () => {
    const settings = shared_settings();
    const { host_events, catalog } = settings.topics;
    await made(settings);
    // As brokers make topics by default.
    await set(settings, host_events, { "message.timestamp.type": "CreateTime", "retention.ms": "604800000" });
    await set(settings, catalog, {
      "retention.ms": "-1",
      "cleanup.policy": "compact",
      "message.timestamp.type": "LogAppendTime",
    });

    const { code, stdout } = await topics(settings, "verify");
    expect(code).toBe(1);
    expect(stdout).toContain(
      `REFUSED: ${host_events}: retention.ms is 604800000, must be -1: events are deleted by age\n`,
    );
    expect(stdout).toContain(
      `REFUSED: ${host_events}: message.timestamp.type is CreateTime, must be LogAppendTime:`,
    );
    expect(stdout).toContain(`REFUSED: ${catalog}: cleanup.policy is compact, must be delete:`);
    const [broker] = settings.brokers;
    expect(stdout).toContain(
      `kafka-configs.sh --bootstrap-server ${broker} --alter --entity-type topics --entity-name ${host_events} --add-config retention.ms=-1,message.timestamp.type=LogAppendTime\n`,
    );

    const accepted = await topics(settings, "verify", "--accept-unsafe-topics");
    expect(accepted.code).toBe(0);
    expect(accepted.stdout).toContain(`ACCEPTED: ${catalog}: cleanup.policy is compact`);
  });

  test("a server would not start on them, unless what they lack is accepted", async () => {
    const settings = shared_settings();
    const { host_events } = settings.topics;
    await made(settings);
    await set(settings, host_events, {
      "retention.bytes": "1000000000",
      "retention.ms": "-1",
      "message.timestamp.type": "LogAppendTime",
    });
    const verified = await verify_topics(kafka_of(settings, "test"), settings);
    const refusal = refusal_of(verified, settings)!;
    expect(refusal.message).toContain(`${host_events}: retention.bytes is 1000000000, must be -1`);
    expect(refusal.message).toContain(`--add-config retention.bytes=-1`);
    expect(refusal.message).toContain("--accept-unsafe-topics");
    expect(refusal_of(verified, { ...settings, accept_unsafe_topics: true })).toBeNull();
  });

  test("a missing topic, and one of another number of partitions, cannot be accepted", async () => {
    const settings = shared_settings();
    const { host_events, quarantine, state_changes, catalog } = settings.topics;
    const nothing = await topics(settings, "verify", "--accept-unsafe-topics");
    expect(nothing.code).toBe(1);
    expect(nothing.stdout).toContain(`REFUSED: ${host_events}: there is no such topic`);
    expect(nothing.stdout).toContain("klpstate topics create");

    await made(settings, "--partitions", "3");
    await remove(settings, quarantine, state_changes, catalog);
    await make_topic(settings, quarantine, { numPartitions: 2 });
    await make_topic(settings, state_changes, { numPartitions: 4 });
    await make_topic(settings, catalog, { numPartitions: 2 });
    const { code, stdout } = await topics(settings, "verify", "--accept-unsafe-topics");
    expect(code).toBe(1);
    expect(stdout).toContain(
      `REFUSED: ${quarantine}: partitions is 2, must be 3: a record's partition says whose it is`,
    );
    expect(stdout).toContain(
      `kafka-topics.sh --bootstrap-server ${settings.brokers[0]} --alter --topic ${quarantine} --partitions 3`,
    );
    expect(stdout).toContain(`REFUSED: ${state_changes}: partitions is 4, must be 3`);
    expect(stdout).toContain(`REFUSED: ${catalog}: partitions is 2, must be 1`);
  });

  test("state-changes is not looked for where nobody writes to it", async () => {
    const settings = shared_settings({ KLPSTATE_STATE_CHANGES: "off" });
    await made(settings);
    await remove(settings, settings.topics.state_changes);
    const kafka = kafka_of(settings, "test");
    expect((await verify_topics(kafka, settings)).problems).toEqual([]);
    const wanted = await verify_topics(kafka, { ...settings, state_changes: true });
    expect(wanted.problems).toMatchObject([{ topic: settings.topics.state_changes, setting: "missing" }]);
  });

  test("brokers that are not there are the answer, with their addresses", async () => {
    const settings = { ...shared_settings(), brokers: ["127.0.0.1:1", "127.0.0.1:2"] };
    expect_refused(
      await topics(settings, "verify"),
      "the brokers at 127.0.0.1:1, 127.0.0.1:2 cannot be asked",
    );
    const env = { KLPSTATE_KAFKA_BROKERS: "" };
    expect_refused(await klpstate(["topics", "verify"], { env }), "KLPSTATE_KAFKA_BROKERS is not set");
  });
});
