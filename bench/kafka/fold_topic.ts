/** A node of klpstate that begins with an empty directory and folds a topic to its end. */
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { format_digest } from "../../services/core/digest.js";
import type { ReplayAnswer } from "../../services/registry/answers.js";
import { type RunningServer, run_command } from "../server.js";
import { counts_of, must_have_stored } from "../server_counts.js";
import { bytes_below } from "./bytes_below.js";
import { create_topics, environment_of, start_node } from "./node.js";
import type { ReaderRun } from "./reader.js";
import { delete_topic, type FilledTopic, records_in } from "./topic.js";

/** A look costs the node a millisecond or two. */
const LOOK_EVERY_MS = 100;
const NO_PROGRESS_MS = 60_000;

export interface FoldPlace {
  broker: string;
  directory: string;
  profile_directory?: string | undefined;
}

/** What a node keeps of the topic, bytes. */
export interface KeptBytes {
  memory: number;
  resident: number;
  snapshots: number;
  log: number;
  chain: number;
}

export interface FoldRun extends ReaderRun {
  kept: KeptBytes;
  /** The state changes alone, after the fold; null: they are off. */
  changes: ReaderRun | null;
}

interface Look {
  at_ms: number;
  cpu_seconds: number;
  events: number;
}

let node = 0;

/**
 * From the first look that sees events folded to the one that sees all: what is folded is durable. Throws unless it came
 * to what the core did.
 */
export async function fold_topic(
  { broker, directory, profile_directory }: FoldPlace,
  topic: FilledTopic,
  state_changes: boolean,
): Promise<FoldRun> {
  const { prefix, contents, folded } = topic;
  const id = `node-${++node}`;
  const data = join(directory, id);
  const told = state_changes ? await begin_changes(broker, prefix) : null;
  const options = { broker, prefix, group: id, node_id: id, data, state_changes, profile_directory };
  const server = await start_node(options);
  try {
    const begin = await until_events(server, 1);
    const end = await until_events(server, contents.events);
    await must_have_stored(server.url, contents.events, contents.hosts);
    const changes = told === null ? null : await until_published(server, broker, topic, told, end);
    const kept = await kept_bytes(server, data);
    await must_replay(server, format_digest(folded.digest));
    return { ...between(begin, end), kept, changes };
  } finally {
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

function between(begin: Look, end: Look): ReaderRun {
  return {
    seconds: (end.at_ms - begin.at_ms) / 1000,
    cpu_seconds: end.cpu_seconds - begin.cpu_seconds,
    events: end.events - begin.events,
  };
}

/** The first look that sees so many. */
async function until_events(server: RunningServer, wanted: number): Promise<Look> {
  let last = { events: 0, at_ms: performance.now() };
  for (;;) {
    const { events } = await counts_of(server.url);
    const at_ms = performance.now();
    if (events >= wanted) return { at_ms, cpu_seconds: server.cpu_seconds(), events };
    if (events > last.events) last = { events, at_ms };
    if (at_ms - last.at_ms > NO_PROGRESS_MS) {
      const says = await (await fetch(`${server.url}/readyz`)).text();
      throw new Error(`the node stands still at ${events} of ${wanted} events: ${says}`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Those of another run would be gone on with. Returns the records that say that all is to be told. */
async function begin_changes(broker: string, prefix: string): Promise<number> {
  await delete_topic(broker, `${prefix}state-changes`);
  create_topics(broker, prefix);
  run_command(["state-changes", "begin", "--at", "beginning"], environment_of(broker, prefix));
  return records_in(broker, `${prefix}state-changes`);
}

/** A record for each event that had an effect, behind `told` others. */
async function until_published(
  server: RunningServer,
  broker: string,
  { prefix, folded }: FilledTopic,
  told: number,
  folded_at: Look,
): Promise<ReaderRun> {
  const look = async (): Promise<Look> => {
    const events = (await records_in(broker, `${prefix}state-changes`)) - told;
    return { at_ms: performance.now(), cpu_seconds: server.cpu_seconds(), events };
  };
  const begin = { ...(await look()), at_ms: folded_at.at_ms, cpu_seconds: folded_at.cpu_seconds };
  let last = begin;
  for (;;) {
    await sleep(LOOK_EVERY_MS);
    const seen = await look();
    if (seen.events > last.events) last = seen;
    if (seen.at_ms - last.at_ms > NO_PROGRESS_MS) {
      throw new Error(`${seen.events} state changes of ${folded.applied}, and no more come`);
    }
    if (seen.events > folded.applied) {
      throw new Error(`${seen.events} state changes of ${folded.applied} events that had an effect`);
    }
    if (seen.events === folded.applied) return between(begin, seen);
  }
}

async function kept_bytes(server: RunningServer, data: string): Promise<KeptBytes> {
  const { core_memory_bytes } = await counts_of(server.url);
  const resident = server.resident_bytes();
  const made = await fetch(`${server.url}/v1/snapshots`, { method: "POST" });
  if (!made.ok) throw new Error(`no snapshots: ${await made.text()}`);
  return {
    memory: core_memory_bytes,
    resident,
    snapshots: newest_snapshots_bytes(join(data, "snapshots")),
    log: bytes_below(join(data, "log"), ".log"),
    chain: bytes_below(join(data, "log"), ".chain"),
  };
}

/** More than one is kept of each partition. */
function newest_snapshots_bytes(directory: string): number {
  const newest = readdirSync(directory).map((partition) => {
    const offsets = readdirSync(join(directory, partition)).filter((name) => /^[0-9]+$/.test(name));
    const last = offsets.toSorted((a, b) => Number(a) - Number(b)).at(-1);
    return last === undefined ? 0 : statSync(join(directory, partition, last)).size;
  });
  return newest.reduce((sum, bytes) => sum + bytes, 0);
}

/** The digest of what is served, and of the log folded anew, is this one. */
export async function must_replay({ url }: RunningServer, digest: string): Promise<void> {
  const answer = await fetch(`${url}/v1/replay`, { method: "POST" });
  const replay = (await answer.json()) as ReplayAnswer;
  if (!answer.ok || replay.digest !== digest || !replay.matches) {
    throw new Error(`klpstate came to something else than the core: ${JSON.stringify(replay)}`);
  }
}
