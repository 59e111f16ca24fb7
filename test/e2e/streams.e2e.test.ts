/**
 * The streams of test/fixtures/conformance, ingested through a running server, give exactly the expected answers: now,
 * history, as of, digest; however they come in, in however many partitions, and after a restart.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import type { Ack, HistoryEntry, HostAnswer, ReplayAnswer } from "#services/registry/answers.js";
import {
  ask,
  ask_json,
  host_path,
  json_lines,
  klpstate_yes,
  post,
  problem_of,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import {
  count_anomalies,
  type Expectation,
  STREAMS_DIGEST,
  stream_expectations,
  stream_lines,
  type View,
  view_of_answer,
} from "./views.js";

const lines = stream_lines();
const expectations = stream_expectations();

type Ingest = (server: Server) => Promise<void>;
const every = expectations;
const every_third = expectations.filter((_, index) => index % 3 === 0);

async function ingest_by_command(server: Server): Promise<void> {
  const stdout = await klpstate_yes(["ingest", "-", "--server", server.url, "--json"], {
    stdin: lines.join("\n"),
  });
  expect(JSON.parse(stdout)).toMatchObject({ events: lines.length, hosts: expectations.length });
}

/** In batches of a size that divides nothing evenly. */
async function ingest_as_protobuf(server: Server): Promise<void> {
  for (let first = 0; first < lines.length; first += 997) {
    const events = lines.slice(first, first + 997).map((line) => event_from_json(JSON.parse(line)));
    const answer = await post(server, "/v1/events", "application/x-protobuf", encode_batch(events));
    expect(answer.status, answer.text).toBe(200);
  }
}

async function view_at(server: Server, host_id: string, as_of: string | null): Promise<View | null> {
  const answer = await ask(server, host_path(host_id, as_of === null ? "" : `?as_of=${as_of}`));
  if (answer.status === 200) return view_of_answer(JSON.parse(answer.text) as HostAnswer);
  const problem = problem_of(answer, 404);
  expect(problem).toMatchObject({ type: "urn:klpstate:problem:not_found", field: "as_of" });
  expect(problem.detail).toMatch(/was not known as of .*; it became known later/);
  return null;
}

/** What the server says of a host, in the form of what is expected of it. */
async function told_of(server: Server, { host_id, as_of }: Expectation): Promise<Expectation> {
  const { history, next } = await ask_json<{ history: HistoryEntry[]; next: string | null }>(
    server,
    host_path(host_id, "/history"),
  );
  expect(next).toBeNull();
  const past: Expectation["as_of"] = [];
  for (const [time] of as_of) past.push([time, await view_at(server, host_id, time)]);
  return {
    host_id,
    now: (await view_at(server, host_id, null))!,
    anomalies: count_anomalies(history),
    effects: history.map((entry) => entry.effect),
    as_of: past,
  };
}

/** Hosts that are asked for at the same time. */
const AT_ONCE = 20;

async function expect_told(server: Server, expected: Expectation[]): Promise<void> {
  const told: Expectation[] = [];
  for (let first = 0; first < expected.length; first += AT_ONCE) {
    const some = expected.slice(first, first + AT_ONCE);
    told.push(...(await Promise.all(some.map((one) => told_of(server, one)))));
  }
  expect(told).toEqual(expected);
}

async function replay(server: Server): Promise<ReplayAnswer> {
  return ask_json<ReplayAnswer>(server, "/v1/replay", { method: "POST" });
}

const ways: [way: string, partitions: number, ingest: Ingest, asked: Expectation[]][] = [
  ["NDJSON by the command, 8 partitions", 8, ingest_by_command, every],
  ["protobuf over HTTP, 8 partitions", 8, ingest_as_protobuf, every],
  ["protobuf over HTTP, 1 partition", 1, ingest_as_protobuf, every_third],
];

describe.each(ways)("the streams as %s", (_, partitions, ingest, asked) => {
  let server: Server;

  beforeAll(async () => {
    server = await start_server(temporary_directory(), "--partitions", String(partitions));
    await ingest(server);
  });

  test("give every host's state, history, anomalies and past as expected", async () => {
    expect(every).toHaveLength(300);
    expect(asked.some(({ as_of }) => as_of.some(([, view]) => view === null))).toBe(true);
    await expect_told(server, asked);
  });

  test("have the stated digest, which a replay of the log confirms, also after a restart", async () => {
    const before = await replay(server);
    expect(before).toMatchObject({ digest: STREAMS_DIGEST, matches: true });
    expect(before.partitions).toHaveLength(partitions);
    const sum = (field: "hosts" | "events") =>
      before.partitions.reduce((total, partition) => total + partition[field], 0);
    expect(sum("hosts")).toBe(expectations.length);
    expect(sum("events")).toBe(lines.length);

    expect(await server.stop()).toBe(0);
    server = await start_server(server.data);
    expect(await replay(server)).toEqual(before);
  });

  test("apply nothing a second time when they are sent again", async () => {
    const host_id = expectations[1]!.host_id;
    const { history: before } = await ask_json<{ history: HistoryEntry[] }>(
      server,
      host_path(host_id, "/history"),
    );
    await ingest_as_protobuf(server);
    const { history } = await ask_json<{ history: HistoryEntry[] }>(server, host_path(host_id, "/history"));
    expect(history.slice(0, before.length)).toEqual(before);
    expect(history).toHaveLength(2 * before.length);
    expect(history.slice(before.length).filter(({ effect }) => effect === "applied")).toEqual([]);
  });
});

describe("the command", () => {
  let server: Server;

  beforeAll(async () => {
    server = await start_server(temporary_directory());
    await ingest_by_command(server);
  });

  test.each(expectations.filter((_, index) => index % 100 === 0))(
    "tells the same of $host_id",
    async (expected) => {
      const { host_id } = expected;
      const [time, view] = expected.as_of.find(([, seen]) => seen !== null)!;
      const questions = [
        ["host", host_id],
        ["history", host_id],
        ["host", host_id, "--as-of", time],
      ];
      const [now, history, past] = await Promise.all(
        questions.map((question) => klpstate_yes([...question, "--server", server.url, "--json"])),
      );
      expect(view_of_answer(JSON.parse(now!) as HostAnswer)).toEqual(expected.now);
      const entries = json_lines<HistoryEntry>(history!);
      expect(entries.map(({ effect }) => effect)).toEqual(expected.effects);
      expect(count_anomalies(entries)).toEqual(expected.anomalies);
      expect(view_of_answer(JSON.parse(past!) as HostAnswer)).toEqual(view);
    },
  );

  test("says with --data what it says with --server, whether the directory is served or not", async () => {
    const { host_id } = expectations[0]!;
    const served = await klpstate_yes(["history", host_id, "--server", server.url, "--json"]);
    expect(await klpstate_yes(["history", host_id, "--data", server.data, "--json"])).toBe(served);
    await server.stop();
    expect(await klpstate_yes(["history", host_id, "--data", server.data, "--json"])).toBe(served);
    const replayed = JSON.parse(await klpstate_yes(["replay", "--data", server.data, "--json"]));
    expect(replayed).toMatchObject({ digest: STREAMS_DIGEST, matches: true });
  });
});

test("an acknowledgement tells each host's next sequence and knowledge as its state then is", async () => {
  const server = await start_server(temporary_directory());
  const events = lines.map((line) => event_from_json(JSON.parse(line)));
  const answer = await post(server, "/v1/events", "application/x-protobuf", encode_batch(events));
  const ack = JSON.parse(answer.text) as Ack;
  const told = ack.hosts.map(({ host_id, next_sequence, knowledge }) => ({
    host_id,
    next_sequence,
    knowledge,
  }));
  const expected = expectations.map(({ host_id, now }) => ({
    host_id,
    next_sequence: String(BigInt(now.sequence) + 1n),
    knowledge: now.knowledge,
  }));
  const by_id = (a: { host_id: string }, b: { host_id: string }) => (a.host_id < b.host_id ? -1 : 1);
  expect(told.sort(by_id)).toEqual(expected.sort(by_id));
  const { history } = await ask_json<{ history: HistoryEntry[] }>(
    server,
    host_path(expectations[7]!.host_id, "/history"),
  );
  // The positions are next offsets: what is acknowledged lies below.
  const { partition, offset } = history.at(-1)!.position;
  expect(BigInt(ack.positions[partition]!)).toBeGreaterThan(BigInt(offset));
});
