/** Many candidates over very many configurations at once, beside a check of each alone: ids and versions from end to end. */
import { describe, expect, test } from "vitest";
import type { CheckCount, Core, CoreManifest } from "#services/core/core.js";
import { klpstate } from "#services/events/proto.js";
import { check } from "../../model/from_core.js";
import { fold_log, KERNEL, log_of, new_core, numbers, observed } from "./fleet.js";

/** More than one block of the core's columns. */
const HOSTS = 33_003;
const ID_MAX = 2n ** 64n - 1n;
const VERSION_MAX = 2 ** 32 - 1;
const IDS = [1n, ID_MAX, 2n ** 53n + 1n, ...Array.from({ length: 80 }, (_, i) => BigInt(2 + i))];
const VERSIONS = [0, 1, 7, VERSION_MAX - 1, VERSION_MAX];
/** Of the eight patches that columns have, and beyond. */
const DEPTHS = [0, 1, 2, 3, 5, 8, 9, 12];
const RELEASES = ["6.12.1", "6.12.2", "6.1.0"];
const { Phase } = klpstate.v1;

function manifest(name: string, more: Partial<CoreManifest>): CoreManifest {
  return {
    ...{ ...KERNEL, name, build_id: new Uint8Array(), replace: false, states_unknown: false },
    ...{ irreversible: false, signed: false, states: [] },
    ...more,
  };
}

function by_words(counts: readonly CheckCount[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { verdict, reason, warnings, hosts } of counts) {
    const words = `${verdict} ${reason} ${warnings.join(" ")}`;
    sums[words] = (sums[words] ?? 0) + hosts;
  }
  return sums;
}

function expect_as_one_by_one(core: Core, names: readonly string[]): string[] {
  const said = new Set<string>();
  const told = core.check_batch(
    names.map((name) => ({ name, build_id: new Uint8Array() })),
    null,
  );
  for (const [i, name] of names.entries()) {
    const together = by_words(told[i]!);
    for (const words of Object.keys(together)) said.add(words.trim());
    expect([name, together]).toEqual([name, by_words(check(core, { name }))]);
  }
  return [...said].sort();
}

describe("candidates that are checked together", () => {
  test("are judged as each would be alone, whatever the numbers are", () => {
    const random = numbers(20261126);
    const core = new_core();
    const names = Array.from({ length: 400 }, (_, i) => `p${i}`);
    const states = (count: number) =>
      Array.from({ length: count }, () => ({
        id: IDS[random(IDS.length)]!,
        version: VERSIONS[random(VERSIONS.length)]!,
      }));
    for (const [i, name] of names.entries())
      for (const kernel_release of RELEASES.slice(i % 2))
        core.put_manifest(
          manifest(name, { kernel_release, states: states(i % 4), states_unknown: i % 57 === 3 }),
        );
    const candidates = Array.from({ length: 150 }, (_, i) => `c${i}`);
    for (const [i, name] of candidates.entries()) {
      const offered = IDS.filter((_, at) => (at + i) % 9 !== 0).map((id, at) => ({
        id,
        version: VERSIONS[(at * i) % 5]!,
      }));
      for (const kernel_release of RELEASES.slice(0, 1 + (i % 3)))
        core.put_manifest(
          manifest(name, {
            ...{
              kernel_release,
              replace: i % 2 === 0,
              irreversible: i % 5 === 0,
              states_unknown: i % 31 === 7,
            },
            states: i % 3 === 0 ? offered : states(3),
          }),
        );
    }
    const events = Array.from({ length: HOSTS }, (_, i) => {
      const stack = new Set<string>();
      for (let left = DEPTHS[random(DEPTHS.length)]!; left > 0; left--) stack.add(names[random(400)]!);
      const event = observed(`h${i}`, {
        ...{ stack: [...stack], kernel_release: RELEASES[random(3)]! },
        lingering: random(9) === 0 ? ["gone", `c${random(150)}`] : [],
      });
      const top = event.observed!.stack?.at(-1);
      if (top && random(7) === 0) top.phase = random(2) === 0 ? Phase.ENABLING : Phase.DISABLING;
      if (random(20) === 0) event.observed!.policy = { modules_disabled: true };
      if (random(20) === 0) event.observed!.policy = { signature_required: true };
      if (random(20) === 0) event.observed!.policy = { ftrace_off: true };
      return event;
    });
    fold_log(core, log_of(events, 1000));
    const said = expect_as_one_by_one(core, [...candidates, ...names.slice(0, 40), "c3", "nobody"]);
    for (const words of ["incompatible null", "ok null", "ok null irreversible", "busy null", "done null"])
      expect(said).toContain(words);
    for (const words of ["name_taken lingering", "unknown manifest", "blocked unsigned", "other_kernel null"])
      expect(said).toContain(words);
  });

  test("hosts on more kernels than are kept at once, many or few on each configuration", () => {
    const random = numbers(7);
    const core = new_core();
    const built = new Set<string>();
    const releases = Array.from({ length: 3_000 }, (_, i) => `6.12.${i}`);
    for (const kernel_release of releases) {
      const states = [{ id: 1n, version: random(3) }];
      core.put_manifest(manifest("p", { kernel_release, states }));
      for (let i = 0; i < 5; i++)
        if (random(3) > 0) {
          built.add(`c${i} ${kernel_release}`);
          core.put_manifest(manifest(`c${i}`, { kernel_release, states: [{ id: 1n, version: i % 3 }] }));
        }
    }
    const events = Array.from({ length: 60_000 }, (_, i) =>
      observed(`h${i}`, {
        // Some kernels have one host, and some hundreds.
        kernel_release: releases[Math.floor(random(3_000) / (1 + random(60)))]!,
        stack: random(3) === 0 ? [] : ["p"],
      }),
    );
    // Kernels come while candidates are looked up.
    const records = log_of(events, 1000);
    for (const some of [records.slice(0, 1), records.slice(1, 2), records.slice(2)]) {
      fold_log(core, some);
      expect_as_one_by_one(core, ["c0", "c1", "c2", "c3", "c4", "p"]);
    }
    const told = core.check_batch([{ name: "c4", build_id: new Uint8Array() }], null);
    const elsewhere = events.filter(({ observed: seen }) => !built.has(`c4 ${seen!.kernel_release}`));
    expect(by_words(told[0]!)["other_kernel null "]).toBe(elsewhere.length);
  });

  test("are checked one by one where memory has no room for more", () => {
    const events = Array.from({ length: 100 }, (_, i) => observed(`h${i}`, { stack: i % 2 ? ["p"] : [] }));
    const records = log_of(events, 100);
    // From what a check of one needs to what the tables of all take, which leave an eighth to the fold.
    const needed = core_of_one().memory_used_bytes;
    for (let parts = 32; parts < 42; parts++) {
      const core = core_of_one((needed / 32) * parts);
      expect(expect_as_one_by_one(core, ["c", "p"])).toContain("incompatible null");
    }

    function core_of_one(memory_bytes_max = 1 << 30): Core {
      const core = new_core({ memory_bytes_max });
      fold_log(core, records);
      core.put_manifest(manifest("c", { states: [{ id: 1n, version: 1 }] }));
      core.put_manifest(manifest("p", { states: [{ id: 1n, version: 2 }] }));
      check(core, { name: "c" });
      return core;
    }
  });
});
