/** As of and known at: a shard whose clock the test holds says of every instant what the plain model says. */
import { rmSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Catalog } from "#services/catalog/catalog.js";
import { host_list } from "#services/core/host_list.js";
import { Problem } from "#services/events/problem.js";
import { node_disk } from "#services/log/node_disk.js";
import type { HistoryEntry } from "#services/registry/answers.js";
import { catalog_fact } from "#services/registry/catalog_feed.js";
import { log_directory } from "#services/registry/partition_place.js";
import { Shard } from "#services/registry/shard.js";
import { place_in } from "../model/place.js";
import { instants_of, random_catalog, random_log } from "../model/random.js";
import { fold_log, type LogRecord } from "../model/registry.js";
import { temporary_directory } from "./klpstate.js";
import {
  catalog_times,
  history_facts,
  host_facts,
  INSTANT_MAX_MS,
  PastModel,
  type Question,
  type TimedCatalogRecord,
} from "./past.js";
import { view_of_answer } from "./views.js";

const HOUR_MS = 3_600_000;
/** A failure is told in time, if not in its smallest form. */
const SHRINK_FOR = { interruptAfterTimeLimit: 60_000 };

/** The shard of a registry with one partition that has taken these records, each at its own time. */
async function shard_with(
  directory: string,
  records: LogRecord[],
  manifests: TimedCatalogRecord[],
): Promise<{ shard: Shard; catalog: Catalog; now_ms: number }> {
  let clock_ms = 0;
  const now = () => clock_ms;
  const start = {
    place: place_in(directory, 1),
    partitions: [0],
    open: [0],
    stale_after_ms: 26 * HOUR_MS,
    catalog: [],
  };
  const shard = await Shard.open(start, node_disk, now);
  const { catalog } = await Catalog.open({
    disk: node_disk,
    directory: log_directory(directory, "catalog"),
    now,
    on_change(change) {
      const fact = catalog_fact(change);
      if (fact !== null) shard.catalog(fact);
    },
  });
  const waiting = [...manifests];
  for (const { bytes, log_time_ms } of records) {
    clock_ms = Number(log_time_ms);
    while (waiting[0] !== undefined && waiting[0].log_time_ms <= clock_ms) {
      await offer(catalog, waiting.shift()!);
    }
    await shard.append(0, [bytes], host_list([]), false);
  }
  return { shard, catalog, now_ms: clock_ms + HOUR_MS };
}

/** One that the catalog refuses, or that withdraws nothing, is no mistake here. */
async function offer(catalog: Catalog, { record }: TimedCatalogRecord): Promise<void> {
  try {
    if (record.published) await catalog.publish(record.published);
    if (record.withdrawn) await catalog.withdraw(record.withdrawn.identity!, "wrong file", "admin");
  } catch (error) {
    if (!(error instanceof Problem) || !["contradiction", "not_found"].includes(error.code)) throw error;
  }
}

async function list(shard: Shard, host_id: string, instant: object): Promise<HistoryEntry[] | null> {
  const id = await shard.history(0, host_id, instant);
  if (id === null) return null;
  const entries: HistoryEntry[] = [];
  for (let done = false; !done; ) {
    const page = await shard.pull(id);
    entries.push(...page.items);
    done = page.done;
  }
  return entries;
}

function instant_of({ as_of_ms, known_at_ms }: Question) {
  return {
    ...(as_of_ms !== undefined && { as_of_ms: Number(as_of_ms) }),
    ...(known_at_ms !== undefined && { known_at_ms: Number(known_at_ms) }),
  };
}

const STATE_IDS = [1n, 2n, 2n ** 53n + 1n, 2n ** 64n - 1n];

const drawn = fc
  .tuple(random_log({ hosts_max: 3, steps_max: 60 }), random_catalog(20))
  .chain(([records, catalog]) => {
    const instants = instants_of(records).filter((instant) => instant <= INSTANT_MAX_MS);
    const instant = fc.option(fc.constantFrom(...instants), { nil: undefined, freq: 6 });
    const questions = fc.array(
      fc.record({
        as_of_ms: instant,
        known_at_ms: instant,
        state: fc.constantFrom(...STATE_IDS),
        kind: fc.constantFrom("of" as const, "prev_of" as const),
        patch: fc.constantFrom("kp_1", "kp_2", "kp_3"),
      }),
      { minLength: 8, maxLength: 8 },
    );
    return fc.record({ records: fc.constant(records), catalog: fc.constant(catalog), questions });
  });

test("a host, its states and its history are those of the model, as of any instant, known at any instant", async () => {
  const seen = { unknown: 0, uncertain: 0, certain: 0, known_states: 0 };
  await fc.assert(
    fc.asyncProperty(drawn, async ({ records, catalog: catalog_records, questions }) => {
      const manifests = catalog_times(
        catalog_records,
        records.map(({ log_time_ms }) => log_time_ms),
      );
      const directory = temporary_directory();
      const { shard, catalog, now_ms } = await shard_with(directory, records, manifests);
      try {
        const model = new PastModel(fold_log(records), manifests, BigInt(now_ms));
        for (const host_id of model.hosts) {
          for (const asked of questions) {
            const question = { host_id, as_of_ms: asked.as_of_ms, known_at_ms: asked.known_at_ms };
            const instant = instant_of(question);
            const expected = model.host(question);
            const answer = await shard.host(0, host_id, instant, now_ms);
            expect(answer && host_facts(answer, view_of_answer(answer))).toEqual(expected);

            const lookup = { kind: asked.kind, patch: asked.patch };
            const by = asked.kind === "of" ? { of: asked.patch } : { prev_of: asked.patch };
            const state = await shard.state(0, host_id, asked.state, instant, by, now_ms);
            const { at: _, ...said } = state ?? { at: null };
            expect(state && said).toEqual(model.state(question, asked.state, lookup));

            const history = await list(shard, host_id, instant);
            expect(history?.map(history_facts)).toEqual(model.history(question));

            if (expected === null) seen.unknown++;
            else if (expected.uncertain) seen.uncertain++;
            else seen.certain++;
            if (expected?.states.some((states) => states?.length)) seen.known_states++;
          }
        }
      } finally {
        await shard.close();
        await catalog.close();
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 24, ...SHRINK_FOR },
  );
  // What was asked for tells all kinds of answers apart.
  for (const count of Object.values(seen)) expect(count, JSON.stringify(seen)).toBeGreaterThan(10);
});

test("the changes of states in a history add up to the versions in effect", async () => {
  let changes = 0;
  const logs = fc.tuple(random_log({ hosts_max: 2, steps_max: 60, orderly: true }), random_catalog(40));
  await fc.assert(
    fc.asyncProperty(logs, async ([records, catalog_records]) => {
      const manifests = catalog_times(
        catalog_records,
        records.map(({ log_time_ms }) => log_time_ms),
      );
      const directory = temporary_directory();
      const { shard, catalog, now_ms } = await shard_with(directory, records, manifests);
      try {
        const model = new PastModel(fold_log(records), manifests, BigInt(now_ms));
        for (const host_id of model.hosts) {
          const told = new Map<string, number>();
          const after_each = (await list(shard, host_id, {}))!.map(({ states }) => {
            for (const { id, from, to } of states) {
              changes++;
              expect(from, `state ${id}`).toBe(told.get(id) ?? null);
              if (to === null) told.delete(id);
              else told.set(id, to);
            }
            return new Map(told);
          });
          expect(after_each).toEqual(model.states_in_effect(host_id));
        }
      } finally {
        await shard.close();
        await catalog.close();
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 24, ...SHRINK_FOR },
  );
  expect(changes).toBeGreaterThan(100);
});
