/** A check of many candidates says of each what a check of it alone says, in numbers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Core } from "#services/core/core.js";
import type { CheckCount } from "#services/core/facts.js";
import type { CandidateModel } from "../model/check.js";
import { CoreCatalog, check, core_module } from "../model/from_core.js";
import { random_candidate, random_catalog, random_log } from "../model/random.js";

const ALONE = { partition: null, partitions: 1 };
const core = new Core(core_module, ALONE);

const any_candidate = fc.oneof(
  { weight: 8, arbitrary: random_candidate },
  {
    weight: 1,
    arbitrary: fc.constantFrom<CandidateModel>({ name: "nobody" }, { name: "kp_1", build_id: "ff" }),
  },
);
const any_log = fc.oneof(
  random_log({ hosts_max: 6, steps_max: 60, orderly: true }),
  random_log({ hosts_max: 6, steps_max: 60 }),
);

/** Hosts and aged ones by all that is said of them. */
function sums(counts: readonly CheckCount[]): Record<string, [hosts: number, aged: number]> {
  const by_words: Record<string, [number, number]> = {};
  for (const { verdict, reason, warnings, hosts, aged } of counts) {
    const words = `${verdict} ${reason} ${warnings.join(" ")}`;
    const [hosts_before, aged_before] = by_words[words] ?? [0, 0];
    by_words[words] = [hosts_before + hosts, aged_before + aged];
  }
  return by_words;
}

function check_batch(candidates: readonly CandidateModel[], minute: number | null): CheckCount[][] {
  const asked = candidates.map(({ name, build_id }) => ({
    name,
    build_id: Buffer.from(build_id ?? "", "hex"),
  }));
  return core.check_batch(asked, minute);
}

function expect_as_one_by_one(candidates: readonly CandidateModel[], minute: number | null): void {
  const together = check_batch(candidates, minute);
  expect(together).toHaveLength(candidates.length);
  for (const [i, candidate] of candidates.entries()) {
    const alone = check(core, candidate);
    expect(sums(together[i]!)).toEqual(sums(minute === null ? alone : core.age_check(minute)));
    // Each is said once.
    expect(Object.keys(sums(together[i]!))).toHaveLength(together[i]!.length);
  }
}

describe("a check of many candidates", () => {
  test("counts for each what a check of it alone counts, while events come and manifests are published and withdrawn", () => {
    fc.assert(
      fc.property(
        any_log,
        random_catalog(40),
        fc.array(any_candidate, { minLength: 1, maxLength: 12 }),
        fc.infiniteStream(fc.constantFrom("record", "record", "catalog", "catalog", "check")),
        (records, catalog_records, candidates, order) => {
          core.restart(ALONE);
          const of_core = new CoreCatalog(core);
          const events = [...records.entries()];
          const manifests = [...catalog_records];
          while (events.length > 0 || manifests.length > 0) {
            const what = order.next().value;
            if (what === "check") expect_as_one_by_one(candidates, null);
            else if (what === "catalog" && manifests.length > 0) of_core.apply(manifests.shift()!);
            else if (events.length > 0) {
              const [at, record] = events.shift()!;
              core.fold_record(record.bytes, { offset: BigInt(at), index: 0 }, Number(record.log_time_ms));
            }
          }
          expect_as_one_by_one(candidates, null);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("counts those last heard of before a minute likewise", () => {
    fc.assert(
      fc.property(
        any_log,
        random_catalog(24),
        fc.array(any_candidate, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.integer({ min: -2, max: 2 }),
        (records, catalog_records, candidates, which, difference) => {
          core.restart(ALONE);
          const of_core = new CoreCatalog(core);
          for (const record of catalog_records) of_core.apply(record);
          for (const [at, { bytes, log_time_ms }] of records.entries())
            core.fold_record(bytes, { offset: BigInt(at), index: 0 }, Number(log_time_ms));
          const { effective_time_ms } = core.host(which % core.host_count);
          expect_as_one_by_one(candidates, Math.floor(effective_time_ms / 60_000) + difference);
          expect_as_one_by_one(candidates, null);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("may be of more candidates than go through the core at once, and of the same one more than once", () => {
    fc.assert(
      fc.property(
        any_log,
        random_catalog(40),
        fc.array(any_candidate, { minLength: 120, maxLength: 300, size: "max" }),
        (records, catalog_records, candidates) => {
          core.restart(ALONE);
          const of_core = new CoreCatalog(core);
          for (const record of catalog_records) of_core.apply(record);
          for (const [at, { bytes, log_time_ms }] of records.entries())
            core.fold_record(bytes, { offset: BigInt(at), index: 0 }, Number(log_time_ms));
          expect_as_one_by_one(candidates, null);
        },
      ),
      { numRuns: 15 },
    );
  });
});
