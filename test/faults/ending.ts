/** When all is over: what nodes and topics have, beside what the plain model makes of the log. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Findings, PROMISES, type Promised } from "./checker.js";
import type { Door } from "./http.js";
import { type Positions, position_text } from "./operations.js";
import type { LogOfNode, Place, Replica } from "./place.js";
import type { TopicRecord, Truth } from "./truth.js";

const POLL_MS = 250;
/** After the last trouble, until everything answers. */
export const WHOLE_MS_MAX = 90_000;

/** One thing that was promised, and how it was kept. */
export interface Fact {
  name: string;
  /** How often it was looked at. */
  count: number;
  /** What is wrong; empty: it was kept. */
  wrong: string[];
}

/** Why a node is not whole; null: it is. */
async function lacks(door: Door, positions: Positions): Promise<string | null> {
  const ready = await door.ask("GET", "/readyz", { ms_max: 5_000 });
  if (ready.status !== 200) return `is not ready: ${ready.says}`;
  const { broken } = ready.document as { broken: unknown[] };
  if (broken.length > 0) return `has broken partitions: ${ready.says}`;
  const min_position = positions.size === 0 ? "" : `&min_position=${position_text(positions)}`;
  const fleet = await door.ask("GET", `/v1/fleet?limit=1${min_position}`, { ms_max: 10_000 });
  if (fleet.status !== 200) return `tells of no fleet: ${fleet.says}`;
  const { complete, missing_partitions } = fleet.document as FleetDocument;
  return complete ? null : `answers without partitions ${missing_partitions.join(", ")}`;
}

interface FleetDocument {
  complete: boolean;
  missing_partitions: number[];
}

/** What each of the nodes lacks when the time is over; empty: they are whole. */
export async function until_whole(
  doors: readonly Door[],
  positions: Positions,
  ms_max = WHOLE_MS_MAX,
): Promise<string[]> {
  const until_ms = performance.now() + ms_max;
  for (;;) {
    const found = await Promise.all(
      doors.map(async (door) => {
        const what = await lacks(door, positions);
        return what === null ? null : `${door.node} ${what}`;
      }),
    );
    const wrong = found.filter((each) => each !== null);
    if (wrong.length === 0 || performance.now() > until_ms) return wrong;
    await sleep(POLL_MS);
  }
}

/**
 * What owners have; then nodes end one by one, so that each standby becomes an owner and is asked as well, until one
 * node has everything.
 */
export async function replicas_in_turn(
  place: Place,
  make_whole: (doors: readonly Door[]) => Promise<string[]>,
): Promise<Replica[]> {
  const { nodes, straight } = place;
  const found: Replica[] = [];
  for (let left = nodes.length; left > 0; left--) {
    const wrong = await make_whole(straight.slice(0, left));
    if (wrong.length > 0) throw new Error(`of ${left} nodes ${wrong.join("; ")}`);
    found.push(...(await replicas_of_all(place, straight[0]!)));
    await nodes[left - 1]!.end("SIGTERM");
  }
  return found;
}

/** A partition may be on its way to another node while it is asked about. */
async function replicas_of_all(place: Place, told_by: Door): Promise<Replica[]> {
  const until_ms = performance.now() + WHOLE_MS_MAX;
  for (;;) {
    const { replicas, missing } = await place.replicas(told_by);
    if (missing.length === 0) return replicas;
    if (performance.now() > until_ms)
      throw new Error(`${told_by.node} replays all but ${missing.join("; ")}`);
    await sleep(POLL_MS);
  }
}

export function digests_agree(replicas: readonly Replica[] | Error, truth: Truth): Fact {
  const name = "what owners have, and standbys that became owners, is what the plain model makes of the log";
  if (replicas instanceof Error) return { name, count: 0, wrong: [replicas.message] };
  const wrong: string[] = [];
  for (let partition = 0; partition < truth.partitions; partition++) {
    if (!replicas.some((replica) => replica.partition === partition)) {
      wrong.push(`nobody has partition ${partition}`);
    }
  }
  for (const { told_by, partition, digest, hosts, next_offset } of replicas) {
    const expected = truth.digest(partition);
    if (expected.digest !== digest) {
      wrong.push(
        `${told_by}: partition ${partition} at ${next_offset} has ${hosts} hosts and ${digest}, ` +
          `the log has ${expected.hosts} and ${expected.digest}`,
      );
    }
  }
  return { name, count: replicas.length, wrong };
}

/** Also of replicas that nobody asks any more. */
export function logs_agree(logs: readonly LogOfNode[], topic: readonly (readonly TopicRecord[])[]): Fact {
  const wrong: string[] = [];
  let count = 0;
  for (const { node, partition, records } of logs) {
    const there = new Map(topic[partition]!.map((record) => [record.offset, record]));
    for (const { offset, bytes, log_time_ms } of records) {
      count += 1;
      const record = there.get(offset);
      if (record !== undefined && Buffer.compare(record.bytes, bytes) === 0) continue;
      wrong.push(`${node}: partition ${partition} has another record at ${offset} of ${log_time_ms}`);
      break;
    }
  }
  return { name: "a replica's records are the topic's, byte for byte", count, wrong };
}

export function facts_of({ looked_at, violations }: Findings): Fact[] {
  return (Object.keys(PROMISES) as Promised[]).map((promise) => ({
    name: PROMISES[promise],
    count: looked_at[promise],
    wrong: violations.filter((violation) => violation.promise === promise).map(({ says }) => says),
  }));
}
