/** The real server as a child process, with its defaults. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// Seen from dist/bench/.
const COMMAND = fileURLToPath(new URL("../../bin/klpstate.js", import.meta.url));
/** USER_HZ of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface RunningServer {
  url: string;
  /** That it has used since its start, all threads, user and system. */
  cpu_seconds(): number;
  /** That it has in memory now, all of it. */
  resident_bytes(): number;
  /** Resolves when it has stopped cleanly. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  /** A CPU profile of each of its threads is written there when it stops. */
  profile_directory?: string | undefined;
  /** Beside that of this process. */
  environment?: Record<string, string>;
}

/** Runs a command of the CLI to its end. Throws unless it says 0. */
export function run_command(command: string[], environment: Record<string, string>): void {
  const env = { ...process.env, ...environment };
  execFileSync(process.execPath, [COMMAND, ...command], { stdio: ["ignore", "ignore", "inherit"], env });
}

export async function start_server(
  data: string,
  { profile_directory, environment = {} }: ServerOptions = {},
): Promise<RunningServer> {
  const profile =
    profile_directory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile_directory}`];
  const child = spawn(
    process.execPath,
    [...profile, COMMAND, "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "warn"],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...environment } },
  );
  const [first] = await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`the server ended at once with ${code}`))),
  ]);
  return {
    url: /^listening on (.*)$/.exec(first as string)![1]!,
    cpu_seconds: () => cpu_seconds_of(child.pid!),
    resident_bytes: () => resident_bytes_of(child.pid!),
    async stop() {
      child.kill("SIGTERM");
      const [code] = await once(child, "exit");
      if (code !== 0) throw new Error(`the server stopped with ${code}`);
    },
  };
}

/** That a process has used since its start, all threads, user and system. */
export function cpu_seconds_of(pid: number): number {
  // Behind the name in parentheses: state, and as the 12th and 13th field utime and stime.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function resident_bytes_of(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s*([0-9]+) kB$/m.exec(status)![1]) * 1024;
}
