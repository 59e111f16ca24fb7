/**
 * test/fixtures/format-1/registry was written by a klpstate of format version 1 (scripts/make_format_1.mjs). Whoever has
 * such a directory finds in it what was stored, whatever version opens it.
 */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import type { HostAnswer, PatchEntry } from "#services/registry/answers.js";
import { fold_log, hosts_digest } from "../model/registry.js";
import {
  ask_json,
  host_path,
  post_json,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { history_of, replayed_digest } from "./publisher.js";
import { stream_expectations, view_of_answer, view_of_model } from "./views.js";

const FIXTURE = join(import.meta.dirname, "../fixtures/format-1");

function documents(name: string): Record<string, unknown>[] {
  const lines = readFileSync(join(FIXTURE, name), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

const events = documents("events.ndjson");
const records = events.map((event) => ({
  bytes: encode_batch([event_from_json(event)]),
  log_time_ms: BigInt(Date.UTC(2026, 5, 1)),
}));
const model = fold_log(records);

let server: Server;
beforeAll(async () => {
  const data = join(temporary_directory(), "registry");
  cpSync(join(FIXTURE, "registry"), data, { recursive: true });
  server = await start_server(data);
});

test("a registry of format 1 has every host as its events make it", async () => {
  expect(model.hosts.size).toBe(9);
  const expectations = new Map(stream_expectations().map((one) => [one.host_id, one]));
  for (const [host_id, host] of model.hosts) {
    const view = view_of_answer(await ask_json<HostAnswer>(server, host_path(host_id)));
    expect(view).toEqual(view_of_model(host));
    // Each is a host of the conformance streams, with all of its events.
    expect(view).toEqual(expectations.get(host_id)!.now);
    const history = await history_of(server, host_id);
    expect(history.map(({ effect }) => effect)).toEqual(expectations.get(host_id)!.effects);
  }
});

test("a registry of format 1 has the digest that its events have", async () => {
  expect(await replayed_digest(server)).toBe(hosts_digest(model.hosts.values()));
});

test("a registry of format 1 has its manifests, and one of them withdrawn", async () => {
  const { patches } = await ask_json<{ patches: PatchEntry[] }>(server, "/v1/patches");
  const manifests = documents("manifests.ndjson");
  expect(patches).toMatchObject(manifests.map((manifest) => ({ manifest: { name: manifest.name } })));
  expect(patches[0]!.manifest).toEqual(manifests[0]);
  expect(patches.map(({ withdrawn }) => withdrawn?.reason)).toEqual([undefined, undefined, "superseded"]);
});

test("a registry of format 1 takes what comes next", async () => {
  const host_id = "h00003-x";
  const { stream, sequence } = model.hosts.get(host_id)!;
  const next = {
    host_id,
    stream: String(stream),
    sequence: String(sequence + 1n),
    time_unix_ms: "1790000000000",
  };
  const event = { ...next, loaded: { patch: { name: "kp_next" } } };
  expect((await post_json(server, "/v1/events", { events: [event] })).status).toBe(200);
  expect(await server.stop()).toBe(0);
  server = await start_server(server.data);
  const host = await ask_json<HostAnswer>(server, host_path(host_id));
  expect(host).toMatchObject({ sequence: next.sequence, knowledge: "complete" });
  expect(host.stack.at(-1)).toMatchObject({ name: "kp_next", phase: "enabled" });
});
