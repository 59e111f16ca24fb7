/** One run: clients at work while things go wrong, then rest, then what came of it beside what was promised. */
import { setTimeout as sleep } from "node:timers/promises";
import { Dice } from "../disk/dice.js";
import { Asker } from "./asker.js";
import { CatalogPublisher } from "./catalog_publisher.js";
import { check } from "./checker.js";
import {
  digests_agree,
  type Fact,
  facts_of,
  logs_agree,
  replicas_in_turn,
  until_whole,
  WHOLE_MS_MAX,
} from "./ending.js";
import type { Door } from "./http.js";
import { PATCHES } from "./manifests.js";
import { advance, type Operations } from "./operations.js";
import type { Place } from "./place.js";
import { draw_plan, type Trouble } from "./plan.js";
import { Publisher } from "./publisher.js";
import { topic_remade } from "./remade_topic.js";
import { changes_agree } from "./state_changes.js";
import { Troubles } from "./trouble.js";
import { Truth } from "./truth.js";

const PUBLISHERS = 4;
const HOSTS_OF_PUBLISHER = 12;
const PUBLISHER_PAUSE_MS = 60;
const ASKER_PAUSE_MS = 80;
const TOLD_MS_MAX = 60_000;
const TOLD_POLL_MS = 3_000;
const START_MS_MAX = 120_000;
/** Between two questions to a node that is paused. */
const PAUSED_ASK_MS = 400;

export interface LifeOptions {
  seed: number;
  trouble_ms: number;
  only: readonly Trouble[];
  place: Place;
  operations: Operations;
  say(line: string): void;
}

export interface Lived {
  facts: Fact[];
  troubles: ReadonlyMap<Trouble, number>;
}

export async function live(options: LifeOptions): Promise<Lived> {
  const { seed, trouble_ms, only, place, operations, say } = options;
  const { nodes, brokers, routes, doors, straight, session_ms } = place;
  await place.start();
  const missing = await until_whole(straight, new Map(), START_MS_MAX);
  if (missing.length > 0) throw new Error(`nothing has gone wrong yet, and ${missing.join("; ")}`);
  say("all nodes answer");

  const ended = new AbortController();
  const given_up = new AbortController();
  const publishers = Array.from({ length: PUBLISHERS }, (_, number) => {
    const host_ids = Array.from({ length: HOSTS_OF_PUBLISHER }, (_, host) => `p${number}-h${host}`);
    return new Publisher(`p${number}`, host_ids, dice_of(seed, 100 + number), doors, operations);
  });
  const host_ids = publishers.flatMap(({ hosts }) => hosts.map(({ host_id }) => host_id));
  const asker_of = (name: string, number: number, goes_with: ReadonlyMap<number, bigint>) =>
    new Asker(name, host_ids, dice_of(seed, 200 + number), doors, operations, goes_with);
  const askers = publishers.map(({ seen }, number) => asker_of(`a${number}`, number, seen));
  const manifests = new CatalogPublisher(doors, operations, dice_of(seed, 300));
  await manifests.begin(straight, given_up.signal);
  const catalog = manifests.run(ended.signal, given_up.signal);
  const publishing = publishers.map((each) => each.run(ended.signal, PUBLISHER_PAUSE_MS, given_up.signal));
  const asking = askers.map((each) => each.run(ended.signal, ASKER_PAUSE_MS));

  const waiting: Promise<void>[] = [];
  const bystander = asker_of("bystander", askers.length, new Map());
  const troubles = new Troubles({
    nodes,
    brokers,
    routes,
    say,
    now_ms: operations.now_ms,
    ask_paused(node, for_ms) {
      waiting.push(ask_paused(straight, node, for_ms, bystander, host_ids, session_ms));
    },
  });
  const plan = draw_plan({
    seed,
    ms: trouble_ms,
    session_ms,
    nodes: names_of(nodes),
    brokers: names_of(brokers),
    routes: names_of(routes),
    only,
  });
  await troubles.make(plan, given_up.signal);
  say("the last trouble is over");

  const facts: Fact[] = [];
  const calm = new Map<number, bigint>();
  for (const { seen } of publishers) advance(calm, seen);
  facts.push({
    name: `every node is ready and answers completely within ${WHOLE_MS_MAX / 1000} s after the last trouble`,
    count: nodes.length,
    wrong: await until_whole(straight, calm),
  });
  ended.abort();
  const known = Promise.all([...publishing, catalog]);
  const late = sleep(WHOLE_MS_MAX, "late" as const, { ref: false });
  const settled = await Promise.race([known, late]);
  given_up.abort();
  await Promise.all([...publishing, ...asking, ...waiting, catalog]);
  facts.push({
    name: "whatever is sent again is acknowledged in the end",
    count: publishers.length,
    wrong: settled === "late" ? [`not within ${WHOLE_MS_MAX / 1000} s after the last trouble`] : [],
  });
  say("clients have ended");

  for (const { seen } of [...publishers, ...askers]) advance(calm, seen);
  await ask_all_once(straight, bystander, calm, host_ids);
  await until_told(place);
  const replicas = await replicas_in_turn(place, (left) => until_whole(left, calm)).catch(
    (error: Error) => error,
  );
  for (const node of nodes) await node.end("SIGTERM");
  const topics = await place.topics();
  const truth = new Truth(topics);
  say(`the log has ${truth.events} events`);
  facts.push(
    ...facts_of(check(operations.ended, truth, { ...place.order, disturbed: troubles.disturbed })),
    digests_agree(replicas, truth),
    logs_agree(await place.logs(), topics.host_events),
  );
  if (place.changes !== null) {
    facts.push(changes_agree(await place.changes(), topics.host_events, truth));
  }
  facts.push(
    ...(await topic_remade({
      place,
      dice: dice_of(seed, 400),
      host_ids,
      old: topics,
      asker: bystander,
      operations,
      say,
    })),
  );
  return { facts, troubles: troubles.counts };
}

/** Until the changes that were told are all, or the time is over: those that are missing then are found later. */
async function until_told({ topics, changes }: Place): Promise<void> {
  if (changes === null) return;
  const until_ms = performance.now() + TOLD_MS_MAX;
  const read = await topics();
  const truth = new Truth(read);
  for (;;) {
    const { wrong } = changes_agree(await changes(), read.host_events, truth);
    if (wrong.length === 0 || performance.now() > until_ms) return;
    await sleep(TOLD_POLL_MS);
  }
}

function dice_of(seed: number, part: number): Dice {
  return new Dice(seed * 1000 + part);
}

function names_of(targets: readonly { name: string }[]): string[] {
  return targets.map(({ name }) => name);
}

/**
 * Asks a paused node without a position, so that its questions wait in its sockets until it goes on; and asks others
 * meanwhile, who may answer in its place.
 */
async function ask_paused(
  doors: readonly Door[],
  node: string,
  for_ms: number,
  asker: Asker,
  host_ids: readonly string[],
  session_ms: number,
): Promise<void> {
  const paused = doors.find((door) => door.node === node)!;
  const others = doors.filter((door) => door !== paused);
  const ms_max = for_ms + 2 * session_ms;
  const asked: Promise<void>[] = [];
  for (const until_ms = performance.now() + for_ms + 500; performance.now() < until_ms; ) {
    for (const host_id of asker.dice.shuffled(host_ids).slice(0, 6)) {
      if (others.length > 0) {
        const question = { door: asker.dice.pick(others), carries: false, ms_max: session_ms };
        // First the others, so that whoever answers later has something to be older than.
        asked.push(
          asker
            .host(host_id, question)
            .then(() => asker.host(host_id, { door: paused, carries: false, ms_max, waits: true })),
        );
      } else asked.push(asker.host(host_id, { door: paused, carries: false, ms_max, waits: true }));
    }
    await sleep(PAUSED_ASK_MS);
  }
  await Promise.all(asked);
}

async function ask_all_once(
  doors: readonly Door[],
  asker: Asker,
  positions: ReadonlyMap<number, bigint>,
  host_ids: readonly string[],
): Promise<void> {
  advance(asker.seen, positions);
  for (const door of doors) {
    const question = { door, carries: true, ms_max: 30_000 };
    for (const host_id of host_ids) await asker.host(host_id, question);
    for (const { name } of PATCHES) await asker.check(name, question);
    await asker.fleet(question);
  }
}
