/** Nodes of one registry in Kafka: each a `klpstate serve`, killed, stopped and continued one by one; and what they are asked. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { PeerAuth } from "#services/kafka/peer_auth.js";
import { PeerClient } from "#services/kafka/peer_client.js";
import type { PeerOperation, PeerOperations, Role } from "#services/kafka/peer_protocol.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { create_topics } from "#services/kafka/topics.js";
import type { PartitionDigest } from "#services/registry/shard_protocol.js";
import { ask, ask_json, post, type Server, start_server_with, temporary_directory } from "../e2e/klpstate.js";
import { fold_log, hosts_digest } from "../model/registry.js";
import { event } from "./published.js";
import { read_topic, with_admin } from "./topic_records.js";

/** Short, for a small machine under load; its own default is ten seconds. */
export const SESSION_TIMEOUT_MS = 4_000;
/** Only what never comes takes so long. */
const EVENTUALLY_MS = 90_000;
const ASK_AGAIN_MS = 200;

export interface Node extends Server {
  readonly name: string;
  pause(): void;
  resume(): void;
}

/** Makes the topics; a broker that has not heard of them yet says that they are not there. */
export async function make_registry(settings: KafkaSettings): Promise<KafkaSettings> {
  await eventually(() => create_topics(kafka_of(settings, "test"), settings));
  return settings;
}

/** Of any process that is to work with these topics. */
export function environment_of({ brokers, topics, group_id }: KafkaSettings): Record<string, string> {
  return {
    KLPSTATE_KAFKA_BROKERS: brokers.join(","),
    KLPSTATE_KAFKA_TOPIC_PREFIX: topics.catalog.replace(/catalog$/, ""),
    KLPSTATE_KAFKA_GROUP: group_id,
    KLPSTATE_KAFKA_SESSION_TIMEOUT_MS: `${SESSION_TIMEOUT_MS}`,
  };
}

const directories = new Map<string, string>();

/** Of a node, the same for each of its starts. */
export function directory_of(settings: KafkaSettings, name: string): string {
  const key = `${settings.group_id} ${name}`;
  const known = directories.get(key) ?? join(temporary_directory(), name);
  directories.set(key, known);
  return known;
}

export interface NodeOptions {
  data?: string;
  env?: Record<string, string>;
  /** A command that becomes the one that is given to it. */
  under?: string[];
}

/** Resolves when it listens, and is in the group. */
export async function start_node(
  settings: KafkaSettings,
  name: string,
  { data = directory_of(settings, name), env = {}, under = [] }: NodeOptions = {},
): Promise<Node> {
  const all = { ...environment_of(settings), KLPSTATE_NODE_ID: name, ...env };
  const server = await start_server_with({ env: all, under }, data);
  return {
    ...server,
    name,
    pause: () => process.kill(server.pid, "SIGSTOP"),
    resume: () => process.kill(server.pid, "SIGCONT"),
  };
}

/** What a question has to come to; its last refusal is what is told where it never does. */
export async function eventually<Told>(
  ask_it: () => Promise<Told>,
  within_ms = EVENTUALLY_MS,
): Promise<Told> {
  const until = performance.now() + within_ms;
  for (;;) {
    try {
      return await ask_it();
    } catch (error) {
      if (performance.now() > until) throw error;
      await sleep(ASK_AGAIN_MS);
    }
  }
}

export interface FleetPage {
  fleet: { hosts: number }[];
  complete: boolean;
  missing_partitions: number[];
  at: { position: Record<string, string> };
}

export function fleet_of(node: Pick<Server, "port">): Promise<FleetPage> {
  return ask_json<FleetPage>(node, "/v1/fleet?limit=1000");
}

/** Every partition is in the node's answers, as far as the topic goes; `of`: only of these. */
export async function answers_all(
  node: Pick<Server, "port">,
  settings: KafkaSettings,
  of?: readonly number[],
): Promise<FleetPage> {
  const records = await read_topic(settings, settings.topics.host_events);
  return eventually(async () => {
    const page = await fleet_of(node);
    const asked = of ?? records.map((_, partition) => partition);
    const ends = asked.map((partition) => [partition, `${(records[partition]!.at(-1)?.offset ?? -1n) + 1n}`]);
    expect(page.at.position).toMatchObject(Object.fromEntries(ends));
    if (of === undefined) expect(page).toMatchObject({ complete: true, missing_partitions: [] });
    return page;
  });
}

const peers = new PeerClient(new PeerAuth(null), ["127.0.0.0/8"]);

export interface PeerAsked {
  role?: Role;
  generation?: number;
}

/** As another node asks it; rejects as there. */
export async function ask_as_peer<Op extends PeerOperation>(
  node: Pick<Server, "url">,
  operation: Op,
  given: Parameters<PeerOperations[Op]>,
  { role = "owner", generation = 0 }: PeerAsked = {},
): Promise<ReturnType<PeerOperations[Op]>> {
  const question = { generation, role, catalog_next_offset: 0n, operation, given };
  const answer = await peers.ask(node.url, question, 10_000);
  return answer as ReturnType<PeerOperations[Op]>;
}

/** Partitions that a node answers for in the role. */
export async function partitions_of(
  node: Pick<Server, "url">,
  settings: KafkaSettings,
  role: Role = "owner",
): Promise<number[]> {
  const all = Array.from({ length: settings.partitions }, (_, partition) => partition);
  const status = await ask_as_peer(node, "status", [all], { role });
  return status
    .flatMap(({ partition, broken }) => (broken === null ? [partition] : []))
    .sort((a, b) => a - b);
}

/** Of one partition, as a node has it. */
export async function digest_at(
  node: Pick<Server, "url">,
  partition: number,
  role: Role = "owner",
): Promise<string> {
  const answer = await ask_as_peer(node, "ask", [partition, "digest", [partition]], { role });
  const { digest } = answer as PartitionDigest;
  return digest.toString(16).padStart(64, "0");
}

/** Who owns what, where every partition has an owner that answers. */
export async function owners(settings: KafkaSettings, nodes: readonly Node[]): Promise<Node[]> {
  return eventually(async () => {
    const found = new Map<number, Node>();
    for (const node of nodes) {
      for (const partition of await partitions_of(node, settings)) {
        expect(found.get(partition)?.name, `partition ${partition} has one owner`).toBeUndefined();
        found.set(partition, node);
      }
    }
    const partitions = [...found.keys()].sort((a, b) => a - b);
    expect(partitions).toEqual(Array.from({ length: settings.partitions }, (_, partition) => partition));
    return partitions.map((partition) => found.get(partition)!);
  });
}

/** Every replica of the nodes, owner's or standby's, is the plain model's fold of the topic. */
export async function expect_folded(settings: KafkaSettings, nodes: readonly Node[]): Promise<void> {
  const records = await read_topic(settings, settings.topics.host_events);
  const folded = records.map((partition) =>
    hosts_digest(fold_log(partition.map(as_log_record)).hosts.values()),
  );
  const standbys = nodes.length > 1;
  await eventually(async () => {
    const found = await owners(settings, nodes);
    for (const [partition, owner] of found.entries()) {
      expect(await digest_at(owner, partition), `partition ${partition} at ${owner.name}`).toBe(
        folded[partition],
      );
    }
    let warm = 0;
    for (const node of nodes) {
      for (const partition of await partitions_of(node, settings, "standby")) {
        expect(await digest_at(node, partition, "standby")).toBe(folded[partition]);
        if (found[partition] !== node) warm += 1;
      }
    }
    expect(warm).toBe(standbys ? settings.partitions : 0);
  });
}

function as_log_record({ value, time_ms }: { value: Buffer; time_ms: number }) {
  return { bytes: Uint8Array.from(value), log_time_ms: BigInt(time_ms) };
}

export interface Publication {
  hosts: number;
  sequence: number;
  prefix?: string;
}

/** One event of each host; every acknowledged one is in the topic. */
export function batch_of_hosts({ hosts, sequence, prefix = "web" }: Publication): Uint8Array {
  return encode_batch(Array.from({ length: hosts }, (_, i) => event(`${prefix}-${i}`, sequence)));
}

/** Tried again while the answer is that it may be: a repeat takes effect once. */
export async function publish(node: Pick<Server, "port">, publication: Publication): Promise<void> {
  await eventually(async () => {
    const answer = await post(node, "/v1/events", "application/x-protobuf", batch_of_hosts(publication));
    expect(answer.status, answer.text).toBe(200);
  });
}

/** Numbers of `/metrics` by name and labels. */
export async function metrics_of(node: Pick<Server, "port">): Promise<Map<string, number>> {
  const { text } = await ask(node, "/metrics");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

/** Lines that a node wrote to its log with this in them. */
export function said(node: Node, text: string | RegExp): string[] {
  const is_meant = (line: string) => (typeof text === "string" ? line.includes(text) : text.test(line));
  return node.log().flatMap(({ msg }) => (is_meant(String(msg)) ? [String(msg)] : []));
}

export async function ends_of(settings: KafkaSettings): Promise<bigint[]> {
  const ends = await with_admin(settings, (admin) => admin.fetchTopicOffsets(settings.topics.host_events));
  return ends.sort((a, b) => a.partition - b.partition).map(({ high }) => BigInt(high));
}
