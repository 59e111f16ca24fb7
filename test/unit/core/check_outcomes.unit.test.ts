/** A check of very many different hosts: sums stay exact, and what cannot be told apart is left out, not made up. */
import { describe, expect, test } from "vitest";
import type { CoreManifest } from "#services/core/core.js";
import { check } from "../../model/from_core.js";
import { fold_log, KERNEL, log_of, new_core, observed } from "./fleet.js";

/** More than the core tells apart. */
const HOSTS = 20_000;

function manifest(name: string, more: Partial<CoreManifest> = {}): CoreManifest {
  return {
    ...KERNEL,
    name,
    build_id: new Uint8Array(),
    replace: false,
    states_unknown: false,
    irreversible: false,
    signed: false,
    states: [],
    ...more,
  };
}

describe("more outcomes than are told apart", () => {
  test("hosts that would each replace something else: all are counted as ok", () => {
    const core = new_core();
    core.put_manifest(manifest("c", { replace: true }));
    for (let i = 0; i < 200; i++) core.put_manifest(manifest(`p${i}`));
    const stack_of = (i: number) => [`p${i % 200}`, `p${(Math.floor(i / 200) + i + 1) % 200}`];
    const events = Array.from({ length: HOSTS }, (_, i) => {
      const [below, above] = stack_of(i);
      return observed(`h${i}`, { stack: below === above ? [below!] : [below!, above!] });
    });
    fold_log(core, log_of([...events, observed("bare")], 100));
    const outcomes = check(core, { name: "c" });
    expect(new Set(outcomes.map((outcome) => outcome.verdict))).toEqual(new Set(["ok"]));
    expect(outcomes.reduce((sum, outcome) => sum + outcome.hosts, 0)).toBe(HOSTS + 1);
    // Nothing is replaced on one host only; what is merged does not pass for that.
    expect(outcomes[core.outcome_of_host(core.find_host("bare")!)]).toMatchObject({ replaces: [], hosts: 1 });
    expect(outcomes.filter((outcome) => outcome.replaces === null)).toHaveLength(1);
    for (let host = 0; host < HOSTS; host += 97) {
      const { replaces } = outcomes[core.outcome_of_host(host)]!;
      const { stack } = core.configuration(core.host(host).configuration);
      if (replaces !== null) expect(replaces).toEqual(stack.map((entry) => entry.name));
    }
  });

  test("hosts with a patch each that the catalog does not know: all are counted as unknown", () => {
    const core = new_core();
    core.put_manifest(manifest("c"));
    const events = Array.from({ length: HOSTS }, (_, i) => observed(`h${i}`, { stack: [`p${i}`] }));
    fold_log(core, log_of(events, 100));
    const outcomes = check(core, { name: "c" });
    expect(outcomes.reduce((sum, outcome) => sum + outcome.hosts, 0)).toBe(HOSTS);
    for (const { verdict, reason } of outcomes) expect([verdict, reason]).toEqual(["unknown", "manifest"]);
    const [merged, ...others] = outcomes.filter((outcome) => outcome.unresolved === null);
    expect(others).toEqual([]);
    expect(merged!.hosts).toBe(HOSTS - outcomes.length + 1);
  });

  test("hosts with a conflict each, and one with unknown states asked for: each keeps its verdict", () => {
    const core = new_core();
    core.put_manifest(manifest("c", { states: [{ id: 1n, version: 1 }] }));
    for (let i = 0; i < HOSTS; i++)
      core.put_manifest(manifest(`p${i}`, { states: [{ id: 1n, version: 2 + i }] }));
    const events = Array.from({ length: HOSTS }, (_, i) => observed(`h${i}`, { stack: [`p${i}`] }));
    fold_log(core, log_of([...events, observed("other", { kernel_release: "6.1.0" })], 100));
    const outcomes = check(core, { name: "c" });
    const hosts_of = (verdict: string) =>
      outcomes
        .filter((outcome) => outcome.verdict === verdict)
        .reduce((sum, outcome) => sum + outcome.hosts, 0);
    expect([hosts_of("incompatible"), hosts_of("other_kernel")]).toEqual([HOSTS, 1]);
    expect(outcomes.filter(({ verdict, conflict }) => verdict === "incompatible" && !conflict)).toHaveLength(
      1,
    );
  });
});

describe("what would be replaced", () => {
  /**
   * The core finds stacks by a 32-bit hash of their names' numbers, which count up as names come. Two stacks of two
   * names with the same hash.
   */
  function colliding(first_number: number, count: number): [number, number][] {
    const mixed = (number: number) => {
      const hash = Math.imul(2 ^ number, 0x9e3779b1);
      return (hash ^ (hash >>> 15)) >>> 0;
    };
    const by_upper_bits = new Map<number, number>();
    for (let a = 0; a < count; a++) {
      const hash = mixed(first_number + a);
      const c = by_upper_bits.get(hash >>> 16);
      by_upper_bits.set(hash >>> 16, a);
      if (c === undefined) continue;
      for (let b = 0; b < count; b++) {
        const d = (((first_number + b) ^ hash ^ mixed(first_number + c)) >>> 0) - first_number;
        if (d >= 0 && d < count && new Set([a, b]).size === 2 && new Set([c, d]).size === 2) {
          return [
            [a, b],
            [c, d],
          ];
        }
      }
    }
    throw new Error("no two stacks collide");
  }

  test("is told apart for stacks that only look alike", () => {
    const core = new_core();
    const NAMES = 65_536;
    core.put_manifest(manifest("c", { replace: true }));
    const names = Array.from({ length: NAMES }, (_, i) => `p${i}`);
    const events = Array.from({ length: NAMES / 64 }, (_, i) =>
      observed(`h${i}`, { stack: names.slice(i * 64, i * 64 + 64) }),
    );
    // The release and the architecture have numbers 1 and 2.
    const stacks = colliding(3, NAMES).map((pair) => pair.map((i) => names[i]!));
    for (const name of new Set(stacks.flat())) core.put_manifest(manifest(name));
    fold_log(core, log_of([...events, ...stacks.map((stack, i) => observed(`pair${i}`, { stack }))], 10));
    const outcomes = check(core, { name: "c" });
    for (const [i, stack] of stacks.entries()) {
      expect(outcomes[core.outcome_of_host(core.find_host(`pair${i}`)!)]!.replaces).toEqual(stack);
    }
  });
});

describe("a build id that is asked for", () => {
  test("is not that of a manifest without one", () => {
    const core = new_core();
    core.put_manifest(manifest("c"));
    fold_log(core, log_of([observed("h")], 1));
    expect(check(core, { name: "c", build_id: "0b" })).toMatchObject([{ verdict: "other_kernel" }]);
    expect(check(core, { name: "c" })).toMatchObject([{ verdict: "ok" }]);
  });
});
