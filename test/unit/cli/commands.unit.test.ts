import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { type Listening, listen } from "#services/api/listen.js";
import type { Replay, ReplayQuestion } from "#services/api/replay_routes.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import { Problem } from "#services/events/problem.js";
import {
  FakeRegistry,
  fleet_row,
  HOST_STATE,
  history_entry,
  host_answer,
  host_verdict,
  REPLAYED,
} from "../api/fake_registry.js";
import { run_captured } from "./captured_terminal.js";

let registry: FakeRegistry;
let listening: Listening;
let directory: string;
let replayed: () => typeof REPLAYED;
let questions: ReplayQuestion[];

beforeEach(async () => {
  registry = new FakeRegistry();
  replayed = () => REPLAYED;
  questions = [];
  directory = mkdtempSync(join(tmpdir(), "klpstate-cli-"));
  const replay: Replay = async (_, question) => {
    questions.push(question);
    return replayed();
  };
  const app = build_app({ registry, replay, version: "0.0.0" });
  listening = await listen(app, {
    address: { host: "127.0.0.1", port: 0 },
    socket_path: join(directory, "registry.sock"),
    token: null,
    log: null,
  });
});

afterEach(async () => {
  await listening.close();
  rmSync(directory, { recursive: true });
});

function klpstate(args: string[], input = "") {
  return run_captured([...args, "--server", listening.url], input);
}

function event(sequence: number, host_id = "web-1"): string {
  const loaded = { patch: { name: "kp_1" } };
  return JSON.stringify({
    host_id,
    stream: "7",
    sequence: String(sequence),
    time_unix_ms: "1790000123456",
    loaded,
  });
}

const events = (count: number) => Array.from({ length: count }, (_, at) => event(at + 1));
const file_of = (name: string, content: string | Uint8Array) => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};

describe("ingest", () => {
  test("sends every line in order, in batches, and says what it stored", async () => {
    const path = file_of("events.ndjson", events(2_500).join("\n"));
    expect(await klpstate(["ingest", path])).toEqual({
      code: 0,
      out: "stored 2,500 events of 1 host\n",
      err: "",
    });
    expect(registry.batches).toHaveLength(3);
    expect(registry.stored()).toEqual(events(2_500).map((_, at) => `web-1#${at + 1}`));
  });

  test("says of how many hosts it was not told what the registry has, and is done all the same", async () => {
    registry.tells_of_hosts = false;
    const { code, out } = await klpstate(["ingest", file_of("untold.ndjson", events(3).join("\n"))]);
    expect([code, out]).toEqual([
      0,
      "stored 3 events of 1 host\nnot_told on 1: its events are stored, and whoever serves it was not heard in time: `klpstate host` tells\n",
    ]);
  });

  test("a line that breaks at 7,000 of 10,000 leaves the 6,999 before it stored, and says so", async () => {
    const all = events(10_000);
    all[6_999] = all[6_999]!.slice(0, 30);
    const path = file_of("events.ndjson", all.join("\n"));
    const { code, out, err } = await klpstate(["ingest", path]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(`klpstate: ${path}:7000: `);
    expect(err).toContain("the 6,999 lines before it");
    expect(err.split("\n")).toHaveLength(2);
    expect(registry.stored()).toHaveLength(6_999);
  });

  test("what the server refuses is named by its line, and what stands before it in its batch is stored", async () => {
    registry.refusals.push(
      new Problem("bad_input", "events[3].stream: 0 is none", { field: "events[3].stream" }),
    );
    const { code, err } = await klpstate(["ingest", "-"], `\n${events(6).join("\n")}`);
    expect(code).toBe(2);
    expect(err).toContain("standard input:5: stream: 0 is none; stored: the 3 lines before it");
    expect(registry.stored()).toEqual(["web-1#1", "web-1#2", "web-1#3"]);
  });

  test("a server that has too much to do is sent the same batch until it takes it, or for so many times", async () => {
    let refuse = 3;
    const bodies: string[] = [];
    const server = createServer(async (request, response) => {
      bodies.push(Buffer.concat(await request.toArray()).toString("hex"));
      refuse -= 1;
      if (refuse >= 0) {
        const document = {
          type: "urn:klpstate:problem:busy",
          title: "Busy",
          status: 429,
          detail: "too much waits",
        };
        response.writeHead(429, { "content-type": "application/problem+json", "retry-after": "0" });
        response.end(JSON.stringify(document));
      } else {
        response.writeHead(200, { "content-type": "application/json" });
        response.end('{"positions":{"0":"1"},"hosts":[]}');
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const asked = ["--server", `http://127.0.0.1:${(server.address() as AddressInfo).port}`];
    const taken = await run_captured(["ingest", "-", ...asked], events(2).join("\n"));
    expect([taken.code, bodies.length, new Set(bodies).size]).toEqual([0, 4, 1]);

    refuse = 1_000;
    const refused = await run_captured(["ingest", "-", ...asked], events(2).join("\n"));
    expect(refused.code).toBe(2);
    expect(refused.err).toContain("too much waits; acknowledged: 0 lines; lines 1 to 2 are not acknowledged");
    expect(refuse).toBeGreaterThan(900);
    await new Promise((resolve) => server.close(resolve));
  });

  test("a server that cannot store now is no broken line", async () => {
    registry.refusals.push(new Problem("disk_full", "no room on the disk"));
    const { code, err } = await klpstate(["ingest", "-", "--json"], events(2).join("\n"));
    const problem = JSON.parse(err);
    expect([code, problem.type, problem.stored_events]).toEqual([2, "urn:klpstate:problem:disk_full", 0]);
    expect(problem.detail).toContain("lines 1 to 2 are not acknowledged");
  });

  test("length-delimited protobuf, of single events and of batches", async () => {
    const encoded = events(4).map((text) => encode_event(event_from_json(JSON.parse(text))));
    const delimited = (bytes: Uint8Array) => Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const messages = [
      delimited(encoded[0]!),
      delimited(encode_batch(encoded.slice(1, 3))),
      delimited(encoded[3]!),
    ];
    const path = file_of("events.pb", Buffer.concat(messages));
    const { code, out } = await klpstate(["ingest", path, "--format", "protobuf", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      events: 4,
      batches: 1,
      hosts: 1,
      knowledge: { complete: 4 / 4 },
      positions: { 0: "1" },
      min_position: "0:1",
    });
    expect(registry.stored()).toEqual(["web-1#1", "web-1#2", "web-1#3", "web-1#4"]);
    const cut = file_of("cut.pb", Buffer.concat(messages).subarray(0, -1));
    const broken = await klpstate(["ingest", cut, "--format", "protobuf"]);
    expect(broken.code).toBe(2);
    expect(broken.err).toContain("messages[2]");
    expect(broken.err).toContain("stored: 3 events before it");
  });

  test("a file that is not there makes no registry", async () => {
    const data = join(directory, "new");
    const { code, err } = await run_captured(["ingest", join(directory, "none"), "--data", data]);
    expect([code, err.includes("cannot be read")]).toEqual([2, true]);
  });
});

describe("check", () => {
  beforeEach(() => {
    registry.verdicts = [
      host_verdict("h0", "ok"),
      host_verdict("h1", "incompatible"),
      host_verdict("h2", "incompatible"),
      host_verdict("h3", "unknown"),
    ];
  });

  test("says the answer first, then counts and conflicts with host counts", async () => {
    const { code, out } = await klpstate(["check", "kp_9"]);
    expect(code).toBe(1);
    expect(out.split("\n")[0]).toBe("REFUSED on 2, not known on 1 of 4 hosts: kp_9");
    expect(out).toContain("state 1: kp_3 holds version 2, kp_9 offers 1 — 2 hosts");
    expect(out).toMatch(/unknown +1 .*\n {2}gap +1 {2}events are missing/);
  });

  test("is a yes only if every host is ok or done and no partition is missing", async () => {
    registry.verdicts = [host_verdict("h0", "ok"), host_verdict("h1", "done")];
    expect(await klpstate(["check", "kp_9"])).toMatchObject({ code: 0 });
    registry.broken_partitions = [{ partition: 1, reason: "torn" }];
    const { code, out } = await klpstate(["check", "kp_9"]);
    expect([code, out.split(":")[0]]).toEqual([1, "INCOMPLETE"]);
  });

  test("has a line for each of several patches, and is a yes only if all of them are", async () => {
    const { code, out } = await klpstate(["check", "kp_9", "kp-10@ab12"]);
    expect([code, out.split("\n").slice(0, 5)]).toEqual([
      1,
      [
        "0 of 2 patches OK on all 4 hosts",
        "",
        "PATCH       OK  INCOMPATIBLE  UNKNOWN",
        "kp_9         1             2        1",
        "kp_10@ab12   1             2        1",
      ],
    ]);
    registry.verdicts = [host_verdict("h0", "ok"), host_verdict("h1", "done")];
    const json = await klpstate(["check", "kp_9", "kp_10", "--json"]);
    expect([json.code, JSON.parse(json.out).checks.length]).toEqual([0, 2]);
    registry.broken_partitions = [{ partition: 1, reason: "torn" }];
    const broken = await klpstate(["check", "kp_9", "kp_10"]);
    expect([broken.code, broken.out.split(":")[0]]).toEqual([1, "INCOMPLETE"]);
  });

  test("lists hosts below the answer, or as lines of JSON", async () => {
    const { code, out } = await klpstate(["check", "kp_9", "--hosts", "--verdict", "incompatible"]);
    expect(code).toBe(1);
    expect(out).toMatch(/h2 +incompatible +state 1: kp_3 holds version 2, kp_9 offers 1/);
    const json = await klpstate(["check", "kp_9", "--hosts", "--json"]);
    expect(
      json.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual(registry.verdicts);
  });

  test("a filter that hides the refused hosts does not make it a yes", async () => {
    expect(await klpstate(["check", "kp_9", "--hosts", "--verdict", "ok", "--json"])).toMatchObject({
      code: 1,
    });
  });

  test("explains one host", async () => {
    registry.hosts.set("h1", host_answer("h1"));
    const { code, out } = await klpstate(["check", "kp_9", "--host", "h1"]);
    expect([code, out.split("\n")[0]]).toEqual([
      1,
      "INCOMPATIBLE kp_9 on h1: a state on the stack is newer or would be lost (EINVAL): see the conflicts",
    ]);
    expect(await klpstate(["check", "kp_9", "--host", "nobody"])).toMatchObject({ code: 2 });
  });
});

describe("hosts", () => {
  beforeEach(() => {
    registry.hosts.set("web-17", host_answer("web-17"));
    registry.histories.set("web-17", [history_entry(0), history_entry(1)]);
  });

  test("a host's warnings come before its stack, which is in order", async () => {
    const { code, out } = await klpstate(["host", "web-17"]);
    expect(code).toBe(0);
    const at = (text: string) => out.indexOf(text);
    expect(at("WARNING gap")).toBeGreaterThan(0);
    expect(at("kp_1@ab12")).toBeGreaterThan(at("WARNING forced"));
    expect(at("kp_2")).toBeGreaterThan(at("kp_1@ab12"));
    expect(out).toContain("18446744073709551615:4294967295");
    expect(out).toContain("kp_0 (pinned until reboot)");
  });

  test("a past state says of which instant it is", async () => {
    const { out } = await klpstate(["host", "web-17", "--as-of", "2026-03-01T12:00:00Z"]);
    expect(out.split("\n")[0]).toContain("as of 2026-03-01T12:00:00.000Z");
  });

  test("a host that was not known then is exit code 2, and --json says it in JSON", async () => {
    const { code, err } = await klpstate(["host", "web-17", "--as-of", "2025-01-01T00:00:00Z", "--json"]);
    expect([code, JSON.parse(err).status]).toEqual([2, 404]);
  });

  test("history is a line an event, with anomalies and changed states", async () => {
    const { out } = await klpstate(["history", "web-17"]);
    expect(out).toContain("2026-03-01T12:00:00.000Z  #1 replaced kp_2@ab12, left kp_1\n");
    expect(out).toContain("#2 replaced kp_2@ab12, left kp_1  !gap  (knowledge: gap)\n");
    expect(out).toContain("    state 1 updated, version 1 to 2 (kp_2)\n");
    const json = await klpstate(["history", "web-17", "--json"]);
    expect(
      json.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual(registry.histories.get("web-17"));
  });

  test("a state's holders, the version that is needed, and the kernel's look-up", async () => {
    const { code, out } = await klpstate(["state", "web-17", "1", "--prev-of", "kp_3"]);
    expect(code).toBe(0);
    expect(out).toContain("needs version 2 or higher");
    expect(out).toContain("klp_get_prev_state(1), while kp_3 is in transition: NULL");
    expect(await klpstate(["state", "web-17", "0"])).toMatchObject({ code: 2 });
  });

  test("what a host says cannot steer the terminal", async () => {
    registry.histories.set("web-17", [{ ...history_entry(0), change: "refused", line: "\x1b[2Jgone" }]);
    const { out } = await klpstate(["history", "web-17"]);
    expect(out).not.toContain("\x1b");
    expect(out).toContain("\\u{1b}[2Jgone");
  });
});

describe("read your writes", () => {
  test("what ingest prints is what every question takes", async () => {
    registry.hosts.set("web-1", host_answer("web-1"));
    registry.histories.set("web-1", [history_entry(0)]);
    registry.verdicts = [host_verdict("web-1", "ok")];
    const stored = await klpstate(["ingest", file_of("events.ndjson", events(3).join("\n")), "--json"]);
    const { min_position } = JSON.parse(stored.out);
    expect(min_position).toBe("0:1");
    for (const question of [
      ["check", "kp_1"],
      ["check", "kp_1", "--hosts"],
      ["check", "kp_1", "--host", "web-1"],
      ["host", "web-1"],
      ["history", "web-1"],
      ["state", "web-1", "1"],
      ["fleet"],
    ]) {
      registry.folded.clear();
      const behind = await klpstate([...question, "--min-position", min_position, "--wait", "500ms"]);
      expect([behind.code, behind.out]).toEqual([2, ""]);
      expect(behind.err).toContain("partition 0 is at 0, not yet at 1");
      expect(registry.waits.at(-1)).toBe(500);
      registry.folded.set(0, 1n);
      expect((await klpstate([...question, "--min-position", min_position])).code).toBe(0);
    }
  });
});

describe("patches", () => {
  const manifest = {
    name: "kp-2",
    kernel_release: "6.12.1",
    arch: "x86_64",
    build_id: "ab12",
    states: [{ id: "1", version: 2 }],
  };

  test("are added, listed, shown and withdrawn by name", async () => {
    const path = file_of("kp_2.json", JSON.stringify(manifest, null, 2));
    expect(await klpstate(["patch", "add", path])).toMatchObject({
      code: 0,
      out: "published kp_2@ab12 for 6.12.1 x86_64\n",
    });
    expect((await klpstate(["patch", "list"])).out).toMatch(/kp_2@ab12 +6\.12\.1 +x86_64 +no +1:2/);
    expect((await klpstate(["patch", "show", "kp-2@ab12"])).out).toContain("build id   ab12");
    const withdrawn = await klpstate(["patch", "withdraw", "kp_2", "--reason", "wrong branch", "--by", "me"]);
    expect(withdrawn).toMatchObject({ code: 0, out: "withdrew kp_2@ab12 for 6.12.1 x86_64\n" });
    expect((await klpstate(["patch", "show", "kp_2"])).out).toContain("WITHDRAWN");
    expect((await klpstate(["patch", "list"])).out).toBe("the catalog has no manifest\n");
    expect(await klpstate(["patch", "show", "kp_7"])).toMatchObject({ code: 2 });
  });

  test("a mistake in any file is found before the first is published, and named by its line", async () => {
    const good = JSON.stringify({ ...manifest, name: "kp_1" });
    const bad = JSON.stringify({ ...manifest, states: [{ id: "1", version: 2 ** 32 }] });
    const path = file_of("catalog.ndjson", `${good}\n${bad}\n`);
    const { code, err } = await klpstate(["patch", "add", path]);
    expect(code).toBe(2);
    expect(err).toContain(`${path}:2: states[0].version: 4294967296`);
    expect(registry.catalog).toEqual([]);
  });

  test("a name that means several manifests is not withdrawn", async () => {
    const other = { ...manifest, kernel_release: "6.12.2" };
    registry.publish = async (published) => {
      registry.catalog.push({
        offset: BigInt(registry.catalog.length),
        log_time_ms: 0,
        manifest: published,
        refused: [],
      });
      return { identity: { name: "kp_2" }, outcome: "published", offset: 0n };
    };
    await klpstate(["patch", "add", "-"], `${JSON.stringify(manifest)}\n${JSON.stringify(other)}`);
    const { code, err } = await klpstate(["patch", "withdraw", "kp_2", "--reason", "x"]);
    expect([code, err.includes("2 manifests")]).toEqual([2, true]);
  });
});

test("fleet shows the commonest configuration first", async () => {
  registry.rows = [fleet_row("6.1", 3), fleet_row("6.12", 3_812)];
  const { code, out } = await klpstate(["fleet"]);
  expect([code, out.split("\n")[0]]).toEqual([0, "3,815 hosts in 2 configurations"]);
  expect(out.indexOf("6.12")).toBeLessThan(out.indexOf("6.1 "));
});

test("replay is a yes if the digests match, else a no", async () => {
  expect(await klpstate(["replay"])).toMatchObject({ code: 0 });
  replayed = () => ({ ...REPLAYED, matches: false });
  const { code, out } = await klpstate(["replay", "--json"]);
  expect([code, JSON.parse(out).matches]).toEqual([1, false]);
});

test("snapshot is a yes if everything is in one, else a no that names what is not", async () => {
  expect(await klpstate(["snapshot"])).toEqual({ code: 0, out: "1 snapshot made\n", err: "" });
  registry.broken_partitions = [{ partition: 1, reason: "its memory is full" }];
  const { code, out } = await klpstate(["snapshot"]);
  expect([code, out]).toEqual([1, "1 snapshot made\nFAILED: partition 1: its memory is full\n"]);
  const json = await klpstate(["snapshot", "--json"]);
  expect([json.code, JSON.parse(json.out).failed]).toEqual([1, registry.broken_partitions]);
});

describe("a replay that is no match", () => {
  const [partition] = REPLAYED.partitions;

  test("names what is damaged, and what is not served", async () => {
    const damaged = { ...partition!, digest: null, matches: null, damaged: "FILE at byte 7" };
    const broken = { ...partition!, partition: 1, matches: null, broken: "its memory is full" };
    replayed = () => ({ ...REPLAYED, digest: null, matches: false, partitions: [damaged, broken] });
    const { code, out } = await klpstate(["replay"]);
    expect(code).toBe(1);
    expect(out).toContain("DAMAGED: FILE at byte 7\n");
    expect(out).toContain("BROKEN: its memory is full\n");
    expect(out).not.toMatch(/MATCHES|DIFFERS/);
  });

  test("shows the first host that differs, both states one above the other", async () => {
    const replayed_state = { ...HOST_STATE, sequence: "6" };
    const difference = {
      next: "9",
      host_id: "web-17",
      hosts_differing: 3_812,
      live: HOST_STATE,
      replayed: replayed_state,
    };
    replayed = () => ({
      ...REPLAYED,
      matches: false,
      partitions: [{ ...partition!, matches: false, difference }],
    });
    const { code, out } = await klpstate(["replay"]);
    expect(code).toBe(1);
    expect(out).toContain("DIFFERS: 3,812 hosts of partition 0, the first is web-17, at offset 9\n");
    expect(out).toContain(
      `\n  live      ${JSON.stringify(HOST_STATE)}\n  replayed  ${JSON.stringify(replayed_state)}\n`,
    );
  });
});

test("a replay to an end that is not the live one says that nothing was compared, and is no failure", async () => {
  replayed = () => ({ ...REPLAYED, matches: null });
  const { code, out } = await klpstate(["replay", "--partition", "1", "--to", "5"]);
  expect(code).toBe(0);
  expect(out).toMatch(/^NOT COMPARED: /);
  expect(questions).toEqual([{ partition: 1, to: 5n }]);
});

test("a replay that could not be asked for is neither yes nor no", async () => {
  replayed = () => {
    throw new Problem("unavailable", "not now");
  };
  expect(await klpstate(["replay"])).toEqual({ code: 2, out: "", err: "klpstate: not now\n" });
});

describe("where to ask", () => {
  test("a directory that is served is asked through its socket, however long its path is", async () => {
    writeFileSync(join(directory, "registry.json"), "{}");
    registry.hosts.set("web-17", host_answer("web-17"));
    const { code, out } = await run_captured(["host", "web-17", "--data", directory, "--json"]);
    expect([code, JSON.parse(out)]).toEqual([0, host_answer("web-17")]);
  });

  test("no server is exit code 2, with what to do", async () => {
    const { code, err } = await run_captured(["fleet", "--server", "http://127.0.0.1:1"]);
    expect(code).toBe(2);
    expect(err).toMatch(/^klpstate: no answer from http:\/\/127\.0\.0\.1:1 \(.*ECONNREFUSED.*klpstate serve/);
  });

  test("a directory that holds no registry is not made by a question", async () => {
    const { code, err } = await run_captured(["fleet", "--data", join(directory, "none")]);
    expect([code, err.includes("holds no registry")]).toEqual([2, true]);
  });

  test("a server that is not klpstate is told apart", async () => {
    const { code, err } = await run_captured(["fleet", "--server", `${listening.url}/healthz?`]);
    expect([code, err.startsWith("klpstate: ")]).toEqual([2, true]);
  });

  test("addresses off loopback are refused before anything is opened", async () => {
    const data = join(directory, "new");
    const { code, err } = await run_captured(["serve", "--data", data, "--listen", "0.0.0.0:7350"]);
    expect([code, err.includes("0.0.0.0:7350")]).toEqual([2, true]);
  });
});

describe("how it speaks", () => {
  test.each([
    [["fleet", "--colour"], "unknown option"],
    [["check"], "missing required argument"],
    [["check", "kp_9", "--verdict", "fine"], "incompatible"],
    [["check", "kp_9", "--verdict", "ok", "--host", "h1"], "cannot be used with"],
    [["check", "kp_9", "kp_10", "--verdict", "ok"], "give one patch"],
    [["check", "kp_9", "kp_10", "--host", "h1"], "give one patch"],
    [["serve", "--data", "x", "--partitions", "0"], "1 to 4096"],
    [["agent", "--output", "-", "--server", "http://x"], "cannot be used with"],
    [["agent", "--once", "--spool", "x"], "cannot be used with"],
    [["agent", "--interval", "1ms", "--once"], "10ms to 60s"],
    [["agent", "--root", "/nowhere", "--once"], "--host-id"],
    [["agent", "--host-id", "a\nb", "--once"], "control characters"],
  ])("%j is exit code 2", async (args, said) => {
    const { code, err } = await run_captured(args);
    expect([code, err.startsWith("klpstate: "), err.includes(said)]).toEqual([2, true, true]);
    const json = await run_captured([...args, "--json"]);
    expect([json.code, JSON.parse(json.err).status]).toEqual([2, 400]);
  });

  test.each([
    "serve",
    "agent",
    "load",
    "ingest",
    "produce",
    "check",
    "host",
    "history",
    "state",
    "fleet",
    "replay",
    "patch add",
    "patch list",
    "patch show",
    "patch withdraw",
    "patch read",
    "patch compare",
    "patch lint",
    "conform modules",
    "conform vectors",
  ])("help of %s has examples and exit codes", async (command) => {
    const { code, out } = await run_captured([...command.split(" "), "--help"]);
    expect(code).toBe(0);
    expect(out).toContain("Examples:");
    expect(out).toContain("Exit codes:");
  });

  test("colours are for terminals only", async () => {
    registry.verdicts = [host_verdict("h0", "ok")];
    const args = ["check", "kp_9", "--server", listening.url];
    expect((await run_captured(args, "", true)).out).toContain("\x1b[32mOK");
    expect((await run_captured(args, "", false)).out).not.toContain("\x1b");
  });
});
