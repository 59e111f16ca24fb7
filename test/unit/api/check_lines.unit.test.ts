/** The list of hosts as NDJSON says what its pages say, and ends when its reader goes away. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { node_disk } from "#services/log/node_disk.js";
import type { Registry } from "#services/registry/registry.js";
import { KERNEL, observed } from "../core/fleet.js";
import { open_in_process } from "../registry/in_process.js";
import { REPLAYED } from "./fake_registry.js";

const HOSTS = 9_000;
const DAY_MS = 86_400_000;

let data: string;
let registry: Registry;
let app: ReturnType<typeof build_app>;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), "klpstate-lines-"));
  registry = await open_in_process(data, node_disk);
  app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  await registry.publish({ ...KERNEL, name: "held", states: [{ id: 1, version: 2 }] });
  await registry.publish({ ...KERNEL, name: "offered", replace: true, states: [{ id: 1, version: 1 }] });
  await registry.publish({ ...KERNEL, name: "other", states: [] });
  const now_ms = Date.now();
  const ids = ['"', "\\h", "é\u2028", "𝒽"];
  const stacks = [[], ["held"], ["other"], ["strange"]];
  const events = Array.from({ length: HOSTS }, (_, i) =>
    observed(`${ids[i] ?? "h"}${i}`, { stack: stacks[i % 4]!, time_ms: now_ms - (i % 5) * DAY_MS }),
  );
  for (let at = 0; at < HOSTS; at += 3_000) {
    await registry.ingest(encode_batch(events.slice(at, at + 3_000).map((event) => encode_event(event))));
  }
});

afterAll(async () => {
  await registry.close();
  rmSync(data, { recursive: true });
});

function ask(body: object, accept: string) {
  return app.request("/v1/checks", {
    method: "POST",
    body: JSON.stringify({ patch: "offered", hosts: true, ...body }),
    headers: { "content-type": "application/json", accept },
  });
}

async function lines(body: object): Promise<string> {
  const response = await ask(body, "application/x-ndjson");
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/x-ndjson");
  return response.text();
}

async function pages(body: object): Promise<{ hosts: unknown[]; cursors: string[] }> {
  const hosts: unknown[] = [];
  const cursors: string[] = [];
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const response = await ask({ limit: 2_000, ...body, ...(cursor && { cursor }) }, "application/json");
    const page = (await response.json()) as { hosts: unknown[]; next: string | null };
    hosts.push(...page.hosts);
    cursor = page.next;
    if (cursor !== null) cursors.push(cursor);
  }
  return { hosts, cursors };
}

const as_lines = (hosts: unknown[]) => hosts.map((host) => `${JSON.stringify(host)}\n`).join("");

test.each([
  {},
  { verdicts: ["incompatible"] },
  { max_age: "49h" },
  { max_age: "49h", verdicts: ["unknown", "ok"] },
  { verdicts: ["unsupported"] },
])("%j", async (body) => {
  const { hosts, cursors } = await pages(body);
  expect((await lines(body)) === as_lines(hosts)).toBe(true);
  expect(await lines({ ...body, limit: 5 })).toBe(as_lines(hosts.slice(0, 5)));
  if (cursors[0] === undefined) return;
  expect(await lines({ ...body, limit: 5, cursor: cursors[0] })).toBe(as_lines(hosts.slice(2_000, 2_005)));
});

test("of one host, and as of an instant, the lines are the pages too", async () => {
  const host_id = '"0';
  expect(await lines({ host_id })).toBe(as_lines((await pages({ host_id })).hosts));
  const as_of = new Date().toISOString();
  const { hosts } = await pages({ as_of, limit: 10_000 });
  expect(hosts).toHaveLength(HOSTS);
  expect((await lines({ as_of })) === as_lines(hosts)).toBe(true);
  expect(await lines({ as_of, limit: 3 })).toBe(as_lines(hosts.slice(0, 3)));
});

test("a question that cannot be answered has its status", async () => {
  expect((await ask({ patch: "nowhere" }, "application/x-ndjson")).status).toBe(404);
  const cursor = Buffer.from("nobody").toString("base64url");
  expect((await ask({ cursor }, "application/x-ndjson")).status).toBe(400);
});

test("a reader who goes away leaves no list open", async () => {
  for (let asked = 0; asked < 300; asked++) {
    const response = await ask({}, "application/x-ndjson");
    expect(response.status).toBe(200);
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
  }
});
