/** What a registry's directory is: the log itself, a replica of a log in Kafka, or what was left behind by one that moved. */
import { Problem } from "../events/problem.js";

export type RegistryMode = EmbeddedMode | KafkaMode | MigratedMode;

/** The directory has the log. */
export interface EmbeddedMode {
  mode: "embedded";
}

/** It has replicas of partitions of a log in Kafka. */
export interface KafkaMode extends LogInKafka {
  mode: "kafka";
}

/** It had the log, and nothing is added to it any more. */
export interface MigratedMode extends LogInKafka {
  mode: "migrated";
  /** Where the brokers were then: HOST:PORT,… */
  brokers: string;
}

/** A log in Kafka: a topic made anew may have the name of another log, but not in a cluster that has the other one. */
export interface LogInKafka {
  cluster_id: string;
  /** Of the hosts' events. */
  topic: string;
}

/** The mode in a registry.json; else the field that is not what it should be, and why. */
export function parse_mode(found: Record<string, unknown>): RegistryMode | { field: string; reason: string } {
  const { mode, cluster_id, topic, brokers } = found;
  if (mode === "embedded") return { mode };
  if (mode !== "kafka" && mode !== "migrated") {
    return { field: "mode", reason: `mode is not "embedded", "kafka" or "migrated"` };
  }
  if (!is_text(cluster_id)) return { field: "cluster_id", reason: "no cluster_id" };
  if (!is_text(topic)) return { field: "topic", reason: "no topic" };
  if (mode === "kafka") return { mode, cluster_id, topic };
  return is_text(brokers) ? { mode, cluster_id, topic, brokers } : { field: "brokers", reason: "no brokers" };
}

/** Throws Problem `contradiction` for a directory that does not have the log itself. */
export function require_embedded(directory: string, found: RegistryMode): void {
  if (found.mode === "embedded") return;
  const { topic, cluster_id } = found;
  const where = `the topic ${topic} of the Kafka cluster ${cluster_id}`;
  const message =
    found.mode === "kafka"
      ? `${directory} has replicas of ${where}, whose node it is; set KLPSTATE_KAFKA_BROKERS`
      : `the log of ${directory} lives in ${where} now; give a node a new directory, ` +
        `and KLPSTATE_KAFKA_BROKERS=${found.brokers}`;
  throw new Problem("contradiction", message, { field: "data", value: directory });
}

function is_text(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
