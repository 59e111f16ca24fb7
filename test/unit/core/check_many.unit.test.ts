/** Very many configurations, beside the rule said plainly for each of them: ids and versions from end to end. */
import { expect, test } from "vitest";
import type { CoreManifest } from "#services/core/core.js";
import { check } from "../../model/from_core.js";
import { fold_log, KERNEL, log_of, new_core, numbers, observed } from "./fleet.js";

/** More than one block of the core's columns, and no multiple of what it takes at once. */
const HOSTS = 33_003;
const ID_MAX = 2n ** 64n - 1n;
const VERSION_MAX = 2 ** 32 - 1;
const IDS = [1n, ID_MAX, 2n ** 53n + 1n, ...Array.from({ length: 80 }, (_, i) => BigInt(2 + i))];
const VERSIONS = [0, 1, 7, VERSION_MAX - 1, VERSION_MAX];
/** Of the eight patches that the core takes several stacks at once of, and beyond. */
const DEPTHS = [0, 1, 2, 3, 5, 8, 9, 12];
/** Hosts that follow each other with stacks of the same depth: such the core takes most at once of. */
const RUN = 1500;
const depth_of = (host: number) =>
  DEPTHS[
    Math.floor(host / RUN) % 2 === 0 ? Math.floor(host / RUN / 2) % DEPTHS.length : random(DEPTHS.length)
  ]!;

const random = numbers(20261126);

function manifest(name: string, replace: boolean, states: [bigint, number][]): CoreManifest {
  return {
    ...{ ...KERNEL, name, build_id: new Uint8Array(), replace, states_unknown: false },
    ...{ irreversible: false, signed: false },
    states: states.map(([id, version]) => ({ id, version })),
  };
}

type Patch = { name: string; states: [bigint, number][] };
const patches: Patch[] = Array.from({ length: 400 }, (_, i) => ({
  name: `p${i}`,
  states: Array.from({ length: i % 4 }, () => [IDS[random(IDS.length)]!, VERSIONS[random(VERSIONS.length)]!]),
}));

const candidates = [false, true].map((replace) => ({
  name: replace ? "instead" : "over",
  replace,
  states: IDS.flatMap((id, i): [bigint, number][] =>
    replace ? (i === 9 ? [] : [[id, i % 9 === 0 ? 7 : VERSION_MAX]]) : i % 3 === 0 ? [[id, 7]] : [],
  ),
}));

test("each is judged as it would be alone, whatever the numbers are", () => {
  const stacks = Array.from({ length: HOSTS }, (_, host) => {
    const stack = new Set<Patch>();
    for (const depth = depth_of(host); stack.size < depth; ) stack.add(patches[random(patches.length)]!);
    return [...stack];
  });
  const core = new_core();
  const events = stacks.map((stack, i) => observed(`h${i}`, { stack: stack.map(({ name }) => name) }));
  fold_log(core, log_of(events, 1000));
  for (const { name, states } of patches) core.put_manifest(manifest(name, false, states));
  for (const { name, replace, states } of candidates) core.put_manifest(manifest(name, replace, states));

  for (const { name, replace, states } of candidates) {
    const offered = new Map(states);
    const conflicts = ([id, held]: [bigint, number]) => (offered.has(id) ? offered.get(id)! < held : replace);
    const outcomes = check(core, { name });
    const is_refused = (stack: Patch[]) => stack.some((patch) => patch.states.some(conflicts));
    const refused = stacks.flatMap((stack, i) => (is_refused(stack) ? [i] : []));
    expect(refused.length).toBeGreaterThan(HOSTS / 10);
    expect(refused.length).toBeLessThan(HOSTS);
    const counted = outcomes.filter(({ verdict }) => verdict === "incompatible");
    expect(counted.reduce((sum, { hosts }) => sum + hosts, 0)).toBe(refused.length);

    const bits = core.hosts_bitmap(outcomes.map(({ verdict }) => verdict === "incompatible"));
    expect(stacks.flatMap((_, i) => ((bits[i >> 3]! >> (i & 7)) & 1 ? [i] : []))).toEqual(refused);
    // The kernel names the first in the order of the stack, then of the patch's array.
    for (const i of refused.slice(0, 3000)) {
      const { conflict } = outcomes[core.outcome_of_host(i)]!;
      const holder = stacks[i]!.find((patch) => patch.states.some(conflicts))!;
      const [state, held] = holder.states.find(conflicts)!;
      if (conflict !== null) expect(conflict).toMatchObject({ state, held, holder: { name: holder.name } });
      else expect(outcomes.length).toBeGreaterThan(10_000);
    }
  }
});

/** One fleet that the fast way has room for, and one that it has not. */
test.each([32_700, 32_800])("likewise with %i different patches installed", (count) => {
  const core = new_core();
  const events = Array.from({ length: count }, (_, i) => observed(`h${i}`, { stack: [`p${i}`] }));
  fold_log(core, log_of(events, 1000));
  const is_refused = (i: number) => i % 3 === 1;
  for (let i = 0; i < count; i++) core.put_manifest(manifest(`p${i}`, false, [[7n, is_refused(i) ? 9 : 8]]));
  core.put_manifest(manifest("next", false, [[7n, 8]]));

  const outcomes = check(core, { name: "next" });
  const bits = core.hosts_bitmap(outcomes.map(({ verdict }) => verdict === "incompatible"));
  const refused = events.flatMap((_, i) => ((bits[i >> 3]! >> (i & 7)) & 1 ? [i] : []));
  expect(refused).toEqual(events.flatMap((_, i) => (is_refused(i) ? [i] : [])));
  const ok = outcomes.filter(({ verdict }) => verdict === "ok");
  expect(ok.reduce((sum, { hosts }) => sum + hosts, 0)).toBe(count - refused.length);
  for (const i of refused.slice(0, 1000)) {
    const holder = { name: `p${i}` };
    expect(outcomes[core.outcome_of_host(i)]!.conflict).toMatchObject({
      state: 7n,
      held: 9,
      offered: 8,
      holder,
    });
  }
});
