// npm test: every test that needs only Node. Arguments go to vitest: `npm test -- test/unit`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
const vitest = join("node_modules", "vitest", "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
