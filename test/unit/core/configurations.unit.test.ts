/** Hosts share configurations: they are counted exactly while many come and go, and what is left is used again. */
import { describe, expect, test } from "vitest";
import { configuration_model, hosts_per_configuration } from "../../model/from_core.js";
import { configuration_key } from "../../model/registry.js";
import { fold_log, log_of, new_core, observed, type Seen } from "./fleet.js";

const HOSTS = 400;

/** A generator of its own (Park and Miller's), so that the test is the same everywhere. */
function random_numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

describe("configurations that come and go", () => {
  test("have exactly the hosts that are in them, after every record", () => {
    const core = new_core();
    const random = random_numbers(1);
    const hosts = new Map<number, { key: string; sequence: number }>();
    for (let round = 0; round < 300; round++) {
      const events = Array.from({ length: 50 }, () => {
        const host = random(HOSTS);
        const sequence = (hosts.get(host)?.sequence ?? 0) + 1;
        const names = Array.from({ length: 10 }, (_, i) => `p${i}`).filter(() => random(3) === 0);
        const on_stack = random(names.length + 1);
        const seen: Seen = {
          stack: names.slice(0, on_stack),
          lingering: names.slice(on_stack).reverse(),
          sequence,
        };
        hosts.set(host, { key: JSON.stringify([names, on_stack]), sequence });
        return observed(`h${host}`, seen);
      });
      fold_log(core, log_of(events, 50, core.next_offset));
      const expected = new Map<string, number>();
      for (const { key } of hosts.values()) expected.set(key, (expected.get(key) ?? 0) + 1);
      const counts = [...hosts_per_configuration(core).values()];
      expect(counts.toSorted()).toEqual([...expected.values()].toSorted());
      expect(core.configuration_count).toBe(expected.size);
    }
    for (const [host, { key }] of hosts) {
      const { stack, lingering } = core.configuration(core.host(core.find_host(`h${host}`)!).configuration);
      const names = [...stack, ...lingering].map((entry) => entry.name);
      expect(JSON.stringify([names, stack.length])).toBe(key);
    }
  });

  test("leave their places to others of their size: memory does not grow", () => {
    const core = new_core();
    const names = Array.from({ length: 64 }, (_, i) => `p${i}`);
    const stack_of = (round: number, host: number) =>
      names.slice((round + host) % 40, ((round + host) % 40) + 1 + (host % 20));
    let settled_bytes = 0;
    for (let round = 1; round <= 60; round++) {
      const events = Array.from({ length: HOSTS }, (_, host) =>
        observed(`h${host}`, { stack: [...stack_of(round, host)].reverse(), sequence: round }),
      );
      fold_log(core, log_of(events, 100, core.next_offset));
      if (round === 20) settled_bytes = core.memory_used_bytes;
    }
    expect(core.memory_used_bytes).toBe(settled_bytes);
  });

  test("are what the steps of each host come to, where thousands of them go through steps", () => {
    const core = new_core();
    const random = random_numbers(7);
    const STEPS = ["loading", "loaded", "disabling", "disabled", "removed"] as const;
    // Of each host: the patch that it keeps, the one that goes round, and how far that one is.
    const hosts = Array.from({ length: 4_000 }, (_, i) => ({
      kept: `kept${i}`,
      going: "",
      step: 0,
      sequence: 1,
    }));
    fold_log(
      core,
      log_of(
        hosts.map(({ kept }, i) => observed(`h${i}`, { stack: [kept] })),
        500,
      ),
    );
    for (let round = 0; round < 12; round++) {
      const events = Array.from({ length: hosts.length }, () => {
        const number = random(hosts.length);
        const host = hosts[number]!;
        if (host.step === 0) host.going = `going${random(3)}`;
        const change = { [STEPS[host.step]!]: { patch: { name: host.going } } };
        host.step = (host.step + 1) % STEPS.length;
        return { host_id: `h${number}`, stream: 1, sequence: ++host.sequence, ...change };
      });
      fold_log(core, log_of(events, 500, core.next_offset));
    }
    expect(core.configuration_count).toBe(hosts.length);
    expect(Object.values(core.anomalies_seen()).every((count) => count === 0)).toBe(true);
    hosts.forEach(({ kept, going, step }, i) => {
      const { stack, lingering } = core.configuration(core.host(core.find_host(`h${i}`)!).configuration);
      const phase = [null, "enabling", "enabled", "disabling", null][step];
      expect(stack.map((entry) => [entry.name, entry.phase])).toEqual([
        [kept, "enabled"],
        ...(phase ? [[going, phase]] : []),
      ]);
      expect(lingering.map(({ name }) => name)).toEqual(step === 4 ? [going] : []);
    });
  });

  test("are one for two hosts that came to it by different ways", () => {
    const core = new_core();
    fold_log(
      core,
      log_of(
        [
          observed("a", { stack: ["p"], lingering: ["z", "y", "x"] }),
          observed("b", { lingering: ["x"] }),
          { host_id: "b", stream: 1, sequence: 2, loaded: { patch: { name: "z" } } },
          { host_id: "b", stream: 1, sequence: 3, loaded: { patch: { name: "y" } } },
          { host_id: "b", stream: 1, sequence: 4, disabled: { patch: { name: "z" } } },
          { host_id: "b", stream: 1, sequence: 5, replaced: { patch: { name: "p" }, left: [{ name: "y" }] } },
        ],
        1,
      ),
    );
    expect(core.configuration_count).toBe(1);
    expect(core.host(0).configuration).toBe(core.host(1).configuration);
    expect(core.configuration(core.host(0).configuration).hosts).toBe(2);
  });

  test("differ where one part of them differs", () => {
    const core = new_core();
    const base = { stack: ["p", "q"], lingering: ["x", "y"] };
    const variants: Seen[] = [
      base,
      { ...base, stack: ["q", "p"] },
      { ...base, stack: ["p"] },
      { ...base, lingering: ["x"] },
      { stack: ["p"], lingering: ["q", "x", "y"] },
      { ...base, kernel_release: "6.1.0" },
      { ...base, livepatching: 2 },
      {},
    ];
    fold_log(
      core,
      log_of(
        variants.map((seen, i) => observed(`h${i}`, seen)),
        3,
      ),
    );
    const keys = [...core.configurations()].map((id) =>
      configuration_key(configuration_model(core.configuration(id))),
    );
    expect(new Set(keys).size).toBe(variants.length);
  });
});
