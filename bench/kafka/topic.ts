/** A topic with the benchmark's events in it. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Admin, Kafka, logLevel } from "kafkajs";
import type { JavaPrograms } from "./java.js";
import { create_topics, PARTITIONS } from "./node.js";
import { type FoldedRecords, fold_records, type RecordsFile, write_records_file } from "./records_file.js";

/** The two forms of the data. */
export const FORMS = [
  { name: "single", events_per_record: 1 },
  { name: "batch", events_per_record: 100 },
] as const;
export type Form = (typeof FORMS)[number];

export interface FilledTopic {
  form: Form;
  /** Of the registry's topics' names. */
  prefix: string;
  name: string;
  contents: RecordsFile;
  /** What the records come to, whoever folds them. */
  folded: FoldedRecords;
}

async function with_admin<Result>(broker: string, work: (admin: Admin) => Promise<Result>): Promise<Result> {
  const kafka = new Kafka({ clientId: "bench", brokers: [broker], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

export function delete_topic(broker: string, topic: string): Promise<void> {
  return with_admin(broker, (admin) => admin.deleteTopics({ topics: [topic] }));
}

/** How many records the topic has. */
export async function records_in(broker: string, topic: string): Promise<number> {
  const offsets = await with_admin(broker, (admin) => admin.fetchTopicOffsets(topic));
  return offsets.reduce((sum, { low, high }) => sum + Number(high) - Number(low), 0);
}

/** The registry's topics under `prefix`, with the events in that of host events. */
export async function fill_topic(
  { broker, java, directory }: { broker: string; java: JavaPrograms; directory: string },
  form: Form,
  prefix: string,
  size: { hosts: number; events: number },
): Promise<FilledTopic> {
  const name = `${prefix}host-events`;
  create_topics(broker, prefix);
  const path = join(directory, `${prefix}records`);
  const { events_per_record } = form;
  const contents = write_records_file(path, { ...size, partitions: PARTITIONS, events_per_record });
  const folded = await fold_records(contents);
  await java.run("Produce", broker, name, path);
  rmSync(path);
  const records = await records_in(broker, name);
  if (records !== contents.records) {
    throw new Error(`${name} has ${records} records, and ${contents.records} were produced`);
  }
  return { form, prefix, name, contents, folded };
}
