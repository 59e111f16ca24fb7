// A registry in Kafka, asked at any of its nodes, answers what one in a directory does with the same events: now and then.
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { decode_catalog_record } from "#services/events/codec.js";
import type { ReplayAnswer } from "#services/registry/answers.js";
import {
  ask,
  ask_json,
  host_path,
  post,
  post_json,
  type Server,
  start_server,
  temporary_directory,
} from "../e2e/klpstate.js";
import { time_text } from "../e2e/past.js";
import { instants_to_ask, write_registry } from "../e2e/past_registry.js";
import { random_log } from "../model/random.js";
import { fold_log } from "../model/registry.js";
import {
  answers_all,
  digest_at,
  expect_folded,
  make_registry,
  type Node,
  owners,
  start_node,
} from "./nodes.js";
import { shared_settings } from "./shared_broker.js";
import { read_topic } from "./topic_records.js";

/** Of `write_registry`. */
const PARTITIONS = 3;
const SEED = 20_261_126;
const PATCHES = ["kp_1", "kp_2", "kp_3"];
const KERNELS = [
  ["6.12.1", "x86_64"],
  ["6.12.1", "arm64"],
  ["6.1.0", "x86_64"],
] as const;

const manifests = PATCHES.flatMap((name, i) =>
  KERNELS.map(([kernel_release, arch]) => ({
    name,
    kernel_release,
    arch,
    build_id: "0a",
    replace: i === 2,
    states: [
      { id: "1", version: i },
      { id: `${i + 2}`, version: 1 },
    ],
  })),
);

let nodes: Node[];
let embedded: Server;
let hosts: string[];
/** Queries: an instant, what was known at one, both, and neither. */
let instants: string[];
const settings = shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` });

beforeAll(async () => {
  await make_registry(settings);
  nodes = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
  const [log] = fc
    .sample(random_log({ hosts_max: 6, steps_max: 400 }), { seed: SEED, numRuns: 30 })
    .slice(-1);
  for (const [i, { bytes }] of log!.entries()) {
    const node = nodes[i % nodes.length]!;
    const sent = await post(node, "/v1/events", "application/x-protobuf", bytes);
    expect(sent.status, sent.text).toBe(200);
    const manifest = manifests[Math.floor((i * manifests.length) / log!.length)];
    const added = manifest && (await post_json(node, "/v1/patches", manifest));
    if (added) expect([200, 201], added.text).toContain(added.status);
  }
  const ends = (await answers_all(nodes[0]!, settings)).at.position;
  for (const node of nodes) await answers_all(node, settings);

  const found = await read_topic(settings, settings.topics.host_events);
  expect(Object.values(ends).map(Number)).toEqual(found.map((records) => records.length));
  const records = found
    .flatMap((of_partition, partition) =>
      of_partition.map(({ value, time_ms }) => ({
        partition,
        bytes: Uint8Array.from(value),
        log_time_ms: BigInt(time_ms),
      })),
    )
    .sort((a, b) => Number(a.log_time_ms - b.log_time_ms));
  const [catalog] = await read_topic(settings, settings.topics.catalog);
  const data = join(temporary_directory(), "registry");
  await write_registry(
    data,
    records,
    catalog!.map(({ value, time_ms }) => ({ record: decode_catalog_record(value), log_time_ms: time_ms })),
  );
  embedded = await start_server(data);

  const model = fold_log(records);
  hosts = [...model.hosts.keys()];
  const as_of = fc.sample(fc.constantFrom(...instants_to_ask(log!)), { seed: SEED, numRuns: 6 });
  const known_at = fc.sample(fc.constantFrom(...records), { seed: SEED, numRuns: 4 });
  const known = known_at.map(({ log_time_ms }) => `known_at=${time_text(log_time_ms)}`);
  const effective = as_of.map((instant) => `as_of=${time_text(instant)}`);
  instants = ["", ...effective, ...known, ...effective.slice(0, 3).map((each, i) => `${each}&${known[i]}`)];
});

/** With `at`, whose `as_of` is the clock's where nothing else was asked, left out. */
async function said(server: Pick<Server, "port">, path: string, body?: object): Promise<unknown> {
  const answer = await (body === undefined ? ask(server, path) : post_json(server, path, body));
  const document = JSON.parse(answer.text, (key, value: unknown) => (key === "at" ? undefined : value));
  return { status: answer.status, document };
}

async function expect_same(path: string, body?: object): Promise<void> {
  const wanted = await said(embedded, path, body);
  for (const node of nodes) expect(await said(node, path, body), `${node.name}: ${path}`).toEqual(wanted);
}

const query = (instant: string, ...more: string[]) => {
  const all = [instant, ...more].filter((each) => each !== "");
  return all.length === 0 ? "" : `?${all.join("&")}`;
};

describe("with the same events", () => {
  test("partitions have the same digests", async () => {
    const replay = await ask_json<ReplayAnswer>(embedded, "/v1/replay", { method: "POST" });
    expect(replay.matches).toBe(true);
    for (const [partition, owner] of (await owners(settings, nodes)).entries()) {
      const { digest } = replay.partitions.find((one) => one.partition === partition)!;
      expect(await digest_at(owner, partition), `partition ${partition}`).toBe(digest);
    }
    await expect_folded(settings, nodes);
  });

  test("the fleet is the same", async () => {
    for (const instant of instants) await expect_same(`/v1/fleet${query(instant, "limit=1000")}`);
  });

  test.each(PATCHES)("a check of %s says the same, of the fleet and of each host", async (patch) => {
    for (const instant of instants) {
      await expect_same(`/v1/checks${query(instant)}`, { patch });
      await expect_same(`/v1/checks${query(instant)}`, { patch, hosts: true, limit: 1000 });
    }
    await expect_same("/v1/checks", { patch, hosts: true, host_id: hosts[0] });
  });

  test("a check of many says the same", async () => {
    for (const instant of instants) await expect_same(`/v1/checks${query(instant)}`, { patches: PATCHES });
    await expect_same("/v1/checks?max_age=26h", { patches: [...PATCHES, ...PATCHES] });
  });

  test("each host is the same, its history and its states, too", async () => {
    expect(hosts.length).toBeGreaterThan(3);
    for (const host of hosts) {
      for (const instant of instants) {
        await expect_same(host_path(host, query(instant)));
        await expect_same(host_path(host, `/history${query(instant, "limit=1000")}`));
        await expect_same(host_path(host, `/states/1${query(instant)}`));
      }
    }
    await expect_same(host_path("nobody"));
  });
});
