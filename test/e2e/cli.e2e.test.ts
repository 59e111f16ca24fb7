// What a script relies on: exit codes, whose answer a directory gives, a clean stop, and damage that is named.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CheckAnswer, FleetRow, HostAnswer, ReplayAnswer, StateAnswer } from "#services/registry/answers.js";
import { ask, json_lines, klpstate, type Server, start_server, temporary_directory } from "./klpstate.js";

const directory = temporary_directory();
const data = join(directory, "registry");
let server: Server;

const on = { kernel_release: "6.1", arch: "x86_64", livepatching: "supported" };
const enabled = (name: string) => [{ patch: { name }, phase: "enabled" }];
const events = [
  { host_id: "bare", stream: "1", sequence: "1", time_unix_ms: String(Date.now()), observed: on },
  {
    host_id: "holder",
    stream: "2",
    sequence: "1",
    time_unix_ms: String(Date.now()),
    observed: { ...on, stack: enabled("kp_new") },
  },
];
const manifests = [
  {
    name: "kp_new",
    kernel_release: "6.1",
    arch: "x86_64",
    states: [{ id: "18446744073709551615", version: 2 }],
  },
  {
    name: "kp_old",
    kernel_release: "6.1",
    arch: "x86_64",
    states: [{ id: "18446744073709551615", version: 1 }],
  },
  { name: "kp_free", kernel_release: "6.1", arch: "x86_64", replace: false },
];

beforeAll(async () => {
  server = await start_server(data);
  const lines = (documents: object[]) => documents.map((one) => JSON.stringify(one)).join("\n");
  const url = ["--server", server.url];
  expect((await klpstate(["ingest", "-", ...url], { stdin: lines(events) })).code).toBe(0);
  expect((await klpstate(["patch", "add", "-", ...url], { stdin: lines(manifests) })).code).toBe(0);
});

describe("an exit code", () => {
  test.each([
    ["check kp_free", 0],
    ["check kp_old", 1],
    ["check kp_old --host bare", 0],
    ["check kp_old --host holder", 1],
    ["check nothing", 2],
    ["host holder", 0],
    ["host nobody", 2],
    ["history holder", 0],
    ["history nobody", 2],
    ["state holder 18446744073709551615", 0],
    ["state holder 18446744073709551616", 2],
    ["fleet", 0],
    ["replay", 0],
    ["patch list", 0],
    ["patch show kp_old", 0],
    ["patch show nothing", 2],
    ["nonsense", 2],
  ])("of `%s` is %i", async (command, code) => {
    const ended = await klpstate([...command.split(" "), "--server", server.url]);
    expect([ended.code, code === 2 ? ended.stderr !== "" : ended.stderr]).toEqual([
      code,
      code === 2 ? true : "",
    ]);
  });

  test("is 2 where no server answers", async () => {
    const { code, stderr } = await klpstate(["fleet", "--server", "http://127.0.0.1:1"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("http://127.0.0.1:1")]);
  });

  test.each(["--help", "fleet --help", "fleet", "fleet --json"])(
    "of `%s` for a reader that has gone is a closed pipe's, without a word",
    async (command) => {
      const args = [...command.split(" "), "--server", server.url];
      // The shell's `|`, whose reader closes its end at once; bash tells the code of the writer.
      const under = ["bash", "-c", '"$@" | exec <&-; exit $PIPESTATUS', "bash"];
      expect(await klpstate(args, { under })).toEqual({ code: 141, stdout: "", stderr: "" });
    },
  );
});

test("documents are what the answers' schema says", async () => {
  const json = async (command: string) => {
    const { stdout } = await klpstate([...command.split(" "), "--json", "--server", server.url]);
    return json_lines(stdout);
  };
  const check = CheckAnswer.parse((await json("check kp_old"))[0]);
  expect(check.conflicts).toEqual([
    {
      state: "18446744073709551615",
      holder: "kp_new",
      held: 2,
      offered: 1,
      transient: false,
      first: true,
      hosts: 1,
    },
  ]);
  expect(HostAnswer.parse((await json("host holder"))[0]).stack.map(({ name }) => name)).toEqual(["kp_new"]);
  const state = StateAnswer.parse((await json("state holder 18446744073709551615 --of kp_new"))[0]);
  expect([state.minimum_version, state.lookup?.found]).toEqual([2, { patch: "kp_new", version: 2 }]);
  expect((await json("fleet")).map((row) => FleetRow.parse(row).hosts)).toEqual([1, 1]);
  expect(ReplayAnswer.parse((await json("replay")).at(-1)).matches).toBe(true);
});

test("a refusal names the state, its holder, both versions, the event that put it there, and when", async () => {
  const { stdout } = await klpstate(["check", "kp_old", "--host", "holder", "--server", server.url]);
  expect(stdout).toContain("state 18446744073709551615: kp_new holds version 2, kp_old offers 1");
  expect(stdout).toMatch(/kp_new is there since \d{4}-\d\d-\d\dT[\d:.]+Z, by event \d+:\d+:\d+/);
});

test("a directory answers through its owner, and by itself when nobody owns it; a signal stops cleanly", async () => {
  const owned = await klpstate(["host", "holder", "--data", data]);
  expect([owned.code, owned.stdout]).toEqual([0, expect.stringContaining("kp_new")]);
  expect(await server.stop("SIGINT")).toBe(0);
  const alone = await klpstate(["host", "holder", "--data", data]);
  expect([alone.code, alone.stdout]).toEqual([0, expect.stringContaining("kp_new")]);
  const again = await start_server(data, "--listen", `127.0.0.1:${server.port}`);
  expect([again.port, await again.stop("SIGTERM")]).toEqual([server.port, 0]);
});

test("damage breaks its partition alone: it is named, and no answer looks complete", async () => {
  const partition = readdirSync(join(data, "log")).find(
    (name) =>
      name !== "catalog" && existsSync(segment(name)) && readFileSync(segment(name)).includes("holder"),
  )!;
  const bytes = readFileSync(segment(partition));
  bytes[60]! ^= 1;
  writeFileSync(segment(partition), bytes);
  const damaged = await start_server(data);
  const named = JSON.stringify(damaged.log());
  expect(named).toContain(`log/${partition}/`);
  expect(named).toMatch(/byte 0\b/);

  const url = ["--server", damaged.url];
  const check = await klpstate(["check", "kp_free", "--json", ...url]);
  const answer = CheckAnswer.parse(JSON.parse(check.stdout));
  expect([check.code, answer.complete, answer.missing_partitions]).toEqual([1, false, [Number(partition)]]);
  expect((await ask(damaged, "/v1/hosts/holder")).status).toBe(503);
  expect((await klpstate(["host", "bare", ...url])).code).toBe(0);

  function segment(name: string): string {
    return join(data, "log", name, "0".repeat(20) + ".log");
  }
});
