// npm run test:toolchain: modules built by gcc and ld, read. Arguments go to vitest.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
const vitest = join("node_modules", "vitest", "vitest.mjs");
const config = join("test", "toolchain", "vitest.config.ts");
const { status } = spawnSync(
  process.execPath,
  [vitest, "run", "--root", ".", "--config", config, ...process.argv.slice(2)],
  { stdio: "inherit" },
);
process.exitCode = status ?? 1;
