/**
 * What kafkajs says, as far as it matters to whoever runs a node. It calls an ordinary rebalance, a coordinator that is
 * still starting and a leader that moved errors, each several times, and retries them by itself.
 */
import { createRequire } from "node:module";
import type { LogEntry, logCreator } from "kafkajs";

/** A pino logger is one. */
export interface KafkaLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type Level = "debug" | "info" | "warn" | "error";

/** kafkajs's numbers; below INFO it is not asked. */
const ERROR = 1;
const WARN = 2;

/** Answers of brokers that a client meets while groups form, leaders move and topics are made. */
const ORDINARY = new Set([
  "REBALANCE_IN_PROGRESS",
  "GROUP_LOAD_IN_PROGRESS",
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR_FOR_GROUP",
  "MEMBER_ID_REQUIRED",
  "UNKNOWN_MEMBER_ID",
  "ILLEGAL_GENERATION",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_FOR_PARTITION",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "OFFSET_NOT_AVAILABLE",
  "TOPIC_ALREADY_EXISTS",
]);

const { errorCodes } = createRequire(import.meta.url)("kafkajs/src/protocol/error") as {
  errorCodes: { type: string; message: string }[];
};
const ORDINARY_TEXTS = [
  ...errorCodes.filter(({ type }) => ORDINARY.has(type)).map(({ message }) => message),
  "The group is rebalancing",
  "The coordinator is not aware of this member",
  "Restarting the consumer",
  "switched default partitioner",
];

/** Retried by kafkajs, and of interest to whoever wonders why nothing moves. */
const PASSING =
  /^(Connection (error|timeout)|Failed to (connect|send messages)|Request .* timed out|Broker -?[0-9]+ not found|Response without match)/;

/** So often one and the same thing is told. */
const REPEAT_AFTER_MS = 30_000;
const REMEMBERED_MAX = 256;

/** What a person should see of it. */
export function level_of({ level, log }: Pick<LogEntry, "level" | "log">): Level {
  if (level > WARN) return "debug";
  const text = `${log.message} ${typeof log.error === "string" ? log.error : ""}`;
  if (ORDINARY_TEXTS.some((ordinary) => text.includes(ordinary))) return "debug";
  return level === ERROR && !PASSING.test(text) ? "error" : "warn";
}

/** `name`: the client's, which goes with each message. */
export function log_creator(name: string, log: KafkaLog, now_ms: () => number): logCreator {
  const told = new Map<string, number>();

  function is_repeated(text: string): boolean {
    const now = now_ms();
    const last = told.get(text);
    if (last !== undefined && now - last < REPEAT_AFTER_MS) return true;
    if (told.size >= REMEMBERED_MAX) told.clear();
    told.set(text, now);
    return false;
  }

  return () => (entry) => {
    const { message, timestamp: _, logger: __, stack: ___, ...fields } = entry.log;
    const level = level_of(entry);
    const text = typeof fields.error === "string" ? `${message}: ${fields.error}` : message;
    const { broker, groupId: group, topic, partition } = fields;
    const shown = is_repeated(`${level} ${broker} ${group} ${topic} ${partition} ${text}`) ? "debug" : level;
    log[shown]({ client: name, broker, group, topic, partition }, `kafka: ${text}`);
  };
}
