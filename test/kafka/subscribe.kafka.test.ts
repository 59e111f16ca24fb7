// A program that follows the changes of a fleet: klpstate/client on a real broker.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Message } from "kafkajs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type StateChange,
  type SubscribeOptions,
  SubscriptionError,
  subscribe,
  subscribe_with,
} from "#services/client/index.js";
import { encode_event } from "#services/events/codec.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import {
  begin_again_message,
  begin_message,
  state_change_message,
} from "#services/kafka/state_changes/record.js";
import { shared_settings } from "./shared_broker.js";
import { make_topics } from "./told_partition.js";

let settings: KafkaSettings;
let topic: string;
let options: SubscribeOptions;
const open: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  settings = shared_settings();
  topic = settings.topics.state_changes;
  await make_topics(settings);
  options = {
    brokers: settings.brokers,
    group_id: `${settings.group_id}-readers`,
    topic_prefix: topic.slice(0, -"state-changes".length),
  };
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

/** Of the cause `partition:offset:0`. */
function change(partition: number, offset: number): Message {
  const host_id = `host-${partition}`;
  const event = encode_event({
    host_id,
    stream: 3,
    sequence: offset + 1,
    time_unix_ms: 1_000,
    loaded: { patch: { name: "kp_1" } },
  });
  const stack = [{ name: "kp_1", build_id: "ab", phase: "enabled" }] as const;
  const told = {
    cause: { partition, offset: BigInt(offset), index: 0 },
    host_id,
    event,
    log_time_ms: 2_000,
    effective_time_ms: 1_000,
    before: { stack: [], knowledge: "gap" },
    after: { stack, knowledge: "gap" },
    anomalies: ["gap"],
    states: [{ id: 2n ** 64n - 1n, change: "declared", from: null, to: 3, patch: "kp_1" }],
    catalog_next_offset: 17n,
  } as const;
  return state_change_message(told, settings.topics.host_events).message;
}

async function send(...messages: Message[]): Promise<void> {
  const producer = kafka_of(settings, "test").producer();
  await producer.connect();
  for (const message of messages) await producer.send({ topic, messages: [message] });
  await producer.disconnect();
}

function range(partition: number, from: number, to: number): Message[] {
  return Array.from({ length: to - from }, (_, i) => change(partition, from + i));
}

function id({ cause: { partition, offset } }: StateChange): string {
  return `${partition}:${offset}`;
}

/** What a subscription hands over, as it comes. */
function collect(more: Partial<SubscribeOptions> = {}) {
  const seen: string[] = [];
  const subscription = subscribe_with({ ...options, ...more }, (one) => void seen.push(id(one)));
  open.push(subscription);
  return { seen, subscription };
}

async function until_count(seen: readonly unknown[], count: number): Promise<void> {
  await expect.poll(() => seen.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count);
}

describe("a subscription", () => {
  test("hands over what was told, as values, and nothing of the mark that telling began with", async () => {
    await send(begin_message(2), change(2, 0));
    const stream = subscribe(options);
    open.push(stream);
    const { value } = await stream.next();
    expect(value).toMatchObject({
      cause: { partition: 2, offset: 0n, index: 0 },
      host_id: "host-2",
      stream: 3n,
      sequence: 1,
      change: "loaded",
      log_time_ms: 2_000,
      effective_time_ms: 1_000,
      before: { stack: [], knowledge: "gap" },
      after: { stack: [{ name: "kp_1", build_id: "ab", phase: "enabled" }], knowledge: "gap" },
      anomalies: ["gap"],
      states: [{ id: 2n ** 64n - 1n, change: "declared", from: null, to: 3, patch: "kp_1" }],
      states_left_out: 0,
      catalog_next_offset: 17n,
    });
    expect(value!.event.loaded!.patch!.name).toBe("kp_1");
  });

  test("drops repeats, each partition for itself", async () => {
    await send(...range(0, 0, 3), ...range(1, 0, 2), ...range(0, 1, 5), ...range(0, 0, 6), change(1, 2));
    const { seen } = collect();
    await until_count(seen, 9);
    const of = (partition: number) => seen.filter((one) => one.startsWith(`${partition}:`));
    expect(of(0)).toEqual(["0:0", "0:1", "0:2", "0:3", "0:4", "0:5"]);
    expect(of(1)).toEqual(["1:0", "1:1", "1:2"]);
  });

  test("takes causes that came before for new ones behind a mark that says so", async () => {
    await send(...range(0, 3, 5), begin_again_message(0, 1n), ...range(0, 1, 4));
    const { seen } = collect();
    await until_count(seen, 5);
    expect(seen).toEqual(["0:3", "0:4", "0:1", "0:2", "0:3"]);
  });

  test("goes on behind what was handled, and knows repeats of what came before it stopped", async () => {
    await send(...range(0, 0, 3));
    const first = collect();
    await until_count(first.seen, 3);
    await first.subscription.close();
    await expect(first.subscription.ended).resolves.toBeUndefined();
    await send(...range(0, 1, 4));
    const second = collect();
    await until_count(second.seen, 1);
    expect(second.seen).toEqual(["0:3"]);
  });

  test("hands the change again that was not done with", async () => {
    await send(...range(0, 0, 3));
    const seen: string[] = [];
    for await (const one of subscribe(options)) {
      seen.push(id(one));
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(["0:0", "0:1"]);
    const rest = collect();
    await until_count(rest.seen, 2);
    expect(rest.seen).toEqual(["0:1", "0:2"]);
  });

  test("ends with the handler's own error, and hands its change again", async () => {
    await send(...range(0, 0, 3));
    const failing = subscribe_with(options, (one) => {
      if (id(one) === "0:1") throw new Error("no room");
    });
    await expect(failing.ended).rejects.toThrow("no room");
    const { seen } = collect();
    await until_count(seen, 2);
    expect(seen).toEqual(["0:1", "0:2"]);
  });

  test("shares the partitions with others of its group, and loses none when one of them leaves", async () => {
    const a = collect();
    const b = collect();
    await send(...[0, 1, 2, 3].flatMap((partition) => range(partition, 0, 2)));
    const all = () => new Set([...a.seen, ...b.seen]);
    await expect.poll(() => all().size, { timeout: 60_000 }).toBe(8);
    await a.subscription.close();
    await send(...[0, 1, 2, 3].flatMap((partition) => range(partition, 2, 4)));
    await expect.poll(() => all().size, { timeout: 60_000 }).toBe(16);
    expect(new Set(b.seen).size).toBe(b.seen.length);
  });

  test("from the latest has only what comes, also when it is started again before anything came", async () => {
    await send(...range(0, 0, 2));
    const first = collect({ from: "latest" });
    const admin = kafka_of(settings, "test").admin();
    await admin.connect();
    const committed = async () => {
      const [found] = await admin.fetchOffsets({ groupId: options.group_id, topics: [topic] });
      return found!.partitions.find(({ partition }) => partition === 0)!.offset;
    };
    await expect.poll(committed, { timeout: 60_000 }).toBe("2");
    await first.subscription.close();
    await admin.disconnect();
    await send(change(0, 2));
    const second = collect({ from: "latest" });
    await until_count(second.seen, 1);
    expect([...first.seen, ...second.seen]).toEqual(["0:2"]);
  });
});

describe("a subscription that cannot go on says why", () => {
  test("where no broker answers", async () => {
    const { subscription } = collect({ brokers: { brokers: ["127.0.0.1:1"], retry: { retries: 0 } } });
    await expect(subscription.ended).rejects.toMatchObject({ code: "unreachable" });
  });

  test("where the topic is not there", async () => {
    const { subscription } = collect({ topic_prefix: "nobody." });
    await expect(subscription.ended).rejects.toMatchObject({ code: "no_topic" });
    await expect(subscription.ended).rejects.toThrow(SubscriptionError);
  });

  test("where a record is no state change", async () => {
    await send(change(0, 0), { partition: 0, value: "hello" });
    const { seen, subscription } = collect();
    await expect(subscription.ended).rejects.toMatchObject({ code: "not_understood", partition: 0 });
    expect(seen).toEqual(["0:0"]);
  });

  test("where unread changes are gone; told to go on, it does", async () => {
    await send(...range(0, 0, 2));
    const first = collect();
    await until_count(first.seen, 2);
    await first.subscription.close();
    await send(...range(0, 2, 5));
    const admin = kafka_of(settings, "test").admin();
    await admin.connect();
    // kafkajs wants to know of the topic before.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "4" }] });
    await admin.disconnect();
    const second = collect();
    await expect(second.subscription.ended).rejects.toMatchObject({ code: "expired", partition: 0 });
    const third = collect({ when_expired: "go_on" });
    await until_count(third.seen, 1);
    expect([...second.seen, ...third.seen]).toEqual(["0:4"]);
  });
});

test("the example prints a line for each change, and goes on where it was stopped", async () => {
  await send(change(0, 0));
  const first = await printed(1);
  expect(first).toEqual([
    "1970-01-01T00:00:01.000Z  host-0  loaded  [] > [kp_1]  gap  state 18446744073709551615 declared ->3  gap",
  ]);
  await send(change(0, 1));
  expect(await printed(1)).toHaveLength(1);
});

/** Lines of the example, which is told to stop when so many are there. */
async function printed(count: number): Promise<string[]> {
  const child = spawn(
    process.execPath,
    ["dist/examples/print_changes.js", settings.brokers.join(","), options.group_id],
    {
      env: { ...process.env, KLPSTATE_KAFKA_TOPIC_PREFIX: options.topic_prefix },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
    if (text.split("\n").length > count) child.kill("SIGTERM");
  });
  await once(child, "close");
  return text.split("\n").slice(0, -1);
}
