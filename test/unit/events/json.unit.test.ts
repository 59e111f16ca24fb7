import { describe, expect, it } from "vitest";
import { decode_event, encode_event } from "#services/events/codec.js";
import {
  event_from_json,
  event_to_json,
  manifest_from_json,
  manifest_to_json,
} from "#services/events/json.js";
import type { Problem } from "#services/events/problem.js";
import { parse_json } from "#services/events/strict_json.js";
import { u64_to_bigint } from "#services/events/u64.js";

const HEAD = {
  host_id: "web-17",
  stream: "18446744073709551615",
  sequence: "5",
  time_unix_ms: "1790000123456",
};

function problem_of(read: () => unknown): Problem {
  try {
    read();
  } catch (error) {
    return error as Problem;
  }
  throw new Error("not refused");
}

const event_problem = (event: object) => problem_of(() => event_from_json({ ...HEAD, ...event }));

describe("an event from JSON", () => {
  it("is the one of the formats' page, and goes back to the same text", () => {
    const text =
      '{"host_id":"web-17","stream":"8812774410021","sequence":"5","time_unix_ms":"1790000123456","replaced":{"patch":{"name":"kp_2","build_id":"ab12"},"left":[{"name":"kp_1"}]}}';
    const event = event_from_json(parse_json(text));
    expect(event.replaced?.patch?.build_id).toEqual(Uint8Array.from([0xab, 0x12]));
    expect(JSON.stringify(event_to_json(event))).toBe(text);
    expect(JSON.stringify(event_to_json(decode_event(encode_event(event))))).toBe(text);
  });

  it("keeps what is present apart from what is absent", () => {
    const observed = {
      kernel_release: "6.12.1",
      arch: "x86_64",
      livepatching: "not_built",
      stack: [
        { patch: { name: "a" }, phase: "enabled", replace: false },
        { patch: { name: "b" }, phase: "disabling" },
      ],
      policy: {},
    };
    const json = event_to_json(decode_event(encode_event(event_from_json({ ...HEAD, observed }))));
    expect(json).toEqual({ ...HEAD, observed });
  });

  it("defaults written out are the same event as defaults left out", () => {
    const written = { ...HEAD, not_before_unix_ms: 0, loaded: { patch: { name: "a", build_id: "" } } };
    const left_out = { ...HEAD, loaded: { patch: { name: "a" } } };
    expect(encode_event(event_from_json(written))).toEqual(encode_event(event_from_json(left_out)));
  });

  it("numbers are taken for 64-bit integers, upper case for hex", () => {
    const event = event_from_json({
      ...HEAD,
      sequence: 7,
      stream: Number.MAX_SAFE_INTEGER,
      removed: { patch: { name: "a", build_id: "AbCd" } },
    });
    expect(u64_to_bigint(event.stream)).toBe(2n ** 53n - 1n);
    expect(event_to_json(event)).toMatchObject({ sequence: "7", removed: { patch: { build_id: "abcd" } } });
  });

  it.each([
    [{ loaded: { patch: { name: "a" }, replaces: true } }, "loaded.replaces: an unknown key"],
    [{ exploded: {} }, "exploded: an unknown key"],
    [{}, "change: is missing; exactly one of observed, loading,"],
    [
      { loaded: { patch: { name: "a" } }, removed: { patch: { name: "a" } } },
      "removed: is a second change beside loaded",
    ],
    [{ loaded: { patch: { name: 5 } } }, "loaded.patch.name: 5 is not text"],
    [{ loaded: { patch: null } }, "loaded.patch: null is not an object"],
    [{ loaded: [] }, "loaded: a list is not an object"],
    [{ replaced: { patch: { name: "a" }, left: {} } }, "replaced.left: an object is not a list"],
    [{ replaced: { patch: { name: "a" }, left: ["b"] } }, 'replaced.left[0]: "b" is not an object'],
    [
      { loaded: { patch: { name: "a", build_id: "abc" } } },
      'loaded.patch.build_id: "abc" is not hex of whole bytes',
    ],
    [{ loaded: { patch: { name: "a" }, replace: 1 } }, "loaded.replace: 1 is not true or false"],
    [
      { forced: { patch: { name: "a" }, phase: "unspecified" } },
      'forced.phase: "unspecified" is not one of enabling,',
    ],
    [{ forced: { patch: { name: "a" }, phase: 2 } }, "forced.phase: 2 is not one of enabling,"],
    [
      { refused: { reason: "PRE_PATCH" } },
      'refused.reason: "PRE_PATCH" is not one of unspecified, incompatible,',
    ],
    [
      { stalled: { patch: { name: "a" }, tasks: [{ pid: 2 ** 32 }] } },
      "stalled.tasks[0].pid: 4294967296 is not a whole",
    ],
    [
      { stalled: { patch: { name: "a" }, tasks_total: "1" } },
      'stalled.tasks_total: "1" is not a whole number',
    ],
    [
      { stream: 2 ** 60, removed: { patch: { name: "a" } } },
      "stream: 1152921504606847000 is no whole number",
    ],
    [{ time_unix_ms: "1e3", removed: { patch: { name: "a" } } }, 'time_unix_ms: "1e3" is no whole number'],
    [{ loaded: { patch: { name: "\ud800" } } }, "loaded.patch.name: "],
    [{ host_id: "", removed: { patch: { name: "a" } } }, "host_id: is missing; 1 to 255 bytes"],
    [{ removed: {} }, "removed.patch.name: is missing; 1 to 55 bytes"],
    [{ reversed: { patch: { name: "a" }, to: "enabled" } }, "reversed.to: 2 (enabled) is not possible here"],
  ])("is refused (case %#)", (event, message) => {
    expect(event_problem(event).message).toContain(message);
    expect(event_problem(event).parts.field).toBe(message.split(":")[0]);
  });

  it("names the place in the document that holds it", () => {
    const read = () => event_from_json({ ...HEAD, loaded: { patch: {} } }, "events[3]");
    expect(problem_of(read).parts.field).toBe("events[3].loaded.patch.name");
  });

  it("shows a long or hostile value shortened and harmless", () => {
    const { message } = event_problem({
      host_id: `\u001b]0;\u0007${"x".repeat(300)}`,
      removed: { patch: { name: "a" } },
    });
    expect(message).not.toContain("\u001b");
    expect(message.length).toBeLessThan(200);
  });

  it.each([null, [], "event", 5])("%j is no event", (value) => {
    expect(problem_of(() => event_from_json(value)).message).toContain("the document: ");
  });

  it("a newer publisher's value of an open enum is its number, both ways", () => {
    const event = event_from_json({ ...HEAD, refused: { reason: 99 } });
    expect(event_to_json(event)).toMatchObject({ refused: { reason: 99 } });
  });
});

describe("a manifest from JSON", () => {
  const MANIFEST = { name: "kp_2", kernel_release: "6.12.117+deb12-cloud-amd64", arch: "x86_64" };
  const manifest_problem = (manifest: object) =>
    problem_of(() => manifest_from_json({ ...MANIFEST, ...manifest }));

  it("is the one of the formats' page, and goes back to the same text", () => {
    const text =
      '{"name":"kp_2","kernel_release":"6.12.117+deb12-cloud-amd64","arch":"x86_64","build_id":"ab12","replace":true,"states":[{"id":"1","version":2}]}';
    expect(JSON.stringify(manifest_to_json(manifest_from_json(parse_json(text))))).toBe(text);
  });

  it("keeps ids and versions to their full range, order and duplicates", () => {
    const states = [
      { id: "18446744073709551615", version: 4294967295 },
      { id: "1", version: 0 },
      { id: "1", version: 3, has_data: true },
    ];
    expect(manifest_to_json(manifest_from_json({ ...MANIFEST, states }))).toEqual({ ...MANIFEST, states });
  });

  it("tells a file without a signature from one that nobody looked at, and names its builder", () => {
    for (const told of [{ signature: { present: false } }, { builder: "static" }, {}])
      expect(manifest_to_json(manifest_from_json({ ...MANIFEST, ...told }))).toEqual({
        ...MANIFEST,
        ...told,
      });
  });

  it("says whether it replaces, yes or no, where its builder's modules do not", () => {
    for (const builder of ["kpatch_build", "klp_build"]) {
      expect(manifest_problem({ builder }).message).toBe(
        "replace: is missing; true or false: modules of its builder say it in their code only",
      );
      for (const replace of [true, false])
        expect(manifest_to_json(manifest_from_json({ ...MANIFEST, builder, replace }))).toEqual({
          ...MANIFEST,
          builder,
          replace,
        });
    }
  });

  it("takes a file's name in the kernel's form", () => {
    expect(manifest_from_json({ ...MANIFEST, name: "livepatch-cve-1" }).name).toBe("livepatch_cve_1");
  });

  it.each([
    [{ name: "" }, "name: is missing"],
    [{ name: "x".repeat(56) }, "name: "],
    [{ kernel_release: undefined }, "kernel_release: undefined is not text"],
    [{ arch: "" }, "arch: is missing"],
    [{ arch: "é".repeat(33) }, "arch: "],
    [{ build_id: "00".repeat(65) }, "build_id: "],
    [
      {
        states: [
          { id: "1", version: 1 },
          { id: 0, version: 1 },
        ],
      },
      "states[1].id: ",
    ],
    [{ states: [{ version: 1 }] }, "states[0].id: "],
    [{ states: [{ id: "18446744073709551616", version: 1 }] }, "states[0].id: "],
    [
      { states: [{ id: "1", version: 4294967296 }] },
      "states[0].version: 4294967296 is not a whole number from 0 to",
    ],
    [{ states: [{ id: "1", version: -1 }] }, "states[0].version: -1 is not"],
    [{ states: Array.from({ length: 4097 }, () => ({ id: "1" })) }, "states: 4097 entries; at most 4096"],
    [{ functions: Array.from({ length: 65537 }, () => ({})) }, "functions: 65537 entries; at most 65536"],
    [{ states_unknown: true, states: [{ id: "1" }] }, "states_unknown: true contradicts"],
    [{ signature: { key: "ab" } }, "signature.key: an unknown key"],
    [{ builder: "make" }, 'builder: "make" is not one of'],
    [{ advisories: ["a", 5] }, "advisories[1]: 5 is not text"],
    [{ notes: "x".repeat(900 * 1024) }, "manifest: "],
  ])("is refused (case %#)", (manifest, message) => {
    expect(manifest_problem(manifest).message).toContain(message);
    expect(manifest_problem(manifest).parts.field).toBe(message.split(":")[0]);
  });

  it("takes as many states as the limit says", () => {
    const states = Array.from({ length: 4096 }, (_, at) => ({ id: String(at + 1) }));
    expect(manifest_from_json({ ...MANIFEST, states }).states).toHaveLength(4096);
  });
});
