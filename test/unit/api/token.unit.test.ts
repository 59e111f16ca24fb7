import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { type Listening, listen } from "#services/api/listen.js";
import { parse_token } from "#services/api/token.js";
import { Problem } from "#services/events/problem.js";
import { FakeRegistry, host_answer, REPLAYED } from "./fake_registry.js";

const TOKEN = "correct-horse-battery-staple";

let directory: string;
let listening: Listening;

beforeEach(async () => {
  const registry = new FakeRegistry();
  registry.hosts.set("web-17", host_answer("web-17"));
  directory = mkdtempSync(join(tmpdir(), "klpstate-token-"));
  const app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  listening = await listen(app, {
    address: { host: "0.0.0.0", port: 0 },
    socket_path: join(directory, "registry.sock"),
    token: TOKEN,
    log: null,
  });
});

afterEach(async () => {
  await listening.close();
  rmSync(directory, { recursive: true });
});

interface Got {
  status: number | undefined;
  challenge: string | undefined;
  body: string;
}

/** The path goes over the wire as it is. */
function get(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Got> {
  return get_from({ host: "127.0.0.1", port: new URL(listening.url).port, path, headers, method });
}

function get_from(options: object): Promise<Got> {
  return new Promise((resolve, reject) => {
    const asked = request(options, async (response) => {
      const body = (await response.toArray()).join("");
      resolve({ status: response.statusCode, challenge: response.headers["www-authenticate"], body });
    });
    asked.once("error", reject);
    asked.end();
  });
}

test.each([`Bearer ${TOKEN}`, `bearer ${TOKEN}`, `Bearer  ${TOKEN} `])(
  "%j is the token, under any name of the server",
  async (authorization) => {
    const { status } = await get("/v1/hosts/web-17", { authorization, host: "klpstate.example" });
    expect(status).toBe(200);
  },
);

test.each([
  ["no token", {}],
  ["another token", { authorization: "Bearer another-horse-battery-staple" }],
  ["a part of it", { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
  ["more than it", { authorization: `Bearer ${TOKEN}x` }],
  ["two of them", { authorization: `Bearer ${TOKEN} ${TOKEN}` }],
  ["an empty one", { authorization: "Bearer " }],
  ["another scheme", { authorization: `Basic ${TOKEN}` }],
  ["it without a scheme", { authorization: TOKEN }],
])("with %s nothing is answered, and the document does not say what was given", async (_, headers) => {
  for (const path of ["/v1/hosts/web-17", "/openapi.json", "/metrics", "/readyz", "/nowhere"]) {
    const { status, challenge, body } = await get(path, headers);
    expect([status, challenge]).toEqual([401, "Bearer"]);
    expect(JSON.parse(body)).toMatchObject({ type: "urn:klpstate:problem:unauthorized", status: 401 });
    expect(body).not.toContain("horse");
  }
});

test("whether the process answers is told to anybody", async () => {
  expect((await get("/healthz")).status).toBe(200);
  expect((await get("/healthz?from=probe")).status).toBe(200);
});

test.each(["/healthz/", "//healthz", "/v1/fleet\\..\\..\\healthz", "/v1/..%2fhealthz", "/healthz%2f"])(
  "%s is not taken for /healthz",
  async (path) => {
    expect([400, 401]).toContain((await get(path)).status);
  },
);

test("the owner needs no token at the socket", async () => {
  const { status } = await get_from({
    socketPath: join(directory, "registry.sock"),
    path: "/v1/hosts/web-17",
  });
  expect(status).toBe(200);
});

test("with a token a loopback server still refuses foreign names", async () => {
  const app = build_app({ registry: new FakeRegistry(), replay: async () => REPLAYED, version: "0.0.0" });
  const local = await listen(app, {
    address: { host: "127.0.0.1", port: 0 },
    socket_path: null,
    token: TOKEN,
    log: null,
  });
  const { hostname, port } = new URL(local.url);
  const headers = { authorization: `Bearer ${TOKEN}`, host: "evil.example" };
  expect((await get_from({ hostname, port, path: "/v1/fleet", headers })).status).toBe(421);
  await local.close();
});

test.each([
  ["", "empty"],
  ["fifteen-letters", "15 bytes"],
  ["two words of a token", "white space"],
  ["a-token-with-a-line\n", "white space"],
  ["a-token-with-a\0zero", "control"],
  ["schlüssel-zum-register", "ASCII"],
  ["x".repeat(1025), "1025 bytes"],
])("%j is no token, and the message says why and not what", (text, why) => {
  const refused = () => parse_token(text, "KLPSTATE_TOKEN");
  expect(refused).toThrow(Problem);
  expect(refused).toThrow(/^KLPSTATE_TOKEN: /);
  expect(refused).toThrow(why);
  if (text !== "") expect(refused).not.toThrow(text);
});

test("the OpenAPI document says how the token is shown", async () => {
  const { body } = await get("/openapi.json", { authorization: `Bearer ${TOKEN}` });
  const document = JSON.parse(body);
  expect(document.components.securitySchemes.token).toMatchObject({ type: "http", scheme: "bearer" });
  expect(document.security).toEqual([{ token: [] }, {}]);
  expect(document.paths["/healthz"].get.security).toEqual([]);
});
