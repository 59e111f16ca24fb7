/**
 * Serves an app on a TCP address of this machine and, for the registry's owner, on a socket in its directory.
 *
 * Without a token whoever reaches the address may write, so it must be a loopback one. A loopback address can also be
 * reached by a page in this machine's browser, which may send a request anywhere, and read the answer under a name that
 * it makes point here: so the Host and the Origin of a request must be loopback names. Off loopback there is always a
 * token. A page does not have it, and the server's names are not known here, so names are not looked at.
 *
 * The owner's socket needs no token: its mode is 0600 and it lies in the owner's directory, so who can open it could as
 * well read and write the log itself.
 */
import { chmodSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo, ListenOptions as BindOptions } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Logger } from "pino";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { Carrier } from "./lists.js";
import { document_of, plain_document, problem_response } from "./problem_document.js";
import { guard_of } from "./token.js";

export interface ListenAddress {
  /** Without the brackets of an IPv6 address. */
  host: string;
  /** 0: the system picks one. */
  port: number;
}

export interface Listening {
  url: string;
  /** Takes no more requests, and resolves when those that run have ended or the grace is over. */
  close(): Promise<void>;
}

const CLOSE_GRACE_MS = 10_000;
const IDLE_SWEEP_MS = 25;

const LOOPBACK_NAME = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/**
 * `HOST:PORT`, with an IPv6 address in brackets. Throws Problem for what is no address, and, without a token, for what
 * is not of loopback.
 */
export function parse_listen(text: string, has_token: boolean): ListenAddress {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(parts?.[3]);
  const value = shorten(text);
  if (parts === null || port > 65_535) {
    const limit = "HOST:PORT, port 0 to 65535";
    throw new Problem("bad_input", `listen: ${value} is no address; ${limit}, such as 127.0.0.1:7350`, {
      field: "listen",
      value,
      limit,
    });
  }
  const host = (parts[1] ?? parts[2]!).toLowerCase();
  if (has_token || LOOPBACK_NAME.test(host)) return { host, port };
  const limit = "127.0.0.0/8, [::1] or localhost";
  throw new Problem(
    "bad_input",
    `listen: ${value} is not a loopback address, and without a token anybody who reaches it could write; ` +
      `set KLPSTATE_TOKEN, or listen on ${limit}`,
    { field: "listen", value, limit },
  );
}

/** What is served: an app, as far as a server is concerned. */
interface Served {
  fetch(request: Request, carrier: Carrier): Response | Promise<Response>;
}

export interface ListenOptions {
  address: ListenAddress;
  /** Where the owner's socket is made; null: nowhere. The caller must hold the claim on its directory. */
  socket_path: string | null;
  /** What a request over TCP has to show; null: nothing. */
  token: string | null;
  log: Logger | null;
  /** Takes what only other nodes of the registry ask, who show something else than the token; null: it is not that. */
  peers?(request: Request): Promise<Response | null>;
}

export async function listen(app: Served, options: ListenOptions): Promise<Listening> {
  const { address, socket_path, token, log, peers = async () => null } = options;
  const guard = token === null ? null : guard_of(token);
  const of_loopback = LOOPBACK_NAME.test(address.host);
  const tcp = new_server(log, async (request, carrier) => {
    const for_peers = await peers(request);
    if (for_peers !== null) return for_peers;
    const foreign = of_loopback ? foreign_name(request.headers) : undefined;
    if (foreign !== undefined) {
      const detail = `${shorten(foreign)} is not a name of this machine's loopback; ask by 127.0.0.1 or localhost`;
      return problem_response(plain_document(421, "Misdirected request", detail));
    }
    const refusal = guard === null ? null : guard(request);
    if (refusal === null) return app.fetch(request, carrier);
    return problem_response(document_of(refusal), { "www-authenticate": "Bearer" });
  });
  await bind(tcp, { host: address.host, port: address.port }, `${address.host}:${address.port}`);
  const servers = [tcp];
  if (socket_path !== null) {
    const owner = new_server(log, (request, carrier) => app.fetch(request, carrier));
    try {
      // One that a killed owner left: nobody can be behind it while the claim is held.
      rmSync(socket_path, { force: true });
      await bind(owner, { path: socket_path }, socket_path);
      chmodSync(socket_path, 0o600);
    } catch (error) {
      await Promise.all([tcp, owner].filter(({ listening }) => listening).map(close_server));
      throw error;
    }
    servers.push(owner);
  }
  const url = url_of(tcp.address() as AddressInfo);
  log?.info({ url }, "listening");
  return {
    url,
    async close() {
      await Promise.all(servers.map(close_server));
    },
  };
}

/** The Host or Origin that is not of loopback. */
function foreign_name(headers: Headers): string | undefined {
  const origin = headers.get("origin");
  const names = [headers.get("host") ?? "", ...(origin === null ? [] : [origin])];
  return names.find((name) => !is_loopback(name));
}

/** Of a `HOST`, with or without its port, and of an origin's. */
function is_loopback(host: string): boolean {
  const name = host
    .replace(/^https?:\/\//, "")
    .replace(/:[0-9]+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
  return LOOPBACK_NAME.test(name.toLowerCase());
}

function new_server(log: Logger | null, fetch: Served["fetch"]): Server {
  return createAdaptorServer({
    fetch(request, { incoming, outgoing }) {
      return fetch(request, {
        break_off(error) {
          log?.error({ err: error, method: incoming.method, url: incoming.url }, "answer broken off");
          outgoing.destroy();
        },
      });
    },
    overrideGlobalObjects: false,
  }) as Server;
}

function bind(server: Server, options: BindOptions, shown: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "it is in use" : error.message;
      reject(
        new Problem("unavailable", `listen: cannot listen on ${shown}: ${why}`, {
          field: "listen",
          value: shown,
        }),
      );
    };
    server.once("error", refuse);
    server.listen(options, () => {
      server.off("error", refuse);
      resolve();
    });
  });
}

function close_server(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // A kept-alive connection whose request has just ended is idle only then.
    const sweep = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS);
    const grace = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
    server.close(() => {
      clearInterval(sweep);
      clearTimeout(grace);
      resolve();
    });
  });
}

function url_of({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}
