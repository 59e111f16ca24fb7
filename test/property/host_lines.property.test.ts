/** Lines that the core writes of hosts are those that are made of the same hosts as objects, byte for byte. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VERDICTS, type Verdict } from "#services/core/codes.js";
import { Core } from "#services/core/core.js";
import { check_hosts_of_core } from "#services/registry/core_answers.js";
import { HostLines, lines_of_page } from "#services/registry/host_lines.js";
import type { HostsCheckQuestion } from "#services/registry/shard_protocol.js";
import { CoreCatalog, core_module } from "../model/from_core.js";
import { instants_of, random_candidate, random_catalog, random_log } from "../model/random.js";
import { count_to, fold_log, KERNEL, log_of, new_core, observed, TIME_MS } from "../unit/core/fleet.js";

const MINUTE_MS = 60_000;
const core = new Core(core_module, { partition: null, partitions: 1 });

/** Page after page; at least one host a page. */
function all_lines(of: Core, question: HostsCheckQuestion, stale_after_ms: number): Buffer {
  const lines = new HostLines(of);
  const pages: Uint8Array[] = [];
  let hosts = 0;
  for (let first: number | null = 0; first !== null; ) {
    const page = lines.page({ ...question, first }, stale_after_ms);
    expect(page.hosts).toBeLessThanOrEqual(question.count_max);
    pages.push(page.lines);
    hosts += page.hosts;
    first = page.next;
  }
  const written = Buffer.concat(pages);
  expect(written.toString().split("\n")).toHaveLength(hosts + 1);
  return written;
}

/** The same, of all hosts at once, as objects. */
function expected_lines(of: Core, question: HostsCheckQuestion, stale_after_ms: number): string {
  const page = check_hosts_of_core(of, { ...question, count_max: 100_000 }, stale_after_ms);
  expect(page.next).toBeNull();
  return Buffer.from(lines_of_page(page, question.candidate).lines).toString();
}

const some_verdicts = fc.option(
  fc.subarray(
    VERDICTS.filter((name) => name !== null),
    { minLength: 1 },
  ),
);

describe("lines of hosts", () => {
  test("say what the objects say, whatever happened to the hosts and whoever is old or in doubt", () => {
    fc.assert(
      fc.property(
        random_log({ hosts_max: 6, steps_max: 60 }),
        random_catalog(),
        fc.array(random_candidate, { minLength: 1, maxLength: 4 }),
        some_verdicts,
        fc.record({
          at: fc.nat(),
          count_max: fc.integer({ min: 1, max: 4 }),
          stale_minutes: fc.nat(4),
          max_age_minutes: fc.option(fc.nat(4)),
        }),
        (
          records,
          catalog_records,
          candidates,
          verdicts,
          { at, count_max, stale_minutes, max_age_minutes },
        ) => {
          core.restart({ partition: null, partitions: 1 });
          const of_core = new CoreCatalog(core);
          for (const record of catalog_records) of_core.apply(record);
          for (const [i, { bytes, log_time_ms }] of records.entries())
            core.fold_record(bytes, { offset: BigInt(i), index: 0 }, Number(log_time_ms));
          const instants = instants_of(records);
          const at_ms = Number(instants[at % instants.length]!);
          core.mark_doubt(at_ms);
          for (const { name, build_id } of candidates) {
            const question: HostsCheckQuestion = {
              candidate: { name, ...(build_id !== undefined && { build_id }) },
              at_ms,
              max_age_ms: max_age_minutes === null ? null : max_age_minutes * MINUTE_MS,
              partition: 0,
              verdicts: verdicts as Verdict[] | null,
              after: null,
              first: 0,
              count_max,
            };
            const stale_after_ms = stale_minutes * MINUTE_MS;
            expect(all_lines(core, question, stale_after_ms).toString()).toBe(
              expected_lines(core, question, stale_after_ms),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

const QUESTION: HostsCheckQuestion = {
  candidate: { name: "offered" },
  at_ms: TIME_MS,
  max_age_ms: null,
  partition: 0,
  verdicts: null,
  after: null,
  first: 0,
  count_max: 4_294_967_296,
};

function publish(of: Core, name: string, states: { id: bigint; version: number }[], replace = false): void {
  of.put_manifest({
    ...{ ...KERNEL, name, build_id: new Uint8Array(), replace, states_unknown: false },
    ...{ irreversible: false, signed: false, states },
  });
}

test("ids are escaped as JSON has them", () => {
  const of = new_core();
  publish(of, "offered", []);
  const long = (text: string, bytes: number) => text.repeat(bytes / Buffer.byteLength(text));
  const odd = [
    '"',
    "\\",
    '"\\"',
    "\u2028",
    "\u2029",
    "é",
    "𝒽",
    "\ufeffh",
    "\ufffd",
    "/",
    "<",
    "\u00a0",
    "\ud7ff",
    "u0022",
  ];
  const ids = [
    ...odd,
    ...odd.flatMap((text) => [15, 16, 17, 31, 32].map((before) => `${"h".repeat(before)}${text}`)),
    ...odd.map((text) => `${text}${"h".repeat(40)}`),
    ...[long('"', 255), long("\\", 255), long("h", 255), long("é", 254), long("𝒽", 252)],
    ...[...count_to(40)].map((bytes) => "x".repeat(bytes + 1)),
  ];
  fold_log(
    of,
    log_of(
      ids.map((id) => observed(id)),
      50,
    ),
  );
  expect(of.host_count).toBe(ids.length);
  const lines = all_lines(of, QUESTION, MINUTE_MS).toString();
  expect(lines).toBe(expected_lines(of, QUESTION, MINUTE_MS));
  const told = lines
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).host_id);
  expect(told).toEqual(ids);
});

test("more hosts than a page of the column and of lines, of which few are wanted, old or new", () => {
  const of = new_core();
  publish(of, "held", [{ id: 1n, version: 2 }]);
  publish(of, "offered", [{ id: 1n, version: 1 }]);
  const hosts = 20_001;
  const events = [...count_to(hosts)].map((i) =>
    observed(`host-${i}`, { stack: i % 7 === 3 ? ["held"] : [], time_ms: TIME_MS - (i % 11) * MINUTE_MS }),
  );
  fold_log(of, log_of(events, 500));
  const verdicts: (Verdict[] | null)[] = [null, ["incompatible"], ["unknown"], ["ok", "unknown"], ["busy"]];
  for (const of_hosts of verdicts) {
    for (const max_age_ms of [null, 0, 5 * MINUTE_MS, 20 * MINUTE_MS]) {
      const question = { ...QUESTION, verdicts: of_hosts, max_age_ms };
      const lines = all_lines(of, question, 8 * MINUTE_MS).toString();
      // Not by `toBe`: a difference would be megabytes.
      expect(lines === expected_lines(of, question, 8 * MINUTE_MS)).toBe(true);
    }
  }
});

test("what is folded or published between two pages is in the second one", () => {
  const of = new_core();
  publish(of, "offered", [{ id: 1n, version: 1 }]);
  const hosts = (stack: string[], sequence: number) =>
    log_of(
      [...count_to(10)].map((i) => observed(`h${i}`, { stack, sequence })),
      10,
      BigInt(sequence),
    );
  fold_log(of, hosts([], 1));
  const lines = new HostLines(of);
  const verdicts_of = (first: number, candidate = QUESTION.candidate) => {
    const page = lines.page({ ...QUESTION, candidate, first, count_max: 2 }, MINUTE_MS);
    const told = Buffer.from(page.lines).toString().trimEnd().split("\n");
    return told.map((line) => JSON.parse(line).verdict);
  };
  expect(verdicts_of(0)).toEqual(["ok", "ok"]);
  fold_log(of, hosts(["held"], 2));
  expect(verdicts_of(2)).toEqual(["unknown", "unknown"]);
  publish(of, "held", [{ id: 1n, version: 2 }]);
  expect(verdicts_of(4)).toEqual(["incompatible", "incompatible"]);
  expect(verdicts_of(6, { name: "held" })).toEqual(["done", "done"]);
  expect(verdicts_of(6)).toEqual(["incompatible", "incompatible"]);
  of.check("held", new Uint8Array());
  expect(verdicts_of(8)).toEqual(["incompatible", "incompatible"]);
});

test("more is said of outcomes than the core takes at once", () => {
  const of = new_core();
  publish(of, "offered", [], true);
  // A stack of its own for each host, of long names, that the candidate would replace.
  const name = (i: number, place: number) => `${place}_${i}_${"n".repeat(40)}`;
  const stacks = [...count_to(2_000)].map((i) =>
    [...count_to(60)].map((place) => name((i % 40) + place * 40, place)),
  );
  const names = new Set(stacks.flat());
  for (const one of names) publish(of, one, []);
  const distinct = stacks.map((stack, i) => stack.slice(0, 20 + (i % 40)).concat(name(i, 61)));
  for (const [i] of distinct.entries()) publish(of, name(i, 61), []);
  fold_log(
    of,
    log_of(
      distinct.map((stack, i) => observed(`h${i}`, { stack })),
      3,
    ),
  );
  const lines = all_lines(of, QUESTION, MINUTE_MS);
  expect(lines.length).toBeGreaterThan(of.input_bytes_max);
  expect(lines.toString() === expected_lines(of, QUESTION, MINUTE_MS)).toBe(true);
});
