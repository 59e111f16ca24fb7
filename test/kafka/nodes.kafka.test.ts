// Nodes come and go, and are killed; what they answer is the fold of the topic, and complete again.
import { rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  answers_all,
  directory_of,
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

describe("a node that is killed", () => {
  test("is replaced by its standby, which has all that was acknowledged, and answers are complete again", async () => {
    const settings = await registry();
    const [a, b, c] = await Promise.all(["a", "b", "c"].map((name) => start_node(settings, name)));
    await publish(a!, { hosts: HOSTS, sequence: 1 });
    await expect_folded(settings, [a!, b!, c!]);
    await publish(a!, { hosts: HOSTS, sequence: 2 });
    await b!.kill();
    await publish(c!, { hosts: HOSTS, sequence: 3 });
    for (const node of [a!, c!]) await answers_all(node, settings);
    await expect_folded(settings, [a!, c!]);

    // And one more: the last one has everything.
    await a!.kill();
    await publish(c!, { hosts: HOSTS, sequence: 4 });
    await answers_all(c!, settings);
    await expect_folded(settings, [c!]);
  });

  test("comes back at once under its name, with its log, before the group has missed it", async () => {
    const settings = await registry();
    const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
    await publish(a!, { hosts: HOSTS, sequence: 1 });
    await expect_folded(settings, [a!, b!]);
    await b!.kill();
    const again = await start_node(settings, "b");
    await publish(again, { hosts: HOSTS, sequence: 2 });
    for (const node of [a!, again]) await answers_all(node, settings);
    await expect_folded(settings, [a!, again]);
  });

  test("and whose directory is gone is made from the topic", async () => {
    const settings = await registry();
    const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
    await publish(a!, { hosts: HOSTS, sequence: 1 });
    await expect_folded(settings, [a!, b!]);
    await Promise.all([a!.kill(), b!.kill()]);
    for (const name of ["a", "b"]) rmSync(directory_of(settings, name), { recursive: true });
    const anew = await start_node(settings, "a");
    await publish(anew, { hosts: HOSTS, sequence: 2 });
    await answers_all(anew, settings);
    await expect_folded(settings, [anew]);
  });
});

test("all nodes killed at once, and started again, go on where their logs end", async () => {
  const settings = await registry();
  const names = ["a", "b", "c"];
  const nodes = await Promise.all(names.map((name) => start_node(settings, name)));
  await publish(nodes[0]!, { hosts: HOSTS, sequence: 1 });
  await expect_folded(settings, nodes);
  await Promise.all(nodes.map((node) => node.kill()));
  const again = await Promise.all(names.map((name) => start_node(settings, name)));
  await publish(again[2]!, { hosts: HOSTS, sequence: 2 });
  for (const node of again) await answers_all(node, settings);
  await expect_folded(settings, again);
});
