/** What a publisher is told of its hosts is what the core knows of them, one by one, in JSON that anybody can read. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostFactRows, host_list } from "#services/core/host_list.js";
import { format_time } from "#services/events/time.js";
import { TIME_BYTES, TimeWriter } from "#services/events/time_bytes.js";
import { acknowledge } from "#services/registry/acknowledgement.js";
import { Ack } from "#services/registry/answers.js";
import { random_log } from "../model/random.js";
import { fold_log } from "../model/registry.js";
import { fold_log as fold, log_of, new_core, observed, TIME_MS } from "../unit/core/fleet.js";

const ODD_IDS = [
  '"',
  "\\",
  '\\"\\',
  '"\u2028\u2029"',
  "é",
  "\ufeffp",
  "𝒽\\",
  "</script>",
  "'",
  "a".repeat(255),
  '"'.repeat(255),
  "\\".repeat(254),
  "\u2028".repeat(85),
  // As long as the escaped characters' codes.
  "b".repeat(0x22),
  "b".repeat(0x5c),
];

const random_host_id = fc
  .string({ unit: "binary", minLength: 1, maxLength: 60 })
  .filter((id) => !/\p{Cc}|\p{Cs}/u.test(id) && Buffer.byteLength(id) <= 255);

/** What `Core.host_facts` says of the hosts, each as an object; null: not known. */
function facts_of(core: ReturnType<typeof new_core>, host_ids: string[]) {
  const rows = new HostFactRows(core.host_facts(host_list(host_ids)));
  expect(rows.count).toBe(host_ids.length);
  return host_ids.map((_, row) =>
    rows.is_known(row)
      ? {
          sequence: rows.sequence(row),
          knowledge: rows.knowledge(row),
          effective_time_ms: rows.effective_time_ms(row),
        }
      : null,
  );
}

function one_by_one(core: ReturnType<typeof new_core>, host_ids: string[]) {
  return host_ids.map((host_id) => {
    const host = core.find_host(host_id);
    if (host === null) return null;
    const { sequence, knowledge, effective_time_ms } = core.host(host);
    return { sequence, knowledge, effective_time_ms };
  });
}

describe("the facts of many hosts", () => {
  test("are those of each host alone, and of the model", () => {
    const core = new_core({ seed: 7n });
    fc.assert(
      fc.property(
        random_log({ hosts_max: 6, steps_max: 60 }),
        fc.array(random_host_id),
        (records, strangers) => {
          core.restart({ partition: null, partitions: 1, seed: 7n });
          const model = fold_log(records);
          for (const [i, { bytes, log_time_ms }] of records.entries()) {
            core.fold_record(bytes, { offset: BigInt(i), index: 0 }, Number(log_time_ms));
          }
          const host_ids = [...model.hosts.keys(), ...strangers];
          const facts = facts_of(core, host_ids);
          expect(facts).toEqual(one_by_one(core, host_ids));
          const of_model = host_ids.map((host_id) => {
            const host = model.hosts.get(host_id);
            if (host === undefined) return null;
            const { sequence, knowledge, effective_time_ms } = host;
            return { sequence: Number(sequence), knowledge, effective_time_ms: Number(effective_time_ms) };
          });
          expect(facts).toEqual(of_model);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("come in the order that was asked, for as many as a batch may have", () => {
    const core = new_core();
    const host_ids = Array.from({ length: 10_000 }, (_, i) => `host-${i}`);
    fold(
      core,
      log_of(
        host_ids.map((host_id, i) => observed(host_id, { sequence: i + 1 })),
        100,
      ),
    );
    const asked = host_ids.toReversed();
    expect(facts_of(core, asked).map((facts) => facts!.sequence)).toEqual(
      Array.from({ length: 10_000 }, (_, i) => 10_000 - i),
    );
  });

  test("of no host are none", () => {
    expect(facts_of(new_core(), [])).toEqual([]);
  });
});

describe("an acknowledgement", () => {
  const next_offsets = [5n, 2n ** 60n];

  /** Two partitions' parts of the same core, with half of the hosts each. */
  function acknowledged(host_ids: string[]) {
    const core = new_core();
    const seen = host_ids.map((host_id, i) =>
      observed(host_id, { sequence: 2 ** (i % 32), time_ms: TIME_MS - i * 3_333_333 }),
    );
    fold(core, log_of(seen, 100));
    const middle = host_ids.length >> 1;
    const halves = [host_ids.slice(0, middle), host_ids.slice(middle)];
    const text = acknowledge(
      halves.map((half, i) => {
        const list = host_list(half);
        return { partition: i, next_offset: next_offsets[i]!, hosts: { list, facts: core.host_facts(list) } };
      }),
    );
    const expected = {
      positions: { 0: "5", 1: String(2n ** 60n) },
      hosts: seen.map(({ host_id, sequence, time_unix_ms }) => ({
        host_id,
        next_sequence: String(Number(sequence) + 1),
        knowledge: "complete",
        effective_time: new Date(Number(time_unix_ms)).toISOString(),
      })),
    };
    return { text, expected };
  }

  test("is the JSON of what it says, byte for byte, whatever the hosts are called", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.oneof(random_host_id, fc.constantFrom(...ODD_IDS)), { maxLength: 40 }),
        (ids) => {
          const { text, expected } = acknowledged(ids);
          expect(Buffer.from(text.json).toString()).toBe(JSON.stringify(expected));
          expect(text.document).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("escapes what JSON must escape, and nothing else", () => {
    const { text, expected } = acknowledged(ODD_IDS);
    expect(Buffer.from(text.json).toString()).toBe(JSON.stringify(expected));
  });

  test("tells of no host where nobody asked", () => {
    const { json } = acknowledge([{ partition: 3, next_offset: 1042n, hosts: null }]);
    expect(Buffer.from(json).toString()).toBe('{"positions":{"3":"1042"},"hosts":[]}');
  });

  test("says null of hosts whose partition did not tell of them in time, and the facts of the others", () => {
    const core = new_core();
    fold(core, log_of([observed("web-1", { sequence: 4 })], 100));
    const [told, untold] = [host_list(["web-1"]), host_list(ODD_IDS)];
    const { json, document } = acknowledge([
      { partition: 1, next_offset: 7n, hosts: { list: untold, facts: null } },
      { partition: 2, next_offset: 9n, hosts: { list: told, facts: core.host_facts(told) } },
    ]);
    const nothing = { next_sequence: null, knowledge: null, effective_time: null };
    const expected = {
      positions: { "1": "7", "2": "9" },
      hosts: [
        ...ODD_IDS.map((host_id) => ({ host_id, ...nothing })),
        {
          host_id: "web-1",
          next_sequence: "5",
          knowledge: "complete",
          effective_time: new Date(TIME_MS).toISOString(),
        },
      ],
    };
    expect(Buffer.from(json).toString()).toBe(JSON.stringify(expected));
    expect(Ack.parse(document)).toEqual(expected);
  });

  test("of a host that the core does not know is refused", () => {
    const list = host_list(["web-1"]);
    const parts = [{ partition: 0, next_offset: 1n, hosts: { list, facts: new_core().host_facts(list) } }];
    expect(() => acknowledge(parts)).toThrow("the core does not know web-1");
  });
});

test("an instant as bytes is the instant as text", () => {
  const writer = new TimeWriter();
  const into = Buffer.alloc(3 + TIME_BYTES + 1, "x");
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.nat({ max: 2 ** 48 - 1 }),
        fc.nat({ max: 200_000_000 }),
        fc.constantFrom(0, 86_399_999, 86_400_000, 253_402_300_799_999, 253_402_300_800_000, 2 ** 48 - 1),
      ),
      (time_ms) => {
        expect(writer.write(view, 3, time_ms)).toBe(3 + TIME_BYTES);
        expect(into.toString()).toBe(`xxx${format_time(time_ms)}x`);
      },
    ),
    { numRuns: 2_000 },
  );
});
