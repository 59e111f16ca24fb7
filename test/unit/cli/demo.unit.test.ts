/** The demonstration shows what it promises: every kind of answer, from hosts that look like a fleet. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DEMO_CANDIDATE, DEMO_COMMANDS, demo_fleet, fill_demo } from "#services/cli/demo.js";
import { read_recordings } from "#services/cli/recording.js";
import { manifest_to_json } from "#services/events/json.js";
import { change_of } from "#services/events/schema.js";
import { u64_to_bigint } from "#services/events/u64.js";
import type { CheckAnswer, HistoryEntry, HostVerdict } from "#services/registry/answers.js";
import { open_registry } from "#services/registry/open_registry.js";
import type { Registry } from "#services/registry/registry.js";

const RECORDINGS = join(import.meta.dirname, "../../fixtures/kernel/scenarios.jsonl.gz");
const MODULES = join(import.meta.dirname, "../../fixtures/kernel/ko");
const NOW_MS = Date.now();

let parent: string;
let registry: Registry;
let stored: { hosts: number; events: number };
let check: CheckAnswer;

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), "klpstate-test-"));
  // What an interrupted fill left.
  mkdirSync(join(parent, ".demo.filling"));
  writeFileSync(join(parent, ".demo.filling", "registry.json"), "{");
  stored = await fill_demo({
    recordings: RECORDINGS,
    modules: MODULES,
    directory: join(parent, "demo"),
    now_ms: NOW_MS,
    show: () => {},
  });
  registry = await open_registry({ data: join(parent, "demo") });
  check = await registry.check({ name: DEMO_CANDIDATE }, {});
});
afterAll(async () => {
  await registry.close();
  rmSync(parent, { recursive: true });
});

test("an interrupted fill begins again, and leaves nothing beside", () => {
  expect(existsSync(join(parent, ".demo.filling"))).toBe(false);
  expect(check.hosts.total).toBe(stored.hosts);
});

test("a few thousand hosts, few of them stale, with every verdict but those about other kernels", () => {
  const { total, stale, other_kernel, unsupported, uncertain, ...verdicts } = check.hosts;
  expect(total).toBeGreaterThan(2_000);
  expect(total).toBeLessThan(10_000);
  expect(stale).toBeGreaterThan(0);
  expect(stale / total).toBeLessThan(0.05);
  expect([other_kernel, unsupported, uncertain]).toEqual([0, 0, 0]);
  for (const [verdict, hosts] of Object.entries(verdicts))
    expect([verdict, hosts > 0]).toEqual([verdict, true]);
});

test("every reason that a publisher or a host can give", () => {
  const reasons = Object.fromEntries(
    Object.entries(check.reasons).map(([verdict, by_reason]) => [verdict, Object.keys(by_reason).sort()]),
  );
  expect(reasons).toEqual({
    unknown: ["disputed", "gap", "manifest", "no_baseline", "unreadable"],
    blocked: ["modules_disabled", "unsigned"],
    name_taken: ["lingering", "pinned"],
  });
  expect(check.conflicts.length).toBeGreaterThan(10);
  expect(check.unresolved.map(({ name, manifest }) => `${name} ${manifest}`)).toEqual(["p22 missing"]);
});

test("its catalog has the manifests of real module files, and hosts have those builds", async () => {
  const published = registry.patches({ withdrawn: true }).map(({ manifest }) => manifest_to_json(manifest));
  const from_files = published.filter(({ vermagic }) => vermagic !== undefined);
  expect(from_files.map(({ name, kernel_release }) => `${name} ${kernel_release}`).sort()).toEqual(
    JSON.parse(readFileSync(join(MODULES, "manifest.json"), "utf8"))
      .map(({ name, kernel }: { name: string; kernel: string }) => `${name} ${kernel}`)
      .sort(),
  );
  // readelf -n 6.12/nc1v1.ko
  const build_id = "7a7b3135c8b95bf12cdbd4f247066d4b96769af5";
  const { rows } = await registry.fleet({});
  expect(rows.some(({ stack }) => stack.some((patch) => patch.build_id === build_id))).toBe(true);
});

async function history_of(host_id: string): Promise<HistoryEntry[]> {
  const history: HistoryEntry[] = [];
  for await (const entry of (await registry.history(host_id, {}))!) history.push(entry);
  return history;
}

test("the commands to try: the fleet, a host that refuses, one whose replacement was forced", async () => {
  const [fleet, refusing, forced] = DEMO_COMMANDS.map((command) => command.split(" ").at(-1)!);
  expect(DEMO_COMMANDS).toEqual([
    `check ${fleet}`,
    `check ${DEMO_CANDIDATE} --host ${refusing}`,
    `history ${forced}`,
  ]);
  expect(fleet).toBe(DEMO_CANDIDATE);

  const verdicts: HostVerdict[] = [];
  for await (const verdict of registry.check_hosts({ name: DEMO_CANDIDATE }, { host_id: refusing! }))
    verdicts.push(verdict);
  expect(verdicts).toMatchObject([{ verdict: "incompatible", conflict: { first: true } }]);
  expect((await history_of(refusing!)).map(({ change }) => change)).toContain("refused");

  const history = await history_of(forced!);
  const at = history.findIndex(({ change }) => change === "forced");
  expect(history[at + 1]).toMatchObject({ change: "replaced", left: [{ name: expect.any(String) }] });
  const lives = new Set(history.flatMap(({ states }) => states.map(({ change }) => change)));
  expect([...lives].sort()).toEqual(["declared", "taken_over", "updated", "withdrawn"]);
  expect(await registry.host(forced!, {})).toMatchObject({ forced: true, lingering: [{ pinned: true }] });
});

test("real refusals, reversals, forced transitions and replacements, in the last days", async () => {
  const fleet = demo_fleet(await read_recordings(RECORDINGS), NOW_MS);
  const hosts_with = new Map<string, number>();
  for (const { host_id, events } of fleet) {
    expect(host_id).toMatch(/^[a-z]+-[a-z]{3}-\d{3}$/);
    const times = events.map(({ time_unix_ms }) => Number(u64_to_bigint(time_unix_ms)));
    expect([host_id, times.toSorted((a, b) => a - b)]).toEqual([host_id, times]);
    // A copy of a machine may be a moment ahead.
    expect(times.at(-1)).toBeLessThanOrEqual(NOW_MS + 1);
    expect(times[0]).toBeGreaterThan(NOW_MS - 10 * 24 * 60 * 60 * 1_000);
    for (const change of new Set(events.map(change_of)))
      hosts_with.set(change!, (hosts_with.get(change!) ?? 0) + 1);
  }
  expect(new Set(fleet.map(({ host_id }) => host_id)).size).toBe(fleet.length);
  expect(new Set(fleet.map(({ recording }) => recording.kernel)).size).toBe(3);
  for (const change of ["refused", "reversed", "forced", "replaced", "removed"])
    expect([change, (hosts_with.get(change) ?? 0) > 5]).toEqual([change, true]);
});

test("the same recordings and instant give the same fleet", async () => {
  const recordings = (await read_recordings(RECORDINGS)).slice(0, 60);
  expect(demo_fleet(recordings, NOW_MS)).toEqual(demo_fleet(recordings, NOW_MS));
});
