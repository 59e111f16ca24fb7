/** HTTP as strangers speak it: ids of any form, what is not offered, what is not well-formed, lists, and who watches. */
import { once } from "node:events";
import { connect } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import {
  FleetRow,
  HistoryEntry,
  type HostAnswer,
  HostVerdict,
  PatchEntry,
} from "#services/registry/answers.js";
import {
  type Answer,
  ask,
  ask_json,
  host_path,
  json_lines,
  post,
  post_json,
  problem_of,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";

const BEGINNING_MS = 1_780_000_000_000;
const NDJSON = { accept: "application/x-ndjson" };

let server: Server;

beforeAll(async () => {
  server = await start_server(temporary_directory());
});

function observed(host_id: string, more: object = {}): Record<string, unknown> {
  const observed = { kernel_release: "6.12.1", arch: "x86_64", livepatching: "supported", ...more };
  return { host_id, stream: "7", sequence: "1", time_unix_ms: String(BEGINNING_MS), observed };
}

function loaded(host_id: string, sequence: number): Record<string, unknown> {
  const time_unix_ms = String(BEGINNING_MS + sequence);
  return { host_id, stream: "7", sequence, time_unix_ms, loaded: { patch: { name: `kp_${sequence}` } } };
}

async function store(events: object[]): Promise<void> {
  const answer = await post_json(server, "/v1/events", { events });
  expect(answer.status, answer.text).toBe(200);
}

async function is_known(host_id: string): Promise<boolean> {
  const { status } = await ask(server, host_path(host_id));
  expect([200, 404]).toContain(status);
  return status === 200;
}

/** Sends the bytes as they are and reads until the connection ends. */
async function send_raw(text: string, end: boolean): Promise<string> {
  const socket = connect(server.port, "127.0.0.1");
  let received = "";
  socket.setEncoding("utf8").on("data", (part) => {
    received += part;
  });
  socket.on("error", () => {});
  socket.write(text);
  if (end) socket.end();
  await once(socket, "close");
  return received;
}

describe("a host id", () => {
  test.each([
    ["with slashes, dots and a query's signs", "rack/7/../web?x=1&y=2#z"],
    ["with a percent sign and what looks like an escape", "100%25 %2F"],
    ["in any script", "хост-ホスト-🖥-é"],
    ["of spaces and pluses", " a + b "],
    ["of 255 bytes", "ü".repeat(127) + "h"],
    ["that is a name in JavaScript", "__proto__"],
    ["of three dots", "..."],
  ])("%s is found under its own name", async (_, host_id) => {
    await store([observed(host_id), loaded(host_id, 2)]);
    const host = await ask_json<HostAnswer>(server, host_path(host_id));
    expect(host).toMatchObject({ host_id, sequence: "2" });
    const path = host_path(host_id, "/history");
    const { history } = await ask_json<{ history: HistoryEntry[] }>(server, path);
    expect(history.map(({ change }) => change)).toEqual(["observed", "loaded"]);
    const checked = await post_json(server, "/v1/patches", {
      name: "kp_9",
      kernel_release: "6.12.1",
      arch: "x86_64",
    });
    expect([200, 201]).toContain(checked.status);
    const answer = await post_json(server, "/v1/checks", { patch: "kp_9", hosts: true, host_id });
    expect(JSON.parse(answer.text).hosts).toMatchObject([
      { host_id, verdict: "unknown", reason: "manifest" },
    ]);
  });

  test.each([
    ["of 256 bytes", "h".repeat(256), "255"],
    ["with a control character", "a\nb", "control"],
    ["of nothing but a zero byte", "\0", "control"],
  ])("%s is refused with the limit", async (_, host_id, limit) => {
    const { field, detail } = problem_of(await ask(server, host_path(host_id)), 400);
    expect(field).toBe("host_id");
    expect(detail).toContain(limit);
  });

  test("whose escapes are no UTF-8 is refused, or at least nobody's", async () => {
    const answer = await ask(server, "/v1/hosts/%ff%fe");
    expect([400, 404]).toContain(answer.status);
    problem_of(answer, answer.status);
  });
});

describe("what is not offered", () => {
  test.each([
    ["GET", "/"],
    ["GET", "/v1"],
    ["GET", "/v1/hosts"],
    ["GET", "/v1/hosts/"],
    ["GET", "/v1/hosts/a/b/c"],
    ["GET", "/v2/fleet"],
    ["GET", "/../../etc/passwd"],
    ["PUT", "/v1/patches/kp_1"],
  ])("%s %s is a 404 that says where to look", async (method, path) => {
    const { detail } = problem_of(await ask(server, path, { method }), 404);
    expect(detail).toContain(`${method} `);
    expect(detail).toContain("/openapi.json");
  });

  test.each([
    ["GET", "/v1/events", "POST"],
    ["PUT", "/v1/events", "POST"],
    ["DELETE", "/v1/hosts/a%2Fb", "GET, HEAD"],
    ["POST", "/v1/fleet", "GET, HEAD"],
    ["PATCH", "/v1/patches", "GET, HEAD, POST"],
    ["OPTIONS", "/v1/checks", "POST"],
    ["POST", "/openapi.json", "GET, HEAD"],
  ])("%s %s is a 405 that says what is: %s", async (method, path, allow) => {
    const answer = await ask(server, path, { method });
    const { detail } = problem_of(answer, 405);
    expect(answer.header("allow")).toBe(allow);
    expect(detail).toContain(`only ${allow}`);
  });
});

describe("a parameter that makes no sense", () => {
  beforeAll(() => store([observed("asked")]));

  test.each([
    ["/v1/hosts/asked?as_of=yesterday", "as_of", '"yesterday"'],
    ["/v1/hosts/asked?as_of=", "as_of", '""'],
    ["/v1/hosts/asked?as_of=2026-02-30T00:00:00Z", "as_of", "2026-02-30"],
    ["/v1/hosts/asked?as_of=2026-02-01T00:00:00", "as_of", "zone"],
    ["/v1/hosts/asked?as_of=1780000000000", "as_of", "RFC 3339"],
    ["/v1/hosts/asked?as_of=1969-12-31T23:59:59Z", "as_of", "1970"],
    ["/v1/hosts/asked?known_at=2026-13-01T00:00:00Z", "known_at", "2026-13-01"],
    ["/v1/hosts/asked?known_at=%00", "known_at", "RFC 3339"],
    ["/v1/hosts/asked?when=now", "when", "not known"],
    ["/v1/hosts/asked/history?as_of=x", "as_of", "RFC 3339"],
    ["/v1/hosts/asked/history?limit=0", "limit", "1 to 10000"],
    ["/v1/hosts/asked/history?limit=10001", "limit", "1 to 10000"],
    ["/v1/hosts/asked/history?limit=-1", "limit", "1 to 10000"],
    ["/v1/hosts/asked/history?limit=1e3", "limit", "1 to 10000"],
    [`/v1/hosts/asked/history?limit=${"9".repeat(400)}`, "limit", "1 to 10000"],
    ["/v1/hosts/asked/history?cursor=nonsense", "cursor", "nonsense"],
    [`/v1/hosts/asked/history?cursor=1:${"9".repeat(4000)}:1`, "cursor", "cursor"],
    ["/v1/hosts/asked/states/0", "state", "1 to"],
    ["/v1/hosts/asked/states/18446744073709551616", "state", "18446744073709551615"],
    ["/v1/hosts/asked/states/-1", "state", "18446744073709551615"],
    ["/v1/hosts/asked/states/0x10", "state", "18446744073709551615"],
    ["/v1/hosts/asked/states/1?of=kp_1&prev_of=kp_2", "prev_of", "of"],
    [`/v1/hosts/asked/states/1?of=${"x".repeat(56)}`, "of", "55 bytes"],
    ["/v1/fleet?limit=ten", "limit", "ten"],
    ["/v1/fleet?cursor=%00%ff", "cursor", "cursor"],
    ["/v1/patches?cursor=abc", "cursor", "abc"],
    [`/v1/patches?cursor=${"9".repeat(20)}9`, "cursor", "cursor"],
    ["/v1/patches?withdrawn=maybe", "withdrawn", "withdrawn"],
    [`/v1/patches?name=${"x".repeat(56)}`, "name", "55 bytes"],
  ])("%s is a 400 that names it", async (path, field, says) => {
    const problem = problem_of(await ask(server, path), 400);
    expect(problem.field).toBe(field);
    expect(problem.detail).toContain(says);
    // A long value is not thrown back at who sent it.
    expect(problem.detail.length).toBeLessThan(400);
  });

  test.each([
    [{}, "patch"],
    [{ patch: 7 }, "patch"],
    [{ patch: "" }, "patch"],
    [{ patch: "kp_1@xyz" }, "patch"],
    [{ patch: `kp_1@${"ab".repeat(65)}` }, "patch"],
    [{ patch: "x".repeat(56) }, "patch"],
    [{ patch: "kp_1", max_age: "soon" }, "max_age"],
    [{ patch: "kp_1", max_age: "-1h" }, "max_age"],
    [{ patch: "kp_1", verdicts: ["ok"] }, "verdicts"],
    [{ patch: "kp_9", hosts: true, verdicts: ["fine"] }, "verdicts[0]"],
    [{ patch: "kp_9", hosts: true, verdicts: [] }, "verdicts"],
    [{ patch: "kp_9", hosts: true, limit: 0 }, "limit"],
    [{ patch: "kp_9", hosts: true, limit: 2 ** 40 }, "limit"],
    [{ patch: "kp_9", hosts: true, cursor: "" }, "cursor"],
    [{ patch: "kp_9", hosts: true, cursor: "bm9ib2R5" }, "cursor"],
    [{ patch: "kp_9", hosts: true, host_id: "" }, "host_id"],
    [{ patch: "kp_9", colour: "red" }, "colour"],
  ])("a check of %j is a 400 that names it", async (request, field) => {
    expect(problem_of(await post_json(server, "/v1/checks", request), 400).field).toBe(field);
  });
});

describe("a body that is not well-formed", () => {
  const good = encode_batch([event_from_json(observed("in-the-body"))]);

  test.each([
    ["JSON that breaks off", "application/json", '{"events": [{"host_id": "in-the-body"'],
    ["JSON with something behind it", "application/json", `${JSON.stringify({ events: [] })} x`],
    ["a list in place of a document", "application/json", JSON.stringify([observed("in-the-body")])],
    ["events that are no list", "application/json", '{"events": {}}'],
    ["no event", "application/json", '{"events": []}'],
    ["another key", "application/json", '{"events": [], "more": 1}'],
    ["a key given twice", "application/json", '{"events": [], "events": []}'],
    ["deep nesting", "application/json", `{"events": ${"[".repeat(100_000)}`],
    ["no UTF-8", "application/json", Buffer.from([0x7b, 0xff, 0x7d])],
    ["no lines", "application/x-ndjson", "\n \n"],
    ["no bytes at all", "application/x-protobuf", ""],
    ["protobuf that breaks off", "application/x-protobuf", good.subarray(0, -1)],
    ["protobuf of another message", "application/x-protobuf", Buffer.from([0x12, 1, 0x61])],
    ["bytes at random", "application/x-protobuf", Buffer.from("livepatch: enabling patch 'kp_1'")],
    ["a length beyond the end", "application/x-protobuf", Buffer.from([10, 0xff, 0xff, 0xff, 0xff, 7])],
    ["a good event and garbage behind it", "application/x-protobuf", Buffer.concat([good, Buffer.from([7])])],
  ])("%s is a 400, and nothing of it is stored", async (_, type, body) => {
    const problem = problem_of(await post(server, "/v1/events", type, body), 400);
    expect(problem.detail.length).toBeLessThan(600);
    expect(await is_known("in-the-body")).toBe(false);
  });

  test.each(["", "text/plain", "application/xml", "application/json-seq", "multipart/form-data"])(
    "of type %j is a 415 that names those that are taken",
    async (type) => {
      const answer = await post(server, "/v1/events", type, good);
      expect(problem_of(answer, 415).detail).toContain("application/x-protobuf");
      expect(await is_known("in-the-body")).toBe(false);
    },
  );

  test("is taken under its media type in any case, with parameters", async () => {
    const body = JSON.stringify({ events: [observed("typed")] });
    expect((await post(server, "/v1/events", "Application/JSON; charset=utf-8", body)).status).toBe(200);
    expect(await is_known("typed")).toBe(true);
  });

  test("because its sender went away leaves nothing, and the server serves on", async () => {
    const body = JSON.stringify({ events: [observed("half-sent")] });
    const head =
      "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
      `Content-Length: ${body.length}\r\n\r\n`;
    await send_raw(head + body.slice(0, -10), true);
    expect(await is_known("half-sent")).toBe(false);
    expect(
      await send_raw(`${head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")}${body}`, false),
    ).toMatch(/^HTTP\/1.1 200 /);
    expect(await is_known("half-sent")).toBe(true);
  });

  test("because it is no HTTP ends its connection only", async () => {
    expect(await send_raw("\x16\x03\x01 hello\r\n\r\n", false)).toMatch(/^HTTP\/1.1 400 /);
    expect(await ask_json(server, "/healthz")).toEqual({ status: "ok" });
  });
});

describe("a batch over the limit", () => {
  const large = (count: number, host_id: string) =>
    Array.from({ length: count }, (_, index) => ({
      ...loaded(host_id, index + 1),
      refused: { patch: { name: "kp_1" }, line: "x".repeat(500) },
      loaded: undefined,
    }));

  test.each([
    ["10,001 events in JSON", "json", 10_001, "10000"],
    ["10,001 events in lines", "ndjson", 10_001, "10000"],
    ["10,001 events in protobuf", "protobuf", 10_001, "10000"],
  ])("of %s is a 413 with the limit, and leaves no event", async (_, format, count, limit) => {
    const events = Array.from({ length: count }, (_, index) => loaded(`many-${format}`, index + 1));
    const answer = await post_as(format, events);
    const problem = problem_of(answer, 413);
    expect(problem.limit).toContain(limit);
    expect(await is_known(`many-${format}`)).toBe(false);
  });

  test.each(["json", "ndjson", "protobuf"])(
    "of more than 900 KiB, sent as %s, is a 413 with the limit, and leaves no event",
    async (format) => {
      const answer = await post_as(format, large(1_750, `large-${format}`));
      const problem = problem_of(answer, 413);
      expect(problem.limit).toContain("921600");
      expect(await is_known(`large-${format}`)).toBe(false);
    },
  );

  test("has to be over it: 10,000 events and close to 900 KiB are taken", async () => {
    const events = Array.from({ length: 10_000 }, (_, index) => loaded("just", index + 1));
    expect((await post_as("protobuf", events)).status).toBe(200);
    expect((await post_as("protobuf", large(1_650, "heavy"))).status).toBe(200);
    expect(await ask_json<HostAnswer>(server, host_path("just"))).toMatchObject({ sequence: "10000" });
    expect(await ask_json<HostAnswer>(server, host_path("heavy"))).toMatchObject({ sequence: "1650" });
  });

  test("does not have to be read to its end: a body of 200 MB is refused by what it declares", async () => {
    const head =
      "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n" +
      "Connection: close\r\nContent-Length: 200000000\r\n\r\n";
    const answer = await send_raw(head, false);
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
    expect(answer).toContain("921600 bytes");
  });

  function post_as(format: string, events: object[]): Promise<Answer> {
    if (format === "json") return post_json(server, "/v1/events", { events });
    if (format === "protobuf") {
      const batch = encode_batch(events.map((event) => event_from_json(JSON.parse(JSON.stringify(event)))));
      return post(server, "/v1/events", "application/x-protobuf", batch);
    }
    const lines = events.map((event) => JSON.stringify(event)).join("\n");
    return post(server, "/v1/events", "application/x-ndjson", lines);
  }
});

describe("a list", () => {
  let own: Server;
  const host_ids = Array.from({ length: 25 }, (_, index) => `host-${index}`);
  const releases = host_ids.map((_, index) => `6.${index % 7}.0`);

  beforeAll(async () => {
    own = await start_server(temporary_directory());
    const events = host_ids.flatMap((host_id, index) => [
      observed(host_id, { kernel_release: releases[index] }),
      loaded(host_id, 2),
      loaded(host_id, 3),
      loaded(host_id, 4),
    ]);
    expect((await post_json(own, "/v1/events", { events })).status).toBe(200);
    for (const kernel_release of new Set(releases)) {
      const manifest = { name: "kp_9", kernel_release, arch: "x86_64" };
      expect((await post_json(own, "/v1/patches", manifest)).status).toBe(201);
    }
  });

  interface Page {
    next: string | null;
    complete: boolean;
    missing_partitions: number[];
  }

  /** Every page's items, taken three at a time. */
  async function paged<Item>(
    name: string,
    page_of: (limit: number, cursor: string | null) => Promise<Answer>,
  ): Promise<Item[]> {
    const items: Item[] = [];
    let cursor: string | null = null;
    do {
      const answer: Answer = await page_of(3, cursor);
      expect(answer.status, answer.text).toBe(200);
      const page = JSON.parse(answer.text) as Page & Record<string, Item[]>;
      expect(page).toMatchObject({ complete: true, missing_partitions: [] });
      expect(page[name]!.length).toBeLessThanOrEqual(3);
      items.push(...page[name]!);
      cursor = page.next;
    } while (cursor !== null);
    return items;
  }

  function by_query(path: string) {
    return (limit: number, cursor: string | null) => {
      const query = new URLSearchParams({ limit: String(limit), ...(cursor !== null && { cursor }) });
      return ask(own, `${path}?${query}`);
    };
  }

  async function lines_of<Item>(path: string): Promise<Item[]> {
    const answer = await ask(own, path, { headers: NDJSON });
    expect(answer).toMatchObject({ status: 200, type: "application/x-ndjson" });
    return json_lines<Item>(answer.text);
  }

  test("of a history, of the fleet, of patches is the same in pages, whole, and as lines", async () => {
    for (const [path, name, schema, count] of [
      ["/v1/hosts/host-3/history", "history", HistoryEntry, 4],
      ["/v1/fleet", "fleet", FleetRow, 7],
      ["/v1/patches", "patches", PatchEntry, 7],
    ] as const) {
      const lines = await lines_of(path);
      expect(lines, path).toHaveLength(count);
      for (const line of lines) expect(schema.parse(line)).toEqual(line);
      expect(await paged(name, by_query(path))).toEqual(lines);
      const whole = await ask_json<Page & Record<string, unknown>>(own, path);
      expect(whole).toMatchObject({ [name]: lines, next: null, complete: true, missing_partitions: [] });
    }
  });

  test("of hosts and their verdicts has every host once", async () => {
    const request = { patch: "kp_9", hosts: true };
    const verdicts = await paged<HostVerdict>("hosts", (limit, cursor) =>
      post_json(own, "/v1/checks", { ...request, limit, ...(cursor !== null && { cursor }) }),
    );
    expect(verdicts.map(({ host_id }) => host_id).sort()).toEqual([...host_ids].sort());
    for (const verdict of verdicts) expect(HostVerdict.parse(verdict)).toEqual(verdict);
    const streamed = await ask(own, "/v1/checks", {
      method: "POST",
      headers: { "content-type": "application/json", ...NDJSON },
      body: JSON.stringify(request),
    });
    expect(json_lines(streamed.text)).toEqual(verdicts);
  });

  test("may be asked for behind its end", async () => {
    const last = (await lines_of<HistoryEntry>("/v1/hosts/host-3/history")).at(-1)!.position;
    const cursor = `${last.partition}:${"9".repeat(20)}:0`;
    const page = await ask_json<Page>(own, `/v1/hosts/host-3/history?cursor=${cursor}`);
    expect(page).toMatchObject({ history: [], next: null });
  });
});

describe("who watches", () => {
  test("finds the process healthy, and ready with all of its partitions", async () => {
    expect(await ask_json(server, "/healthz")).toEqual({ status: "ok" });
    expect(await ask_json(server, "/readyz")).toEqual({
      ready: true,
      partitions: 8,
      broken: [],
      silent: [],
      starting: null,
    });
  });

  test("finds hosts, events and anomalies counted, and requests by route, not by host", async () => {
    const own = await start_server(temporary_directory(), "--partitions", "2");
    const events = [observed("counted"), loaded("counted", 2), loaded("counted", 4), observed("other")];
    expect((await post_json(own, "/v1/events", { events })).status).toBe(200);
    await ask(own, host_path("counted"));
    await ask(own, host_path("nobody"));
    const { type, text } = await ask(own, "/metrics");
    expect(type).toMatch(/^text\/plain/);
    for (const line of [
      "klpstate_hosts 2",
      "klpstate_events_total 4",
      'klpstate_anomalies_total{code="gap"} 1',
      'klpstate_partitions{state="serving"} 2',
      'klpstate_partitions{state="broken"} 0',
      'klpstate_http_problems_total{code="not_found"} 1',
    ])
      expect(text.split("\n")).toContain(line);
    expect(text).toMatch(
      /klpstate_http_request_seconds_count\{.*route="\/v1\/hosts\/:id".*status="404".*\} 1/,
    );
    expect(text).not.toMatch(/nobody|counted/);
  });

  test("finds every route in the OpenAPI document, and nothing in it that is not offered", async () => {
    const document = await ask_json<{ openapi: string; paths: Record<string, Record<string, unknown>> }>(
      server,
      "/openapi.json",
    );
    expect(document.openapi).toMatch(/^3\./);
    const offered = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(offered.sort()).toEqual(
      [
        "POST /v1/events",
        "GET /v1/hosts/{id}",
        "GET /v1/hosts/{id}/history",
        "GET /v1/hosts/{id}/states/{state}",
        "POST /v1/checks",
        "GET /v1/patches",
        "POST /v1/patches",
        "POST /v1/patches/withdraw",
        "GET /v1/fleet",
        "POST /v1/replay",
        "POST /v1/snapshots",
        "POST /v1/partitions/{partition}/reset",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
      ].sort(),
    );
    for (const route of offered) {
      const [method, path] = route.split(" ") as [string, string];
      const asked = path.replace("{id}", "nobody").replace("{state}", "1");
      const answer = await ask(server, asked, { method });
      expect(answer.text, route).not.toContain("is not offered");
    }
  });

  test("gets no answer that a cache would keep", async () => {
    for (const path of ["/healthz", "/v1/fleet", "/v1/hosts/nobody", "/nothing"])
      expect((await ask(server, path)).header("cache-control"), path).toBe("no-store");
  });
});

describe("a page of a stranger in this machine's browser", () => {
  test.each([
    ["under a name of its own", { host: "evil.example:80" }],
    ["from its origin", { origin: "https://evil.example" }],
  ])("cannot ask %s", async (_, headers) => {
    problem_of(await ask(server, "/v1/fleet", { headers }), 421);
    const answer = await ask(server, "/v1/events", {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ events: [observed("evil")] }),
    });
    problem_of(answer, 421);
    expect(await is_known("evil")).toBe(false);
  });
});
