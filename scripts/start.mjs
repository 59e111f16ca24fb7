// npm start: the demonstration. Fills ./data/demo on the first start, then serves it until Ctrl-C.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepare } from "./prepare.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const directory = join(root, "data", "demo");

prepare();
const { fill_demo, DEMO_COMMANDS } = await import("../dist/services/cli/demo.js");
const { run } = await import("../dist/services/cli/main.js");
if (!existsSync(directory)) {
  console.log("filling ./data/demo with a fleet made from recorded kernels");
  const { hosts, events } = await fill_demo({
    recordings: join(root, "test", "fixtures", "kernel", "scenarios.jsonl.gz"),
    modules: join(root, "test", "fixtures", "kernel", "ko"),
    directory,
    now_ms: Date.now(),
    show(fraction, text) {
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${Math.round(fraction * 100)}% ${text}`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(`stored ${events.toLocaleString("en")} events of ${hosts.toLocaleString("en")} hosts`);
}
console.log("\ntry, in another terminal:");
for (const command of DEMO_COMMANDS) console.log(`  npx klpstate ${command}`);
console.log("Ctrl-C stops the server\n");
process.exitCode = await run(["serve", "--data", directory, "--log-level", "warn"]);
