// Writes test/fixtures/format-1/registry as a klpstate with format version 1 does, the same bytes each time, from the
// events and manifests beside it. To be run while this is that klpstate: a later one has to read what is there.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepare } from "./prepare.mjs";

prepare();
const services = join("..", "dist", "services");
const { Catalog } = await import(join(services, "catalog/catalog.js"));
const { load_core_module } = await import(join(services, "core/module.js"));
const { WayIn } = await import(join(services, "core/way_in.js"));
const { encode_batch } = await import(join(services, "events/codec.js"));
const { event_from_json, manifest_from_json } = await import(join(services, "events/json.js"));
const { Log } = await import(join(services, "log/log.js"));
const { node_disk } = await import(join(services, "log/node_disk.js"));
const { create_registry, FORMAT_VERSION } = await import(join(services, "log/registry_file.js"));

if (FORMAT_VERSION !== 1) throw new Error(`this klpstate writes format ${FORMAT_VERSION}`);

const PARTITIONS = 2;
const EVENTS_OF_COMMIT = 8;
// Small, so that each log has several segments.
const SEGMENT_BYTES_MAX = 1500;

const fixture = join(dirname(fileURLToPath(import.meta.url)), "../test/fixtures/format-1");
const data = join(fixture, "registry");
const lines_of = (name) => readFileSync(join(fixture, name), "utf8").trimEnd().split("\n").map(JSON.parse);

let now = Date.UTC(2026, 5, 1);
const options = (name) => ({
  disk: node_disk,
  directory: join(data, "log", String(name)),
  name: `the log ${name}`,
  segment_bytes_max: SEGMENT_BYTES_MAX,
  now: () => now,
});

rmSync(data, { recursive: true, force: true });
mkdirSync(data, { recursive: true });
await create_registry(node_disk, data, {
  registry_id: "00000000-0000-4000-8000-000000000001",
  partitions: PARTITIONS,
  created_ms: now,
});

const logs = [];
for (let partition = 0; partition < PARTITIONS; partition++)
  logs.push((await Log.open(options(partition))).log);
const way_in = new WayIn(load_core_module());
const events = lines_of("events.ndjson").map((event) => event_from_json(event));
for (let first = 0; first < events.length; first += EVENTS_OF_COMMIT) {
  now += 1000;
  const { records } = way_in.cut(encode_batch(events.slice(first, first + EVENTS_OF_COMMIT)), PARTITIONS);
  for (const { partition, bytes } of records) await logs[partition].append([bytes]);
}
for (const log of logs) await log.close();

const { catalog } = await Catalog.open({ ...options("catalog"), on_change() {} });
const manifests = lines_of("manifests.ndjson").map((manifest) => manifest_from_json(manifest));
for (const manifest of manifests) {
  now += 1000;
  await catalog.publish(manifest);
}
await catalog.withdraw(manifests.at(-1), "superseded", "the maker of this registry");
await catalog.close();
