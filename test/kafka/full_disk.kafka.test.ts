// A node whose disk is full takes no records, says so, and goes on where it was when there is room; the topic has all meanwhile.
import { afterAll, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { post } from "../e2e/klpstate.js";
import { small_disks } from "../e2e/small_disk.js";
import {
  answers_all,
  ends_of,
  eventually,
  expect_folded,
  fleet_of,
  make_registry,
  type Node,
  said,
  start_node,
} from "./nodes.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";

const HOSTS = 30;
const LINE_BYTES = 400;
/** Many times what any of the disks has. */
const BATCHES_MAX = 400;

const disks = small_disks();
afterAll(() => {
  for (const { disk } of disks) disk.remove();
});

test.each(disks)("$name", async ({ disk }) => {
  const settings = await make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: "2" }));
  const node = await start_node(settings, "a", { data: disk.data, under: disk.under });

  async function publish(sequence: number): Promise<void> {
    const events = Array.from({ length: HOSTS }, (_, i) => event(`web-${i}`, sequence, LINE_BYTES));
    const sent = await post(node, "/v1/events", "application/x-protobuf", encode_batch(events));
    expect(sent.status, sent.text).toBe(200);
  }

  let sequence = 1;
  while (!is_full(node)) {
    expect(sequence).toBeLessThan(BATCHES_MAX);
    await publish(sequence++);
  }
  // Kafka has room: what is acknowledged is there, and the node says how far it is.
  for (let more = 0; more < 3; more++) await publish(sequence++);
  const { position } = (await fleet_of(node)).at;
  const ends = await ends_of(settings);
  expect(ends.some((end, partition) => end > BigInt(position[partition]!))).toBe(true);
  expect(Object.values(position).every((at, partition) => BigInt(at) <= ends[partition]!)).toBe(true);

  disk.make_room(node);
  await eventually(async () => {
    expect(Object.values((await fleet_of(node)).at.position).map(BigInt)).toEqual(ends);
  });
  await answers_all(node, settings);
  await expect_folded(settings, [node]);
  expect(await node.stop()).toBe(0);
});

function is_full(node: Node): boolean {
  return said(node, /no room on the disk/).length > 0;
}
