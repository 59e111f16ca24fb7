/**
 * Snapshots and chains as an operator meets them: made while events come in, used after `kill -9`, told of where they
 * cannot be used, and never more than a shorter way to the answers that the log gives.
 */
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { SnapshotsAnswer } from "#services/registry/answers.js";
import {
  ask,
  ask_json,
  host_path,
  klpstate,
  klpstate_yes,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { history_of, model_digest, Publisher, replayed_digest } from "./publisher.js";

const PARTITIONS = 2;
const SMALL = ["--snapshot-after", "2KiB"];

function files_of(data: string, kind: "snapshots" | "log", ends: RegExp): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => join(data, kind, String(partition))).flatMap(
    (directory) =>
      (existsSync(directory) ? readdirSync(directory) : [])
        .filter((name) => ends.test(name))
        .sort()
        .map((name) => join(directory, name)),
  );
}

const snapshots_of = (data: string) => files_of(data, "snapshots", /^[0-9]{20}$/);
const chains_of = (data: string) => files_of(data, "log", /\.chain$/);

/** What a start says that it began with. */
function started(server: Server): { snapshots: number; bytes: number } {
  const said = /^started from snapshots of ([0-9]+) of 2 partitions, read ([0-9]+) bytes of log$/;
  const found = server.log().flatMap(({ msg }) => said.exec(String(msg)) ?? []);
  expect(found).toHaveLength(3);
  return { snapshots: Number(found[1]), bytes: Number(found[2]) };
}

function warnings(server: Server): string[] {
  return server.log().flatMap(({ level, msg }) => (Number(level) >= 40 ? [String(msg)] : []));
}

/** A registry that was killed while it made snapshots, and what was answered of it then. */
const publisher = new Publisher("a", 8);
let data: string;
let digest: string;
let histories: unknown[];

async function answers_of(server: Server): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const host_id of publisher.hosts) {
    const { at: _, ...host } = await ask_json<Record<string, unknown>>(server, host_path(host_id));
    answers.push(host, await history_of(server, host_id));
  }
  return answers;
}

async function expect_same_answers(server: Server): Promise<void> {
  expect(await answers_of(server)).toEqual(histories);
  expect(await replayed_digest(server)).toBe(digest);
}

beforeAll(async () => {
  data = join(temporary_directory(), "registry");
  const server = await start_server(data, "--partitions", String(PARTITIONS), ...SMALL);
  // Hosts of both partitions, until each has two.
  while (snapshots_of(data).length < 2 * PARTITIONS) {
    expect((await publisher.send_next(server)).status).toBe(200);
    await sleep(100);
  }
  expect((await publisher.send_next(server)).status).toBe(200);
  await server.kill();

  const again = await start_server(data, "--snapshot-after", "1GiB");
  expect(started(again).snapshots).toBe(PARTITIONS);
  digest = await replayed_digest(again);
  expect(digest).toBe(await model_digest(again, [publisher]));
  await publisher.expect_kept(again);
  histories = await answers_of(again);
  await again.stop();
});

describe("a server that takes events", () => {
  test("makes snapshots by itself, and starts from them after kill -9 with all that was acknowledged", async () => {
    const server = await start_server(data);
    const { snapshots, bytes } = started(server);
    expect(snapshots).toBe(PARTITIONS);
    const all = files_of(data, "log", /\.log$/).reduce((sum, path) => sum + readFileSync(path).length, 0);
    expect(bytes).toBeLessThan(all / 2);
    expect(warnings(server)).toEqual([]);
    await expect_same_answers(server);
    const metrics = (await ask(server, "/metrics")).text;
    expect(metrics.match(/^klpstate_snapshot_log_time_seconds.* 1[0-9.]+$/gm)).toHaveLength(PARTITIONS);
    await server.stop();
  });

  test("makes them when it is asked to, and reads nothing of the log at the next start", async () => {
    const server = await start_server(data);
    const { bytes } = started(server);
    const made = JSON.parse(
      await klpstate_yes(["snapshot", "--json", "--server", server.url]),
    ) as SnapshotsAnswer;
    expect(bytes).toBeGreaterThan(0);
    expect(made).toMatchObject({ failed: [] });
    expect(made.snapshots).toBeGreaterThan(0);
    const digests = await ask_json<{ partitions: { partition: number; next: string }[] }>(
      server,
      "/v1/replay",
      {
        method: "POST",
      },
    );
    for (const { partition, next } of made.partitions) {
      expect(digests.partitions.find((one) => one.partition === partition)!.next).toBe(next);
    }
    expect(await klpstate_yes(["snapshot", "--server", server.url])).toBe("0 snapshots made\n");
    await server.kill();
    const again = await start_server(data);
    expect(started(again)).toEqual({ snapshots: PARTITIONS, bytes: 0 });
    await expect_same_answers(again);
    await again.stop();
    // Also where nobody serves the directory.
    expect(await klpstate_yes(["snapshot", "--data", data])).toBe("0 snapshots made\n");
  });

  test("keeps as many as it is told to", async () => {
    expect(snapshots_of(data).length).toBeGreaterThan(PARTITIONS);
    const server = await start_server(data, "--snapshots-newest", "1", "--snapshots-days", "0");
    expect((await publisher.send(server, 0)).status).toBe(200);
    const { snapshots } = await ask_json<SnapshotsAnswer>(server, "/v1/snapshots", { method: "POST" });
    expect(snapshots).toBe(PARTITIONS);
    expect(snapshots_of(data)).toHaveLength(PARTITIONS);
    histories = await answers_of(server);
    await server.stop();
  });

  test.each([
    ["--snapshot-after", "0"],
    ["--snapshot-after", "1GB"],
    ["--snapshots-newest", "0"],
    ["--snapshots-days", "-1"],
    ["--snapshots-bytes", "much"],
  ])("refuses %s %s", async (option, value) => {
    const { code, stderr } = await klpstate(["serve", "--data", data, option, value]);
    expect(code).toBe(2);
    expect(stderr).toContain(option);
    expect(stderr).toContain(value);
  });
});

describe("snapshots that cannot be used", () => {
  async function expect_told(...told: RegExp[]): Promise<void> {
    const server = await start_server(data);
    const said = warnings(server).filter((message) => message.includes(" is not used: "));
    expect(said, said.join("\n")).toHaveLength(told.length);
    for (const pattern of told)
      expect(
        said.some((message) => pattern.test(message)),
        String(pattern),
      ).toBe(true);
    await expect_same_answers(server);
    await klpstate_yes(["snapshot", "--server", server.url]);
    await server.stop();
  }

  test("because they are damaged are told with file and reason, and the answers are the same", async () => {
    const [first, second] = [snapshots_of(data)[0]!, snapshots_of(data).at(-1)!];
    const bytes = readFileSync(first);
    bytes[bytes.length - 1_000]! ^= 1;
    writeFileSync(first, bytes);
    truncateSync(second, 5_000);
    await expect_told(
      /snapshots\/0\/[0-9]{20} is not used: its checksum does not match/,
      /snapshots\/1\/[0-9]{20} is not used: it has 5000 bytes instead of [0-9]+/,
    );
  });

  test("because another registry made them are told, and the answers are the same", async () => {
    const other = join(temporary_directory(), "registry");

    const server = await start_server(other, "--partitions", String(PARTITIONS));
    const stranger = new Publisher("stranger", 8);
    while (stranger.acknowledged.length < 3) await stranger.send_next(server);
    await klpstate_yes(["snapshot", "--server", server.url]);
    await server.stop();
    const [foreign] = snapshots_of(other);
    const partition = foreign!.includes("/snapshots/0/") ? 0 : 1;
    // A position beyond the log's end would be the worst that could be believed.
    writeFileSync(join(data, "snapshots", String(partition), "9".repeat(20)), readFileSync(foreign!));
    await expect_told(/9{20} is not used: it is of another registry/);
  });

  test("because somebody has deleted them all are made again", async () => {
    rmSync(join(data, "snapshots"), { recursive: true });
    const server = await start_server(data);
    expect(started(server).snapshots).toBe(0);
    await expect_same_answers(server);
    await klpstate_yes(["snapshot", "--server", server.url]);
    expect(snapshots_of(data)).toHaveLength(PARTITIONS);
    await server.stop();
  });
});

describe("chains", () => {
  test("that were deleted while nobody served change no answer", async () => {
    const chains = chains_of(data);
    expect(chains.length).toBeGreaterThanOrEqual(PARTITIONS);
    for (const path of chains) rmSync(path);
    const server = await start_server(data);
    expect(started(server).snapshots).toBe(PARTITIONS);
    await expect_same_answers(server);
    // The next event begins a segment, and the one that lost its chain gets it back.
    expect((await publisher.send(server, 0)).status).toBe(200);
    while (!chains.every((path) => existsSync(path))) await sleep(50);
    histories = await answers_of(server);
    await server.stop();
  });

  test("that are damaged change no answer", async () => {
    for (const path of chains_of(data)) {
      const bytes = readFileSync(path);
      for (let at = 200; at < bytes.length; at += 1_000) bytes[at]! ^= 0x40;
      writeFileSync(path, bytes);
    }
    const server = await start_server(data);
    await expect_same_answers(server);
    for (const host_id of publisher.hosts) {
      const history = await klpstate_yes(["history", host_id, "--json", "--server", server.url]);
      expect(history.split("\n").length - 1).toBe((await history_of(server, host_id)).length);
    }
    await server.stop();
  });
});
