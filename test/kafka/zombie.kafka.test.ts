// A node that stands still for longer than its session, and goes on: others have its partitions meanwhile.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { NotOwner } from "#services/kafka/peer_protocol.js";
import {
  answers_all,
  ask_as_peer,
  digest_at,
  eventually,
  expect_folded,
  fleet_of,
  make_registry,
  owners,
  partitions_of,
  publish,
  start_node,
} from "./nodes.js";
import { shared_settings } from "./shared_broker.js";

const PARTITIONS = 4;
const HOSTS = 40;

test("it serves nothing of what it owned, neither to people nor to nodes, until the group has said what it has", async () => {
  const settings = await make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));
  const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
  await publish(a!, { hosts: HOSTS, sequence: 1 });
  await expect_folded(settings, [a!, b!]);
  const [before] = [await partitions_of(b!, settings)];
  expect(before.length).toBeGreaterThan(0);

  b!.pause();
  // The others have all partitions, with what comes meanwhile.
  await publish(a!, { hosts: HOSTS, sequence: 2 });
  await answers_all(a!, settings);
  await expect_folded(settings, [a!]);
  expect(await partitions_of(a!, settings)).toHaveLength(PARTITIONS);

  // What it is asked while it stands still, it reads first thing when it goes on.
  const asked_of_nodes = before.map((partition) => [
    digest_at(b!, partition),
    ask_as_peer(b!, "check", [
      [partition],
      { candidate: { name: "kp_1" }, at_ms: 0, max_age_ms: null },
      null,
    ]),
    ask_as_peer(b!, "fleet", [[partition], null]),
    ask_as_peer(b!, "wait", [[[partition, 0n]], 0]),
    digest_at(b!, partition, "standby"),
  ]);
  const asked_of_people = fleet_of(b!);
  await sleep(500);
  b!.resume();
  for (const [digest, check, fleet, wait, as_standby] of asked_of_nodes) {
    await expect(digest).rejects.toBeInstanceOf(NotOwner);
    expect(await check).toEqual([]);
    expect(await fleet).toEqual([]);
    await expect(wait).rejects.toBeInstanceOf(NotOwner);
    await expect(as_standby).rejects.toBeInstanceOf(NotOwner);
  }
  // It asks who has them, or says that they are missing; an answer of its own would lack what came meanwhile.
  const page = await asked_of_people;
  const ends = (await fleet_of(a!)).at.position;
  for (const [partition, end] of Object.entries(page.at.position)) {
    if (!page.missing_partitions.includes(Number(partition))) expect(end).toBe(ends[partition]);
  }

  await eventually(async () => expect((await partitions_of(b!, settings)).length).toBeGreaterThan(0));
  await publish(b!, { hosts: HOSTS, sequence: 3 });
  for (const node of [a!, b!]) await answers_all(node, settings);
  expect(new Set(await owners(settings, [a!, b!]))).toEqual(new Set([a, b]));
  await expect_folded(settings, [a!, b!]);
});
