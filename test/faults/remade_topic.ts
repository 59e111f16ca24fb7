/**
 * The last chapter: the topic is deleted and made anew under the nodes, with more records than it had or with fewer. Kafka
 * tells nobody; a node has to find out, say so, and answer nothing of the new log as if it were the old one's. Then
 * somebody decides to go on, and what the nodes have is the new log's.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { partition_of } from "#services/events/partition.js";
import type { At } from "#services/registry/answers.js";
import type { Dice } from "../disk/dice.js";
import type { Asker } from "./asker.js";
import { check } from "./checker.js";
import { digests_agree, type Fact, replicas_in_turn, until_whole } from "./ending.js";
import type { Door } from "./http.js";
import type { Operations, SentEvent } from "./operations.js";
import type { Place } from "./place.js";
import { Host } from "./publisher.js";
import { type Topics, Truth } from "./truth.js";

/** For a look at the topic every five seconds, and five more at one that seems too short. */
const NOTICED_MS_MAX = 90_000;
const RESET_MS_MAX = 90_000;
const POLL_MS = 500;
const ANY_ORDER = { only_waited: true, slack_ms: 0, disturbed: [] };

export interface RemadeOptions {
  place: Place;
  dice: Dice;
  host_ids: readonly string[];
  /** Of the topic as it was. */
  old: Topics;
  asker: Asker;
  operations: Operations;
  say(line: string): void;
}

export async function topic_remade(options: RemadeOptions): Promise<Fact[]> {
  const { place, dice, host_ids, old, asker, operations, say } = options;
  const { nodes, straight, remake } = place;
  if (remake === null) return [];
  const more = dice.chance(0.7);
  const nodes_run = dice.chance(0.7);
  const counts = old.host_events.map((records) =>
    more ? records.length + 20 + dice.below(100) : Math.floor(records.length / 2),
  );
  const events = events_for(host_ids, counts, dice);
  say(
    `the topic is made anew with ${more ? "more" : "fewer"} records, ${nodes_run ? "under nodes that run" : "while no node runs"}`,
  );
  if (nodes_run) {
    for (const node of nodes) node.start();
    await until_whole(straight, new Map());
  }
  const asked_from = operations.ended.length;
  await remake(events);
  if (!nodes_run) for (const node of nodes) node.start();

  const had_records = old.host_events.flatMap((records, partition) =>
    records.length > 0 ? [partition] : [],
  );
  const noticed = await until_noticed(straight, had_records, () => ask_all(straight, asker, host_ids));
  const { violations } = check(operations.ended.slice(asked_from), new Truth(old), ANY_ORDER);
  const facts: Fact[] = [
    {
      name: "a topic that was made anew is noticed, and named",
      count: had_records.length,
      wrong: noticed,
    },
    {
      name: "until then nothing of it is answered",
      count: operations.ended.length - asked_from,
      wrong: violations
        .filter(({ promise }) => promise === "truth" || promise === "min_position")
        .map(({ says }) => says),
    },
  ];
  if (noticed.length > 0) return facts;
  // A node that takes a partition over may have its old replica still: each is to be reset by itself.
  const replicas = await replicas_in_turn(place, reset_all).catch((error: Error) => error);
  const truth = new Truth(await place.topics());
  const agree = digests_agree(replicas, truth);
  facts.push({ ...agree, name: `behind a reset: ${agree.name}` });
  return facts;
}

/** As many for each partition. */
function events_for(host_ids: readonly string[], counts: readonly number[], dice: Dice): SentEvent[][] {
  const hosts = counts.map((_, partition) =>
    host_ids
      .filter((host_id) => partition_of(new TextEncoder().encode(host_id), counts.length) === partition)
      .map((host_id) => new Host(host_id, dice)),
  );
  return counts.map((count, partition) =>
    hosts[partition]!.length === 0
      ? []
      : Array.from({ length: count }, () => dice.pick(hosts[partition]!).events(1, Date.now())[0]!),
  );
}

async function ask_all(doors: readonly Door[], asker: Asker, host_ids: readonly string[]): Promise<void> {
  for (const door of doors) {
    const host_id = asker.dice.pick(host_ids);
    await asker.host(host_id, { door, carries: false, ms_max: 5_000 });
    await asker.fleet({ door, carries: false, ms_max: 5_000 });
  }
}

/** By partition, as a node names it. */
async function broken_at(door: Door): Promise<Map<number, string>> {
  const ready = await door.ask("GET", "/readyz", { ms_max: 5_000 });
  const document = ready.document as { broken?: { partition: number; reason: string }[] } | undefined;
  return new Map((document?.broken ?? []).map(({ partition, reason }) => [partition, reason]));
}

/** The partitions that are in the node's answer. */
async function answered_by(door: Door): Promise<number[]> {
  const fleet = await door.ask("GET", "/v1/fleet?limit=1", { ms_max: 5_000 });
  if (fleet.status !== 200) return [];
  return Object.keys((fleet.document as { at: At }).at.position).map(Number);
}

/** What nobody has noticed when the time is over. */
async function until_noticed(
  doors: readonly Door[],
  partitions: readonly number[],
  meanwhile: () => Promise<void>,
): Promise<string[]> {
  const until_ms = performance.now() + NOTICED_MS_MAX;
  for (;;) {
    const told = await Promise.all(doors.map(broken_at));
    const answered = await Promise.all(doors.map(answered_by));
    const wrong = partitions.flatMap((partition) => {
      const reasons = told.flatMap((broken) => broken.get(partition) ?? []);
      const is_named = reasons.some((reason) => reason.includes("log_diverged"));
      const by = doors.filter((_, at) => answered[at]!.includes(partition)).map(({ node }) => node);
      if (is_named && by.length === 0) return [];
      return [
        `of partition ${partition} nodes say: ${reasons.join("; ") || "nothing"}; ` +
          `answered for by ${by.join(", ") || "nobody"}`,
      ];
    });
    if (wrong.length === 0 || performance.now() > until_ms) return wrong;
    await meanwhile();
    await sleep(POLL_MS);
  }
}

/** On each of the nodes whatever it calls broken, until all are whole. */
async function reset_all(doors: readonly Door[]): Promise<string[]> {
  const until_ms = performance.now() + RESET_MS_MAX;
  for (;;) {
    for (const door of doors) {
      for (const partition of (await broken_at(door)).keys()) {
        // One that is another node's is not found here, and one that was reset is not broken any more.
        await door.ask("POST", `/v1/partitions/${partition}/reset`, { ms_max: 10_000 });
      }
    }
    const wrong = await until_whole(doors, new Map(), POLL_MS);
    if (wrong.length === 0 || performance.now() > until_ms) return wrong;
  }
}
