// npm run test:kafka: tests on real brokers of each version. `-- --kafka VERSION`: of one. Other arguments go to vitest.
// KLPSTATE_TEST_BROKERS=HOST:PORT: where one broker is enough, on that one.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

const VERSIONS = ["3.9.2", "4.4.0"];

const args = process.argv.slice(2);
const at = args.indexOf("--kafka");
const versions = at < 0 ? VERSIONS : args.splice(at, 2).slice(1);

prepare();
const vitest = join("node_modules", "vitest", "vitest.mjs");
const config = join("test", "kafka", "vitest.config.ts");
process.exitCode = 0;
for (const version of versions) {
  console.error(`Apache Kafka ${version}`);
  const { status } = spawnSync(
    process.execPath,
    [vitest, "run", "--root", ".", "--config", config, ...args],
    { stdio: "inherit", env: { ...process.env, KLPSTATE_TEST_KAFKA: version } },
  );
  process.exitCode ||= status ?? 1;
}
