/**
 * Two nodes, events posted to one of them at a steady rate: how long a POST waits for its acknowledgement, and when what
 * it says is seen in a check that the other node answers. A time counts from when the POST was due, so that one that
 * waits for the one before it is not forgotten.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CheckAnswer } from "../../services/registry/answers.js";
import { Fleet } from "../data.js";
import type { Run } from "../measure.js";
import { Sender } from "../sender.js";
import type { RunningServer } from "../server.js";
import { create_topics, start_node } from "./node.js";

export const EVENTS_PER_SECOND = 10_000;
const EVENTS_PER_POST = 100;
/** As many machines as send at once: none of them waits for another's acknowledgement. */
const SENDERS = 64;
const HOSTS = 100_000;
const SECONDS = 35;
/** Not counted: as of a server that has run for a while. */
const WARM_UP_MS = 5_000;
const PROBE_EVERY_MS = 100;
const PROBE_SECONDS_MAX = 10;
const PREFIX = "post.";
const PATCH = "livepatch_probe";
const KERNEL = { kernel_release: "6.12.40-probe", arch: "x86_64" };

export interface PostRun extends Run {
  acknowledged_ms: number[];
  visible_ms: number[];
}

export async function post_to_nodes(broker: string, directory: string): Promise<PostRun> {
  create_topics(broker, PREFIX);
  const nodes: RunningServer[] = [];
  try {
    for (const node_id of ["one", "other"]) {
      const data = join(directory, `post-${node_id}`);
      const options = { broker, prefix: PREFIX, group: "post", node_id, data, state_changes: false };
      nodes.push(await start_node(options));
    }
    await Promise.all(nodes.map(until_ready));
    return await post(nodes[0]!, nodes[1]!);
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

async function post(one: RunningServer, other: RunningServer): Promise<PostRun> {
  const probes = Math.floor((SECONDS * 1000) / PROBE_EVERY_MS);
  const senders = await Promise.all(Array.from({ length: SENDERS }, () => Sender.open(one.url)));
  try {
    const fleet = new Fleet(HOSTS, "booted");
    const baselines = fleet.baseline_batches(SENDERS);
    await Promise.all(
      senders.map(async (sender, i) => {
        for (const batch of baselines[i]!) await sender.post("/v1/events", batch, false);
      }),
    );
    await begin_probes(one, probes);
    const events = EVENTS_PER_SECOND * SECONDS;
    const batches = fleet.event_batches(events, SENDERS, EVENTS_PER_POST);
    const cpu = () => one.cpu_seconds() + other.cpu_seconds();
    const begin = { cpu: cpu(), ms: performance.now() };
    const acknowledged_ms: number[] = [];
    const visible_ms: number[] = [];
    await Promise.all([
      ...senders.map((sender, i) => post_steadily(sender, batches[i]!, begin.ms, i, acknowledged_ms)),
      probe_steadily(one, other, probes, visible_ms),
    ]);
    const run = { seconds: (performance.now() - begin.ms) / 1000, cpu_seconds: cpu() - begin.cpu };
    await must_agree(one, other, HOSTS + probes, probes);
    return { ...run, acknowledged_ms, visible_ms };
  } finally {
    for (const sender of senders) sender.close();
  }
}

async function until_ready({ url }: RunningServer): Promise<void> {
  while (!(await fetch(`${url}/readyz`)).ok) await sleep(100);
}

/** Every sender has one POST of every so many. */
async function post_steadily(
  sender: Sender,
  batches: Uint8Array[],
  begin_ms: number,
  turn: number,
  acknowledged_ms: number[],
): Promise<void> {
  const post_every_ms = (1000 * EVENTS_PER_POST) / EVENTS_PER_SECOND;
  for (const [i, batch] of batches.entries()) {
    const due_ms = begin_ms + (i * SENDERS + turn) * post_every_ms;
    const early_ms = due_ms - performance.now();
    if (early_ms > 0) await sleep(early_ms);
    await sender.post("/v1/events", batch, false);
    if (due_ms > begin_ms + WARM_UP_MS) acknowledged_ms.push(performance.now() - due_ms);
  }
}

/** Hosts that have nothing on their stack, and a patch that fits all of them. */
async function begin_probes({ url }: RunningServer, probes: number): Promise<void> {
  const manifest = { name: PATCH, ...KERNEL, states: [{ id: "1", version: 1 }] };
  await send(`${url}/v1/patches`, manifest);
  const events = Array.from({ length: probes }, (_, probe) => ({
    ...probe_event(probe, 1),
    observed: { ...KERNEL, livepatching: "supported" },
  }));
  await send(`${url}/v1/events`, { events });
}

function probe_event(probe: number, sequence: number) {
  return {
    host_id: `probe-${probe}`,
    stream: "1",
    sequence: String(sequence),
    time_unix_ms: String(Date.now()),
  };
}

/** The patch is loaded on one host after the other. */
async function probe_steadily(
  one: RunningServer,
  other: RunningServer,
  probes: number,
  visible_ms: number[],
): Promise<void> {
  const counted_from_ms = performance.now() + WARM_UP_MS;
  for (let probe = 0; probe < probes; probe++) {
    const begin_ms = performance.now();
    const event = { ...probe_event(probe, 2), loaded: { patch: { name: PATCH } } };
    const acknowledged = send(`${one.url}/v1/events`, { events: [event] });
    while ((await hosts_done(other)) < probe + 1) {
      if (performance.now() - begin_ms > PROBE_SECONDS_MAX * 1000)
        throw new Error(`probe ${probe} is not seen`);
    }
    if (begin_ms > counted_from_ms) visible_ms.push(performance.now() - begin_ms);
    await acknowledged;
    await sleep(Math.max(0, begin_ms + PROBE_EVERY_MS - performance.now()));
  }
}

async function check({ url }: RunningServer): Promise<CheckAnswer> {
  const answer = (await send(`${url}/v1/checks`, { patch: PATCH })) as CheckAnswer;
  if (!answer.complete) throw new Error(`an incomplete check: ${JSON.stringify(answer)}`);
  return answer;
}

async function hosts_done(server: RunningServer): Promise<number> {
  return (await check(server)).hosts.done;
}

async function send(url: string, body: unknown): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Before a time is believed: both nodes say the same of all hosts. */
async function must_agree(
  one: RunningServer,
  other: RunningServer,
  hosts: number,
  done: number,
): Promise<void> {
  for (const { hosts: counts } of [await check(one), await check(other)]) {
    if (counts.total !== hosts || counts.done !== done) {
      throw new Error(`${hosts} hosts, ${done} with the patch, and a node says ${JSON.stringify(counts)}`);
    }
  }
}
