// npm run bench -- [NAME...]: installs and builds what is stale, and the peers of the benchmarks, then runs bench/main.ts.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

const args = process.argv.slice(2);
/** Only this has DuckDB for a peer, and a run that names nothing. */
const wants_peers =
  !args.includes("--smoke") &&
  (args[0] === undefined ||
    args[0].startsWith("-") ||
    args.some((arg) => arg.includes("hostile") && arg !== "memory-hostile"));

prepare();
if (wants_peers && !existsSync(join("bench", "node_modules", "@duckdb"))) {
  console.error("install: DuckDB, for bench/");
  const command = ["install", "--prefix", "bench", "--no-audit", "--no-fund", "--no-package-lock"];
  try {
    execFileSync("npm", command, { stdio: ["ignore", "ignore", "inherit"] });
  } catch {
    console.error("DuckDB cannot be installed: its figures are left out");
  }
}
const { status } = spawnSync(process.execPath, [join("dist", "bench", "main.js"), ...args], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
