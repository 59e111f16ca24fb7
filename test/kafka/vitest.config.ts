import { defineConfig } from "vitest/config";
import base from "../../vitest.config.js";

// These need Java and a broker, so they are no part of `npm test`. One file at a time: brokers fill a small machine.
export default defineConfig({
  test: {
    ...base.test,
    include: ["test/kafka/**/*.kafka.test.ts"],
    exclude: [],
    globalSetup: ["test/kafka/shared_broker.ts"],
    maxWorkers: 1,
    // Brokers, nodes and clients share what cores there are with whoever else has them: once may be the machine.
    retry: 1,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
