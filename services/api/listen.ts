/**
 * Serves an app on a TCP address of this machine and, for the registry's owner, on a socket in its directory.
 *
 * There are no tokens yet, so the address must be a loopback one, and so must be the Host and the Origin that a request
 * names: else a page in this machine's browser could write, or read under a name that it makes point here.
 */
import { chmodSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo, ListenOptions } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Logger } from "pino";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { Carrier } from "./lists.js";
import { plain_document, problem_response } from "./problem_document.js";

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

/** `HOST:PORT`, with an IPv6 address in brackets. Throws Problem for what is no address or not of loopback. */
export function parse_listen(text: string): ListenAddress {
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
  if (LOOPBACK_NAME.test(host)) return { host, port };
  const limit = "127.0.0.0/8, [::1] or localhost";
  throw new Problem(
    "bad_input",
    `listen: ${value} is not a loopback address; without tokens anybody who reaches it could write: only ${limit}`,
    { field: "listen", value, limit },
  );
}

/** What is served: an app, as far as a server is concerned. */
interface Served {
  fetch(request: Request, carrier: Carrier): Response | Promise<Response>;
}

/** `socket_path`: where the owner's socket is made; the caller must hold the claim on its directory. */
export async function listen(
  app: Served,
  address: ListenAddress,
  socket_path: string | null,
  log: Logger | null,
): Promise<Listening> {
  const tcp = new_server(log, (request, carrier) => {
    const host = request.headers.get("host") ?? "";
    const origin = request.headers.get("origin");
    const foreign = [host, ...(origin === null ? [] : [origin])].find((name) => !is_loopback(name));
    if (foreign === undefined) return app.fetch(request, carrier);
    const detail = `${shorten(foreign)} is not a name of this machine's loopback; ask by 127.0.0.1 or localhost`;
    return problem_response(plain_document(421, "Misdirected request", detail));
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

function bind(server: Server, options: ListenOptions, shown: string): Promise<void> {
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
