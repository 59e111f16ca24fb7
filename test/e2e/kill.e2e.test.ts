/**
 * `kill -9` of the server while it stores, answers and starts: after a start all that was acknowledged is there and in
 * effect once, the digest is that of a replay and of the plain model, and sending everything again is safe.
 */
import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { HostAnswer } from "#services/registry/answers.js";
import {
  ask,
  ask_json,
  expect_refused,
  host_path,
  kill_while_starting,
  klpstate,
  klpstate_yes,
  post_json,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { CatalogPublisher, history_of, model_digest, Publisher, replayed_digest } from "./publisher.js";
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

/** Asks what everybody asks, until the server is gone; every answer is whole. */
async function read_on(server: Server, publishers: Publisher[]): Promise<void> {
  for (let turn = 0; ; turn++) {
    const { acknowledged, hosts } = publishers[turn % publishers.length]!;
    const told = acknowledged.at(-1)?.ack.hosts.find(({ host_id }) => host_id === hosts[0]);
    const candidate = { patch: "catalog_0" };
    const answers = await Promise.all([
      ask(server, "/v1/fleet"),
      post_json(server, "/v1/checks", candidate),
      ask(server, host_path(hosts[0]!)),
    ]).catch(() => null);
    if (answers === null) return;
    const [fleet, check, host] = answers;
    expect(JSON.parse(fleet.text)).toMatchObject({ complete: true });
    if (check.status !== 404) expect(JSON.parse(check.text)).toMatchObject({ complete: true });
    if (told === undefined) continue;
    // What was acknowledged before the question is in the answer.
    const { sequence } = JSON.parse(host.text) as HostAnswer;
    expect(Number(sequence)).toBeGreaterThanOrEqual(Number(told.next_sequence) - 1);
  }
}

const KILLS = 20;
const KILLS_WHILE_STARTING = 6;

describe("a server that is killed while it stores", () => {
  test("has all that was acknowledged after twenty kills, and all that was sent once after it is sent again", async () => {
    const random = random_from(SEED);
    const data = temporary_directory();
    const publishers = ["a", "b", "c", "d", "e", "f"].map((name) => new Publisher(name));
    const catalog = new CatalogPublisher();
    const expect_all_kept = async (server: Server, hosts_max?: number) => {
      for (const publisher of publishers) await publisher.expect_kept(server, hosts_max);
      await catalog.expect_kept(server);
    };

    for (let kill = 0; kill < KILLS; kill++) {
      // Of every three kills at most one comes before the server listens, so that there is something new to find.
      if (kill % 3 === 2 && kill < KILLS_WHILE_STARTING * 3) {
        await kill_while_starting(data, 100 + random() * 500);
        continue;
      }
      const server = await start_server(data, "--partitions", "4");
      await expect_all_kept(server, 1);
      await replayed_digest(server);
      const before = publishers.map(({ acknowledged }) => acknowledged.length);
      const clients = [...publishers, catalog].map((client) => client.send_on(server));
      clients.push(read_on(server, publishers));
      const some_acknowledged = () =>
        publishers.some(({ acknowledged }, index) => acknowledged.length > before[index]!);
      while (!some_acknowledged()) await sleep(1);
      await sleep(random() * 120);
      await server.kill();
      await Promise.all(clients);
    }

    const server = await start_server(data);
    await expect_all_kept(server);
    expect(await replayed_digest(server)).toBe(await model_digest(server, publishers));
    for (const publisher of publishers) await publisher.send_again(server);
    expect(await replayed_digest(server)).toBe(await model_digest(server, publishers));
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
    const expected = await replayed_digest(undisturbed);
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
    await replayed_digest(server);
    await klpstate_yes(["ingest", file, "--server", server.url]);
    expect(await replayed_digest(server)).toBe(expected);
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
});
