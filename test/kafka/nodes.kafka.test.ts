// Nodes come and go, and are killed; what they answer is the fold of the topic, and complete again.
import { expect, test } from "vitest";
import {
  answers_all,
  expect_folded,
  make_registry,
  type Node,
  owners,
  partitions_of,
  publish,
  start_node,
} from "./nodes.js";
import { shared_settings } from "./shared_broker.js";

const PARTITIONS = 6;
const HOSTS = 60;

const registry = () => make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));
const shares = (found: Node[], nodes: Node[]) =>
  nodes.map((node) => found.filter((owner) => owner === node).length);

test("a node that joins stands by first, and gets its share when it has caught up; a third one, too", async () => {
  const settings = await registry();
  const a = await start_node(settings, "a");
  await publish(a, { hosts: HOSTS, sequence: 1 });
  await answers_all(a, settings);
  expect(await partitions_of(a, settings)).toHaveLength(PARTITIONS);

  const b = await start_node(settings, "b");
  await expect
    .poll(async () => shares(await owners(settings, [a, b]), [a, b]), { timeout: 60_000 })
    .toEqual([3, 3]);
  await publish(b, { hosts: HOSTS, sequence: 2 });
  await expect_folded(settings, [a, b]);

  const c = await start_node(settings, "c");
  await expect
    .poll(async () => shares(await owners(settings, [a, b, c]), [a, b, c]), { timeout: 60_000 })
    .toEqual([2, 2, 2]);
  await publish(c, { hosts: HOSTS, sequence: 3 });
  await expect_folded(settings, [a, b, c]);
  for (const node of [a, b, c]) {
    const { fleet } = await answers_all(node, settings);
    expect(fleet.reduce((sum, { hosts }) => sum + hosts, 0)).toBe(HOSTS);
  }

  expect(await b.stop()).toBe(0);
  await publish(a, { hosts: HOSTS, sequence: 4 });
  for (const node of [a, c]) await answers_all(node, settings);
  await expect_folded(settings, [a, c]);
});
