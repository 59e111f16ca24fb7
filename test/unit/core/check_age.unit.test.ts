/** Hosts that were last heard of too long ago, beside a plain count: fleets that end within what the core takes at once. */
import { expect, test } from "vitest";
import type { Core } from "#services/core/core.js";
import { check } from "../../model/from_core.js";
import { count_to, fold_log, KERNEL, log_of, new_core, observed, TIME_MS } from "./fleet.js";

const MINUTE_MS = 60_000;
const MINUTE = Math.floor(TIME_MS / MINUTE_MS);
/** Around what is taken at once of the columns, and a page of them. */
const FLEETS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 8_193, 16_383, 16_384, 16_385, 16_421];

function publish(core: Core, name: string, version: number): void {
  core.put_manifest({
    ...{ ...KERNEL, name, build_id: new Uint8Array(), replace: false, states_unknown: false },
    ...{ irreversible: false, signed: false, states: [{ id: 1n, version }] },
  });
}

/** By host: the minutes since its last event, in the end. */
function folded(hosts: number): { core: Core; silent: number[] } {
  const core = new_core();
  publish(core, "held", 2);
  publish(core, "offered", 1);
  // A third comes once more, later.
  const silent = Array.from({ length: hosts }, (_, i) => (i % 3 === 0 ? (i * 5) % 7 : 3 + ((i * 5) % 7)));
  const event = (i: number, sequence: number, minutes: number) =>
    observed(`h${i}`, {
      stack: i % 5 === 2 ? ["held"] : [],
      sequence,
      time_ms: TIME_MS - minutes * MINUTE_MS,
    });
  fold_log(
    core,
    log_of(
      [...count_to(hosts)].map((i) => event(i, 1, 3 + ((i * 5) % 7))),
      500,
    ),
  );
  const again = [...count_to(hosts)].filter((i) => i % 3 === 0);
  fold_log(
    core,
    log_of(
      again.map((i) => event(i, 2, silent[i]!)),
      500,
      1_000n,
    ),
  );
  return { core, silent };
}

function marked(bits: Uint8Array): number[] {
  return [...bits].flatMap((byte, at) =>
    [...count_to(8)].flatMap((bit) => ((byte >> bit) & 1 ? [8 * at + bit] : [])),
  );
}

test.each(FLEETS)("%i hosts are counted, marked and listed by their age", (hosts) => {
  const { core, silent } = folded(hosts);
  const outcomes = check(core, { name: "offered" });
  const outcome_of = silent.map((_, i) => core.outcome_of_host(i));
  const wanted = outcomes.map(({ verdict }) => verdict === "incompatible");
  for (const minutes of [0, 2, 5, 9, 10]) {
    // Heard of more than so many minutes ago; of 10, nobody.
    const minute = MINUTE - minutes;
    const aged = outcomes.map(() => 0);
    for (const [i, outcome] of outcome_of.entries()) if (silent[i]! > minutes) aged[outcome]! += 1;
    expect(core.age_check(minute).map((outcome) => outcome.aged)).toEqual(aged);
    for (const wants_aged of [false, true]) {
      const found = silent.flatMap((ago, i) =>
        (ago > minutes ? wants_aged : wanted[outcome_of[i]!]!) ? [i] : [],
      );
      const age = { minute, wanted: wants_aged };
      expect(marked(core.hosts_bitmap(wanted, age))).toEqual(found);
      expect(core.hosts_page(0, wanted, hosts, age).hosts.map(([host]) => host)).toEqual(found);
    }
  }
  expect(marked(core.hosts_bitmap(wanted))).toEqual(
    outcome_of.flatMap((outcome, i) => (wanted[outcome] ? [i] : [])),
  );
});

test("where very many configurations are, hosts are counted by their outcomes", () => {
  const core = new_core();
  publish(core, "held", 2);
  publish(core, "offered", 1);
  const hosts = 16_403;
  const events = [...count_to(hosts)].map((i) =>
    observed(`h${i}`, {
      stack: i % 5 === 2 ? ["held", `p${i}`] : [`p${i}`],
      time_ms: TIME_MS - (i % 7) * MINUTE_MS,
    }),
  );
  fold_log(core, log_of(events, 500));
  expect(core.configuration_count).toBe(hosts);
  const refused = [...count_to(hosts)].filter((i) => i % 5 === 2 && i % 7 > 3).length;
  const old = [...count_to(hosts)].filter((i) => i % 7 > 3).length;
  check(core, { name: "offered" });
  const outcomes = core.age_check(MINUTE - 3);
  const sum = (of: typeof outcomes) => of.reduce((total, { aged }) => total + aged, 0);
  expect(sum(outcomes.filter(({ verdict }) => verdict === "incompatible"))).toBe(refused);
  expect(sum(outcomes)).toBe(old);
});

test("an image has the ages of hosts", () => {
  const without = new_core();
  const records = log_of(
    [...count_to(900)].map((i) => observed(`h${i}`, { time_ms: TIME_MS - i * MINUTE_MS })),
    100,
  );
  fold_log(without, records);
  const image = without.image();
  const bytes = image.runs.map((run) => Buffer.from(without.page_bytes(run)));
  const restored = new_core();
  expect(
    restored.take_image(image, (run) => void bytes[image.runs.indexOf(run)]!.copy(restored.page_bytes(run))),
  ).toBe(true);
  check(restored, { name: "offered" });
  expect(restored.age_check(MINUTE - 400).map(({ aged }) => aged)).toEqual([499]);
});
