// Generates and compiles everything into generated/ and dist/.
//   node scripts/build.mjs             build what is stale
//   node scripts/build.mjs --force     build all
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const force = process.argv.includes("--force");

/** Newest modification time below the paths, ms; 0 if there is nothing. */
function newest_ms(...paths) {
  let newest = 0;
  for (const path of paths) {
    if (!existsSync(path)) continue;
    const stat = statSync(path);
    if (!stat.isDirectory()) newest = Math.max(newest, stat.mtimeMs);
    else
      for (const name of readdirSync(path))
        if (name !== "node_modules") newest = Math.max(newest, newest_ms(join(path, name)));
  }
  return newest;
}

function run(program, ...args) {
  execFileSync(join("node_modules", ".bin", program), args, { stdio: "inherit" });
}

/** Runs `make` unless `output` is newer than every input. */
function step(title, output, inputs, make) {
  if (!force && existsSync(output) && statSync(output).mtimeMs >= newest_ms(...inputs)) return;
  console.error(`build: ${title}`);
  mkdirSync(dirname(output), { recursive: true });
  make();
  if (!existsSync(output)) writeFileSync(output, "");
  const now = new Date();
  utimesSync(output, now, now);
}

const script = fileURLToPath(import.meta.url);
step("protobuf code", "generated/klpstate.d.ts", ["proto", "package-lock.json", script], () => {
  const schema = readdirSync("proto/klpstate/v1").map((name) => join("proto/klpstate/v1", name));
  run(
    "pbjs",
    ..."-t static-module -w es6 --keep-case --no-service --no-delimited --no-verify --no-convert".split(" "),
    ..."--no-typeurl -p proto -o generated/klpstate.js".split(" "),
    ...schema,
  );
  run("pbts", "-o", "generated/klpstate.d.ts", "generated/klpstate.js");
  mkdirSync("dist/generated", { recursive: true });
  copyFileSync("generated/klpstate.js", "dist/generated/klpstate.js");
  copyFileSync("generated/klpstate.d.ts", "dist/generated/klpstate.d.ts");
});

step("core (WebAssembly)", "dist/core-wasm/core.wasm", ["core-wasm", "package-lock.json", script], () => {
  run(
    "asc",
    "core-wasm/assembly/index.ts",
    ..."-O3 --runtime stub --enable simd,bulk-memory --noAssert --maximumMemory 65535".split(" "),
    "-o",
    "dist/core-wasm/core.wasm",
  );
});

step(
  "services (TypeScript)",
  "dist/.compiled",
  // The figures with Kafka have the tests' brokers.
  [
    "services",
    "bench",
    "examples",
    "test/kafka",
    "generated/klpstate.d.ts",
    "tsconfig.json",
    "package-lock.json",
  ],
  () => run("tsc", "-p", "."),
);
