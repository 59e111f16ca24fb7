/**
 * The product as a user has it: `bin/klpstate.js` as child processes, its server over real sockets, directories that
 * go away. Whatever a test leaves running ends with its file.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as text_of } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect } from "vitest";

const COMMAND = join(import.meta.dirname, "../../bin/klpstate.js");

const children = new Set<ChildProcess>();
const directories: string[] = [];
const agent = new Agent({ keepAlive: true });

afterAll(async () => {
  const running = [...children];
  for (const child of running) child.kill("SIGKILL");
  await Promise.all(running.map(ended));
  agent.destroy();
  for (const directory of directories.splice(0)) {
    if (!existsSync(directory)) continue;
    make_writable(directory);
    rmSync(directory, { recursive: true, force: true });
  }
});

/** Goes away when the file's tests have run. */
export function temporary_directory(): string {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-e2e-"));
  directories.push(directory);
  return directory;
}

function make_writable(path: string): void {
  if (!lstatSync(path).isDirectory()) return;
  chmodSync(path, 0o700);
  for (const name of readdirSync(path)) make_writable(join(path, name));
}

/**
 * Root writes where the permissions say that nobody may; without CAP_DAC_OVERRIDE they hold for root as for anybody.
 * A test in a container as root and one at a desk then see the same.
 */
const BOUND_BY_PERMISSIONS = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override"] : [];

interface SpawnOptions {
  /** Permissions hold, also for root. */
  bound?: boolean;
  cwd?: string;
  /** A command that becomes the one that is given to it, such as `prlimit`. */
  under?: string[];
  /** Beside the environment of the tests. */
  env?: Record<string, string>;
}

function spawn_klpstate(
  args: string[],
  { bound = false, cwd, under = [], env = {} }: SpawnOptions,
): ChildProcess {
  const command = [process.execPath, COMMAND, ...args];
  const [program, ...rest] = [...under, ...(bound ? BOUND_BY_PERMISSIONS : []), ...command];
  const child = spawn(program!, rest, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", ...env },
    ...(cwd !== undefined && { cwd }),
  });
  // A command may end before it has read what it is given.
  child.stdin!.on("error", () => {});
  children.add(child);
  child.once("close", () => children.delete(child));
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions extends SpawnOptions {
  stdin?: string | Uint8Array;
}

/** Runs the command to its end. */
export async function klpstate(args: string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn_klpstate(args, options);
  child.stdin!.end(options.stdin ?? "");
  const [stdout, stderr] = await Promise.all([text_of(child.stdout!), text_of(child.stderr!), ended(child)]);
  return { code: child.exitCode, stdout, stderr };
}

/** As `klpstate`, for a command that has to succeed; its standard output. */
export async function klpstate_yes(args: string[], options: RunOptions = {}): Promise<string> {
  const result = await klpstate(args, options);
  expect(result, args.join(" ")).toMatchObject({ code: 0 });
  return result.stdout;
}

/** The lines of an answer in JSON. */
export function json_lines<Item = Record<string, unknown>>(text: string): Item[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Item);
}

/** One message, exit code 2, nothing on standard output, and no trace of where in the code it was thrown. */
export function expect_refused(result: Ended, ...says: (string | RegExp)[]): void {
  expect(result).toMatchObject({ code: 2, stdout: "" });
  const lines = result.stderr.split("\n").filter((line) => line !== "");
  expect(lines, result.stderr).toHaveLength(1);
  expect(lines[0]).toMatch(/^klpstate: /);
  expect(lines[0]).not.toMatch(/\bat async |node:internal|file:\/\//);
  for (const part of says) expect(lines[0]).toMatch(part);
}

export interface Server {
  url: string;
  port: number;
  data: string;
  pid: number;
  /** What it wrote to standard error so far: its log, a JSON document a line. */
  log(): Record<string, unknown>[];
  /** Sends the signal and waits for the end; the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** `kill -9`. */
  kill(): Promise<void>;
}

/** Resolves when it listens. */
export function start_server(data: string, ...args: string[]): Promise<Server> {
  return start_server_with({}, data, ...args);
}

/** As `start_server`, with options of the process. */
export async function start_server_with(
  options: SpawnOptions,
  data: string,
  ...args: string[]
): Promise<Server> {
  const child = spawn_klpstate(["serve", "--data", data, "--listen", "127.0.0.1:0", ...args], options);
  let stdout = "";
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const first_line = new Promise<string>((resolve, reject) => {
    child.stdout!.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(stdout.split("\n", 1)[0]!);
    });
    child.once("close", () => reject(new Error(`the server ended before it listened: ${stderr}`)));
  });
  const line = await first_line;
  const url = /^listening on (http:\/\/(?:127\.0\.0\.1|0\.0\.0\.0):([0-9]+))$/.exec(line);
  if (url === null) throw new Error(`the first line is ${JSON.stringify(line)}`);
  const end_by = async (signal: NodeJS.Signals) => {
    const closed = once(child, "close");
    child.kill(signal);
    await closed;
    return child.exitCode;
  };
  return {
    url: url[1]!,
    port: Number(url[2]),
    data,
    pid: child.pid!,
    log: () => json_lines(stderr),
    stop: (signal = "SIGTERM") => end_by(signal),
    async kill() {
      await end_by("SIGKILL");
    },
  };
}

/** Starts a server and kills it after a while, whether it listens by then or not. */
export async function kill_while_starting(data: string, after_ms: number): Promise<void> {
  const child = spawn_klpstate(["serve", "--data", data, "--listen", "127.0.0.1:0"], {});
  child.stdout!.resume();
  child.stderr!.resume();
  await sleep(after_ms);
  child.kill("SIGKILL");
  await ended(child);
}

export interface Answer {
  status: number;
  type: string;
  header(name: string): string | undefined;
  text: string;
}

export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

/** The path goes over the wire as it is. Rejects where the connection breaks. */
export function ask(server: Pick<Server, "port">, path: string, asked: Asked = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body } = asked;
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: server.port,
        agent,
        method,
        path,
        headers: { ...headers, ...(body !== undefined && { "content-length": Buffer.byteLength(body) }) },
      },
      (response) => {
        text_of(response).then(
          (text) =>
            resolve({
              status: response.statusCode!,
              type: response.headers["content-type"] ?? "",
              header: (name) => response.headers[name]?.toString(),
              text,
            }),
          reject,
        );
      },
    );
    sent.on("error", (error: NodeJS.ErrnoException) => {
      // A server ends a connection that was idle for long, perhaps while this is on its way: it saw nothing of it.
      if (sent.reusedSocket && error.code === "ECONNRESET") ask(server, path, asked).then(resolve, reject);
      else reject(error);
    });
    sent.end(body);
  });
}

/** The document of an answer that has to be a 200. */
export async function ask_json<Document>(
  server: Pick<Server, "port">,
  path: string,
  asked: Asked = {},
): Promise<Document> {
  const answer = await ask(server, path, asked);
  expect(answer, `${path}: ${answer.text.slice(0, 500)}`).toMatchObject({
    status: 200,
    type: "application/json",
  });
  return JSON.parse(answer.text) as Document;
}

export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  field?: string;
  line?: number;
  value?: string;
  limit?: string;
}

/** The problem document of an answer that has to be one with this status. */
export function problem_of(answer: Answer, status: number): ProblemDocument {
  expect(answer, answer.text.slice(0, 500)).toMatchObject({ status, type: "application/problem+json" });
  const document = JSON.parse(answer.text) as ProblemDocument;
  expect(document).toMatchObject({
    type: expect.any(String),
    title: expect.any(String),
    status,
    detail: expect.stringMatching(/\S/),
  });
  // Nothing of how the server is made.
  expect(answer.text).not.toMatch(/\.js:[0-9]+|node_modules|\bat [A-Z]\w*\.|#[a-z_]+ /);
  return document;
}

export function post(
  server: Pick<Server, "port">,
  path: string,
  type: string,
  body: string | Uint8Array,
): Promise<Answer> {
  return ask(server, path, { method: "POST", headers: { "content-type": type }, body });
}

export function post_json(server: Pick<Server, "port">, path: string, document: unknown): Promise<Answer> {
  return post(server, path, "application/json", JSON.stringify(document));
}

/** Path of a host, whatever its id is made of. */
export function host_path(host_id: string, rest = ""): string {
  return `/v1/hosts/${encodeURIComponent(host_id)}${rest}`;
}
