// A registry goes from its directory into Kafka, whole, or not at all.
import { cpSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { Kafka, KafkaMessage, Message, Producer, RecordMetadata } from "kafkajs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migration_of } from "#services/catalog/migration.js";
import { decode_catalog_record } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { klpstate as proto } from "#services/events/proto.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { copied_log_time_ms } from "#services/kafka/log_time_header.js";
import { type MigratePhase, type MigrateReport, migrate } from "#services/kafka/migrate.js";
import { topic_offsets } from "#services/kafka/migration/topic_offsets.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { create_topics } from "#services/kafka/topics.js";
import { frames_of, records_of } from "#services/log/frame.js";
import { node_disk } from "#services/log/node_disk.js";
import { read_log } from "#services/log/read_only.js";
import { read_registry } from "#services/log/registry_file.js";
import { SCAN_BYTES } from "#services/log/segment.js";
import { log_directory } from "#services/registry/partition_place.js";
import {
  expect_refused,
  klpstate,
  klpstate_yes,
  start_server_with,
  temporary_directory,
} from "../e2e/klpstate.js";
import { catalog_times } from "../e2e/past.js";
import { by_partition, write_registry } from "../e2e/past_registry.js";
import { random_catalog, random_log } from "../model/random.js";
import { events_of, type FoldedEvent, fold_log, hosts_digest, type LogRecord } from "../model/registry.js";
import { type Brokers, start_brokers } from "./brokers.js";
import { shared_settings } from "./shared_broker.js";

/** Of the directories; `write_registry` has it so. */
const PARTITIONS = 3;

type PlacedRecord = LogRecord & { partition: number };

interface Origin {
  data: string;
  records: PlacedRecord[];
}

/** A registry with all that publishers and clocks do wrong, unless `orderly`, as its files. `more` stands behind it. */
async function origin(
  seed: number,
  more: (last_ms: bigint) => PlacedRecord[] = () => [],
  orderly = false,
): Promise<Origin> {
  const log = fc.sample(random_log({ hosts_max: 6, steps_max: 400, orderly }), { seed, numRuns: 1 })[0]!;
  const catalog = fc.sample(random_catalog(), { seed, numRuns: 1 })[0]!;
  const manifests = catalog_times(
    catalog,
    log.map(({ log_time_ms }) => log_time_ms),
  );
  const records = [...by_partition(log), ...more(log.at(-1)!.log_time_ms)];
  const data = join(temporary_directory(), "registry");
  await write_registry(data, records, manifests);
  return { data, records };
}

/** The records of the directory's own catalog. */
async function catalog_of(data: string): Promise<LogRecord[]> {
  const found: LogRecord[] = [];
  await read_log({
    disk: node_disk,
    directory: log_directory(data, "catalog"),
    name: "catalog",
    to: null,
    buffer: () => new Uint8Array(SCAN_BYTES),
    on_frames(frames) {
      for (const frame of frames_of(frames)) {
        for (const { bytes, log_time_ms } of records_of(frame)) {
          found.push({ bytes: Uint8Array.from(bytes), log_time_ms: BigInt(log_time_ms) });
        }
      }
    },
  });
  return found;
}

/** Each with what it did, and when: RULES F8 reads the past from that. */
function histories(partitions: LogRecord[][]): Map<string, FoldedEvent[]> {
  return new Map(partitions.flatMap((records) => [...fold_log(records).histories]));
}

function digest_of(partitions: LogRecord[][]): string {
  return hosts_digest(partitions.flatMap((records) => [...fold_log(records).hosts.values()]));
}

function of_each<Item extends { partition: number }>(items: Item[], partitions: number): Item[][] {
  return Array.from({ length: partitions }, (_, n) => items.filter(({ partition }) => partition === n));
}

async function topics_of(partitions: number): Promise<KafkaSettings> {
  const settings = shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${partitions}` });
  await create_topics(kafka_of(settings, "test"), settings);
  return settings;
}

function environment_of({ brokers, topics, group_id }: KafkaSettings): Record<string, string> {
  return {
    KLPSTATE_KAFKA_BROKERS: brokers.join(","),
    KLPSTATE_KAFKA_TOPIC_PREFIX: topics.catalog.replace(/catalog$/, ""),
    KLPSTATE_KAFKA_GROUP: group_id,
  };
}

interface Found extends PlacedRecord {
  offset: bigint;
  key: string | null;
}

/** All records of a topic, by partition. */
async function read_topic(settings: KafkaSettings, topic: string): Promise<Found[][]> {
  const ends = (await topic_offsets(kafka_of(settings, "test"), [topic])).get(topic)!;
  const found: Found[] = [];
  let missing = ends.reduce((sum, { high }) => sum + Number(high), 0);
  if (missing > 0) {
    const consumer = kafka_of(settings, "test").consumer({
      groupId: `${settings.group_id}.${crypto.randomUUID()}`,
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await new Promise<void>((resolve) => {
      void consumer.run({
        async eachMessage({ partition, message }) {
          found.push({ partition, ...found_in(message) });
          missing -= 1;
          if (missing === 0) resolve();
        },
      });
    });
    await consumer.disconnect();
  }
  return of_each(found, ends.length);
}

function found_in({ offset, key, value, headers }: KafkaMessage): Omit<Found, "partition"> {
  return {
    offset: BigInt(offset),
    key: key?.toString() ?? null,
    bytes: Uint8Array.from(value!),
    log_time_ms: BigInt(copied_log_time_ms(headers) ?? -1),
  };
}

interface Answers {
  histories: Map<string, string>;
  /** By what had arrived at each instant. */
  fleets: string[];
}

async function answers_of(asked: string[], instants: LogRecord[]): Promise<Answers> {
  const histories = new Map<string, string>();
  const hosts = ["h0", "h1-é", "h2", "h5"];
  for (const host of hosts) {
    const { code, stdout } = await klpstate(["history", host, ...asked, "--json"]);
    if (code === 0) histories.set(host, stdout);
  }
  const fleets: string[] = [];
  for (const { log_time_ms } of instants) {
    const known_at = new Date(Number(log_time_ms)).toISOString();
    fleets.push(await klpstate_yes(["fleet", ...asked, "--known-at", known_at, "--json"]));
  }
  return { histories, fleets };
}

async function said_by(settings: KafkaSettings): Promise<ReturnType<typeof migration_of>> {
  const [records] = await read_topic(settings, settings.topics.catalog);
  return migration_of(records!.map(({ bytes }) => decode_catalog_record(bytes)));
}

async function record_counts(settings: KafkaSettings): Promise<number[]> {
  const offsets = await topic_offsets(kafka_of(settings, "test"), Object.values(settings.topics));
  return [...offsets.values()].map((ends) => ends.reduce((sum, { high }) => sum + Number(high), 0));
}

const NOT_STOPPED = new AbortController().signal;

interface Odd {
  /** What a producer's send is instead. */
  send?(send: Producer["send"], record: Parameters<Producer["send"]>[0]): Promise<RecordMetadata[]>;
  progress?(phase: MigratePhase): void;
  signal?: AbortSignal;
}

/** In this process, where something goes wrong. */
function migrate_oddly(
  directory: string,
  settings: KafkaSettings,
  { send, progress = () => {}, signal = NOT_STOPPED }: Odd,
): Promise<MigrateReport> {
  const client = kafka_of(settings, "test");
  const kafka: Pick<Kafka, "admin" | "producer" | "consumer"> = {
    admin: (config) => client.admin(config),
    consumer: (config) => client.consumer(config),
    producer(config) {
      const producer = client.producer(config);
      const whole = producer.send;
      if (send !== undefined) producer.send = (record) => send(whole, record);
      return producer;
    },
  };
  return migrate({ directory, settings, kafka: kafka as Kafka, progress, signal });
}

describe("into as many partitions", () => {
  test("every record keeps its offset, its bytes and its log time, and the directory serves no more", async () => {
    const { data, records } = await origin(1);
    const settings = await topics_of(PARTITIONS);
    const env = environment_of(settings);
    const report: MigrateReport = JSON.parse(
      await klpstate_yes(["migrate", "--to-kafka", "--data", data, "--json"], { env }),
    );

    const before = of_each(records, PARTITIONS);
    const found = await read_topic(settings, settings.topics.host_events);
    expect(found.map((partition) => partition.map(({ key: _, offset: __, ...record }) => record))).toEqual(
      before,
    );
    for (const partition of found) {
      expect(partition.map(({ offset }) => offset)).toEqual(partition.map((_, i) => BigInt(i)));
      for (const { key, bytes } of partition) {
        const hosts = new Set(events_of(bytes).map((event) => proto.v1.HostEvent.decode(event).host_id));
        expect(key).toBe(hosts.size === 1 ? [...hosts][0] : null);
      }
    }
    const [catalog] = await read_topic(settings, settings.topics.catalog);
    expect(catalog!.slice(1, -1).map(({ bytes, log_time_ms }) => ({ bytes, log_time_ms }))).toEqual(
      await catalog_of(data),
    );
    expect(catalog![0]!.log_time_ms).toBeLessThanOrEqual(catalog![1]!.log_time_ms);
    const said = await said_by(settings);
    expect(said).toMatchObject({
      registry_id: report.registry_id,
      ends: new Map(before.map((partition, n) => [n, BigInt(partition.length)])),
      catalog_end: BigInt(catalog!.length - 1),
      digest: new Uint8Array(Buffer.from(digest_of(before), "hex")),
    });
    expect(report).toMatchObject({
      migrated: true,
      topic: settings.topics.host_events,
      partitions: before.map((partition, n) => ({ partition: n, next: String(partition.length) })),
      digest: digest_of(before),
      left_out: 0,
      differences: [],
    });

    expect_refused(
      await klpstate(["serve", "--data", data, "--listen", "127.0.0.1:0"]),
      `lives in the topic ${settings.topics.host_events}`,
      `KLPSTATE_KAFKA_BROKERS=${settings.brokers}`,
    );
    expect_refused(await klpstate(["fleet", "--data", data]), "lives in the topic");
  });

  test("a node answers of now and of the past what the directory did", async () => {
    const { data, records } = await origin(14, () => [], true);
    const settings = await topics_of(PARTITIONS);
    const env = environment_of(settings);
    const instants = [0.2, 0.5, 0.8, 1].map((part) => records[Math.floor(part * (records.length - 1))]!);
    const before = await answers_of(["--data", data], instants);
    expect(before.histories.size).toBeGreaterThan(2);
    await klpstate_yes(["migrate", "--to-kafka", "--data", data], { env });

    const node = await start_server_with({ env }, join(temporary_directory(), "node"));
    const asked = ["--server", node.url];
    while ((await klpstate(["fleet", ...asked])).code !== 0) await sleep(200);
    expect(await answers_of(asked, instants)).toEqual(before);
    await node.stop();
  });

  test("a switch that was not made is made by another run, unless the directory went on", async () => {
    const { data } = await origin(2);
    const [copy, gone_on] = [join(temporary_directory(), "a"), join(temporary_directory(), "b")];
    for (const to of [copy, gone_on]) cpSync(data, to, { recursive: true });
    const settings = await topics_of(PARTITIONS);
    const env = environment_of(settings);
    const first = await klpstate_yes(["migrate", "--to-kafka", "--data", data, "--json"], { env });
    const counts = await record_counts(settings);

    const event = {
      host_id: "another",
      stream: "1",
      sequence: "1",
      time_unix_ms: "1",
      removed: { patch: { name: "x" } },
    };
    await klpstate_yes(["ingest", "-", "--data", gone_on], { stdin: JSON.stringify(event) });
    expect_refused(
      await klpstate(["migrate", "--to-kafka", "--data", gone_on], { env }),
      "has changed since",
    );
    expect(await read_registry(node_disk, gone_on)).toMatchObject({ mode: "embedded" });

    const again = await klpstate_yes(["migrate", "--to-kafka", "--data", copy, "--json"], { env });
    expect(JSON.parse(again)).toEqual(JSON.parse(first));
    expect(await record_counts(settings)).toEqual(counts);
    expect(await read_registry(node_disk, copy)).toMatchObject({ mode: "migrated" });
  });
});

describe("into another number of partitions", () => {
  const COUNT = 5;

  test("each host has the same history, where murmur2 says", async () => {
    const { data, records } = await origin(3, (log_time_ms) => [
      // The fold never took them, and in another partition it might.
      { bytes: Uint8Array.of(0xff), log_time_ms, partition: 1 },
      { bytes: misplaced(1), log_time_ms, partition: 1 },
    ]);
    const settings = await topics_of(COUNT);
    const env = environment_of(settings);
    expect_refused(
      await klpstate(["migrate", "--to-kafka", "--data", data], { env }),
      `has ${COUNT} partitions, the registry ${PARTITIONS}`,
      `--partitions ${COUNT}`,
    );
    expect(await record_counts(settings)).toEqual([0, 0, 0, 0]);
    const report: MigrateReport = JSON.parse(
      await klpstate_yes(["migrate", "--to-kafka", "--data", data, "--partitions", `${COUNT}`, "--json"], {
        env,
      }),
    );

    const taken = records.slice(0, -2);
    const before = of_each(taken, PARTITIONS);
    const found = await read_topic(settings, settings.topics.host_events);
    expect(histories(found)).toEqual(histories(before));
    for (const [partition, there] of found.entries()) {
      for (const { bytes } of there) {
        const hosts = events_of(bytes).map((event) => proto.v1.HostEvent.decode(event).host_id);
        for (const host of hosts) expect(partition_of(Buffer.from(host), COUNT)).toBe(partition);
      }
      const times = there.map(({ log_time_ms }) => Number(log_time_ms));
      expect(times).toEqual(times.toSorted((a, b) => a - b));
    }
    expect(report).toMatchObject({ migrated: true, digest: digest_of(before), left_out: 2 });
    expect(report.partitions.map(({ next }) => Number(next))).toEqual(found.map(({ length }) => length));
    expect(await said_by(settings)).toMatchObject({
      ends: new Map(found.map(({ length }, n) => [n, BigInt(length)])),
    });
  });
});

/** An event of a host that belongs to another partition. */
function misplaced(partition: number): Uint8Array {
  const host_id = ["a", "b", "c", "d"].find((id) => partition_of(Buffer.from(id), PARTITIONS) !== partition)!;
  const event = { host_id, stream: 1, sequence: 1, removed: { patch: { name: "kp" } } };
  return proto.v1.EventBatch.encode({ events: [event] }).finish();
}

describe("what breaks off", () => {
  test.each(["copying", "verifying"] as const)(
    "while %s leaves topics that say so, and the directory as it was",
    async (phase) => {
      const { data } = await origin(4);
      const settings = await topics_of(PARTITIONS);
      const stop = new AbortController();
      const broken_off = migrate_oddly(data, settings, {
        progress: (now) => now === phase && stop.abort(new Error("the machine goes down")),
        signal: stop.signal,
      });
      await expect(broken_off).rejects.toThrow(/goes down; .* is as it was: delete the topics/);

      expect(await said_by(settings)).toBe("unfinished");
      const env = environment_of(settings);
      expect_refused(
        await klpstate(["migrate", "--to-kafka", "--data", data], { env }),
        "broke off",
        "delete the topics",
      );
      expect(await klpstate(["replay", "--data", data])).toMatchObject({ code: 0 });
      const node = join(temporary_directory(), "node");
      const served = await klpstate(["serve", "--data", node, "--listen", "127.0.0.1:0"], { env });
      expect_refused(served, "a copy of an embedded log began and not that it ended");
    },
  );

  test("with records that another registry would come of switches nothing", async () => {
    const { data } = await origin(5);
    const settings = await topics_of(PARTITIONS);
    let spoilt = false;
    const report = await migrate_oddly(data, settings, {
      send(send, record) {
        if (spoilt || record.topic !== settings.topics.host_events) return send(record);
        spoilt = true;
        return send({ ...record, messages: record.messages.map(without_value) });
      },
    });
    expect(spoilt).toBe(true);
    expect(report.migrated).toBe(false);
    expect(report.differences.join("\n")).toMatch(/other records than were copied/);
    expect(report.differences.join("\n")).toMatch(/digest [0-9a-f]{64}, and [0-9a-f]{64} in Kafka/);
    expect(await said_by(settings)).toBe("unfinished");
    expect(await read_registry(node_disk, data)).toMatchObject({ mode: "embedded" });
  });

  test("with log times of another day switches nothing, though the digests are the same", async () => {
    const { data } = await origin(6, () => [], true);
    const settings = await topics_of(PARTITIONS);
    const report = await migrate_oddly(data, settings, {
      send: (send, record) => send({ ...record, messages: record.messages.map(a_day_later) }),
    });
    expect(report.migrated).toBe(false);
    expect(report.differences.every((text) => text.endsWith("other records than were copied"))).toBe(true);
  });
});

function without_value(message: Message): Message {
  return { ...message, value: Buffer.alloc(0) };
}

function a_day_later(message: Message): Message {
  const headers = Object.entries(message.headers ?? {});
  return {
    ...message,
    headers: Object.fromEntries(headers.map(([name, value]) => [name, String(Number(value) + 86_400_000)])),
  };
}

describe("an answer that is lost", () => {
  test("makes no second copy of what was stored", async () => {
    const { data, records } = await origin(7);
    const settings = await topics_of(PARTITIONS);
    let lost = 0;
    const report = await migrate_oddly(data, settings, {
      async send(send, record) {
        const answer = await send(record);
        if (lost++ % 2 === 0) throw new Error("connection reset");
        return answer;
      },
    });
    expect(lost).toBeGreaterThan(3);
    expect(report.migrated).toBe(true);
    expect(report.digest).toBe(digest_of(of_each(records, PARTITIONS)));
  });

  test("and was sent again behind our back is seen", async () => {
    const { data } = await origin(8);
    const settings = await topics_of(PARTITIONS);
    const twice = migrate_oddly(data, settings, {
      async send(send, record) {
        await send(record);
        return send(record);
      },
    });
    await expect(twice).rejects.toMatchObject({
      code: "contradiction",
      message: expect.stringMatching(/stored twice.*delete the topics/),
    });
    expect(await read_registry(node_disk, data)).toMatchObject({ mode: "embedded" });
  });
});

describe("a broker that dies meanwhile", () => {
  let cluster: Brokers;
  beforeAll(async () => {
    cluster = await start_brokers({ count: 3 });
  });
  afterAll(() => cluster.end());

  test("costs time, and no record", async () => {
    const { data, records } = await origin(13);
    const settings = cluster.settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` });
    await create_topics(kafka_of(settings, "test"), settings);
    let sends = 0;
    const report = await migrate_oddly(data, settings, {
      async send(send, record) {
        // Behind the first two, of the catalog: a batch of each partition follows, and one broker leads one of them.
        if (++sends === 3) await cluster.brokers[2]!.kill();
        return send(record);
      },
    });
    expect(sends).toBeGreaterThan(2 + PARTITIONS);
    expect(report).toMatchObject({ migrated: true, digest: digest_of(of_each(records, PARTITIONS)) });
  });
});

describe("is refused, and nothing is written,", () => {
  test("where a topic has or had a record", async () => {
    const { data } = await origin(9);
    const settings = await topics_of(PARTITIONS);
    const producer = kafka_of(settings, "test").producer();
    await producer.connect();
    await producer.send({ topic: settings.topics.quarantine, messages: [{ value: "x", partition: 2 }] });
    await producer.disconnect();
    const counts = await record_counts(settings);
    const refused = await klpstate(["migrate", "--to-kafka", "--data", data], {
      env: environment_of(settings),
    });
    expect_refused(refused, `${settings.topics.quarantine}, partition 2 has or had records`, "topics create");
    expect(await record_counts(settings)).toEqual(counts);
  });

  test("where a topic is missing, or a node runs", async () => {
    const { data } = await origin(10);
    const settings = await topics_of(PARTITIONS);
    const env = environment_of(settings);
    const node = kafka_of(settings, "test").consumer({ groupId: settings.group_id });
    await node.connect();
    await node.subscribe({ topics: [settings.topics.host_events] });
    const joined = new Promise((resolve) => node.on(node.events.GROUP_JOIN, resolve));
    await node.run({ eachMessage: async () => {} });
    await joined;
    expect_refused(await klpstate(["migrate", "--to-kafka", "--data", data], { env }), "has 1 members");
    await node.disconnect();
    expect(await record_counts(settings)).toEqual([0, 0, 0, 0]);

    const admin = kafka_of(settings, "test").admin();
    await admin.connect();
    await admin.deleteTopics({ topics: [settings.topics.catalog] });
    await admin.disconnect();
    expect_refused(
      await klpstate(["migrate", "--to-kafka", "--data", data], { env }),
      `${settings.topics.catalog}: there is no such topic`,
      "klpstate topics verify",
    );
  });

  test("where the log is damaged", async () => {
    const { data } = await origin(11);
    const settings = await topics_of(PARTITIONS);
    const directory = join(data, "log", "1");
    const name = readdirSync(directory).find((file) => file.endsWith(".log"))!;
    // In the records of the first frame: others follow, so that it is no torn tail.
    writeSync(openSync(join(directory, name), "r+"), "x", 60);
    const refused = await klpstate(["migrate", "--to-kafka", "--data", data], {
      env: environment_of(settings),
    });
    expect_refused(refused, /partition 1.*offset 0/, "nothing was copied");
    expect(await record_counts(settings)).toEqual([0, 0, 0, 0]);
    expect(JSON.parse(readFileSync(join(data, "registry.json"), "utf8"))).toMatchObject({ mode: "embedded" });
  });

  test("where another process has the directory, or there is none", async () => {
    const settings = await topics_of(PARTITIONS);
    const env = environment_of(settings);
    const nowhere = join(temporary_directory(), "nowhere");
    expect_refused(
      await klpstate(["migrate", "--to-kafka", "--data", nowhere], { env }),
      "holds no registry",
    );
    const { data } = await origin(12);
    const { claim_directory } = await import("#services/log/claim.js");
    const claim = claim_directory(data);
    expect_refused(await klpstate(["migrate", "--to-kafka", "--data", data], { env }), "another process has");
    claim.release();
    expect(await record_counts(settings)).toEqual([0, 0, 0, 0]);
  });
});
