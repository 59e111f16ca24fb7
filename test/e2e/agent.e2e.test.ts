/**
 * An agent that is killed at any instant while its host's livepatches change and its server comes and goes: what the
 * registry has in the end is what the host shows, nothing twice, and where something was not seen it says so.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import type { HistoryEntry, HostAnswer } from "#services/registry/answers.js";
import { HostTree } from "../unit/agent/host_tree.js";
import { type Operation, SmallKernel } from "../unit/agent/small_kernel.js";
import {
  ask,
  ask_json,
  host_path,
  json_lines,
  klpstate,
  klpstate_yes,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";

/** To have the same instants again: KLPSTATE_SEED=… npx vitest run test/e2e/agent. */
const SEED = Number(process.env.KLPSTATE_SEED ?? randomInt(2 ** 31));
console.log(`seed of the agent's deaths: ${SEED}`);

const COMMAND = join(import.meta.dirname, "../../bin/klpstate.js");
const HOST = "web-17";
const LIVES = 16;
/** A machine that others use as well starts forty processes slowly. */
const LIVES_MS_MAX = 300_000;

let agent: ChildProcess | null = null;
afterEach(() => {
  agent?.kill("SIGKILL");
});

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

interface World {
  tree: HostTree;
  kernel: SmallKernel;
  spool: string;
  boots: number;
  /** What truly happened, without removals, of which nothing tells when. */
  happened: string[];
}

function new_world(): World {
  const directory = temporary_directory();
  const kernel = new SmallKernel(true, false);
  mkdirSync(join(directory, "host"));
  const world = {
    tree: new HostTree(join(directory, "host")),
    kernel,
    spool: join(directory, "spool"),
    boots: 0,
    happened: [],
  };
  show(world);
  return world;
}

function show({ tree, kernel, boots }: World): void {
  tree.show(shown_of(kernel, boots));
}

function shown_of(kernel: SmallKernel, boots: number) {
  const boot_id = `00000000-0000-4000-8000-${String(boots).padStart(12, "0")}`;
  return { ...kernel.look(), kernel_release: "6.12.117", boot_id, boot_time: 1_700_000_000 };
}

function run(world: World, operation: Operation): void {
  world.kernel.run(operation);
  const { lines, happened } = world.kernel.take();
  world.tree.print(...lines);
  show(world);
  world.happened.push(...happened);
}

function reboot(world: World): void {
  world.kernel = new SmallKernel(true, false);
  world.boots++;
  world.tree.reboot(shown_of(world.kernel, world.boots));
}

const NAMES = ["kp_1", "kp_2", "kp_3", "kp_4"];

function random_operation(random: () => number): Operation {
  const name = NAMES[Math.floor(random() * NAMES.length)]!;
  const kind = random();
  if (kind < 0.45) {
    const fates = ["ok", "ok", "ok", "stuck", "incompatible", "pre_patch", "busy"] as const;
    const fate = fates[Math.floor(random() * fates.length)]!;
    return { op: "load", name, replace: random() < 0.3, fate };
  }
  if (kind < 0.6) return { op: "disable", name, stuck: random() < 0.4 };
  if (kind < 0.65) return { op: "enable", name, stuck: random() < 0.4 };
  if (kind < 0.85) return { op: "rmmod", name };
  if (kind < 0.88) return { op: "force" };
  return { op: kind < 0.97 ? "settle" : "noise" };
}

function start_agent({ tree, spool }: World, server: Pick<Server, "url">): ChildProcess {
  const options = ["--root", tree.root, "--host-id", HOST, "--spool", spool, "--interval", "10ms"];
  agent = spawn(process.execPath, [COMMAND, "agent", "--server", server.url, ...options], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  agent.stderr!.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  agent.once("exit", (code) => {
    if (code !== null && code !== 0) console.error(`the agent ended with ${code}: ${said}`);
  });
  return agent;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  expect(child.exitCode, "the agent ended by itself").toBeNull();
  child.kill("SIGKILL");
  await exited;
}

async function history(server: Server): Promise<HistoryEntry[]> {
  const answer = await ask(server, host_path(HOST, "/history"), {
    headers: { accept: "application/x-ndjson" },
  });
  expect(answer.status, answer.text).toBe(200);
  return json_lines<HistoryEntry>(answer.text);
}

/** Waits until the registry has what the host shows. */
async function caught_up(server: Server, { kernel }: World): Promise<HostAnswer> {
  const truth = kernel.shows();
  for (let tries = 0; ; tries++) {
    const answer = await ask(server, host_path(HOST));
    const host = answer.status === 200 ? (JSON.parse(answer.text) as HostAnswer) : null;
    const has = host && {
      stack: host.stack.map(({ name, phase }) => `${name} ${phase}`),
      lingering: host.lingering.map(({ name }) => name).sort(),
    };
    if (JSON.stringify(has) === JSON.stringify(truth)) return host!;
    if (tries === 600) expect(has).toEqual(truth);
    await sleep(50);
  }
}

interface Told {
  change: string;
  patch?: { name: string };
  left?: { name: string }[];
}

/** As SmallKernel tells of it. */
function as_happened(entry: HistoryEntry): string {
  const { change, patch, left } = entry as unknown as Told;
  if (change === "replaced") return `replaced ${patch?.name} left ${left?.map(({ name }) => name)}`;
  return `${change} ${patch?.name ?? ""}`;
}

/** Where `told` is not all of `happened`, in order; null if each stands in it, once. */
function first_untrue(told: string[], happened: string[]): string | null {
  let at = 0;
  for (const [index, what] of told.entries()) {
    const found = happened.indexOf(what, at);
    if (found < 0) return `${index}: ${what} did not happen, or not behind ${told[index - 1]}`;
    at = found + 1;
  }
  return null;
}

function has_loss(entry: HistoryEntry): boolean {
  return ((entry as unknown as { losses?: unknown[] }).losses ?? []).length > 0;
}

function is_told_as_lost(entry: HistoryEntry): boolean {
  return entry.anomalies.every((code) => code === "diverged") && has_loss(entry);
}

test(
  "an agent killed at random instants loses nothing without a word, tells nothing twice, and is right again each time",
  async () => {
    const random = random_from(SEED);
    const world = new_world();
    const data = temporary_directory();
    let server = await start_server(data);
    let reboots = 0;

    for (let life = 0; life < LIVES; life++) {
      let running = start_agent(world, server);
      const changes = 1 + Math.floor(random() * 12);
      const is_patient = random() < 0.4;
      // Some die while they start, some while they look, write or send.
      const until_ms = performance.now() + random() * 900;
      for (let change = 0; change < changes || performance.now() < until_ms; change++) {
        run(world, random_operation(random));
        await sleep(random() * 60);
      }
      if (is_patient) await caught_up(server, world);
      await kill(running);
      // Nobody looks.
      if (random() < 0.5) for (let change = 0; change < 3; change++) run(world, random_operation(random));
      if (life % 6 === 5) {
        reboot(world);
        reboots++;
      }
      if (life % 8 === 4) {
        await server.kill();
        running = start_agent(world, server);
        for (let change = 0; change < 6; change++) {
          run(world, random_operation(random));
          await sleep(random() * 80);
        }
        await sleep(400);
        await kill(running);
        server = await start_server(data, "--listen", `127.0.0.1:${server.port}`);
      }
      running = start_agent(world, server);
      const host = await caught_up(server, world);
      expect(host.knowledge).toBe("complete");
      await kill(running);
    }

    const entries = await history(server);
    // Where looks do not explain each other the host says so: another stack than before, and the span that was lost.
    expect(entries.filter((entry) => entry.anomalies.length > 0 && !is_told_as_lost(entry))).toEqual([]);
    const applied = entries.filter(({ effect }) => effect === "applied");
    expect(
      new Set(
        entries.map(({ effect }) => effect).filter((effect) => effect !== "applied" && effect !== "repeated"),
      ),
    ).toEqual(new Set());
    // One stream a boot, each without a gap, each event in effect once.
    const streams = new Map<string, number[]>();
    for (const { stream, sequence } of applied)
      streams.set(stream, [...(streams.get(stream) ?? []), Number(sequence)]);
    expect(streams.size).toBe(1 + reboots);
    for (const sequences of streams.values())
      expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    const told = applied
      .filter(({ change }) => change !== "observed" && change !== "removed")
      .map(as_happened);
    expect(first_untrue(told, world.happened)).toBeNull();
    // What was not told in its own words lies in a Loss: two loads between two looks, or a boot.
    if (told.length < world.happened.length) expect(applied.filter(has_loss).length).toBeGreaterThan(1);
    expect(told.length).toBeGreaterThan(world.happened.length / 2);
    expect(await ask_json(server, "/v1/replay", { method: "POST" })).toMatchObject({ matches: true });
    await server.stop();
  },
  LIVES_MS_MAX,
);

test("a second agent on the same spool is refused, and the first one goes on", async () => {
  const world = new_world();
  const server = await start_server(temporary_directory());
  start_agent(world, server);
  await caught_up(server, world);
  const options = ["--root", world.tree.root, "--host-id", HOST, "--spool", world.spool];
  const second = await klpstate(["agent", "--server", server.url, ...options]);
  expect(second).toMatchObject({ code: 2, stdout: "" });
  expect(second.stderr).toContain("another agent has");
  run(world, { op: "load", name: "kp_1", replace: false, fate: "ok" });
  await caught_up(server, world);
  await server.stop();
});

/** How many streams the registry has of the host, and the last one's first event. */
async function last_stream(server: Server): Promise<{ streams: number; first: HistoryEntry }> {
  const entries = await history(server);
  const { stream } = entries.at(-1)!;
  const first = entries.find((entry) => entry.stream === stream)!;
  return { streams: new Set(entries.map((entry) => entry.stream)).size, first };
}

async function load_and_catch_up(server: Server, world: World, name: string): Promise<HostAnswer> {
  run(world, { op: "load", name, replace: false, fate: "ok" });
  return caught_up(server, world);
}

/** Waits until the host's knowledge is complete, by what is sent of itself. */
async function complete(server: Server): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { knowledge } = await ask_json<HostAnswer>(server, host_path(HOST));
    if (knowledge === "complete") return;
    await sleep(50);
  }
  expect(await ask_json(server, host_path(HOST))).toMatchObject({ knowledge: "complete" });
}

test("a spool put back from a copy, as with a machine that is restored, begins a new stream by itself", async () => {
  const world = new_world();
  const server = await start_server(temporary_directory());
  let running = start_agent(world, server);
  await load_and_catch_up(server, world, "kp_1");
  await kill(running);
  const copy = join(temporary_directory(), "copy");
  cpSync(world.spool, copy, { recursive: true });
  running = start_agent(world, server);
  await load_and_catch_up(server, world, "kp_2");
  await kill(running);

  rmSync(world.spool, { recursive: true });
  cpSync(copy, world.spool, { recursive: true });
  running = start_agent(world, server);
  await load_and_catch_up(server, world, "kp_3");
  await complete(server);
  const { streams, first } = await last_stream(server);
  expect(streams).toBe(2);
  expect(first).toMatchObject({ change: "observed", sequence: "1", losses: [{ source: "spool" }] });
  await server.stop();
});

test("a spool that is gone begins a new stream, which says that the time since boot is not known for sure", async () => {
  const world = new_world();
  const server = await start_server(temporary_directory());
  await kill(await started_with(world, server, "kp_1"));
  rmSync(world.spool, { recursive: true });
  run(world, { op: "disable", name: "kp_1", stuck: false });
  run(world, { op: "rmmod", name: "kp_1" });
  await kill(await started_with(world, server, "kp_2"));
  const { streams, first } = await last_stream(server);
  expect(streams).toBe(2);
  expect(first).toMatchObject({
    change: "observed",
    sequence: "1",
    losses: [{ source: "spool", from_unix_ms: "1700000000000" }],
  });
  await server.stop();
});

async function started_with(world: World, server: Server, name: string): Promise<ChildProcess> {
  const running = start_agent(world, server);
  await load_and_catch_up(server, world, name);
  return running;
}

test("one look is printed as events that a registry takes", async () => {
  const world = new_world();
  run(world, { op: "load", name: "kp_1", replace: false, fate: "ok" });
  const lines = await klpstate_yes(["agent", "--once", "--root", world.tree.root, "--host-id", HOST]);
  const server = await start_server(temporary_directory());
  await klpstate_yes(["ingest", "-", "--server", server.url], { stdin: lines });
  await caught_up(server, world);
  await server.stop();
});
