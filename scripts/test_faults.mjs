// npm run test:faults -- --seed S --minutes M: things go wrong while clients watch, which is test/faults/run.ts.
// npm run test:faults -- mutations: whether those runs see mistakes that are put into the product.
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

const args = process.argv.slice(2);

prepare();
execFileSync(join("node_modules", ".bin", "tsc"), ["-p", join("test", "faults")], { stdio: "inherit" });
const vitest = join("node_modules", "vitest", "vitest.mjs");
const config = join("test", "faults", "vitest.config.ts");
const command =
  args[0] === "mutations"
    ? [vitest, "run", "--root", ".", "--config", config, ...args.slice(1)]
    : [join("dist", "test", "faults", "run.js"), ...args];
const { status } = spawnSync(process.execPath, command, { stdio: "inherit" });
process.exitCode = status ?? 1;
