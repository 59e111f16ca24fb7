import { beforeEach, describe, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { ProblemDocument, problem_of } from "#services/api/problem_document.js";
import type { Replay, ReplayQuestion } from "#services/api/replay_routes.js";
import { decode_batch, encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import { Problem } from "#services/events/problem.js";
import {
  AT,
  FakeRegistry,
  fleet_row,
  history_entry,
  host_answer,
  host_verdict,
  REPLAYED,
} from "./fake_registry.js";

let registry: FakeRegistry;
let app: ReturnType<typeof build_app>;
let replay: () => Promise<typeof REPLAYED>;
let questions: ReplayQuestion[];

beforeEach(() => {
  registry = new FakeRegistry();
  replay = async () => REPLAYED;
  questions = [];
  const noted: Replay = (_, question) => {
    questions.push(question);
    return replay();
  };
  app = build_app({ registry, replay: noted, version: "0.0.0" });
});

function event(sequence: number, host_id = "web-1"): object {
  return {
    host_id,
    stream: "7",
    sequence: String(sequence),
    time_unix_ms: "1790000123456",
    loaded: { patch: { name: "kp_1" } },
  };
}

async function ask(path: string, init: RequestInit = {}) {
  const response = await app.request(path, init);
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  return {
    status: response.status,
    type,
    text,
    json: type.includes("json") && !type.includes("ndjson") ? JSON.parse(text) : null,
  };
}

function post(
  path: string,
  body: string | Uint8Array,
  type = "application/json",
  accept = "application/json",
) {
  return ask(path, { method: "POST", body, headers: { "content-type": type, accept } });
}

const lines = (items: object[]) => items.map((item) => `${JSON.stringify(item)}\n`).join("");

describe("events", () => {
  test("hosts=none stores the events and tells of no host", async () => {
    const body = JSON.stringify({ events: [event(1)] });
    const { status, json } = await post("/v1/events?hosts=none", body);
    expect([status, json]).toEqual([200, { positions: { 0: "1" }, hosts: [] }]);
    expect(registry.stored()).toEqual(["web-1#1"]);
    expect((await post("/v1/events?hosts=all", body)).json.hosts).toHaveLength(1);
  });

  test("hosts=some is refused before anything is stored", async () => {
    const { status, json } = await post("/v1/events?hosts=some", JSON.stringify({ events: [event(1)] }));
    expect([status, json.field, json.limit]).toEqual([400, "hosts", "all or none"]);
    expect(registry.batches).toEqual([]);
  });

  test("JSON, NDJSON and protobuf of the same events store the same bytes", async () => {
    const events = [event(1), event(2)];
    const batch = encode_batch(events.map((value) => event_from_json(value)));
    const answers = [
      await post("/v1/events", JSON.stringify({ events })),
      await post("/v1/events", lines(events), "application/x-ndjson; charset=utf-8"),
      await post("/v1/events", batch, "application/x-protobuf"),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers[0]!.json.hosts).toEqual([
      {
        host_id: "web-1",
        next_sequence: "3",
        knowledge: "complete",
        effective_time: "2026-03-01T12:00:00.000Z",
      },
    ]);
    expect(registry.batches.map((bytes) => Buffer.from(bytes).toString("hex"))).toEqual(
      Array(3).fill(Buffer.from(batch).toString("hex")),
    );
  });

  test("NDJSON that breaks in line 7,000 of 10,000 is refused whole and names the line", async () => {
    const all = Array.from({ length: 10_000 }, (_, at) => JSON.stringify(event(at + 1)));
    all[6_999] = '{"host_id":"web-1","stream":"7"';
    const { status, type, json } = await post("/v1/events", all.join("\n"), "application/x-ndjson");
    expect([status, type, json.line]).toEqual([400, "application/problem+json", 7_000]);
    expect(json.detail).toContain("line 7000");
    expect(registry.batches).toEqual([]);
  });

  test("more than 10,000 events are too many, with the limit", async () => {
    const all = Array.from({ length: 10_001 }, (_, at) => event(at + 1));
    for (const answer of [
      await post("/v1/events", lines(all), "application/x-ndjson"),
      await post("/v1/events", JSON.stringify({ events: all })),
    ]) {
      expect(answer.status).toBe(413);
      expect(answer.json.limit).toContain("10000");
    }
    expect(registry.batches).toEqual([]);
  });

  test.each([
    ["a state that JavaScript cannot hold", { ...event(1), sequence: 2 ** 53 }, "sequence"],
    ["a name of 56 bytes", { ...event(1), loaded: { patch: { name: "k".repeat(56) } } }, "loaded.patch.name"],
    ["an unknown key", { ...event(1), colour: "red" }, "colour"],
    ["an empty host id", event(1, ""), "host_id"],
    ["a host id of 256 bytes", event(1, "é".repeat(128)), "host_id"],
  ])("%s is a 400 that names the field", async (_, bad, field) => {
    const { status, json } = await post("/v1/events", JSON.stringify({ events: [event(1), bad] }));
    expect([status, json.field]).toEqual([400, `events[1].${field}`]);
    expect(json.type).toBe("urn:klpstate:problem:bad_input");
    expect(registry.batches).toEqual([]);
  });

  test("a key given twice is refused", async () => {
    const { status, json } = await post("/v1/events", '{"events":[{"host_id":"a","host_id":"b"}]}');
    expect([status, json.field]).toEqual([400, "events[0].host_id"]);
  });

  test("what the registry refuses by its number is named by its line", async () => {
    registry.refusals.push(
      new Problem("bad_input", "events[1].stream: 0 is none", { field: "events[1].stream" }),
    );
    const { json } = await post(
      "/v1/events",
      `${JSON.stringify(event(1))}\n\n${JSON.stringify(event(2))}\n`,
      "application/x-ndjson",
    );
    expect(json).toMatchObject({ line: 3, field: "events[1].stream" });
  });

  test.each([
    ["partition_full", 507],
    ["disk_full", 507],
    ["busy", 429],
    ["unavailable", 503],
    ["contradiction", 409],
  ] as const)("%s is a %i", async (code, status) => {
    registry.refusals.push(new Problem(code, "no"));
    expect((await post("/v1/events", JSON.stringify({ events: [event(1)] }))).status).toBe(status);
  });

  test("of a batch that was stored in part, a program is told what became of each partition's events", async () => {
    const partitions = { "0": "stored", "1": "unknown" } as const;
    const refusal = new Problem("unavailable", "partition 1 does not answer", { partitions });
    registry.refusals.push(refusal);
    const { status, json } = await post("/v1/events", JSON.stringify({ events: [event(1)] }));
    expect([status, json.partitions]).toEqual([503, partitions]);
    expect(problem_of(ProblemDocument.parse(json))).toEqual(refusal);
  });

  test("a failure of the server itself tells nothing of it", async () => {
    registry.ingest = () => Promise.reject(new Error("secret"));
    const { status, text } = await post("/v1/events", JSON.stringify({ events: [event(1)] }));
    expect([status, text.includes("secret")]).toEqual([500, false]);
  });

  test("another media type is a 415 that names those that are taken", async () => {
    const { status, json } = await post("/v1/events", "x", "text/plain");
    expect([status, json.field]).toEqual([415, "content-type"]);
    expect(json.limit).toContain("application/x-ndjson");
  });

  test("a body over the limit is a 413, whether its length is declared or not", async () => {
    const body = new Uint8Array(900 * 1024 + 1);
    const declared = await ask("/v1/events", {
      method: "POST",
      body,
      headers: { "content-type": "application/x-protobuf", "content-length": String(body.length) },
    });
    const streamed = await post("/v1/events", body, "application/x-protobuf");
    expect([declared.status, streamed.status]).toEqual([413, 413]);
    expect(declared.json).toMatchObject({ field: "body", value: "921601 bytes", limit: "921600 bytes" });
  });

  test("an empty body, an empty list and another document are refused", async () => {
    expect((await post("/v1/events", "", "application/x-ndjson")).status).toBe(400);
    expect((await post("/v1/events", '{"events":[]}')).json.field).toBe("events");
    expect((await post("/v1/events", '{"events":[],"event":1}')).json.field).toBe("event");
    expect((await post("/v1/events", "[]")).json.field).toBe("body");
    expect((await post("/v1/events", new Uint8Array([0xff]))).json.detail).toContain("UTF-8");
  });
});

describe("hosts", () => {
  beforeEach(() => {
    for (const id of ["web-17", "a/b %c ü?#"]) registry.hosts.set(id, host_answer(id));
    registry.histories.set("web-17", [history_entry(0), history_entry(1), history_entry(2)]);
  });

  test("a host is found by any id, percent-encoded", async () => {
    expect((await ask("/v1/hosts/web-17")).json).toEqual(host_answer("web-17"));
    expect((await ask(`/v1/hosts/${encodeURIComponent("a/b %c ü?#")}`)).json.host_id).toBe("a/b %c ü?#");
  });

  test("a host that is not known, and one that was not known then, are told apart", async () => {
    const never = await ask("/v1/hosts/web-99");
    const later = await ask("/v1/hosts/web-17?as_of=2025-12-31T00:00:00Z");
    expect([never.status, later.status]).toEqual([404, 404]);
    expect(never.json.detail).toContain("is not known");
    expect(later.json.detail).toContain("was not known as of 2025-12-31T00:00:00.000Z");
  });

  test.each([
    ["/v1/hosts/web-17?as_of=yesterday", "as_of"],
    ["/v1/hosts/web-17?known_at=2026-02-30T00:00:00Z", "known_at"],
    ["/v1/hosts/web-17?as_fo=2026-02-01T00:00:00Z", "as_fo"],
    [`/v1/hosts/${"x".repeat(256)}`, "host_id"],
    ["/v1/hosts/web-17/history?limit=0", "limit"],
    ["/v1/hosts/web-17/history?limit=10001", "limit"],
    ["/v1/hosts/web-17/history?cursor=here", "cursor"],
    ["/v1/hosts/web-17/states/0", "state"],
    ["/v1/hosts/web-17/states/18446744073709551616", "state"],
    ["/v1/hosts/web-17/states/1?of=kp_1&prev_of=kp_2", "prev_of"],
    [`/v1/hosts/web-17/states/1?of=${"k".repeat(56)}`, "of"],
  ])("%s is a 400 that names %s", async (path, field) => {
    const { status, json } = await ask(path);
    expect([status, json.field]).toEqual([400, field]);
    expect(json.detail).toContain(field);
  });

  test("a history is paged without a gap or a repeat, or streamed as lines", async () => {
    const first = (await ask("/v1/hosts/web-17/history?limit=2")).json;
    const second = (await ask(`/v1/hosts/web-17/history?limit=2&cursor=${first.next}`)).json;
    expect([...first.history, ...second.history].map(({ sequence }) => sequence)).toEqual(["1", "2", "3"]);
    expect(second.next).toBeNull();
    const all = await ask("/v1/hosts/web-17/history", { headers: { accept: "application/x-ndjson" } });
    expect(all.type).toBe("application/x-ndjson");
    expect(all.text).toBe(lines(registry.histories.get("web-17")!));
  });

  test("a state is looked up over the whole range of ids, by a patch in the kernel's form", async () => {
    const { json } = await ask("/v1/hosts/web-17/states/18446744073709551615?prev_of=kp-3");
    expect(json.state).toBe("18446744073709551615");
    expect(registry.lookups).toEqual([{ prev_of: "kp_3" }]);
  });
});

describe("checks", () => {
  beforeEach(() => {
    registry.verdicts = ["ok", "incompatible", "ok", "unknown", "incompatible"].map((verdict, at) =>
      host_verdict(`h${at}`, verdict as "ok"),
    );
    registry.hosts.set("h1", host_answer("h1"));
  });

  test("counts, for a name or one build", async () => {
    const { status, json } = await post("/v1/checks", '{"patch":"kp-9@AB12","max_age":"26h"}');
    expect([status, json.hosts.incompatible, json.complete]).toEqual([200, 2, true]);
    expect(registry.checks).toEqual([
      { candidate: { name: "kp_9", build_id: "ab12" }, options: { instant: {}, max_age_ms: 26 * 3_600_000 } },
    ]);
  });

  test("counts of many, in their order, with one instant and one position for all", async () => {
    const { status, json } = await post(
      "/v1/checks",
      '{"patches":["kp-9@AB12","kp_1","kp_1"],"max_age":"26h"}',
    );
    const of = ({ candidate }: { candidate: unknown }) => candidate;
    expect([status, json.checks.map(of), json.at, json.complete]).toEqual([
      200,
      [
        { name: "kp_9", build_id: "ab12" },
        { name: "kp_1", build_id: null },
        { name: "kp_1", build_id: null },
      ],
      AT,
      true,
    ]);
    expect(Object.keys(json.checks[0])).toEqual(["candidate", "hosts", "reasons", "warnings"]);
    expect(registry.checks.map(({ options }) => options.max_age_ms)).toEqual(Array(3).fill(26 * 3_600_000));
  });

  test("a thousand names of the greatest length fit into a question, and no more do", async () => {
    const patches = Array.from({ length: 1_000 }, (_, i) => {
      const name = String(i).padStart(55, "0");
      const escaped = [...name].map((digit) => `\\u00${digit.charCodeAt(0).toString(16)}`).join("");
      return `"${escaped}@${"ab".repeat(64)}"`;
    });
    const { status, json } = await post("/v1/checks", `{"patches":[${patches}]}`);
    expect([status, json.checks.length]).toEqual([200, 1_000]);
    const more = await post("/v1/checks", `{"patches":[${patches},"one_more"]}`);
    expect([more.status, more.json.field]).toEqual([400, "patches"]);
  });

  test("hosts are paged under a filter, also when the host at the page's end has changed its verdict", async () => {
    const filter = { patch: "kp_9", hosts: true, verdicts: ["incompatible"], limit: 1 };
    const first = (await post("/v1/checks", JSON.stringify(filter))).json;
    expect(first.hosts.map(({ host_id }: { host_id: string }) => host_id)).toEqual(["h1"]);
    registry.verdicts[1] = host_verdict("h1", "ok");
    const second = (await post("/v1/checks", JSON.stringify({ ...filter, cursor: first.next }))).json;
    expect(second.hosts.map(({ host_id }: { host_id: string }) => host_id)).toEqual(["h4"]);
    expect(second.next).toBeNull();
  });

  test("lines are made only as fast as they are read", async () => {
    registry.verdicts = Array.from({ length: 100_000 }, (_, at) => host_verdict(`host-${at}`, "ok"));
    const response = await app.request("/v1/checks", {
      method: "POST",
      body: '{"patch":"kp_9","hosts":true}',
      headers: { "content-type": "application/json", accept: "application/x-ndjson" },
    });
    const reader = response.body!.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(registry.verdicts_read).toBeLessThan(2_000);
    await reader.cancel();
  });

  test("partitions that cannot answer are named, in a page and beside lines", async () => {
    registry.broken_partitions = [{ partition: 1, reason: "torn" }];
    const page = await post("/v1/checks", '{"patch":"kp_9","hosts":true}');
    expect(page.json).toMatchObject({ complete: false, missing_partitions: [1] });
    const response = await app.request("/v1/checks", {
      method: "POST",
      body: '{"patch":"kp_9","hosts":true}',
      headers: { "content-type": "application/json", accept: "application/x-ndjson" },
    });
    expect(response.headers.get("klpstate-missing-partitions")).toBe("1");
  });

  test("one host that nobody knows is a 404", async () => {
    expect(
      (await post("/v1/checks", '{"patch":"kp_9","hosts":true,"host_id":"h1"}')).json.hosts,
    ).toHaveLength(1);
    expect((await post("/v1/checks", '{"patch":"kp_9","hosts":true,"host_id":"h9"}')).status).toBe(404);
  });

  test.each([
    ['{"patch":""}', "patch"],
    ['{"patch":"kp_9@xyz"}', "patch"],
    ['{"hosts":true}', "patch"],
    ["{}", "patch"],
    ['{"patches":[]}', "patches"],
    ['{"patches":["kp_9"],"patch":"kp_9"}', "patches"],
    ['{"patches":["kp_9"],"hosts":true}', "patches"],
    ['{"patches":["kp_9","kp_1@xyz"]}', "patches[1]"],
    ['{"patches":["kp_9",7]}', "patches[1]"],
    ['{"patches":["kp_9"],"limit":7}', "limit"],
    ['{"patch":"kp_9","max_age":"soon"}', "max_age"],
    ['{"patch":"kp_9","verdicts":["ok"]}', "verdicts"],
    ['{"patch":"kp_9","hosts":true,"verdicts":["fine"]}', "verdicts[0]"],
    ['{"patch":"kp_9","hosts":true,"limit":0}', "limit"],
    ['{"patch":"kp_9","hosts":true,"cursor":"nobody"}', "cursor"],
    ['{"patch":"kp_9","host":"h1"}', "host"],
    ["7", "body"],
  ])("%s is a 400 that names %s", async (body, field) => {
    const { status, json } = await post("/v1/checks", body);
    expect([status, json.field]).toEqual([400, field]);
  });
});

describe("a position that the answer has to have", () => {
  const reads = [
    "/v1/hosts/web-1",
    "/v1/hosts/web-1/history",
    "/v1/hosts/web-1/states/1",
    "/v1/fleet",
    "/v1/patches",
  ];

  beforeEach(() => {
    registry.hosts.set("web-1", host_answer("web-1"));
    registry.histories.set("web-1", [history_entry(0)]);
    registry.folded.set(1, 5n);
  });

  test.each(reads)("%s answers when it is there, else says what is missing", async (path) => {
    expect((await ask(`${path}?min_position=1:5`)).status).toBe(200);
    const response = await app.request(`${path}?min_position=1:6&wait=300ms`);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await response.json()).toMatchObject({
      type: "urn:klpstate:problem:not_caught_up",
      detail: "min_position: partition 1 is at 5, not yet at 6",
    });
    expect(registry.waits).toEqual([2_000, 300]);
  });

  test.each(reads)("%s refuses one that is none", async (path) => {
    for (const [query, field] of [
      ["min_position=2:1", "min_position"],
      ["min_position=", "min_position"],
      ["min_position=0:1&wait=61s", "wait"],
      ["min_position=0:1&wait=soon", "wait"],
      ["wait=1s", "wait"],
    ]) {
      const { status, json } = await ask(`${path}?${query}`);
      expect([query, status, json.field]).toEqual([query, 400, field]);
    }
  });

  test("a check takes it in its body or in its query, and max_age as well", async () => {
    const hour_ms = 3_600_000;
    expect((await post("/v1/checks", '{"patch":"kp_9","min_position":"1:5","max_age":"1h"}')).status).toBe(
      200,
    );
    expect((await post("/v1/checks?min_position=1:5&max_age=1h", '{"patch":"kp_9"}')).status).toBe(200);
    expect(registry.checks.map(({ options }) => options)).toEqual([
      { instant: {}, max_age_ms: hour_ms },
      { instant: {}, max_age_ms: hour_ms },
    ]);
    expect((await post("/v1/checks?min_position=1:6&wait=0ms", '{"patch":"kp_9"}')).status).toBe(503);
    expect((await post("/v1/checks", '{"patch":"kp_9","hosts":true,"min_position":"1:6"}')).status).toBe(503);
    for (const [query, body, field] of [
      ["?min_position=1:5", '{"patch":"kp_9","min_position":"1:5"}', "min_position"],
      ["?max_age=1h", '{"patch":"kp_9","max_age":"2h"}', "max_age"],
      ["?patch=kp_9", "{}", "patch"],
      ["?max_age=soon", '{"patch":"kp_9"}', "max_age"],
    ]) {
      const { status, json } = await post(`/v1/checks${query}`, body!);
      expect([query, status, json.field]).toEqual([query, 400, field]);
    }
  });
});

describe("patches", () => {
  const manifest = {
    name: "kp-2",
    kernel_release: "6.12.1",
    arch: "x86_64",
    build_id: "ab12",
    states: [{ id: "1", version: 0 }],
  };

  test("a manifest is published once, listed and withdrawn", async () => {
    const first = await post("/v1/patches", JSON.stringify(manifest));
    const again = await post("/v1/patches", JSON.stringify(manifest));
    expect([first.status, again.status, again.json.outcome]).toEqual([201, 200, "known"]);
    expect(first.json.identity).toEqual({
      name: "kp_2",
      kernel_release: "6.12.1",
      arch: "x86_64",
      build_id: "ab12",
    });
    const { name, kernel_release, arch, build_id } = first.json.identity;
    const withdrawal = { name, kernel_release, arch, build_id, reason: "wrong", by: "me" };
    expect((await post("/v1/patches/withdraw", JSON.stringify(withdrawal))).json).toEqual({ offset: "1" });
    const { json } = await ask("/v1/patches?name=kp-2");
    expect(json.patches[0]).toMatchObject({
      offset: "0",
      manifest: { ...manifest, name: "kp_2" },
      withdrawn: { reason: "wrong", by: "me" },
    });
    expect((await ask("/v1/patches?withdrawn=false")).json.patches).toEqual([]);
  });

  test("another manifest of the same identity is a 409", async () => {
    await post("/v1/patches", JSON.stringify(manifest));
    expect((await post("/v1/patches", JSON.stringify({ ...manifest, replace: true }))).status).toBe(409);
  });

  test("an id of 0 is refused", async () => {
    const { status, json } = await post(
      "/v1/patches",
      JSON.stringify({ ...manifest, states: [{ id: 0, version: 1 }] }),
    );
    expect([status, json.field, json.value]).toEqual([400, "states[0].id", '"0"']);
    expect(registry.catalog).toEqual([]);
  });

  test("a withdrawal needs a reason", async () => {
    const { json } = await post(
      "/v1/patches/withdraw",
      '{"name":"kp_2","kernel_release":"6","arch":"x","by":"me"}',
    );
    expect(json.field).toBe("reason");
  });
});

test("snapshots are made, and those that could not be are in the answer", async () => {
  registry.broken_partitions = [{ partition: 1, reason: "torn" }];
  const { status, json } = await post("/v1/snapshots", "");
  expect(status).toBe(200);
  expect(json).toEqual({
    snapshots: 1,
    partitions: [{ partition: 0, next: "7", log_time: "2026-03-01T12:00:00.000Z" }],
    failed: [{ partition: 1, reason: "torn" }],
  });
  expect((await ask("/v1/snapshots")).status).toBe(405);
});

describe("fleet and replay", () => {
  test("configurations are paged; one that goes between two pages costs nothing", async () => {
    registry.rows = ["6.1", "6.6", "6.12", "5.10"].map((release, at) => fleet_row(release, at));
    const first = (await ask("/v1/fleet?limit=2")).json;
    registry.rows = registry.rows.filter(
      ({ kernel_release }) => kernel_release !== first.fleet[1].kernel_release,
    );
    const second = (await ask(`/v1/fleet?limit=5&cursor=${first.next}`)).json;
    const releases = [...first.fleet, ...second.fleet].map(({ kernel_release }) => kernel_release);
    expect(releases.toSorted()).toEqual(["5.10", "6.1", "6.12", "6.6"]);
    expect((await ask("/v1/fleet?cursor=x")).json.field).toBe("cursor");
  });

  test("a replay answers a document, or lines that end with it", async () => {
    const plain = await post("/v1/replay", "");
    const streamed = await post("/v1/replay", "", "", "application/x-ndjson");
    expect(plain.json.matches).toBe(true);
    expect(JSON.parse(streamed.text.trimEnd().split("\n").at(-1)!)).toEqual({ answer: plain.json });
  });

  test("a replay is of every partition, or of one, or of one up to an offset", async () => {
    for (const query of ["", "?partition=1", "?partition=0&to=18446744073709551615"])
      await post(`/v1/replay${query}`, "");
    expect(questions).toEqual([
      { partition: null, to: null },
      { partition: 1, to: null },
      { partition: 0, to: 18446744073709551615n },
    ]);
  });

  test.each([
    ["?to=5", "to"],
    ["?partition=1&to=five", "to"],
    ["?partition=-1", "partition"],
    ["?partition=", "partition"],
    ["?form=5", "form"],
  ])("a replay of %s is refused, and names %s", async (query, field) => {
    expect(await post(`/v1/replay${query}`, "")).toMatchObject({ status: 400, json: { field } });
    expect(questions).toEqual([]);
  });

  test("one replay runs at a time", async () => {
    let finish = () => {};
    replay = () =>
      new Promise((resolve) => {
        finish = () => resolve(REPLAYED);
      });
    const first = post("/v1/replay", "");
    await expect.poll(() => post("/v1/replay", "").then(({ status }) => status)).toBe(503);
    finish();
    expect((await first).status).toBe(200);
  });
});

describe("for those who watch", () => {
  test("readiness names what is broken, and ends when nothing answers", async () => {
    expect((await ask("/healthz")).json).toEqual({ status: "ok" });
    registry.broken_partitions = [{ partition: 0, reason: "torn" }];
    expect(await ask("/readyz")).toMatchObject({ status: 200, json: { ready: true } });
    registry.broken_partitions.push({ partition: 1, reason: "torn" });
    expect(await ask("/readyz")).toMatchObject({ status: 503, json: { ready: false } });
  });

  test("metrics count requests by route, not by host", async () => {
    await ask("/v1/hosts/web-17");
    const { text } = await ask("/metrics");
    expect(text).toContain(
      'klpstate_http_request_seconds_count{method="GET",route="/v1/hosts/:id",status="404"} 1',
    );
    expect(text).toContain('klpstate_partitions{state="serving"} 2');
  });

  test("metrics tell how much a start would read, and how old each snapshot is", async () => {
    registry.snapshot_log_times_ms = [1_770_000_000_250, null];
    const { text } = await ask("/metrics");
    expect(text).toContain("klpstate_unsnapshotted_bytes 200\n");
    expect(text.match(/^klpstate_snapshot_log_time_seconds.*$/gm)).toEqual([
      'klpstate_snapshot_log_time_seconds{partition="0"} 1770000000.25',
    ]);
  });

  test("the OpenAPI document has every route", async () => {
    const { json } = await ask("/openapi.json");
    expect(Object.keys(json.paths).toSorted()).toEqual([
      "/healthz",
      "/metrics",
      "/readyz",
      "/v1/checks",
      "/v1/events",
      "/v1/fleet",
      "/v1/hosts/{id}",
      "/v1/hosts/{id}/history",
      "/v1/hosts/{id}/states/{state}",
      "/v1/partitions/{partition}/reset",
      "/v1/patches",
      "/v1/patches/withdraw",
      "/v1/replay",
      "/v1/snapshots",
    ]);
    expect(json.components.schemas.HostEventInput.properties).toHaveProperty("object_changed");
  });

  test("what is not offered is a problem document too", async () => {
    expect(await ask("/v2")).toMatchObject({ status: 404, type: "application/problem+json" });
  });
});

test("an event's bytes are those of the strict form, in the batch's order", async () => {
  await post("/v1/events", JSON.stringify({ events: [event(2), event(1)] }));
  expect(decode_batch(registry.batches[0]!).map(({ event: stored }) => String(stored.sequence))).toEqual([
    "2",
    "1",
  ]);
});
