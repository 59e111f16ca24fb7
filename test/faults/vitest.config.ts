import { defineConfig } from "vitest/config";
import base from "../../vitest.config.js";

// Each test is whole runs with brokers: no part of `npm test`, and one at a time.
export default defineConfig({
  test: {
    ...base.test,
    include: ["test/faults/**/*.faults.test.ts"],
    exclude: [],
    maxWorkers: 1,
    testTimeout: 3_600_000,
    hookTimeout: 180_000,
  },
});
