/** The WebAssembly core and the plain model say the same of random logs, catalogs and candidates, at every step. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Core } from "#services/core/core.js";
import { digest_of_core, format_digest } from "#services/core/digest.js";
import { host_list } from "#services/core/host_list.js";
import { partition_of } from "#services/events/partition.js";
import { RECORD_ERRORS } from "#services/events/record_error.js";
import { validate_batch } from "#services/events/validate.js";
import { encode_empty_frame, encode_frames, frames_of } from "#services/log/frame.js";
import {
  apply_catalog_record,
  type CatalogModel,
  is_built_for_other_kernel,
  new_catalog,
  resolve,
} from "../model/catalog.js";
import { type CandidateModel, verdict } from "../model/check.js";
import { damaged, random_damage } from "../model/damage.js";
import { ANOMALIES, type Anomaly, type HostModel } from "../model/fold.js";
import {
  CoreCatalog,
  check,
  configuration_model,
  configuration_of,
  core_module,
  host_state,
  hosts_per_configuration,
  verdict_words,
  verdict_words_of_model,
} from "../model/from_core.js";
import { high_core } from "../model/high_core.js";
import { first_version, previous_holder } from "../model/kernel.js";
import { random_candidate, random_catalog, random_log, recut } from "../model/random.js";
import * as model_registry from "../model/registry.js";
import {
  apply_record,
  type FoldedEvent,
  fold_log,
  host_state_bytes,
  hosts_digest,
  type LogRecord,
  new_registry,
  type RegistryModel,
} from "../model/registry.js";

const ALONE = { partition: null, partitions: 1 };

const core = new Core(core_module, ALONE);
const other_core = new Core(core_module, ALONE);

const any_log = fc.oneof(
  random_log({ hosts_max: 6, steps_max: 80 }),
  random_log({ hosts_max: 6, steps_max: 80, orderly: true }),
  random_log({ hosts_max: 1, steps_max: 80 }),
);

/** Offsets rise, with gaps, as those of a log through Kafka do. */
function offset_of(index: number): bigint {
  return BigInt(index) * 3n + 1n;
}

function fold_record(of: Core, record: LogRecord, index: number): void {
  const position = { offset: offset_of(index), index: 0 };
  expect(of.fold_record(record.bytes, position, Number(record.log_time_ms))).toBe("folded");
}

function frames_from(records: LogRecord[]): Uint8Array {
  return encode_frames(
    records.map(({ bytes, log_time_ms }, index) => ({
      offset: offset_of(index),
      log_time_ms: Number(log_time_ms),
      bytes,
    })),
    0,
  );
}

/** Everything that the state of the partition is. */
function expect_same_registry(of: Core, registry: RegistryModel): void {
  const hosts = [...registry.hosts.values()];
  expect(of.host_count).toBe(hosts.length);
  const counts = hosts_per_configuration(of);
  expect(counts).toEqual(model_registry.hosts_per_configuration(hosts));
  expect(of.configuration_count).toBe(counts.size);
  expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(hosts.length);
  expect(format_digest(digest_of_core(of))).toBe(hosts_digest(hosts));
}

function expect_same_host(of: Core, host: HostModel): void {
  const number = of.find_host(host.host_id)!;
  const facts = of.host(number);
  expect(facts).toMatchObject({
    host_id: host.host_id,
    stream: host.stream,
    sequence: Number(host.sequence),
    effective_time_ms: Number(host.effective_time_ms),
    knowledge: host.knowledge,
  });
  expect(configuration_model(of.configuration(facts.configuration))).toEqual(configuration_of(host));
  expect(host_state(of, number)).toEqual(Uint8Array.from(host_state_bytes(host)));
}

describe("the fold", () => {
  test("does to every host, event by event, what the rules say", () => {
    fc.assert(
      fc.property(any_log, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (records, seed) => {
        core.restart({ ...ALONE, seed });
        const registry = new_registry();
        const positions = new Map<string, { offset: bigint; index: number }>();
        const anomalies = new Map<Anomaly, number>();
        for (const [at, record] of records.entries()) {
          const expected = apply_record(registry, record);
          fold_record(core, record, at);
          expect(core.outcome_count).toBe(expected.length);
          for (const [index, entry] of expected.entries()) {
            const outcome = core.outcome(index);
            const host_id = entry.event.host_id;
            const position = { offset: offset_of(at), index };
            expect(outcome).toEqual({
              position,
              previous: positions.get(host_id) ?? null,
              effective_time_ms: Number(entry.effective_time_ms),
              host: core.find_host(host_id),
              effect: entry.effect,
              anomalies: entry.anomalies,
            });
            positions.set(host_id, position);
            for (const code of entry.anomalies) anomalies.set(code, (anomalies.get(code) ?? 0) + 1);
          }
          for (const host_id of new Set(expected.map((entry) => entry.event.host_id))) {
            expect_same_host(core, registry.hosts.get(host_id)!);
            expect(core.host(core.find_host(host_id)!).position).toEqual(positions.get(host_id));
          }
          expect_same_registry(core, registry);
        }
        expect(core.anomalies_seen()).toEqual(
          Object.fromEntries(ANOMALIES.map((code) => [code, anomalies.get(code) ?? 0])),
        );
      }),
      { numRuns: 40 },
    );
  });

  test("gives one state however the log is cut into frames and calls", () => {
    fc.assert(
      fc.property(
        any_log,
        fc.array(fc.nat(40)),
        fc.integer({ min: 1, max: 5 }),
        (records, cuts, events_max) => {
          const registry = fold_log(records);
          const frames = [...frames_of(frames_from(records))];

          core.restart(ALONE);
          expect(core.fold_frames(Buffer.concat(frames), false)).toBe("folded");
          expect_same_registry(core, registry);
          const anomalies = core.anomalies_seen();

          // Each call begins with frames that were folded before, and there are frames without a record.
          other_core.restart({ ...ALONE, seed: 7n });
          for (let first = 0, call = 0; first < frames.length; call++) {
            const next = first + 1 + (cuts[call] ?? 0);
            const some = frames.slice(Math.max(0, first - 2), next);
            const empty = encode_empty_frame(other_core.next_offset, other_core.log_time_ms, 0);
            expect(other_core.fold_frames(Buffer.concat([empty, ...some]), false)).toBe("folded");
            first = next;
          }
          expect_same_registry(other_core, registry);
          expect(other_core.anomalies_seen()).toEqual(anomalies);
          expect(other_core.next_offset).toBe(offset_of(records.length - 1) + 1n);
          expect(other_core.next_offset).toBe(core.next_offset);
          expect(BigInt(core.log_time_ms)).toBe(registry.log_time_ms);
          expect(other_core.events_folded).toBe(core.events_folded);

          other_core.restart(ALONE);
          for (const frame of frames_of(frames_from(recut(records, events_max)))) {
            expect(other_core.fold_frames(frame, true)).toBe("folded");
          }
          expect_same_registry(other_core, registry);
          expect(other_core.anomalies_seen()).toEqual(anomalies);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("tells of each event in a frame, and passes over records that it has folded before", () => {
    fc.assert(
      fc.property(random_log({ hosts_max: 6, steps_max: 60 }), fc.nat(), (records, before) => {
        const registry = new_registry();
        const histories = records.map((record) => apply_record(registry, record));
        const known = before % (records.length + 1);
        core.restart(ALONE);
        for (const [at, record] of records.slice(0, known).entries()) fold_record(core, record, at);
        const entries: FoldedEvent[] = histories.slice(known).flat();
        let at = 0;
        for (const frame of frames_of(frames_from(records))) {
          expect(core.fold_frames(frame, true)).toBe("folded");
          for (let i = 0; i < core.outcome_count; i++, at++) {
            expect(core.outcome(i)).toMatchObject({
              effect: entries[at]!.effect,
              anomalies: entries[at]!.anomalies,
              effective_time_ms: Number(entries[at]!.effective_time_ms),
            });
          }
        }
        expect(at).toBe(entries.length);
        expect_same_registry(core, registry);
      }),
      { numRuns: 40 },
    );
  });

  test("applies a record whole or notes why not, in a log of damaged records", () => {
    const random_damages = fc.array(fc.option(random_damage, { freq: 3 }), { minLength: 60, maxLength: 60 });
    fc.assert(
      fc.property(random_log({ hosts_max: 6, steps_max: 60 }), random_damages, (records, damages) => {
        core.restart(ALONE);
        const registry = new_registry();
        const refused: { offset: bigint; error: string }[] = [];
        const log = records.map((record, at) => {
          const edits = damages[at % damages.length] ?? null;
          return edits === null || record.bytes.length > 2_000
            ? record
            : { ...record, bytes: damaged(record.bytes, edits) };
        });
        for (const [at, record] of log.entries()) {
          const fault = validate_batch(record.bytes);
          if (fault === null) apply_record(registry, record);
          else refused.push({ offset: offset_of(at), error: fault.code });
        }
        expect(core.fold_frames(frames_from(log), false)).toBe("folded");
        expect_same_registry(core, registry);
        const noted = core
          .quarantined()
          .map(({ offset, error }) => ({ offset, error: RECORD_ERRORS[error]! }));
        // Of several reasons in one record the core may say "malformed" of a later event.
        expect(noted.map(({ offset }) => offset)).toEqual(refused.map(({ offset }) => offset));
        for (const [i, { error }] of noted.entries()) {
          if (error !== "malformed") expect(error).toBe(refused[i]!.error);
        }
        expect(core.records_quarantined).toBe(refused.length);
        expect(core.next_offset).toBe(offset_of(log.length - 1) + 1n);
      }),
      { numRuns: 120 },
    );
  });

  test("of a partition leaves records with another partition's host alone", () => {
    fc.assert(
      fc.property(random_log({ hosts_max: 6, steps_max: 60 }), fc.nat(2), (records, partition) => {
        const of_partition = { partition, partitions: 3 };
        core.restart(of_partition);
        const registry = new_registry();
        for (const [at, record] of records.entries()) {
          fold_record(core, record, at);
          const fault = validate_batch(record.bytes, of_partition);
          if (fault === null) apply_record(registry, record);
          expect(core.quarantined().map(({ error }) => RECORD_ERRORS[error])).toEqual(
            fault === null ? [] : ["wrong_partition"],
          );
        }
        for (const host_id of registry.hosts.keys()) {
          expect(partition_of(Buffer.from(host_id), 3)).toBe(partition);
        }
        expect_same_registry(core, registry);
      }),
      { numRuns: 30 },
    );
  });
});

/** The core's answer for each host, and its sums, beside the model's. */
function expect_same_check(
  of: Core,
  registry: RegistryModel,
  catalog: CatalogModel,
  candidate: CandidateModel,
): void {
  const outcomes = check(of, candidate);
  const hosts = outcomes.map((): string[] => []);
  for (const host of registry.hosts.values()) {
    const outcome = of.outcome_of_host(of.find_host(host.host_id)!);
    hosts[outcome]!.push(host.host_id);
    expect(verdict_words(outcomes[outcome]!)).toEqual(
      verdict_words_of_model(verdict(host, catalog, candidate), candidate),
    );
  }
  expect(outcomes.map((outcome) => outcome.hosts)).toEqual(hosts.map((ids) => ids.length));

  const wanted = outcomes.map((_, i) => i % 2 === 0);
  const paged: [number, number][] = [];
  for (let first = 0; first < of.host_count; ) {
    const page = of.hosts_page(first, wanted, 2);
    expect(page.hosts.length).toBeLessThanOrEqual(2);
    paged.push(...page.hosts);
    first = page.next;
  }
  const expected = Array.from({ length: of.host_count }, (_, host): [number, number] => [
    host,
    of.outcome_of_host(host),
  ]).filter(([, outcome]) => wanted[outcome]);
  expect(paged).toEqual(expected);
  const bits = of.hosts_bitmap(wanted);
  expect(bits).toHaveLength(Math.ceil(of.host_count / 8));
  expect(marked_hosts(bits)).toEqual(expected.map(([host]) => host));
}

function marked_hosts(bits: Uint8Array): number[] {
  const marked = Array.from({ length: 8 * bits.length }, (_, host) => (bits[host >> 3]! >> (host & 7)) & 1);
  return marked.flatMap((bit, host) => (bit === 1 ? [host] : []));
}

/** What the catalog tells of each patch of a host's stack, and the states that they hold. */
function expect_same_references(
  of: Core,
  of_core: CoreCatalog,
  host: HostModel,
  catalog: CatalogModel,
): void {
  const number = of.find_host(host.host_id)!;
  const { stack } = of.configuration(of.host(number).configuration);
  const found = host.stack.map((entry) => resolve(catalog, entry, host));
  for (const [place, entry] of stack.entries()) {
    expect(entry.built_for_other_kernel).toBe(is_built_for_other_kernel(catalog, host.stack[place]!, host));
    const manifest = found[place]!;
    if (typeof manifest === "string") expect(entry.manifest).toBe(manifest);
    else {
      const { name, kernel_release, arch, build_id } =
        of_core.manifests.all[entry.manifest as number]!.manifest;
      expect([name, kernel_release, arch, Buffer.from(build_id ?? []).toString("hex")]).toEqual([
        manifest.name,
        manifest.kernel_release,
        manifest.arch,
        manifest.build_id,
      ]);
    }
  }
  const arrays = found.map((manifest) => (typeof manifest === "string" ? [] : manifest.states));
  const ids = new Set([...arrays.flat().map((state) => state.id), 4n]);
  for (const id of ids) {
    for (let place = 0; place <= stack.length; place++) {
      const holder = previous_holder(arrays.slice(0, place), id);
      expect(of.previous_holder(number, place, id)).toBe(holder === -1 ? null : holder);
      const version = place === stack.length ? null : first_version(arrays[place]!, id);
      expect(of.version_at(number, place, id)).toBe(version);
    }
  }
}

describe("checks", () => {
  const random_check = fc.tuple(
    fc.oneof(
      random_log({ hosts_max: 6, steps_max: 30, orderly: true }),
      random_log({ hosts_max: 6, steps_max: 12, orderly: true }),
      random_log({ hosts_max: 6, steps_max: 30 }),
    ),
    random_catalog(40),
    fc.array(random_candidate, { minLength: 4, maxLength: 8 }),
    // In which order events and manifests come, and when questions do.
    fc.infiniteStream(fc.constantFrom("record", "record", "catalog", "catalog", "catalog", "check")),
  );

  test("say of every host what the rules say, while events come and manifests are published and withdrawn", () => {
    fc.assert(
      fc.property(random_check, ([records, catalog_records, candidates, order]) => {
        core.restart(ALONE);
        const of_core = new CoreCatalog(core);
        const registry = new_registry();
        const catalog = new_catalog();
        const events = [...records.entries()];
        const manifests = [...catalog_records];
        let asked = 0;
        const ask = () =>
          expect_same_check(core, registry, catalog, candidates[asked++ % candidates.length]!);
        while (events.length > 0 || manifests.length > 0) {
          const what = order.next().value;
          if (what === "check") ask();
          else if (what === "catalog" && manifests.length > 0) {
            const record = manifests.shift()!;
            of_core.apply(record);
            apply_catalog_record(catalog, record);
          } else if (events.length > 0) {
            const [at, record] = events.shift()!;
            fold_record(core, record, at);
            apply_record(registry, record);
          }
        }
        for (const _ of candidates) ask();
        for (const host of registry.hosts.values()) expect_same_references(core, of_core, host, catalog);
      }),
      { numRuns: 250 },
    );
  });

  test("ask the catalog of now: a verdict does not depend on the order in which manifests came", () => {
    fc.assert(
      fc.property(random_check, ([records, catalog_records, candidates]) => {
        const published = catalog_records.filter((record) => record.published);
        const catalog = new_catalog();
        for (const record of published) apply_catalog_record(catalog, record);
        const registry = fold_log(records);
        core.restart(ALONE);
        const of_core = new CoreCatalog(core);
        for (const [at, record] of records.entries()) fold_record(core, record, at);
        for (const candidate of candidates) check(core, candidate);
        for (const record of published) of_core.apply(record);
        for (const candidate of candidates) expect_same_check(core, registry, catalog, candidate);
      }),
      { numRuns: 60 },
    );
  });
});

/** The fold's tables, or the buffers already, reach over 2 GiB; all is above it; all is in the last 48 MiB of memory. */
const HIGH_BYTES = [2 ** 31 - (14 << 20), 2 ** 31 - (6 << 20), 2 ** 31, 2 ** 32 - (48 << 20)];

describe("a core that begins at", () => {
  test.each(HIGH_BYTES)("%d bytes says of every host and event what the rules say", (from_bytes) => {
    const high = high_core(from_bytes, ALONE);
    expect(high.memory_used_bytes).toBeGreaterThan(from_bytes + (10 << 20));
    const drawn = fc.tuple(any_log, random_catalog(40), fc.array(random_candidate, { minLength: 4 }));
    fc.assert(
      fc.property(drawn, ([records, catalog_records, candidates]) => {
        high.restart({ ...ALONE, seed: 3n });
        core.restart({ ...ALONE, seed: 5n });
        const of_core = new CoreCatalog(high);
        const registry = fold_log(records);
        const catalog = new_catalog();
        for (const record of catalog_records) {
          of_core.apply(record);
          apply_catalog_record(catalog, record);
        }
        for (const frame of frames_of(frames_from(records))) {
          expect(core.fold_frames(frame, true)).toBe("folded");
          expect(high.fold_frames(frame, true)).toBe("folded");
          expect(high.outcome_count).toBe(core.outcome_count);
          for (let i = 0; i < high.outcome_count; i++) expect(high.outcome(i)).toEqual(core.outcome(i));
        }
        expect_same_registry(high, registry);
        for (const candidate of candidates) expect_same_check(high, registry, catalog, candidate);
        const hosts = [...registry.hosts.values()];
        for (const host of hosts) {
          expect_same_host(high, host);
          expect_same_references(high, of_core, host, catalog);
        }
        const list = host_list(hosts.map((host) => host.host_id));
        expect(high.host_facts(list)).toEqual(core.host_facts(list));
        const minute = Math.floor(high.log_time_ms / 60_000);
        expect(high.hosts_before_minute(minute)).toBe(core.hosts_before_minute(minute));
        expect(chain_of(high, records)).toEqual(chain_of(core, records));
      }),
      { numRuns: 25 },
    );
  });
});

/** Folds the log anew. */
function chain_of(of: Core, records: LogRecord[]): Uint8Array[] {
  of.restart(ALONE);
  const told: Uint8Array[] = [];
  const status = of.fold_chained(frames_from(records), ({ folded, frames, records, entries }) => {
    told.push(folded.slice(), frames.slice(), records.slice(), entries.slice());
  });
  expect(status).toBe("folded");
  return told;
}

describe("the age of hosts", () => {
  test("is counted exactly, for the partition and beside each outcome of a check, as often as is asked", () => {
    fc.assert(
      fc.property(
        random_log({ hosts_max: 6, steps_max: 60 }),
        random_catalog(),
        random_candidate,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: -2, max: 2 })), { minLength: 3, maxLength: 6 }),
        (records, catalog_records, candidate, questions) => {
          core.restart(ALONE);
          const of_core = new CoreCatalog(core);
          for (const record of catalog_records) of_core.apply(record);
          for (const [at, record] of records.entries()) fold_record(core, record, at);
          const hosts = [...fold_log(records).hosts.values()];
          const minute_of = (host: HostModel) => Number(host.effective_time_ms / 60_000n);
          const outcomes = check(core, candidate);
          for (const [which, difference] of questions) {
            const minute = minute_of(hosts[which % hosts.length]!) + difference;
            const old = hosts.filter((host) => minute_of(host) < minute);
            expect(core.hosts_before_minute(minute)).toBe(old.length);
            const aged = outcomes.map(() => 0);
            for (const host of old) aged[core.outcome_of_host(core.find_host(host.host_id)!)]! += 1;
            expect(core.age_check(minute)).toEqual(
              outcomes.map((outcome, i) => ({ ...outcome, aged: aged[i] })),
            );
            const wanted = outcomes.map((_, i) => i % 2 === 0);
            for (const wants_aged of [false, true]) {
              const found = hosts.flatMap((host) => {
                const number = core.find_host(host.host_id)!;
                const is_wanted = old.includes(host) ? wants_aged : wanted[core.outcome_of_host(number)]!;
                return is_wanted ? [number] : [];
              });
              const age = { minute, wanted: wants_aged };
              const page = core.hosts_page(0, wanted, hosts.length, age);
              expect(page.hosts.map(([host]) => host)).toEqual(found.toSorted((a, b) => a - b));
              expect(marked_hosts(core.hosts_bitmap(wanted, age))).toEqual(found.toSorted((a, b) => a - b));
            }
          }
          expect(core.hosts_before_minute(0)).toBe(0);
          expect(core.hosts_before_minute(2 ** 32 - 1)).toBe(hosts.length);
        },
      ),
      { numRuns: 120 },
    );
  });
});
