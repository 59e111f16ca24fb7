/**
 * One way to ask, whoever answers: a server over TCP, a directory's owner over its socket, or the registry itself,
 * opened in this process. All three are asked the API's questions.
 */

import { existsSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem } from "../events/problem.js";
import { open_door as open_socket } from "../log/door.js";
import { open_http_door } from "./http_door.js";
import type { Terminal } from "./terminal.js";
import { find_token, type TokenOptions } from "./token.js";

export interface Question {
  method: "GET" | "POST";
  /** Percent-encoded. */
  path: string;
  query?: Record<string, string | undefined>;
  body?: Uint8Array | string;
  content_type?: string;
  accept?: string;
}

export interface Reply {
  status: number;
  header(name: string): string | undefined;
  /** Throws Problem where it breaks off. */
  body: AsyncIterable<Uint8Array>;
}

export interface Door {
  ask(question: Question): Promise<Reply>;
  close(): Promise<void>;
}

export interface DoorOptions extends TokenOptions {
  server?: string;
  data?: string;
}

export const DEFAULT_SERVER = "http://127.0.0.1:7350";

/** How long a directory whose owner has no socket may take to be given back, or to get one. */
const OWNER_WAIT_MS = 2_000;
const OWNER_RETRY_MS = 50;

/**
 * `env`: where the token may be, which only a server over TCP is shown. `may_make`: the command writes, and a directory that holds no registry becomes one. `report` takes what opening a
 * registry in this process found.
 */
export async function open_door(
  options: DoorOptions,
  env: Terminal["env"],
  may_make: boolean,
  report: (message: string) => void,
): Promise<Door> {
  const { server, data } = options;
  if (data === undefined) {
    const token = find_token(options, env);
    return open_http_door({ url: server_url(server ?? DEFAULT_SERVER), token });
  }
  if (server !== undefined)
    throw new Problem("bad_input", "--server and --data: give one of the two", { field: "data" });
  if (!may_make) require_registry(data);
  const deadline_ms = performance.now() + OWNER_WAIT_MS;
  for (;;) {
    const door = await open_owner_door(data);
    if (door !== null) return door;
    try {
      // Loaded only here: who asks a server has no use for one.
      const { open_own_registry } = await import("./own_registry.js");
      return await open_own_registry(data, report);
    } catch (error) {
      const is_owned = error instanceof Problem && error.code === "unavailable";
      if (!is_owned || performance.now() > deadline_ms) throw error;
      await sleep(OWNER_RETRY_MS);
    }
  }
}

function server_url(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:")) return url;
  const limit = `http://HOST:PORT, such as ${DEFAULT_SERVER}`;
  throw new Problem("bad_input", `--server: "${text}" is no address of a server; write ${limit}`, {
    field: "server",
    value: text,
    limit,
  });
}

/** A question must not make a registry out of a name that is wrong. */
function require_registry(directory: string): void {
  try {
    statSync(join(directory, "registry.json"));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const parts = { field: "data", value: directory };
    if (code === "ENOTDIR") throw new Problem("bad_input", `--data: ${directory} is not a directory`, parts);
    if (code === "ENOENT") {
      const advice = `klpstate serve --data ${directory} makes one`;
      throw new Problem("not_found", `--data: ${directory} holds no registry; ${advice}`, parts);
    }
    throw new Problem("bad_input", `--data: ${directory} cannot be read (${message})`, parts);
  }
}

/** Null where nobody is behind the directory's socket. */
async function open_owner_door(directory: string): Promise<Door | null> {
  if (!existsSync(directory)) return null;
  const socket = open_socket(directory);
  if (!(await answers(socket.path))) {
    socket.close();
    return null;
  }
  const door = open_http_door({ socket_path: socket.path, shown: directory });
  return {
    ask: door.ask,
    async close() {
      await door.close();
      socket.close();
    },
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EACCES" || error.code === "EPERM") {
        reject(
          new Problem("unavailable", `--data: the directory's owner is another user (${error.message})`, {
            field: "data",
          }),
        );
      } else {
        resolve(false);
      }
    });
  });
}
