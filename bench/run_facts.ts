/**
 * Of what machine and what minutes figures are, for whoever reads them later. They stand beside `--json FILE`, in a file
 * of their own: what is in FILE can be compared with any other run's, and this cannot.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { file_system_of } from "./directory.js";

// Seen from dist/bench/.
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CACHES = "/sys/devices/system/cpu/cpu0/cache";

export interface Machine {
  processor: string;
  cores: number;
  /** Of the first core, such as "L2 1024K"; none where the kernel does not show them. */
  caches: string[];
  memory_gib: number;
  kernel: string;
  node: string;
  klpstate: string;
  /** Null: not here, so that figures have no such peer. */
  gcc: string | null;
  duckdb: string | null;
}

export interface RunFacts {
  machine: Machine;
  hosts: number;
  events: number;
  /** Of --directory. */
  file_system: string;
  /** ISO 8601. */
  begin: string;
  end: string;
  /** The load average of the last minute. */
  load_at_begin: number;
  load_at_end: number;
}

function version_in(package_directory: string): string | null {
  const path = join(ROOT, package_directory, "package.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version : null;
}

function gcc_version(): string | null {
  try {
    return execFileSync("gcc", ["-dumpfullversion"], { encoding: "utf8" }).trim();
  } catch {
    return null;
  }
}

function caches(): string[] {
  if (!existsSync(CACHES)) return [];
  const read = (index: string, name: string) => readFileSync(join(CACHES, index, name), "utf8").trim();
  return readdirSync(CACHES)
    .filter((name) => name.startsWith("index"))
    .sort()
    .map((index) => {
      const kind = { Data: "d", Instruction: "i" }[read(index, "type")] ?? "";
      return `L${read(index, "level")}${kind} ${read(index, "size")}`;
    });
}

export function this_machine(): Machine {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() ?? "unknown processor",
    cores: processors.length,
    caches: caches(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: `Linux ${release()}`,
    node: process.versions.node,
    klpstate: version_in(".") ?? "unknown",
    gcc: gcc_version(),
    duckdb: version_in("bench/node_modules/@duckdb/node-api"),
  };
}

export function machine_line({ processor, cores, memory_gib, kernel, node, klpstate }: Machine): string {
  return `${processor}, ${cores} cores, ${memory_gib} GiB, ${kernel}, node ${node}, klpstate ${klpstate}`;
}

/** What it returns says the end. */
export function begin_run(options: { hosts: number; events: number; directory: string }): () => RunFacts {
  const { hosts, events, directory } = options;
  const begun = { begin: new Date().toISOString(), load_at_begin: loadavg()[0]! };
  const file_system = file_system_of(directory);
  return () => ({
    ...{ machine: this_machine(), hosts, events, file_system, ...begun },
    ...{ end: new Date().toISOString(), load_at_end: loadavg()[0]! },
  });
}

/** FILE.json: FILE.run.json. */
function facts_path(json_path: string): string {
  return `${json_path.replace(/\.json$/, "")}.run.json`;
}

export function write_facts(json_path: string, facts: RunFacts): void {
  writeFileSync(facts_path(json_path), `${JSON.stringify(facts, null, 2)}\n`);
}

export function read_facts(json_path: string): RunFacts {
  return JSON.parse(readFileSync(facts_path(json_path), "utf8")) as RunFacts;
}
