// npm run test:fuzz -- --seed S --inputs N: damaged module files. Builds what is stale, then runs test/fuzz/run.ts.
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
execFileSync(join("node_modules", ".bin", "tsc"), ["-p", join("test", "fuzz")], { stdio: "inherit" });
const run = join("dist", "test", "fuzz", "run.js");
const { status } = spawnSync(process.execPath, [run, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
