// What of kafkajs's messages a person sees.
import { describe, expect, test } from "vitest";
import { type KafkaLog, level_of, log_creator } from "#services/kafka/client_log.js";

const ERROR = 1;
const WARN = 2;
const INFO = 4;

function entry(level: number, message: string, fields: Record<string, unknown> = {}) {
  return { level, label: "", namespace: "", log: { message, timestamp: "", ...fields } };
}

describe("a message of kafkajs", () => {
  test.each<[string, number, string, string | undefined]>([
    ["debug", INFO, "Consumer has joined the group", undefined],
    [
      "debug",
      ERROR,
      "Response Heartbeat(key: 12, version: 3)",
      "The group is rebalancing, so a rejoin is needed",
    ],
    [
      "debug",
      WARN,
      "The group is rebalancing, re-joining",
      "The group is rebalancing, so a rejoin is needed",
    ],
    [
      "debug",
      ERROR,
      "Response GroupCoordinator(key: 10, version: 2)",
      "The group coordinator is not available",
    ],
    [
      "debug",
      ERROR,
      "Crash: KafkaJSGroupCoordinatorNotFound: The coordinator is loading and hence can't process requests for this group",
      undefined,
    ],
    [
      "debug",
      ERROR,
      "Response Produce(key: 0, version: 7)",
      "This server is not the leader for that topic-partition",
    ],
    ["warn", ERROR, "Connection error: connect ECONNREFUSED 127.0.0.1:9092", undefined],
    ["warn", ERROR, "Connection timeout", undefined],
    ["warn", WARN, "Consumer group received unsubscribed topics", undefined],
    ["error", ERROR, "Response SaslAuthenticate(key: 36, version: 1)", "SASL Authentication failed"],
    ["error", ERROR, "Response Produce(key: 0, version: 7)", "The server has no room"],
    ["error", ERROR, "Crash: KafkaJSNonRetriableError: out of order", undefined],
  ])("is of %s", (level, kafkajs_level, message, error) => {
    expect(level_of(entry(kafkajs_level, message, { error }))).toBe(level);
  });

  test("that is repeated is told once in half a minute, for each broker", () => {
    const told: string[] = [];
    const log = Object.fromEntries(
      ["debug", "info", "warn", "error"].map((level) => [
        level,
        (fields: { broker?: string }, message: string) =>
          void told.push(`${level} ${fields.broker} ${message}`),
      ]),
    ) as unknown as KafkaLog;
    let now = 0;
    const say = log_creator("klpstate.n1.test", log, () => now)(INFO);
    const away = (broker: string) => say(entry(ERROR, "Connection timeout", { broker }));
    away("a:1");
    now = 29_999;
    away("a:1");
    away("b:1");
    now = 30_000;
    away("a:1");
    expect(told).toEqual([
      "warn a:1 kafka: Connection timeout",
      "debug a:1 kafka: Connection timeout",
      "warn b:1 kafka: Connection timeout",
      "warn a:1 kafka: Connection timeout",
    ]);
  });
});
