// What nodes tell of what changes, while they are killed and stand still: after repeats are dropped, the plain model's.
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type CausePosition, is_after } from "#services/events/cause.js";
import { manifest_from_json } from "#services/events/json.js";
import { decode_state_change } from "#services/events/state_change.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { ask_json, post, post_json } from "../e2e/klpstate.js";
import { apply_catalog_record, new_catalog } from "../model/catalog.js";
import { expected_changes } from "../model/changes.js";
import { random_log } from "../model/random.js";
import {
  answers_all,
  eventually,
  make_registry,
  type Node,
  owners,
  SESSION_TIMEOUT_MS,
  start_node,
} from "./nodes.js";
import { shared_settings } from "./shared_broker.js";
import { read_topic } from "./topic_records.js";

const PARTITIONS = 3;
const SEED = 20_261_127;

const manifests = ["kp_1", "kp_2", "kp_3"].flatMap((name, i) =>
  [
    ["6.12.1", "x86_64"],
    ["6.12.1", "arm64"],
    ["6.1.0", "x86_64"],
  ].map(([kernel_release, arch]) => ({
    name,
    kernel_release,
    arch,
    states: [
      { id: "1", version: i },
      { id: `${i + 2}`, version: 1 },
    ],
  })),
);

/** Of all partitions, without repeats. */
async function told_of(settings: KafkaSettings) {
  const records = await read_topic(settings, settings.topics.state_changes);
  return records.flatMap((partition) => {
    let last: CausePosition | null = null;
    return partition.flatMap(({ value }) => {
      // A mark.
      if (value === null) return [];
      const { event, change, stream, sequence, states_left_out, catalog_next_offset, ...told } =
        decode_state_change(value);
      if (!is_after(told.cause, last)) return [];
      last = told.cause;
      return [told];
    });
  });
}

async function expected_of(settings: KafkaSettings) {
  const catalog = new_catalog();
  for (const manifest of manifests) {
    apply_catalog_record(catalog, { published: manifest_from_json(manifest) });
  }
  const records = await read_topic(settings, settings.topics.host_events);
  return records.flatMap((partition, number) => {
    const in_log = partition.map(({ offset, value, time_ms }) => ({
      offset,
      bytes: Uint8Array.from(value),
      log_time_ms: BigInt(time_ms),
    }));
    return expected_changes(in_log, number, catalog);
  });
}

async function expect_told(settings: KafkaSettings): Promise<void> {
  const expected = await expected_of(settings);
  expect(expected.length).toBeGreaterThan(0);
  await eventually(async () => expect(await told_of(settings)).toEqual(expected));
}

async function knows_all_patches(node: Node): Promise<void> {
  await eventually(async () => {
    const { patches } = await ask_json<{ patches: unknown[] }>(node, "/v1/patches");
    expect(patches).toHaveLength(manifests.length);
  });
}

test("every change is told once, in order, through kill -9 and a pause longer than the session", async () => {
  const settings = await make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));
  let a = await start_node(settings, "a");
  const b = await start_node(settings, "b");
  for (const manifest of manifests) {
    expect((await post_json(a, "/v1/patches", manifest)).status).toBe(201);
  }
  await knows_all_patches(b);
  await owners(settings, [a, b]);
  // It is on record where telling begins.
  await eventually(async () => {
    const records = await read_topic(settings, settings.topics.state_changes);
    expect(records.map((partition) => partition.length > 0)).not.toContain(false);
  });

  const [records] = fc.sample(random_log({ hosts_max: 6, steps_max: 240 }), { seed: SEED, numRuns: 1 });
  let next = 0;
  async function send(count: number, node: Node): Promise<void> {
    for (const { bytes } of records!.slice(next, next + count)) {
      await eventually(async () => {
        const { status, text } = await post(node, "/v1/events", "application/x-protobuf", bytes);
        expect(status, text).toBe(200);
      });
    }
    next += count;
  }
  const part = Math.ceil(records!.length / 4);
  await send(part, a);
  await expect_told(settings);

  // Between an append and its commit, most likely: commits are seconds apart.
  await send(part, b);
  await a.kill();
  await send(Math.ceil(part / 2), b);
  await expect_told(settings);

  a = await start_node(settings, "a");
  await owners(settings, [a, b]);
  await send(Math.ceil(part / 2), a);
  b.pause();
  await sleep(SESSION_TIMEOUT_MS * 2);
  await send(part, a);
  b.resume();
  await eventually(async () => void (await answers_all(b, settings)));
  await expect_told(settings);
});
