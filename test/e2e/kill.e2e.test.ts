/**
 * `kill -9` of the server while it stores: after a start every acknowledged event is there and in effect once, the
 * digest is that of a replay, and sending everything again gives what an undisturbed registry has.
 */
import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import type { Ack, HistoryEntry, HostAnswer, ReplayAnswer } from "#services/registry/answers.js";
import { fold_log, hosts_digest } from "../model/registry.js";
import {
  ask,
  ask_json,
  expect_refused,
  host_path,
  json_lines,
  kill_while_starting,
  klpstate,
  klpstate_yes,
  post,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { stream_expectations, stream_lines } from "./views.js";

/** To have the same instants again: KLPSTATE_SEED=… npx vitest run test/e2e/kill. */
const SEED = Number(process.env.KLPSTATE_SEED ?? randomInt(2 ** 31));
console.log(`seed of the instants: ${SEED}`);

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
function random_from(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const BEGINNING_MS = 1_780_000_000_000;
const HOSTS_OF_PUBLISHER = 5;
const EVENTS_OF_HOST = 8;

interface Acknowledged {
  batch: number;
  ack: Ack;
}

/** Sends batch after batch about hosts of its own, each when the one before it is acknowledged. */
class Publisher {
  readonly hosts: string[];
  readonly acknowledged: Acknowledged[] = [];
  /** How many batches were ever sent. */
  sent = 0;

  constructor(readonly name: string) {
    this.hosts = Array.from({ length: HOSTS_OF_PUBLISHER }, (_, index) => `${name}/host ${index}`);
  }

  /** The batch's events: a patch of its own comes, another one goes. */
  batch(number: number): Uint8Array {
    const events: Uint8Array[] = [];
    for (const host_id of this.hosts) {
      for (let index = 0; index < EVENTS_OF_HOST; index++) {
        const sequence = number * EVENTS_OF_HOST + index + 1;
        const change =
          sequence === 1
            ? { observed: { kernel_release: "6.12.1", arch: "x86_64", livepatching: "supported" } }
            : sequence % 2 === 0
              ? { loaded: { patch: { name: `kp_${sequence}` } } }
              : { disabled: { patch: { name: `kp_${sequence - 1}` } } };
        const numbers = { stream: "9", sequence, time_unix_ms: BEGINNING_MS + sequence };
        events.push(encode_batch([event_from_json({ host_id, ...numbers, ...change })]));
      }
    }
    return Buffer.concat(events);
  }

  send(server: Server, number: number) {
    this.sent = Math.max(this.sent, number + 1);
    return post(server, "/v1/events", "application/x-protobuf", this.batch(number));
  }

  /** Until the server is gone. */
  async send_on(server: Server): Promise<void> {
    for (;;) {
      const batch = this.acknowledged.length;
      let answer: Awaited<ReturnType<typeof post>>;
      try {
        answer = await this.send(server, batch);
      } catch {
        return;
      }
      expect(answer.status, answer.text).toBe(200);
      this.acknowledged.push({ batch, ack: JSON.parse(answer.text) as Ack });
    }
  }
}

async function history_of(server: Server, host_id: string): Promise<HistoryEntry[]> {
  const { text, status } = await ask(server, host_path(host_id, "/history"), {
    headers: { accept: "application/x-ndjson" },
  });
  expect(status, text).toBe(200);
  return json_lines<HistoryEntry>(text);
}

function applied_sequences(history: HistoryEntry[]): number[] {
  return history.filter(({ effect }) => effect === "applied").map(({ sequence }) => Number(sequence));
}

function numbers_to(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

async function replay(server: Server): Promise<ReplayAnswer> {
  const answer = await ask_json<ReplayAnswer>(server, "/v1/replay", { method: "POST" });
  expect(answer.matches).toBe(true);
  return answer;
}

/** What an acknowledgement promised is so, of as many of its hosts. */
async function expect_kept(server: Server, publisher: Publisher, hosts_max = 99): Promise<void> {
  const last = publisher.acknowledged.at(-1);
  if (last === undefined) return;
  for (const { host_id, next_sequence } of last.ack.hosts.slice(0, hosts_max)) {
    const history = await history_of(server, host_id);
    const applied = applied_sequences(history);
    // In effect once, in order, at least as far as it was acknowledged; of a batch a host has all or nothing.
    expect(applied).toEqual(numbers_to(applied.length));
    expect(applied.length).toBeGreaterThanOrEqual(Number(next_sequence) - 1);
    expect(applied.length % EVENTS_OF_HOST).toBe(0);
    const host = await ask_json<HostAnswer>(server, host_path(host_id));
    expect(host.knowledge).toBe("complete");
    const position = BigInt(host.at.position[host.partition]!);
    expect(position).toBeGreaterThanOrEqual(BigInt(last.ack.positions[host.partition]!));
  }
}

/** The lines of hosts of which the file has one stream only. */
function lines_of_one_stream(lines: string[]): string[] {
  const streams = new Map<string, Set<string>>();
  const read = lines.map((line) => ({
    line,
    event: JSON.parse(line) as { host_id: string; stream: string },
  }));
  for (const { event } of read) {
    streams.set(event.host_id, (streams.get(event.host_id) ?? new Set()).add(event.stream));
  }
  return read.filter(({ event }) => streams.get(event.host_id)!.size === 1).map(({ line }) => line);
}

describe("a server that is killed while it stores", () => {
  test("has every acknowledged event after each start, and all of them once after they are sent again", async () => {
    const random = random_from(SEED);
    const data = temporary_directory();
    const publishers = ["a", "b", "c", "d", "e", "f"].map((name) => new Publisher(name));
    for (let round = 0; round < 5; round++) {
      const server = await start_server(data, "--partitions", "4");
      for (const publisher of publishers) await expect_kept(server, publisher, 2);
      await replay(server);
      const before = publishers.map(({ acknowledged }) => acknowledged.length);
      const sending = publishers.map((publisher) => publisher.send_on(server));
      const some_acknowledged = () =>
        publishers.some(({ acknowledged }, index) => acknowledged.length > before[index]!);
      while (!some_acknowledged()) await sleep(1);
      await sleep(random() * 120);
      await server.kill();
      await Promise.all(sending);
    }

    const server = await start_server(data);
    for (const publisher of publishers) await expect_kept(server, publisher);
    const everything: Uint8Array[] = [];
    for (const publisher of publishers) {
      for (let batch = 0; batch < publisher.sent; batch++) {
        expect((await publisher.send(server, batch)).status).toBe(200);
        everything.push(publisher.batch(batch));
      }
    }
    for (const publisher of publishers) {
      const last = publisher.sent * EVENTS_OF_HOST;
      for (const host_id of publisher.hosts) {
        const history = await history_of(server, host_id);
        expect(applied_sequences(history)).toEqual(numbers_to(last));
        expect(history.at(-1)!.stack).toEqual([`kp_${last}`]);
        expect(history.flatMap(({ anomalies }) => anomalies)).toEqual([]);
      }
    }
    const records = everything.map((bytes) => ({ bytes, log_time_ms: BigInt(Date.now()) }));
    const { digest } = await replay(server);
    expect(digest).toBe(hosts_digest(fold_log(records).hosts.values()));
  });

  test("ends the command with what to do; the file sent again is in effect once", async () => {
    const random = random_from(SEED + 1);
    const directory = temporary_directory();
    const file = join(directory, "events.ndjson");
    // Hosts with one stream: an old stream's Observed that comes again means a clock that fell back (RULES F3 c).
    const lines = lines_of_one_stream(stream_lines());
    // Long enough to be in the middle of it; what comes a second time has no effect.
    writeFileSync(file, [...lines, ...lines, ...lines, ...lines].join("\n"));
    const undisturbed = await start_server(join(directory, "undisturbed"));
    const once = join(directory, "once.ndjson");
    writeFileSync(once, lines.join("\n"));
    await klpstate_yes(["ingest", once, "--server", undisturbed.url]);
    const { digest: expected } = await replay(undisturbed);
    const data = join(directory, "registry");
    let ended_by_the_kill = 0;
    for (let round = 0; round < 3; round++) {
      const server = await start_server(data);
      const command = klpstate(["ingest", file, "--server", server.url]);
      const stored = async () =>
        (await ask(server, "/metrics")).text.match(/^klpstate_events_total ([0-9]+)$/m)?.[1];
      const before = await stored();
      while ((await stored()) === before) await sleep(1);
      await sleep(random() * 100);
      await server.kill();
      const ended = await command;
      // It may have been done a moment before.
      if (ended.code === 0) continue;
      ended_by_the_kill++;
      expect_refused(ended, "not acknowledged", "sending the file again is safe");
    }
    expect(ended_by_the_kill).toBeGreaterThan(0);

    const server = await start_server(data);
    await replay(server);
    await klpstate_yes(["ingest", file, "--server", server.url]);
    expect(await replay(server)).toMatchObject({ digest: expected });
    const hosts = new Set(lines.map((line) => JSON.parse(line).host_id as string));
    expect(hosts.size).toBeGreaterThan(20);
    for (const { host_id, now, effects } of stream_expectations().filter((one) => hosts.has(one.host_id))) {
      const host = await ask_json<HostAnswer>(server, host_path(host_id));
      expect(host).toMatchObject({ stream: now.stream, sequence: now.sequence });
      const history = await history_of(server, host_id);
      const applied = history.filter(({ effect }) => effect === "applied");
      expect(applied).toHaveLength(effects.filter((effect) => effect === "applied").length);
    }
  });

  test("may be killed while it starts, as often as one likes", async () => {
    const random = random_from(SEED + 2);
    const data = temporary_directory();
    const publisher = new Publisher("a");
    const first = await start_server(data);
    for (let batch = 0; batch < 30; batch++) {
      const answer = await publisher.send(first, batch);
      publisher.acknowledged.push({ batch, ack: JSON.parse(answer.text) as Ack });
    }
    const { digest } = await replay(first);
    await first.kill();
    for (let round = 0; round < 4; round++) {
      await kill_while_starting(data, 100 + random() * 500);
    }
    const server = await start_server(data);
    expect((await replay(server)).digest).toBe(digest);
    await expect_kept(server, publisher);
  });
});
