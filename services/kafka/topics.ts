/** The topics: made as they must be, and looked at before anything is trusted to them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, ITopicMetadata, Kafka } from "kafkajs";
import { Problem } from "../events/problem.js";
import { PARTITIONS_MAX } from "../log/registry_file.js";
import { unavailable } from "./broker_problem.js";
import kafkajs from "./kafkajs.js";
import type { KafkaSettings } from "./settings.js";
import { type TopicRole, type TopicShape, topic_shapes } from "./topic_settings.js";

export interface TopicProblem {
  topic: string;
  /** `missing`, `partitions`, or the name of the topic's setting. */
  setting: string;
  /** Null: there is nothing. */
  is: string | null;
  wanted: string;
  /** What the setting is to be set to; null where it is none. */
  value: string | null;
  /** For a person: what is lost. */
  why: string;
  /** The command that mends it; null where only making the topic anew would. */
  mend: string | null;
  /** With `accept_unsafe_topics` nobody minds. Without the topic, or with other partitions, nothing works. */
  acceptable: boolean;
}

export interface TopicFound {
  role: TopicRole;
  name: string;
  /** Null: there is no such topic. */
  partitions: number | null;
  replication: number | null;
}

export interface TopicsVerified {
  /** Of host-events; null: there is no such topic. */
  partitions: number | null;
  topics: TopicFound[];
  problems: TopicProblem[];
}

export interface TopicsMade extends TopicsVerified {
  /** By name; the others were there. */
  made: string[];
}

/** How long new topics take at most until every broker knows them. */
const KNOWN_WITHIN_MS = 30_000;
const LOOK_AGAIN_MS = 200;
const ADMIN_RETRY = { retries: 3 };

/** Throws Problem where the brokers cannot be asked. */
export async function verify_topics(kafka: Kafka, settings: KafkaSettings): Promise<TopicsVerified> {
  return with_admin(kafka, settings, (admin) => verified(admin, settings));
}

/**
 * Makes what is missing, and verifies all. `settings.partitions` and `settings.replication` are of new topics; a
 * host-events that is there says the number of partitions. Throws Problem where the brokers cannot be asked, or refuse.
 */
export async function create_topics(kafka: Kafka, settings: KafkaSettings): Promise<TopicsMade> {
  return with_admin(kafka, settings, async (admin) => {
    const before = await verified(admin, settings);
    const partitions = before.partitions ?? settings.partitions;
    const missing = new Set(
      before.topics.filter((topic) => topic.partitions === null).map(({ name }) => name),
    );
    const wanted = topic_shapes(settings).filter(({ name }) => missing.has(name));
    if (wanted.length === 0) return { ...before, made: [] };
    await make(admin, settings, wanted, partitions);
    return { ...(await once_known(admin, settings)), made: [...missing] };
  });
}

/** Null: they are as they must be, or what they lack is accepted. */
export function refusal_of({ problems }: TopicsVerified, settings: KafkaSettings): Problem | null {
  const refused = problems.filter(({ acceptable }) => !(acceptable && settings.accept_unsafe_topics));
  if (refused.length === 0) return null;
  const lines = refused.map((problem) => `  ${problem_line(problem)}`);
  const mends = mends_of(refused, settings).map((mend) => `  ${mend}`);
  const accept = refused.every(({ acceptable }) => acceptable)
    ? "\n--accept-unsafe-topics serves all the same, for one broker at home."
    : "";
  const mended = mends.length > 0 ? `\nThis mends it:\n${mends.join("\n")}` : "";
  const { topic, setting } = refused[0]!;
  return new Problem("bad_input", `topics are not as they must be:\n${lines.join("\n")}${mended}${accept}`, {
    field: `${topic} ${setting}`,
  });
}

/** `klpstate.catalog: retention.ms is 604800000, must be -1: events are deleted by age` */
export function problem_line({ topic, setting, is, wanted, why }: TopicProblem): string {
  if (setting === "missing") return `${topic}: there is no such topic`;
  return `${topic}: ${setting} is ${is ?? "not known"}, must be ${wanted}: ${why}`;
}

/** Each command once; the settings of one topic in one. */
export function mends_of(problems: TopicProblem[], settings: KafkaSettings): string[] {
  const by_topic = new Map<string, string[]>();
  const others: string[] = [];
  for (const { topic, setting, value, mend } of problems) {
    if (value !== null) by_topic.set(topic, [...(by_topic.get(topic) ?? []), `${setting}=${value}`]);
    else if (mend !== null) others.push(mend);
  }
  const configs = [...by_topic].map(([topic, values]) => configs_command(topic, values, settings));
  return [...new Set([...others, ...configs])];
}

async function with_admin<Result>(
  kafka: Kafka,
  settings: KafkaSettings,
  use: (admin: Admin) => Promise<Result>,
): Promise<Result> {
  const admin = kafka.admin({ retry: ADMIN_RETRY });
  try {
    await admin.connect();
    return await use(admin);
  } catch (error) {
    throw unavailable(error, settings);
  } finally {
    await admin.disconnect();
  }
}

async function verified(admin: Admin, settings: KafkaSettings): Promise<TopicsVerified> {
  const shapes = topic_shapes(settings);
  // Of all topics: a question for one that is missing is an error.
  const { topics: all } = await admin.fetchTopicMetadata();
  const found = new Map<string, ITopicMetadata>();
  for (const topic of all) if (shapes.some(({ name }) => name === topic.name)) found.set(topic.name, topic);
  const values = new Map<string, Map<string, string>>();
  if (found.size > 0) {
    const { resources } = await admin.describeConfigs({
      resources: [...found.keys()].map((name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name })),
      includeSynonyms: false,
    });
    for (const { resourceName, configEntries } of resources) {
      values.set(
        resourceName,
        new Map(configEntries.map(({ configName, configValue }) => [configName, configValue])),
      );
    }
  }
  const partitions = found.get(settings.topics.host_events)?.partitions.length ?? null;
  const topics = shapes.map(({ role, name }) => {
    const metadata = found.get(name);
    return {
      role,
      name,
      partitions: metadata?.partitions.length ?? null,
      replication: metadata?.partitions[0]?.replicas.length ?? null,
    };
  });
  const problems = shapes
    // Nobody writes to it.
    .filter(({ role }) => role !== "state_changes" || settings.state_changes)
    .flatMap((shape) => {
      const topic = topics.find(({ name }) => name === shape.name)!;
      return problems_of(shape, topic, values.get(shape.name) ?? new Map(), partitions, settings);
    });
  return { partitions, topics, problems };
}

function problems_of(
  shape: TopicShape,
  found: TopicFound,
  values: ReadonlyMap<string, string>,
  partitions: number | null,
  settings: KafkaSettings,
): TopicProblem[] {
  const topic = shape.name;
  if (found.partitions === null) {
    const why = "it is made once, with the number of partitions";
    const mend = `klpstate topics create --partitions ${partitions ?? settings.partitions} --replication ${settings.replication}`;
    return [{ ...NO_SETTING, topic, setting: "missing", is: null, wanted: "a topic", why, mend }];
  }
  const problems: TopicProblem[] = [];
  const count = found.partitions;
  const wanted_count = shape.partitions ?? partitions;
  if (wanted_count !== null && count !== wanted_count) {
    const why = "a record's partition says whose it is";
    const mend = count < wanted_count ? partitions_command(topic, wanted_count, settings) : null;
    problems.push({ ...wrong_count(topic, count, `${wanted_count}`, why), mend });
  }
  if (count > PARTITIONS_MAX) {
    problems.push(wrong_count(topic, count, `at most ${PARTITIONS_MAX}`, "a registry has no more"));
  }
  for (const { name, value, is_enough, wanted, why } of shape.settings(found.replication!)) {
    const is = values.get(name) ?? null;
    if (is !== null && is_enough(is)) continue;
    const mend = configs_command(topic, [`${name}=${value}`], settings);
    problems.push({ topic, setting: name, is, wanted, value, why, mend, acceptable: true });
  }
  return problems;
}

const NO_SETTING = { value: null, mend: null, acceptable: false };

/** A number of partitions that nothing but another topic, or more of them, makes right. */
export function wrong_count(topic: string, count: number, wanted: string, why: string): TopicProblem {
  return { ...NO_SETTING, topic, setting: "partitions", is: `${count}`, wanted, why };
}

async function make(
  admin: Admin,
  settings: KafkaSettings,
  shapes: TopicShape[],
  partitions: number,
): Promise<void> {
  const { replication } = settings;
  try {
    await admin.createTopics({
      // The broker that was asked may not know yet what its controller made, and kafkajs takes that for a failure.
      waitForLeaders: false,
      topics: shapes.map((shape) => ({
        topic: shape.name,
        numPartitions: shape.partitions ?? partitions,
        replicationFactor: replication,
        configEntries: shape.settings(replication).map(({ name, value }) => ({ name, value })),
      })),
    });
  } catch (error) {
    if (!(error instanceof kafkajs.KafkaJSAggregateError)) throw error;
    const { brokers } = await admin.describeCluster();
    const answers = new Map<string, string[]>();
    for (const one of error.errors as (Error & { type: string; topic: string })[]) {
      const advice =
        one.type === "INVALID_REPLICATION_FACTOR"
          ? `; --replication is ${replication}, of brokers there are ${brokers.length}`
          : "";
      const answer = `${one.message}${advice}`;
      answers.set(answer, [...(answers.get(answer) ?? []), one.topic]);
    }
    const parts = [...answers].map(([answer, topics]) => `${topics.join(", ")}: ${answer}`);
    throw new Problem("bad_input", `the brokers make no topics: ${parts.join("; ")}`);
  }
}

/** A broker that was not asked to make them hears of new topics a little later. */
async function once_known(admin: Admin, settings: KafkaSettings): Promise<TopicsVerified> {
  const deadline = performance.now() + KNOWN_WITHIN_MS;
  while (true) {
    const answer = await verified(admin, settings).catch((error: unknown) => {
      if (performance.now() > deadline) throw error;
      return null;
    });
    const all_there = answer?.topics.every(({ partitions }) => partitions !== null) ?? false;
    if (answer !== null && (all_there || performance.now() > deadline)) return answer;
    await sleep(LOOK_AGAIN_MS);
  }
}

function configs_command(topic: string, values: string[], settings: KafkaSettings): string {
  return `kafka-configs.sh ${to_brokers(settings)} --alter --entity-type topics --entity-name ${topic} --add-config ${values.join(",")}`;
}

function partitions_command(topic: string, count: number, settings: KafkaSettings): string {
  return `kafka-topics.sh ${to_brokers(settings)} --alter --topic ${topic} --partitions ${count}`;
}

/** Where the brokers want to know who asks, Kafka's tools need a file of properties. */
function to_brokers({ brokers, sasl, tls }: KafkaSettings): string {
  const config = sasl === null && tls === null ? "" : " --command-config client.properties";
  return `--bootstrap-server ${brokers[0]}${config}`;
}
