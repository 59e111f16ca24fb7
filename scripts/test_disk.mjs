// npm run test:disk -- --seed S --lives N: the log on a simulated disk. Builds what is stale, then runs test/disk/run.ts.
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
execFileSync(join("node_modules", ".bin", "tsc"), ["-p", join("test", "disk")], { stdio: "inherit" });
const run = join("dist", "test", "disk", "run.js");
const { status } = spawnSync(process.execPath, [run, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
