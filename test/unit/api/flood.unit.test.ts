/** Many clients at once, and a disk that does not keep up. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { BODIES_BYTES_MAX } from "#services/api/body_room.js";
import { type Listening, listen } from "#services/api/listen.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import type { Registry } from "#services/registry/registry.js";
import { observed } from "../core/fleet.js";
import { HeldDisk, open_in_process } from "../registry/in_process.js";
import { REPLAYED } from "./fake_registry.js";

const CLIENTS = 110;
const EVENTS = 200;

let data: string;
let slow: HeldDisk;
let registry: Registry;
let listening: Listening;

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "klpstate-flood-"));
  slow = new HeldDisk();
  registry = await open_in_process(data, slow.disk);
  const app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  listening = await listen(app, {
    address: { host: "127.0.0.1", port: 0 },
    socket_path: null,
    token: null,
    log: null,
  });
});

afterEach(async () => {
  slow.release();
  await listening.close();
  await registry.close();
  rmSync(data, { recursive: true });
});

const stack = Array.from({ length: 64 }, (_, at) => `${"p".repeat(50)}${at}`);

/** About 800 KiB; of the same length for every client. */
function batch_of(client: number): Uint8Array<ArrayBuffer> {
  const host_id = `client-${String(client).padStart(4, "0")}`;
  const events = Array.from({ length: EVENTS }, (_, at) =>
    encode_event(observed(host_id, { stack, sequence: at + 1 })),
  );
  return Uint8Array.from(encode_batch(events));
}

async function post(body: Uint8Array<ArrayBuffer>): Promise<{ status: number; retry_after: string | null }> {
  const response = await fetch(`${listening.url}/v1/events`, {
    method: "POST",
    body,
    headers: { "content-type": "application/x-protobuf" },
  });
  await response.text();
  return { status: response.status, retry_after: response.headers.get("retry-after") };
}

async function held_bytes(): Promise<number> {
  const metrics = await fetch(`${listening.url}/metrics`).then((response) => response.text());
  return Number(/^klpstate_http_event_body_bytes (\d+)$/m.exec(metrics)![1]);
}

test("a flood is refused beyond the limit of bytes, keeps what it acknowledged, and is over when it is over", async () => {
  const batches = Array.from({ length: CLIENTS }, (_, client) => batch_of(client));
  const bytes = batches[0]!.length;
  expect(CLIENTS * bytes).toBeGreaterThan(1.2 * BODIES_BYTES_MAX);

  slow.hold();
  let refused = 0;
  const answers = batches.map(async (batch) => {
    const answer = await post(batch);
    if (answer.status === 429) refused += 1;
    return answer;
  });
  let held_max = 0;
  const held_or_refused = async () => {
    const held = await held_bytes();
    held_max = Math.max(held_max, held);
    return held + refused * bytes;
  };
  await expect.poll(held_or_refused, { timeout: 60_000 }).toBe(CLIENTS * bytes);
  expect(held_max).toBeLessThanOrEqual(BODIES_BYTES_MAX);
  expect(refused).toBeGreaterThan(0);
  expect(refused).toBeLessThan(CLIENTS);
  // Questions are answered all the while.
  expect((await fetch(`${listening.url}/v1/fleet`)).status).toBe(200);

  slow.release();
  const ended = await Promise.all(answers);
  for (const [client, { status, retry_after }] of ended.entries()) {
    expect([200, 429]).toContain(status);
    if (status === 429) expect(retry_after).toBe("1");
    const host = await registry.host(`client-${String(client).padStart(4, "0")}`, {});
    expect(host?.sequence).toBe(status === 200 ? String(EVENTS) : undefined);
  }
  expect(ended.filter(({ status }) => status === 429)).toHaveLength(refused);
  expect(await held_bytes()).toBe(0);
  const client = ended.findIndex(({ status }) => status === 429);
  expect((await post(batches[client]!)).status).toBe(200);
});
