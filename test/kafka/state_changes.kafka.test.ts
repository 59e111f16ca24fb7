// What leaves a partition, as a reader of the topics on a real broker finds it.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HostEvent } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { decode_state_change } from "#services/events/state_change.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import { begin_again } from "#services/kafka/state_changes/begin_again.js";
import { shared_settings } from "./shared_broker.js";
import { last_cause, make_topics, read_all, ToldPartition } from "./told_partition.js";

const { SUPPORTED } = klpstate.v1.Livepatching;
/** No tag of 0 is decoded. */
const POISON = Uint8Array.of(0, 1, 2);

let settings: KafkaSettings;
let told: ToldPartition;

beforeEach(async () => {
  settings = shared_settings({ KLPSTATE_KAFKA_PARTITIONS: "1" });
  await make_topics(settings);
  told = new ToldPartition(settings);
  await told.kept.open();
  publish("kp_1");
});
afterEach(() => told.close());

/** A manifest of the kernel that `observed` reports, with state 7 of version 2. */
function publish(name: string): void {
  told.facts.add({
    fact: "published",
    number: told.facts.all.length,
    offset: BigInt(told.facts.all.length),
    log_time_ms: 0,
    manifest: {
      name,
      kernel_release: "6.12.1",
      arch: "x86_64",
      build_id: new Uint8Array(),
      replace: false,
      states_unknown: false,
      irreversible: false,
      signed: false,
      states: [{ id: 7n, version: 2 }],
    },
  });
}

function observed(host_id: string): HostEvent {
  const change = { kernel_release: "6.12.1", arch: "x86_64", livepatching: SUPPORTED };
  return { host_id, stream: 9, sequence: 1, time_unix_ms: 900, observed: change };
}

const patch = { name: "kp_1" };

function event(host_id: string, sequence: number, change: Partial<HostEvent>): HostEvent {
  return { host_id, stream: 9, sequence, time_unix_ms: 900 + sequence, ...change };
}

async function append(...events: HostEvent[]): Promise<void> {
  await told.kept.append_events(...events);
  told.outlet?.wake();
}

async function all_told(): Promise<void> {
  await expect.poll(() => told.outlet?.broken ?? told.is_told, { timeout: 30_000 }).toBe(true);
}

async function changes() {
  const records = await read_all(settings, settings.topics.state_changes);
  return records.filter(({ value }) => value !== null);
}

async function told_ids(): Promise<string[]> {
  return (await changes()).map(({ headers }) => headers.ce_id!);
}

describe("a change on the topic", () => {
  test("has its host as key, CloudEvents' headers, and what was before and after", async () => {
    await told.start().started;
    await append(observed("web-1"), observed("wéb-2"));
    await append(event("web-1", 2, { loading: { patch } }), event("web-1", 3, { loaded: { patch } }));
    await append(event("web-1", 3, { loaded: { patch } }), event("web-1", 4, { disabled: { patch } }));
    await all_told();

    const found = await changes();
    expect(found.map(({ headers }) => headers.ce_id)).toEqual(["0:0:0", "0:0:1", "0:1:0", "0:1:1", "0:2:1"]);
    expect(found.map(({ key }) => key)).toEqual(["web-1", "wéb-2", "web-1", "web-1", "web-1"]);
    expect(found[1]!.headers).toEqual({
      ce_specversion: "1.0",
      ce_id: "0:0:1",
      ce_source: settings.topics.host_events,
      ce_type: "klpstate.v1.StateChange",
      ce_time: "1970-01-01T00:00:00.900Z",
      ce_subject: "wéb-2",
      "content-type": "application/protobuf",
    });
    const seen = found.map(({ value }) => decode_state_change(value!));
    expect(seen[0]!.before).toBeNull();
    expect(seen.map(({ change }) => change)).toEqual([
      "observed",
      "observed",
      "loading",
      "loaded",
      "disabled",
    ]);
    expect(seen[2]).toMatchObject({
      cause: { partition: 0, offset: 1n, index: 0 },
      host_id: "web-1",
      stream: 9n,
      sequence: 2,
      before: { stack: [], knowledge: "complete" },
      after: { stack: [{ name: "kp_1", build_id: null, phase: "enabling" }], knowledge: "complete" },
      states: [{ id: 7n, change: "declared", from: null, to: 2, patch: "kp_1" }],
      catalog_next_offset: 1n,
    });
    expect(seen[4]!.states).toEqual([{ id: 7n, change: "withdrawn", from: 2, to: null, patch: "kp_1" }]);
  });

  test("is told with the catalog of its time", async () => {
    await told.start().started;
    await append(observed("h"), event("h", 2, { loaded: { patch: { name: "kp_2" } } }));
    await all_told();
    publish("kp_2");
    await append(event("h", 3, { disabled: { patch: { name: "kp_2" } } }));
    await all_told();
    const seen = (await changes()).map(({ value }) => decode_state_change(value!));
    expect(seen.map(({ states }) => states.map(({ change }) => change))).toEqual([[], [], ["withdrawn"]]);
    expect(seen.map(({ catalog_next_offset }) => catalog_next_offset)).toEqual([1n, 1n, 2n]);
  });
});

describe("an owner that dies", () => {
  test("behind an append whose answer never came: the next one goes on behind it", async () => {
    await told.start().started;
    await append(observed("a"), observed("b"));
    await all_told();
    told.instead_of_answers = () => new Promise(() => {});
    let is_open = true;
    await told.stop();
    told.start({ topic_cause: await last_cause(settings) }, { may_publish: () => is_open });
    await append(event("a", 2, { loading: { patch } }));
    await expect.poll(async () => (await told_ids()).length).toBe(3);
    is_open = false;
    await append(event("a", 3, { loaded: { patch } }), event("b", 2, { loaded: { patch } }));
    await told.stop();
    expect(told.progress.cause).toEqual({ offset: 0n, index: 9_999 });

    told.instead_of_answers = null;
    await told.kept.open();
    told.start({ topic_cause: await last_cause(settings), committed_cause: told.progress.cause });
    await all_told();
    expect(await told_ids()).toEqual(["0:0:0", "0:0:1", "0:1:0", "0:2:0", "0:2:1"]);
  });

  test("before a patch's transition ended: whether its load had completed comes from the host's history", async () => {
    await told.start().started;
    await append(observed("undone"), observed("withdrawn"));
    await append(event("undone", 2, { loading: { patch } }), event("withdrawn", 2, { loaded: { patch } }));
    await append(event("withdrawn", 3, { disabling: { patch } }));
    await all_told();
    await told.stop();
    await told.kept.keep({ newest: 1, days: 0, bytes_max: Number.MAX_SAFE_INTEGER });
    await told.kept.open();
    told.start({ topic_cause: await last_cause(settings) });
    await append(event("undone", 3, { disabled: { patch } }), event("withdrawn", 4, { disabled: { patch } }));
    await all_told();
    const seen = (await changes()).slice(-2).map(({ value }) => decode_state_change(value!));
    expect(seen.map(({ states }) => states[0]!.change)).toEqual(["undone", "withdrawn"]);
  });
});

describe("a partition of which nobody knows how far it was told", () => {
  test("is told no second time, until somebody decides where to go on", async () => {
    await append(observed("a"));
    const outlet = told.start();
    expect(outlet.broken).toMatch(
      /^partition 0: how far its changes were told is not known.*state-changes begin 0/,
    );
    await append(observed("b"));
    await told.stop();
    expect(await read_all(settings, settings.topics.state_changes)).toEqual([]);

    await send_events(1);
    const kafka = kafka_of(settings, "test");
    const wanted = { partition: 0, at: "end", forced: false } as const;
    expect(await begin_again(kafka, settings, wanted)).toEqual([{ partition: 0, begins_at: 1n }]);
    expect(await begin_again(kafka, settings, wanted)).toEqual([{ partition: 0, begins_at: null }]);
    told.start({ topic_cause: await last_cause(settings) });
    await all_told();
    expect(await told_ids()).toEqual(["0:1:0"]);
  });

  test("as its topic was made anew, is named; and goes on from where somebody decides, behind what was committed", async () => {
    await append(observed("a"), observed("b"));
    const outlet = told.start({ committed_cause: { offset: 700n, index: 0 } });
    expect(outlet.broken).toMatch(/told up to offset 700, and .*host-events ends at 1: it is not the topic/);
    await told.stop();
    const wanted = { partition: null, at: "beginning", forced: true } as const;
    expect(await begin_again(kafka_of(settings, "test"), settings, wanted)).toEqual([
      { partition: 0, begins_at: 0n },
    ]);
    told.start({ topic_cause: await last_cause(settings), committed_cause: { offset: 700n, index: 0 } });
    await all_told();
    expect(await told_ids()).toEqual(["0:0:0", "0:0:1"]);
  });
});

/** To the topic of host events, of which only the end is asked for. */
async function send_events(count: number): Promise<void> {
  const producer = kafka_of(settings, "test").producer();
  await producer.connect();
  const messages = Array.from({ length: count }, () => ({ partition: 0, value: "" }));
  await producer.send({ topic: settings.topics.host_events, messages });
  await producer.disconnect();
}

describe("the lease", () => {
  test("lets nothing out while another node has the partition", async () => {
    let is_owner = false;
    const asked: boolean[] = [];
    told.start(
      {},
      {
        may_publish: () => {
          asked.push(is_owner);
          return is_owner;
        },
      },
    );
    await append(observed("a"));
    await expect.poll(() => asked.length).toBeGreaterThan(2);
    expect(await read_all(settings, settings.topics.state_changes)).toEqual([]);
    is_owner = true;
    await all_told();
    expect(await told_ids()).toEqual(["0:0:0"]);
  });
});

describe("a record that the fold does not take", () => {
  test("is in the topic of quarantined records once, as it is, with the reason", async () => {
    await told.start({}, { state_changes: false }).started;
    await append(observed("a"));
    await told.kept.append([POISON]);
    await append(observed("b"));
    await told.kept.append([Buffer.from([])]);
    told.outlet!.wake();
    await expect.poll(() => told.progress.quarantined_to, { timeout: 30_000 }).toBe(4n);
    await told.stop();
    await told.kept.open();
    told.start({ quarantined_to: told.progress.quarantined_to }, { state_changes: false });
    await told.kept.append([POISON]);
    told.outlet!.wake();
    await expect.poll(() => told.progress.quarantined_to, { timeout: 30_000 }).toBe(5n);

    const found = await read_all(settings, settings.topics.quarantine);
    expect(found.map(({ headers }) => [headers.source_offset, headers.reason])).toEqual([
      ["1", "malformed"],
      ["3", "empty"],
      ["4", "malformed"],
    ]);
    expect(found[0]).toMatchObject({ key: null, value: Buffer.from(POISON) });
    expect(found[0]!.headers).toMatchObject({
      source_topic: settings.topics.host_events,
      source_partition: "0",
    });
    expect(found[1]!.headers.detail).toMatch(/^events: there is none/);
    expect(await read_all(settings, settings.topics.state_changes)).toEqual([]);
  });
});

describe("much at once", () => {
  test("goes out in sends that a broker takes, in the causes' order", async () => {
    await told.start().started;
    const hosts = Array.from({ length: 6_000 }, (_, i) => `host-${i}-${"x".repeat(200)}`);
    for (let at = 0; at < hosts.length; at += 1_000) {
      await append(...hosts.slice(at, at + 1_000).map((host_id) => observed(host_id)));
    }
    await all_told();
    expect(await told_ids()).toEqual(hosts.map((_, i) => `0:${Math.floor(i / 1_000)}:${i % 1_000}`));
  });
});
