/** A client of the brokers, as the settings say. */
import type { Kafka, KafkaConfig, RetryOptions, SASLOptions } from "kafkajs";
import { type KafkaLog, log_creator } from "./client_log.js";
import kafkajs from "./kafkajs.js";
import { type KafkaSettings, present } from "./settings.js";

/** kafkajs's second is short for TLS, and for a broker under load. */
const CONNECT_TIMEOUT_MS = 3000;
/** kafkajs's own. */
const REQUEST_TIMEOUT_MS = 30_000;

const SILENT: KafkaLog = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/**
 * `name` says what it is for, in the client id that brokers show. Without `log` it says nothing. `retry`: of connections,
 * beside kafkajs's five tries within ten seconds.
 */
export function kafka_of(
  settings: KafkaSettings,
  name: string,
  log: KafkaLog = SILENT,
  request_timeout_ms = REQUEST_TIMEOUT_MS,
  retry?: RetryOptions,
): Kafka {
  const client_id = `klpstate.${settings.node_id}.${name}`;
  const config: KafkaConfig = {
    clientId: client_id,
    brokers: settings.brokers,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: request_timeout_ms,
    logLevel: kafkajs.logLevel.INFO,
    logCreator: log_creator(client_id, log, () => performance.now()),
  };
  if (retry !== undefined) config.retry = retry;
  if (settings.tls !== null) config.ssl = present(settings.tls);
  if (settings.sasl !== null) config.sasl = settings.sasl as SASLOptions;
  return new kafkajs.Kafka(config);
}

/** For a command, whose user waits: every broker is tried, and not for long. */
export function quick_retry({ brokers }: KafkaSettings): RetryOptions {
  return { retries: Math.max(2, brokers.length), maxRetryTime: 1000 };
}

function ignore(): void {}
