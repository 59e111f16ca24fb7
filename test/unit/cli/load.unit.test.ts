/** `klpstate load`: the registry's word first, then kmod's insmod, here a script in its place. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { build_app } from "#services/api/app.js";
import { type Listening, listen } from "#services/api/listen.js";
import { FakeRegistry, host_answer, host_verdict, REPLAYED } from "../api/fake_registry.js";
import { run_captured } from "./captured_terminal.js";

/** A patch of two states, cumulative. */
const CUM12 = join(import.meta.dirname, "../../fixtures/kernel/ko/6.12/cum12.ko");

let registry: FakeRegistry;
let listening: Listening;
let directory: string;

beforeEach(async () => {
  registry = new FakeRegistry();
  directory = mkdtempSync(join(tmpdir(), "klpstate-load-"));
  for (const name of ["bin", "spool/inbox"]) mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(CUM12, join(directory, "kp-9.ko"));
  const app = build_app({ registry, replay: async () => REPLAYED, version: "0.0.0" });
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

/** What it was called with is in the file `called`. */
function insmod(script: string): void {
  const path = join(directory, "bin/insmod");
  writeFileSync(path, `#!/bin/sh\necho "$1" >> ${join(directory, "called")}\n${script}\n`);
  chmodSync(path, 0o755);
}

function loaded(): boolean {
  return readdirSync(directory).includes("called");
}

function told(): unknown[] {
  const inbox = join(directory, "spool/inbox");
  return readdirSync(inbox).map((name) => JSON.parse(readFileSync(join(inbox, name), "utf8")));
}

function load(...args: string[]) {
  const options = ["--host-id", "h1", "--spool", join(directory, "spool"), "--server", listening.url];
  const env = { PATH: `${join(directory, "bin")}:/usr/bin:/bin` };
  return run_captured(["load", join(directory, "kp-9.ko"), ...options, ...args], "", false, env);
}

/** The registry's verdict on every question. */
function says(verdict: Parameters<typeof host_verdict>[1]): void {
  registry.hosts.set("h1", host_answer("h1"));
  registry.verdicts = [host_verdict("h1", verdict)];
}

describe("a load", () => {
  test("that the registry says ok to is made, of the file as it is named", async () => {
    says("ok");
    insmod("exit 0");
    const { code, out } = await load();
    expect([code, loaded()]).toEqual([0, true]);
    expect(readFileSync(join(directory, "called"), "utf8")).toBe(`${join(directory, "kp-9.ko")}\n`);
    expect(out).toContain("loaded cum12");
    // Another build of the name may have other states.
    expect(registry.checks.at(-1)?.candidate).toEqual({
      name: "cum12",
      build_id: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
  });

  test("that would be refused is not tried, but anyway where that is wanted", async () => {
    says("incompatible");
    insmod("exit 0");
    const refused = await load();
    expect([refused.code, loaded()]).toEqual([1, false]);
    expect(refused.out).toContain("INCOMPATIBLE cum12 on h1");
    expect(refused.err).toContain("--anyway");
    expect(await load("--anyway")).toMatchObject({ code: 0 });
    expect(loaded()).toBe(true);
  });

  test("of what is enabled already is done", async () => {
    says("done");
    insmod("exit 0");
    expect(await load()).toMatchObject({ code: 0, err: "" });
    expect(loaded()).toBe(false);
  });

  test("of which the registry cannot say is not tried, but anyway with a word", async () => {
    insmod("exit 0");
    const unknown = await load();
    expect([unknown.code, loaded()]).toEqual([2, false]);
    expect(unknown.err).toMatch(/^klpstate: /);
    const anyway = await load("--anyway");
    expect([anyway.code, loaded()]).toEqual([0, true]);
    expect(anyway.err).toMatch(/^klpstate: /);
  });
});

describe("a load that the kernel refuses", () => {
  test("without a line in its log is told to the agent, with its errno", async () => {
    says("ok");
    insmod('echo "insmod: ERROR: could not insert module $1: File exists" >&2; exit 1');
    const { code, err } = await load();
    expect(code).toBe(1);
    expect(err).toContain("the kernel refused it");
    expect(told()).toEqual([{ name: "cum12", errno: "EEXIST", time_unix_ms: expect.any(Number) }]);
  });

  test("where no agent runs is told to nobody, with a word", async () => {
    says("ok");
    insmod('echo "insmod: ERROR: could not insert module $1: File exists" >&2; exit 1');
    rmSync(join(directory, "spool/inbox"), { recursive: true });
    const { code, err } = await load();
    expect([code, err.includes("the agent cannot be told of it")]).toEqual([1, true]);
  });

  test("for a reason that insmod does not tell is told to nobody", async () => {
    says("ok");
    insmod('echo "insmod: it is Monday" >&2; exit 1');
    expect(await load()).toMatchObject({ code: 1 });
    expect(told()).toEqual([]);
  });
});

test("what is no file, or no livepatch, is refused before anything is asked", async () => {
  insmod("exit 0");
  writeFileSync(join(directory, "other.ko"), "this is no module");
  for (const file of ["nothing.ko", "other.ko"]) {
    const { code, err } = await run_captured(["load", join(directory, file), "--server", listening.url]);
    expect([file, code, err]).toEqual([file, 2, expect.stringContaining(join(directory, file))]);
  }
  expect(loaded()).toBe(false);
});
