/** The door to a server: HTTP over TCP or over a socket of this machine. */
import {
  Agent,
  type ClientRequest,
  request as http_request,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as HttpsAgent, request as https_request } from "node:https";
import { Problem } from "../events/problem.js";
import type { Door, Question, Reply } from "./door.js";

/** `shown` names the socket in messages; the token goes to a URL's server only, and into no message. */
export type ServerAddress = { url: URL; token: string | null } | { socket_path: string; shown: string };

const CONNECT_TIMEOUT_MS = 10_000;

export function open_http_door(address: ServerAddress): Door {
  const shown = "url" in address ? address.url.origin : `the socket in ${address.shown}`;
  const secure = "url" in address && address.url.protocol === "https:";
  const agent = secure ? new HttpsAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  const base: RequestOptions =
    "url" in address
      ? {
          host: address.url.hostname.replace(/^\[(.*)\]$/, "$1"),
          port: address.url.port || (secure ? 443 : 80),
        }
      : { socketPath: address.socket_path, host: "localhost" };
  const authorization =
    "url" in address && address.token !== null ? { authorization: `Bearer ${address.token}` } : {};
  const prefix = "url" in address ? address.url.pathname.replace(/\/$/, "") : "";

  return {
    ask(question) {
      const request = (secure ? https_request : http_request)({
        ...base,
        agent,
        method: question.method,
        path: prefix + path_of(question),
        headers: { ...headers_of(question), ...authorization },
      });
      return reply_to(request, question, shown);
    },
    async close() {
      agent.destroy();
    },
  };
}

/** With its query; parameters that are undefined are left out. */
export function path_of({ path, query = {} }: Question): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}

export function headers_of({ body, content_type, accept }: Question): Record<string, string> {
  return {
    accept: accept ?? "application/json",
    ...(content_type !== undefined && { "content-type": content_type }),
    ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
  };
}

function reply_to(request: ClientRequest, { body }: Question, shown: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let answered = false;
    request.once("socket", (socket) => {
      if (!socket.connecting) return;
      const late = () => request.destroy(new Error("no connection within 10 s"));
      const timer = setTimeout(late, CONNECT_TIMEOUT_MS);
      socket.once("close", () => clearTimeout(timer));
      socket.once("connect", () => clearTimeout(timer));
    });
    request.once("response", (response) => {
      answered = true;
      resolve({
        status: response.statusCode ?? 0,
        header: (name) => response.headers[name]?.toString(),
        body: unbroken(response, shown),
      });
    });
    request.on("error", (error) => {
      // After the answer has begun, its reader is told by the body.
      if (!answered) reject(away(shown, error));
    });
    request.end(body);
  });
}

async function* unbroken(response: IncomingMessage, shown: string): AsyncGenerator<Uint8Array> {
  try {
    yield* response as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new Problem("unavailable", `${shown}: the answer broke off before its end (${reason_of(error)})`);
  }
}

function away(shown: string, error: Error): Problem {
  return new Problem(
    "unavailable",
    `no answer from ${shown} (${reason_of(error)}); is "klpstate serve" running? --server URL or --data DIR name another`,
  );
}

/** Trying several addresses of a name fails with all of their errors, and no message of its own. */
function reason_of(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reason_of).join("; ");
  return error instanceof Error ? error.message : String(error);
}
