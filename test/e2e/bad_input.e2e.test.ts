// Bad input: one clear message that names the place, the value and the limit, a 4xx or exit code 2, nothing half done.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  ask,
  expect_refused,
  json_lines,
  klpstate,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";

const directory = temporary_directory();
let server: Server;

beforeAll(async () => {
  server = await start_server(join(directory, "registry"));
});

function event(change: object = { observed: { kernel_release: "6.1", arch: "x86_64" } }, more: object = {}) {
  return { host_id: "good", stream: "7", sequence: "1", time_unix_ms: "1790000000000", ...change, ...more };
}

async function post(path: string, body: string | Uint8Array<ArrayBuffer>, type = "application/json") {
  const response = await fetch(server.url + path, {
    method: "POST",
    body,
    headers: { "content-type": type },
  });
  const content_type = response.headers.get("content-type") ?? "";
  return { status: response.status, content_type, problem: JSON.parse(await response.text()) };
}

async function is_unknown(host_id: string): Promise<boolean> {
  return (await fetch(`${server.url}/v1/hosts/${encodeURIComponent(host_id)}`)).status === 404;
}

const loaded = (patch: object) => ({ loaded: { patch } });

describe("a batch with one bad event", () => {
  test.each([
    ["a wrong field", event({}, { observd: {} }), "observd"],
    ["a field of the wrong type", event({}, { sequence: true, ...loaded({ name: "kp_1" }) }), "sequence"],
    ["a name of 56 bytes", event(loaded({ name: "x".repeat(56) })), "loaded.patch.name"],
    ["an empty host id", event(undefined, { host_id: "" }), "host_id"],
    ["a host id of 256 bytes", event(undefined, { host_id: "h".repeat(256) }), "host_id"],
    ["a stream of 0", event(undefined, { stream: "0" }), "stream"],
    ["a sequence above 2^32-1", event(undefined, { sequence: "4294967296" }), "sequence"],
    ["a stream above 2^64-1", event(undefined, { stream: "18446744073709551616" }), "stream"],
    [
      "a boot id of 15 bytes",
      event({ observed: { kernel_release: "6.1", arch: "x86_64", boot_id: "00".repeat(15) } }),
      "observed.boot_id",
    ],
  ])("%s is a 400 that names it, and nothing of the batch is stored", async (_, bad, field) => {
    const body = JSON.stringify({ events: [event(undefined, { host_id: "beside" }), bad] });
    const { status, content_type, problem } = await post("/v1/events", body);
    expect([status, content_type]).toEqual([400, expect.stringContaining("application/problem+json")]);
    expect(problem.detail).toContain(field);
    expect(problem.field).toContain(field);
    expect(await is_unknown("beside")).toBe(true);
  });

  test("over 10,000 events is a 413 that names the limit", async () => {
    const events = Array.from({ length: 10_001 }, (_, i) => event(undefined, { host_id: `h${i}` }));
    const body = events.map((one) => JSON.stringify(one)).join("\n");
    const { status, problem } = await post("/v1/events", body, "application/x-ndjson");
    expect([status, problem.limit]).toEqual([413, expect.stringMatching(/10,?000/)]);
    expect(await is_unknown("h0")).toBe(true);
  });

  test("bytes that are no protobuf are a 400, another content type a 415", async () => {
    const garbage = await post("/v1/events", Uint8Array.of(10, 200, 1, 7), "application/x-protobuf");
    expect([garbage.status, garbage.problem.field]).toEqual([400, "events[0]"]);
    expect((await post("/v1/events", "x", "text/plain")).status).toBe(415);
  });
});

describe("a manifest", () => {
  const manifest = { name: "kp_1", kernel_release: "6.1", arch: "x86_64", states: [{ id: "1", version: 1 }] };
  test.each([
    ["an id of 0", [{ id: "0", version: 1 }], "states[0].id"],
    ["an id above 2^64-1", [{ id: "18446744073709551616", version: 1 }], "states[0].id"],
    ["a version above 2^32-1", [{ id: "1", version: 4294967296 }], "states[0].version"],
  ])("with %s is refused", async (_, states, field) => {
    const { status, problem } = await post("/v1/patches", JSON.stringify({ ...manifest, states }));
    expect([status, problem.field]).toEqual([400, field]);
  });

  test("that contradicts a stored one is a 409; the first one stays", async () => {
    expect((await post("/v1/patches", JSON.stringify(manifest))).status).toBeLessThan(300);
    const other = await post("/v1/patches", JSON.stringify({ ...manifest, states: [] }));
    expect([other.status, other.problem.detail]).toEqual([409, expect.stringContaining("kp_1")]);
    const shown = await klpstate(["patch", "show", "kp_1", "--json", "--server", server.url]);
    expect(shown.stdout).toContain('"version":1');
  });
});

describe("a command", () => {
  test("names the broken line and how many before it are stored; the mended file stores the rest once", async () => {
    const lines = Array.from({ length: 10_000 }, (_, i) =>
      JSON.stringify(event(undefined, { host_id: `line-${i + 1}`, stream: "9" })),
    );
    const file = join(directory, "events.ndjson");
    writeFileSync(file, lines.with(6_999, '{"host_id": "line-7000",').join("\n"));
    const broken = await klpstate(["ingest", file, "--server", server.url]);
    expect(broken.code).toBe(2);
    expect(broken.stderr).toContain(`${file}:7000: `);
    expect(broken.stderr).toContain("6,999");
    expect([await is_unknown("line-6999"), await is_unknown("line-7000")]).toEqual([false, true]);
    writeFileSync(file, lines.join("\n"));
    expect((await klpstate(["ingest", file, "--server", server.url])).code).toBe(0);
    expect(await is_unknown("line-10000")).toBe(false);
    const effects = async (host_id: string) => {
      const response = await fetch(`${server.url}/v1/hosts/${host_id}/history`);
      const { history } = (await response.json()) as { history: { effect: string }[] };
      return history.map(({ effect }) => effect);
    };
    for (const host_id of ["line-1", "line-6999"])
      expect(await effects(host_id)).toEqual(["applied", "repeated"]);
    for (const host_id of ["line-7000", "line-10000"]) expect(await effects(host_id)).toEqual(["applied"]);
    const fleet = await klpstate(["fleet", "--json", "--server", server.url]);
    expect(json_lines<{ hosts: number }>(fleet.stdout).reduce((sum, { hosts }) => sum + hosts, 0)).toBe(
      10_000,
    );
  });

  test("names the line, the field, the value and the limit of every mistake, and stores what stands before", async () => {
    const boot = { kernel_release: "6.1", arch: "x86_64", boot_id: "00".repeat(17) };
    const mistakes: [bad: object, ...says: string[]][] = [
      [event({}, { loadd: {} }), "loadd", "unknown key"],
      [event(loaded({ name: "x".repeat(56) })), "loaded.patch.name", "xxx", "55 bytes"],
      [event(undefined, { host_id: "" }), "host_id", "255 bytes"],
      [event(undefined, { host_id: "h".repeat(256) }), "host_id", "256 bytes", "255 bytes"],
      [event({ observed: boot }), "observed.boot_id", "17 bytes", "16 bytes"],
      [event(undefined, { time_unix_ms: "now" }), "time_unix_ms", "now", "18446744073709551615"],
    ];
    const own = await start_server(join(directory, "mistakes"));
    const ended = mistakes.map(([bad], number) => {
      const lines = [
        event(undefined, { host_id: `before-${number}` }),
        bad,
        event(undefined, { host_id: "behind" }),
      ];
      const stdin = lines.map((line) => JSON.stringify(line)).join("\n");
      return klpstate(["ingest", "-", "--server", own.url], { stdin });
    });
    for (const [number, [, ...says]] of mistakes.entries()) {
      expect_refused(await ended[number]!, "standard input:2: ", "the 1 line before it", ...says);
      expect((await ask(own, `/v1/hosts/before-${number}`)).status).toBe(200);
    }
    expect((await ask(own, "/v1/hosts/behind")).status).toBe(404);
  });

  test("refuses manifests by their line before it publishes any, and one that contradicts what is stored", async () => {
    const manifest = {
      name: "kp_7",
      kernel_release: "6.1",
      arch: "x86_64",
      states: [{ id: "1", version: 1 }],
    };
    const states = (id: string, version: number) => ({
      ...manifest,
      name: "kp_8",
      states: [{ id, version }],
    });
    const add = (...manifests: object[]) =>
      klpstate(["patch", "add", "-", "--server", server.url], {
        stdin: manifests.map((one) => JSON.stringify(one)).join("\n"),
      });
    expect_refused(await add(manifest, states("0", 1)), "standard input:2: ", "states[0].id", "1 to 2^64-1");
    const too_large = "18446744073709551616";
    expect_refused(await add(manifest, states(too_large, 1)), "states[0].id", too_large, "2^64-1");
    expect_refused(await add(manifest, states("1", 2 ** 32)), "states[0].version", "4294967296", "2^32-1");
    const shown = await klpstate(["patch", "show", "kp_7", "--server", server.url]);
    expect(shown.code).toBe(2);

    expect((await add(manifest)).code).toBe(0);
    expect_refused(await add({ ...manifest, replace: true }), "kp_7 for 6.1 x86_64", "offset", "withdraw");
    const kept = await klpstate(["patch", "show", "kp_7", "--json", "--server", server.url]);
    const [entry] = json_lines<{ manifest: object; refused: { manifest: object }[] }>(kept.stdout);
    expect(entry!.manifest).not.toHaveProperty("replace");
    // The refusal is on record.
    expect(entry!.refused).toMatchObject([{ manifest: { replace: true } }]);
  });

  test("says that a time is no time, that no host has the name, that no patch has it", async () => {
    const ask = (...args: string[]) => klpstate([...args, "--server", server.url]);
    const no_time = await ask("host", "line-1", "--as-of", "yesterday");
    expect([no_time.code, no_time.stderr]).toEqual([2, expect.stringContaining("yesterday")]);
    const no_host = await ask("host", "nobody");
    expect([no_host.code, no_host.stderr]).toEqual([2, expect.stringContaining("nobody")]);
    const no_patch = await ask("check", "nothing");
    expect([no_patch.code, no_patch.stderr]).toEqual([2, expect.stringContaining("nothing")]);
    const before = await ask("host", "line-1", "--as-of", "1999-01-01T00:00:00Z");
    expect([before.code, before.stderr]).toEqual([2, expect.stringContaining("1999-01-01")]);
  });

  test("says whose a directory is: of a newer version, owned by another, or none at all", async () => {
    const serve = (data: string) => klpstate(["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    const owned = await serve(join(directory, "registry"));
    expect([owned.code, owned.stderr]).toEqual([2, expect.stringContaining("another process")]);

    const newer = join(directory, "newer");
    mkdirSync(newer);
    const file = JSON.parse(readFileSync(join(directory, "registry", "registry.json"), "utf8"));
    writeFileSync(join(newer, "registry.json"), JSON.stringify({ ...file, format_version: 99 }));
    const refused = await serve(newer);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("99")]);

    const no_directory = await serve(join(newer, "registry.json"));
    expect([no_directory.code, no_directory.stderr]).toEqual([2, expect.stringContaining("registry.json")]);
    const read_only = await serve("/proc/registry");
    expect([read_only.code, read_only.stderr]).toEqual([2, expect.stringContaining("/proc/registry")]);
  });

  test("does not listen off loopback", async () => {
    const data = join(directory, "public");
    const { code, stderr } = await klpstate(["serve", "--data", data, "--listen", "0.0.0.0:0"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("loopback")]);
  });
});
