/** Outcomes of several partitions: shared, sent by themselves, or summed up, they say the same of as many hosts. */
import { describe, expect, test } from "vitest";
import type { CheckOutcome } from "#services/core/core.js";
import { own_words, SharedWords, summed } from "#services/registry/outcome_words.js";

const ok = (replaces: string[] | null, hosts: number, aged = 0): CheckOutcome => ({
  ...{ verdict: "ok", reason: null, warnings: [], conflict: null, unresolved: null },
  ...{ replaces, hosts, aged },
});

const refused = (state: bigint, build_id: string | null, hosts: number): CheckOutcome => ({
  ...ok([], hosts),
  verdict: "incompatible",
  conflict: {
    state,
    holder: { name: "kp_1", build_id },
    ...{ held: 2, offered: 1, transient: false, first: true },
  },
});

function rows(partitions: Iterable<ReturnType<typeof own_words>>) {
  return [...summed(partitions)].map(({ words, hosts, aged }) => [
    words.replaces,
    words.conflict,
    hosts,
    aged,
  ]);
}

describe("outcomes of partitions", () => {
  test("add up where they say the same, and only there", () => {
    const shared = new SharedWords();
    const partitions = [
      shared.told_of([ok(["a", "b"], 3, 1), ok([], 5), refused(2n ** 63n, null, 7)]),
      shared.told_of([refused(2n ** 63n, null, 11), ok(["a", "b"], 4, 2), ok(["a,b"], 1), ok(null, 2)]),
      shared.told_of([refused(2n ** 63n, "00", 13), refused(2n ** 63n + 1n, null, 17)]),
    ];
    expect(rows(partitions)).toEqual([
      [["a", "b"], null, 7, 3],
      [[], null, 5, 0],
      [[], refused(2n ** 63n, null, 0).conflict, 18, 0],
      [["a,b"], null, 1, 0],
      [null, null, 2, 0],
      [[], refused(2n ** 63n, "00", 0).conflict, 13, 0],
      [[], refused(2n ** 63n + 1n, null, 0).conflict, 17, 0],
    ]);
  });

  test("have words of their own, and no others, where they are sent one by one", () => {
    const shared = new SharedWords();
    const first = shared.told_of([ok(["a"], 1), ok(["b"], 2)]);
    const second = shared.told_of([ok(["c"], 3), ok(["b"], 4)]);
    expect(own_words(second).words.map(({ replaces }) => replaces)).toEqual([["c"], ["b"]]);
    expect(rows([own_words(second)])).toEqual([
      [["c"], null, 3, 0],
      [["b"], null, 4, 0],
    ]);
    expect(rows([first, second]).map(([replaces, , hosts]) => [replaces, hosts])).toEqual([
      [["a"], 1],
      [["b"], 6],
      [["c"], 3],
    ]);
  });
});
