/** The random logs and catalogs are valid and reach every rule; the plain model keeps its own promises on them. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { validate_batch } from "#services/events/validate.js";
import { fold_catalog } from "../model/catalog.js";
import { verdict } from "../model/check.js";
import { ANOMALIES, KNOWLEDGE } from "../model/fold.js";
import {
  instants_of,
  type LogOptions,
  random_candidate,
  random_catalog,
  random_instant,
  random_log,
  recut,
} from "../model/random.js";
import { as_of, fold_log, hosts_digest, known_at } from "../model/registry.js";

/** Fixed, so that what is reached does not change from run to run. */
const SEED = 20_260_203;

// A shared machine may be slow, and the time is no fact of interest.
const TIMEOUT = { timeout: 120_000 };

describe("random logs", TIMEOUT, () => {
  test("are valid, and their log times increase", () => {
    fc.assert(
      fc.property(random_log(), (records) => {
        for (const [index, record] of records.entries()) {
          expect(validate_batch(record.bytes)).toBeNull();
          if (index > 0) expect(record.log_time_ms >= records[index - 1]!.log_time_ms).toBe(true);
        }
      }),
      { seed: SEED, numRuns: 50 },
    );
  });

  test("reach every effect, every anomaly, all knowledge, and doubt", () => {
    const seen = new Set<string>();
    for (const records of fc.sample(random_log(), { seed: SEED, numRuns: 60 })) {
      const registry = fold_log(records);
      for (const history of registry.histories.values())
        for (const entry of history)
          for (const name of [entry.effect, entry.host.knowledge, ...entry.anomalies]) seen.add(name);
      const [host_id] = registry.hosts.keys();
      for (const instant of instants_of(records.slice(0, 10)))
        seen.add(as_of(registry, host_id!, instant).uncertain ? "uncertain" : "certain");
    }
    const all = [
      "applied",
      "repeated",
      "stale",
      "foreign",
      "uncertain",
      "certain",
      ...KNOWLEDGE,
      ...ANOMALIES,
    ];
    expect([...seen].sort()).toEqual([...new Set(all)].sort());
  });
});

describe("random catalogs", TIMEOUT, () => {
  test("with random hosts reach every verdict, reason, kind of conflict and warning", () => {
    const seen = new Set<string>();
    const drawn = (log: LogOptions) => fc.tuple(random_log(log), random_catalog(40), random_candidate);
    for (const [records, catalog_records, candidate] of [
      ...fc.sample(drawn({ hosts_max: 1, steps_max: 5, orderly: true }), { seed: SEED, numRuns: 3_000 }),
      ...fc.sample(drawn({ hosts_max: 1, steps_max: 5 }), { seed: SEED, numRuns: 100 }),
    ]) {
      const catalog = fold_catalog(catalog_records);
      for (const host of fold_log(records).hosts.values()) {
        const answer = verdict(host, catalog, candidate);
        seen.add(answer.reason === null ? answer.verdict : `${answer.verdict}: ${answer.reason}`);
        for (const warning of answer.warnings) seen.add(warning);
        if (answer.conflict?.transient) seen.add("transient");
        if (answer.conflict?.first === false) seen.add("not first");
        if (answer.conflict?.offered === null) seen.add("lacked");
        if (answer.unresolved !== null) seen.add(answer.unresolved.manifest);
        if (answer.replaces.length > 0) seen.add("replaces");
      }
    }
    expect([...seen].sort()).toEqual(
      [
        "unknown: no_baseline",
        "unknown: disputed",
        "unknown: unreadable",
        "unsupported",
        "other_kernel",
        "unknown: gap",
        "unknown: ambiguous",
        "blocked: modules_disabled",
        "blocked: unsigned",
        "done",
        "name_taken: in_transition",
        "name_taken: other_build",
        "name_taken: lingering",
        "name_taken: pinned",
        "incompatible",
        "unknown: manifest",
        "busy",
        "blocked: ftrace_off",
        "ok",
        "forced",
        "irreversible",
        "built_for_other_kernel",
        "transient",
        "not first",
        "lacked",
        "missing",
        "ambiguous",
        "states_unknown",
        "replaces",
      ].sort(),
    );
  });
});

describe("the plain model", TIMEOUT, () => {
  test("gives one digest however the records are cut", () => {
    fc.assert(
      fc.property(random_log(), fc.integer({ min: 1, max: 5 }), (records, events_max) => {
        expect(hosts_digest(fold_log(recut(records, events_max)).hosts.values())).toBe(
          hosts_digest(fold_log(records).hosts.values()),
        );
      }),
      { numRuns: 50 },
    );
  });

  test("known at an instant is the fold of the records until then", () => {
    const drawn = random_log().chain((records) => fc.tuple(fc.constant(records), random_instant(records)));
    fc.assert(
      fc.property(drawn, ([records, instant]) => {
        const until = records.filter((record) => record.log_time_ms <= instant);
        expect(known_at(fold_log(records), instant)).toEqual(fold_log(until).hosts);
      }),
      { numRuns: 50 },
    );
  });

  test("effective times never decrease, and the last of them is now", () => {
    fc.assert(
      fc.property(random_log(), (records) => {
        const registry = fold_log(records);
        for (const [host_id, history] of registry.histories) {
          for (const [index, entry] of history.entries()) {
            expect(entry.effective_time_ms).toBe(entry.host.effective_time_ms);
            if (index > 0)
              expect(entry.effective_time_ms >= history[index - 1]!.effective_time_ms).toBe(true);
          }
          const now = registry.hosts.get(host_id)!;
          expect(as_of(registry, host_id, now.effective_time_ms).host).toEqual(now);
        }
      }),
      { numRuns: 50 },
    );
  });
});
