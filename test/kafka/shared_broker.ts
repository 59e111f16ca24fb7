/** One broker for all tests that only need one: started once a run, or the one of KLPSTATE_TEST_BROKERS. */
import { randomBytes } from "node:crypto";
import { type KafkaSettings, kafka_settings } from "#services/kafka/settings.js";
import { start_brokers } from "./brokers.js";

/** Of the run (vitest's globalSetup); returns how it ends. */
export async function setup(): Promise<() => Promise<void>> {
  if (process.env.KLPSTATE_TEST_BROKERS !== undefined) return async () => {};
  const cluster = await start_brokers({ count: 1 });
  process.env.KLPSTATE_TEST_BROKERS = cluster.addresses;
  return () => cluster.end();
}

/** For topics and groups that nobody else has. */
export function shared_settings(env: Record<string, string> = {}): KafkaSettings {
  const name = `t${randomBytes(6).toString("hex")}`;
  return kafka_settings({
    KLPSTATE_KAFKA_BROKERS: process.env.KLPSTATE_TEST_BROKERS,
    KLPSTATE_KAFKA_TOPIC_PREFIX: `${name}.`,
    KLPSTATE_KAFKA_GROUP: name,
    KLPSTATE_KAFKA_REPLICATION: "1",
    KLPSTATE_KAFKA_PARTITIONS: "4",
    KLPSTATE_NODE_ID: name,
    ...env,
  });
}
