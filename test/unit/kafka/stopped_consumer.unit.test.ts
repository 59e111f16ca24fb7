// A consumer that is stopped while the brokers change ends; kafkajs's own would hold this thread for ever.
import { createRequire } from "node:module";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import "#services/kafka/kafkajs.js";

interface Runner {
  start(): Promise<void>;
  stop(): Promise<void>;
}

const Runner = createRequire(import.meta.url)("kafkajs/src/consumer/runner") as new (parts: object) => Runner;
const logger = { namespace: () => logger, debug() {}, info() {}, warn() {}, error() {} };

test("it is stopped in the moment in which its fetches begin anew", async () => {
  let brokers = ["1", "2"];
  let fetches = 0;
  let stopped: Promise<void> | null = null;
  const runner = new Runner({
    logger,
    concurrency: 1,
    instrumentationEmitter: { emit() {} },
    eachBatch: async () => {},
    onCrash() {},
    retry: { initialRetryTime: 10 },
    consumerGroup: {
      groupId: "g",
      memberId: "m",
      connect: async () => {},
      joinAndSync: async () => {},
      leave: async () => {},
      heartbeat: async () => {},
      getNodeIds() {
        // Those of before have ended, and the new ones are about to be made.
        const makes_anew = brokers.length === 1 && !new Error().stack!.includes("validateShouldRebalance");
        if (makes_anew && stopped === null) stopped = runner.stop();
        return brokers;
      },
      async fetch() {
        fetches += 1;
        await turn();
        if (fetches === 2) brokers = ["1"];
        return [];
      },
    },
  });
  await runner.start();
  while (stopped === null) await turn();
  await stopped;
  const until_now = fetches;
  for (let i = 0; i < 10; i++) await turn();
  expect(fetches).toBe(until_now);
});
