// npm run test:kernel -- --seed S --loads N: a real kernel under QEMU. Builds what is stale, then runs test/kernel/run.ts.
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
execFileSync(join("node_modules", ".bin", "tsc"), ["-p", join("test", "kernel")], { stdio: "inherit" });
const run = join("dist", "test", "kernel", "run.js");
const { status } = spawnSync(process.execPath, [run, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
