/** The topics that a log is copied into: how many partitions, whether there is anything in them, whether nodes run. */
import type { Admin, Kafka } from "kafkajs";
import { Problem } from "../../events/problem.js";
import type { KafkaSettings } from "../settings.js";
import { problem_line, verify_topics } from "../topics.js";
import { topic_offsets } from "./topic_offsets.js";

export interface Target {
  cluster_id: string;
  /** Of host-events. */
  partitions: number;
  /** A partition that has or had a record; null: none. */
  written: { topic: string; partition: number } | null;
  catalog_end: bigint;
  /** Of the group of the nodes: those that run. */
  members: number;
}

/** Throws Problem: `bad_input` where a topic is missing or would lose what it is given; and as `topic_offsets`. */
export async function look_at_target(kafka: Kafka, admin: Admin, settings: KafkaSettings): Promise<Target> {
  const { topics, group_id } = settings;
  const names = await topics_there(kafka, settings);
  const { clusterId: cluster_id } = await admin.describeCluster();
  const { groups } = await admin.describeGroups([group_id]);
  const offsets = await topic_offsets(kafka, names);
  let written: Target["written"] = null;
  for (const [topic, found] of offsets) {
    // Also one of which all was deleted: its next offset is not 0.
    const with_records = found.find(({ high }) => high > 0n);
    if (with_records !== undefined) written ??= { topic, partition: with_records.partition };
  }
  return {
    cluster_id,
    partitions: offsets.get(topics.host_events)!.length,
    written,
    catalog_end: offsets.get(topics.catalog)![0]!.high,
    members: groups.reduce((count, { members }) => count + members.length, 0),
  };
}

/** By name: without state changes their topic may be missing. */
async function topics_there(kafka: Kafka, settings: KafkaSettings): Promise<string[]> {
  const { topics, problems } = await verify_topics(kafka, settings);
  const refused = problems.filter(({ acceptable }) => !(acceptable && settings.accept_unsafe_topics));
  if (refused.length > 0) {
    const message = `${refused.map(problem_line).join("; ")}; \`klpstate topics verify\` says what mends it`;
    throw new Problem("bad_input", message, { field: "topics" });
  }
  return topics.filter(({ partitions }) => partitions !== null).map(({ name }) => name);
}
