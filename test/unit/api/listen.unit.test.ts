import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { type Listening, listen, parse_listen } from "#services/api/listen.js";
import { Problem } from "#services/events/problem.js";
import { FakeRegistry, host_answer, host_verdict, REPLAYED } from "./fake_registry.js";

let registry: FakeRegistry;
let directory: string;
let listening: Listening;

beforeEach(async () => {
  registry = new FakeRegistry();
  registry.hosts.set("web-17", host_answer("web-17"));
  directory = mkdtempSync(join(tmpdir(), "klpstate-listen-"));
  writeFileSync(join(directory, "registry.sock"), "left by a dead owner");
  const app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  listening = await listen(app, {
    address: { host: "127.0.0.1", port: 0 },
    socket_path: join(directory, "registry.sock"),
    token: null,
    log: null,
  });
});

afterEach(async () => {
  await listening.close();
  rmSync(directory, { recursive: true });
});

test.each([
  ["127.0.0.1:7350", { host: "127.0.0.1", port: 7350 }],
  ["localhost:0", { host: "localhost", port: 0 }],
  ["[::1]:80", { host: "::1", port: 80 }],
])("%s is a loopback address", (text, address) => {
  expect(parse_listen(text, false)).toEqual(address);
});

test.each([
  "0.0.0.0:7350",
  "[::]:7350",
  "192.168.1.7:7350",
  "127.0.0.1",
  "7350",
  "127.0.0.1:65536",
  "localhost.example:1",
])("%s is refused without a token", (text) => {
  expect(() => parse_listen(text, false)).toThrow(Problem);
  expect(() => parse_listen(text, false)).toThrow(`"${text}"`);
});

test("who wants to listen off loopback is told to set a token, and may with one", () => {
  expect(() => parse_listen("0.0.0.0:7350", false)).toThrow("set KLPSTATE_TOKEN");
  expect(parse_listen("0.0.0.0:7350", true)).toEqual({ host: "0.0.0.0", port: 7350 });
});

test("TCP and the owner's socket give the same answer, and only the owner may use the socket", async () => {
  const over_tcp = await fetch(`${listening.url}/v1/hosts/web-17`).then((response) => response.json());
  const over_socket = await get({ socketPath: join(directory, "registry.sock"), path: "/v1/hosts/web-17" });
  expect(JSON.parse(over_socket.body)).toEqual(over_tcp);
  expect(statSync(join(directory, "registry.sock")).mode & 0o777).toBe(0o600);
});

test("a request of a foreign origin, or under a foreign name, is refused: a page in a browser made it", async () => {
  const { hostname, port } = new URL(listening.url);
  for (const headers of [{ host: "evil.example" }, { origin: "http://evil.example" }, { origin: "null" }]) {
    const { status, body } = await get({ hostname, port, path: "/healthz", headers });
    expect([status, JSON.parse(body).status]).toEqual([421, 421]);
  }
  const { status } = await get({
    hostname,
    port,
    path: "/healthz",
    headers: { origin: `http://[::1]:${port}` },
  });
  expect(status).toBe(200);
});

test("an address in use is a Problem that names it", async () => {
  const { port } = new URL(listening.url);
  const app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  const address = { host: "127.0.0.1", port: Number(port) };
  await expect(listen(app, { address, socket_path: null, token: null, log: null })).rejects.toThrow(
    `127.0.0.1:${port}: it is in use`,
  );
});

test("closing lets a request that runs end, and takes no other", async () => {
  let finish = () => {};
  registry.check = () =>
    new Promise((_, reject) => {
      finish = () => reject(new Problem("unavailable", "it took long"));
    });
  const running = fetch(`${listening.url}/v1/checks`, {
    method: "POST",
    body: '{"patch":"kp_1"}',
    headers: { "content-type": "application/json" },
  });
  await expect.poll(() => finish.toString()).toContain("it took long");
  const closed = listening.close();
  await expect(fetch(`${listening.url}/healthz`)).rejects.toThrow();
  finish();
  expect((await running).status).toBe(503);
  await closed;
});

test("an answer that fails half-way is broken off, not ended", async () => {
  registry.check_hosts = async function* () {
    for (let host = 0; host < 10_000; host++) yield host_verdict(`h${host}`, "ok");
    throw new Problem("unavailable", "the partition broke");
  };
  const response = await fetch(`${listening.url}/v1/checks`, {
    method: "POST",
    body: '{"patch":"kp_1","hosts":true}',
    headers: { "content-type": "application/json", accept: "application/x-ndjson" },
  });
  expect(response.status).toBe(200);
  await expect(response.text()).rejects.toThrow();
});

test("a body far over the limit gets its answer all the same", async () => {
  const response = await fetch(`${listening.url}/v1/events`, {
    method: "POST",
    body: new Uint8Array(8 * 1024 * 1024),
    headers: { "content-type": "application/x-protobuf" },
  });
  expect(response.status).toBe(413);
});

function get(options: object): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(options, async (response) => {
      const body = (await response.toArray()).join("");
      resolve({ status: response.statusCode, body });
    });
    asked.once("error", reject);
    asked.end();
  });
}
