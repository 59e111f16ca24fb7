#!/usr/bin/env node
// The klpstate command: starts what the build made of services/cli/.
import { existsSync } from "node:fs";

const main = new URL("../dist/services/cli/main.js", import.meta.url);
if (existsSync(main)) {
  const { run } = await import(main.href);
  process.exitCode = await run(process.argv.slice(2));
} else {
  console.error("klpstate: it is not built yet; run `npm run build` first");
  process.exitCode = 2;
}
