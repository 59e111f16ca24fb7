import { defineConfig } from "vitest/config";

// Tests run the built product: `#services/…` is dist/services/… (package.json, "imports").
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // These have a level of their own.
    exclude: ["test/kafka/**", "test/faults/**/*.faults.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // End-to-end tests wait for other processes: one worker less than cores would leave a small machine idle.
    maxWorkers: 2,
    // The built files are Node's to load: what is tested is what is shipped.
    server: { deps: { external: [/\/dist\//] } },
  },
});
