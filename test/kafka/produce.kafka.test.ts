// klpstate produce: a file of events is in the topic, or a message says what is and what is not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { run_captured } from "../unit/cli/captured_terminal.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";
import { events_of, make_topic, read_topic } from "./topic_records.js";

const PARTITIONS = 4;
const HOSTS = 40;
const directory = mkdtempSync(join(tmpdir(), "klpstate-produce-"));
const settings = shared_settings();
const env = {
  KLPSTATE_KAFKA_BROKERS: settings.brokers.join(","),
  KLPSTATE_KAFKA_TOPIC_PREFIX: settings.topics.host_events.replace(/host-events$/, ""),
};

const produce = (args: string[], input = "") => run_captured(["produce", ...args], input, false, env);

const line = (i: number) =>
  JSON.stringify({
    host_id: `web-${i % HOSTS}`,
    stream: "7",
    sequence: String(1 + Math.floor(i / HOSTS)),
    time_unix_ms: "1790000123456",
    loaded: { patch: { name: "kp_1" } },
  });
const lines = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => line(from + i));
const named = (from: number, to: number) =>
  Array.from(
    { length: to - from },
    (_, i) => `web-${(from + i) % HOSTS}#${1 + Math.floor((from + i) / HOSTS)}`,
  );

async function stored(): Promise<string[][]> {
  return (await read_topic(settings, settings.topics.host_events)).map(events_of);
}

beforeAll(() => make_topic(settings, settings.topics.host_events, { numPartitions: PARTITIONS }));
afterAll(() => rmSync(directory, { recursive: true }));

describe("produce", () => {
  let so_far: string[] = [];

  test("stores every line in the partition of its host, in order, and says how far each partition is", async () => {
    const file = join(directory, "events.ndjson");
    writeFileSync(file, lines(0, 25_000).join("\n"));
    expect(await produce([file])).toEqual({
      code: 0,
      out: `stored 25,000 events in ${settings.topics.host_events}\n`,
      err: "",
    });
    so_far = named(0, 25_000);
    const found = await stored();
    for (const [partition, events] of found.entries()) {
      const own = so_far.filter((one) => {
        const host_id = Buffer.from(one.split("#")[0]!);
        return partition_of(host_id, PARTITIONS) === partition;
      });
      expect(events).toEqual(own);
    }
  });

  test("tells programs the positions, as a question to a registry takes them", async () => {
    const { code, out } = await produce(["-", "--json"], lines(25_000, 25_100).join("\n"));
    expect(code).toBe(0);
    so_far.push(...named(25_000, 25_100));
    const said = JSON.parse(out);
    expect(said).toMatchObject({ topic: settings.topics.host_events, events: 100, batches: 1 });
    const ends = (await read_topic(settings, settings.topics.host_events)).map(
      (records) => records.at(-1)!.offset + 1n,
    );
    expect(said.positions).toEqual(Object.fromEntries(ends.map((end, partition) => [partition, `${end}`])));
    expect(said.min_position).toBe(ends.map((end, partition) => `${partition}:${end}`).join(","));
  });

  test("takes length-delimited protobuf", async () => {
    const batch = encode_batch([event("web-1", 9_001), event("web-2", 9_001)]);
    const file = join(directory, "events.pb");
    writeFileSync(file, Buffer.concat([Buffer.from([batch.length]), batch]));
    expect((await produce([file, "--format", "protobuf"])).code).toBe(0);
    so_far.push("web-1#9001", "web-2#9001");
    expect((await stored()).flat().sort()).toEqual(so_far.toSorted());
  });

  test("stores the lines before one that is broken, names it, and stores nothing behind it", async () => {
    const text = [...lines(30_000, 30_005), '{"host_id":"web-1"}', ...lines(30_005, 30_010)].join("\n");
    const { code, err } = await produce(["-"], text);
    expect(code).toBe(2);
    expect(err).toContain("klpstate: standard input:6: ");
    expect(err).toContain("stored: the 5 lines before it");
    so_far.push(...named(30_000, 30_005));
    expect((await stored()).flat().sort()).toEqual(so_far.toSorted());
  });
});

describe("produce without what it needs", () => {
  const run = (more: Record<string, string>) =>
    run_captured(["produce", "-", "--json"], line(0), false, { ...env, ...more });

  test.each([
    ["a setting", { KLPSTATE_KAFKA_BROKERS: "" }, "KLPSTATE_KAFKA_BROKERS is not set", 400],
    ["a topic", { KLPSTATE_KAFKA_TOPIC_PREFIX: "none." }, "there is no topic none.host-events", 404],
    ["a broker", { KLPSTATE_KAFKA_BROKERS: "127.0.0.1:1" }, "127.0.0.1:1 cannot be asked", 503],
  ])("%s says so", async (_, more, said, status) => {
    const { code, out, err } = await run(more);
    expect([code, out]).toEqual([2, ""]);
    expect(JSON.parse(err)).toMatchObject({ status, detail: expect.stringContaining(said) });
  });
});
