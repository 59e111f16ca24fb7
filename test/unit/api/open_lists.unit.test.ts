/** Lists that are read slowly, or not at all, keep nobody out for longer than they are read. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { node_disk } from "#services/log/node_disk.js";
import type { HistoryEntry } from "#services/registry/answers.js";
import type { Registry } from "#services/registry/registry.js";
import { observed } from "../core/fleet.js";
import { open_in_process } from "../registry/in_process.js";
import { REPLAYED } from "./fake_registry.js";

let data: string;
let registry: Registry;
let app: ReturnType<typeof build_app>;

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "klpstate-lists-"));
  registry = await open_in_process(data, node_disk);
  app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
  // More than one page between the shard and the main thread.
  const events = Array.from({ length: 1_000 }, (_, at) => observed("h", { sequence: at + 1 }));
  await registry.ingest(encode_batch(events.map((event) => encode_event(event))));
});

afterEach(async () => {
  await registry.close();
  rmSync(data, { recursive: true });
});

function history(method = "GET") {
  return app.request("/v1/hosts/h/history", { method, headers: { accept: "application/x-ndjson" } });
}

test("so many histories are read at once, and one that ends makes room for the next", async () => {
  const reading: AsyncIterator<HistoryEntry>[] = [];
  let refusal: unknown = null;
  while (refusal === null && reading.length < 1_000) {
    await registry.history("h", {}).then(
      async (list) => {
        const iterator = list![Symbol.asyncIterator]();
        await iterator.next();
        reading.push(iterator);
      },
      (error) => {
        refusal = error;
      },
    );
  }
  expect(refusal).toMatchObject({ code: "busy", parts: { limit: `${reading.length} histories at once` } });
  const response = await history();
  expect([response.status, response.headers.get("retry-after")]).toEqual([429, "1"]);
  await reading[0]!.return!();
  const text = await (await history()).text();
  expect(text.split("\n")).toHaveLength(1_001);
  for (const iterator of reading) await iterator.return!();
});

test("a HEAD, of which nobody reads the lines, leaves no list open", async () => {
  for (let asked = 0; asked < 100; asked++) {
    const response = await history("HEAD");
    expect([response.status, response.body]).toEqual([200, null]);
  }
});
