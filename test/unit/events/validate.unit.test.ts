import protobuf from "protobufjs/minimal.js";
import { describe, expect, it } from "vitest";
import { decode_batch, encode_batch, encode_event, type HostEvent } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { klpstate } from "#services/events/proto.js";
import { RECORD_ERRORS } from "#services/events/record_error.js";
import { u64_from_bigint } from "#services/events/u64.js";
import { validate_batch } from "#services/events/validate.js";

const { Phase } = klpstate.v1;
const HEAD: HostEvent = { host_id: "web-17", stream: 7, sequence: 1, time_unix_ms: 1790000123456 };
const KERNEL = { kernel_release: "6.12.1", arch: "x86_64" };
const entry = (name: string) => ({ patch: { name }, phase: Phase.ENABLED });

const found = (event: HostEvent) => validate_batch(encode_batch([{ ...HEAD, ...event }]));

describe("an event is valid", () => {
  it.each<[string, HostEvent]>([
    [
      "with every field at its limit",
      {
        host_id: "é".repeat(127) + "x",
        sequence: 0xffffffff,
        stream: u64_from_bigint(2n ** 64n - 1n),
        removed: { patch: { name: "n".repeat(55), build_id: new Uint8Array(64) } },
      },
    ],
    ["as an Observed without anything on the stack", { observed: KERNEL }],
    [
      "as an Observed at its limits",
      {
        observed: {
          kernel_release: "r".repeat(64),
          arch: "a".repeat(64),
          boot_id: new Uint8Array(16),
          stack: Array.from({ length: 64 }, (_, at) => entry(`s${at}`)),
          lingering: Array.from({ length: 256 }, (_, at) => ({ patch: { name: `l${at}` } })),
        },
      },
    ],
    ["as a Refused that knows no patch", { refused: { reason: 1, line: "l".repeat(512) } }],
    ["as a Refused whose patch has no name", { refused: { patch: { build_id: new Uint8Array(3) } } }],
    ["as Reversed to enabling or disabling", { reversed: { patch: { name: "a" }, to: Phase.ENABLING } }],
    [
      "with values of open enums that this version does not know",
      { observed: { ...KERNEL, livepatching: 77 as never, losses: [{ source: -1 as never }] } },
    ],
    [
      "with a name as it comes, which need not be the kernel's form",
      { loaded: { patch: { name: "a-b c" } } },
    ],
    [
      "with the same patch in Replaced and in its left",
      { replaced: { patch: { name: "a" }, left: [{ name: "a" }, { name: "a" }] } },
    ],
    ["without a change", {}],
    ["without a time", { time_unix_ms: 0, removed: { patch: { name: "a" } } }],
  ])("%s", (_, event) => {
    expect(found(event)).toBeNull();
  });

  it("with a change that this version does not know, and with known fields in another wire type", () => {
    const bytes = Buffer.concat([
      encode_event(HEAD),
      Buffer.from([0xa2, 0x06, 0x01, 0x00]), // field 100, length-delimited
      Buffer.from([0x0d, 1, 2, 3, 4]), // host_id as fixed32
      Buffer.from([0x88, 0x01, 0x05]), // loading as a varint
      Buffer.from([0x0b, 0x08, 0x01, 0x0c]), // host_id as a group
    ]);
    expect(validate_batch(encode_batch([bytes]))).toBeNull();
  });
});

describe("an event is refused", () => {
  const long_name = "n".repeat(56);
  it.each<[string, string, HostEvent]>([
    ["host_id", "host_id", { host_id: "" }],
    ["host_id", "host_id", { host_id: "é".repeat(128) }],
    ["host_id", "host_id", { host_id: "a\u0085b" }],
    ["host_id", "host_id", { host_id: "a\0" }],
    ["stream", "stream", { stream: 0 }],
    ["sequence", "sequence", { sequence: 0 }],
    ["sequence", "sequence", { sequence: 2 ** 32 }],
    ["patch_name", "loading.patch.name", { loading: {} }],
    ["patch_name", "loaded.patch.name", { loaded: { patch: {} } }],
    ["patch_name", "replaced.patch.name", { replaced: {} }],
    [
      "patch_name",
      "replaced.left[1].name",
      { replaced: { patch: { name: "a" }, left: [{ name: "b" }, {}] } },
    ],
    ["patch_name", "disabling.patch.name", { disabling: {} }],
    ["patch_name", "disabled.patch.name", { disabled: {} }],
    ["patch_name", "reversed.patch.name", { reversed: { to: Phase.ENABLING } }],
    ["patch_name", "forced.patch.name", { forced: { phase: Phase.ENABLING } }],
    ["patch_name", "removed.patch.name", { removed: {} }],
    ["patch_name", "stalled.patch.name", { stalled: {} }],
    ["patch_name", "object_changed.patch.name", { object_changed: {} }],
    [
      "patch_name",
      "observed.stack[0].patch.name",
      { observed: { ...KERNEL, stack: [{ phase: Phase.ENABLED }] } },
    ],
    ["patch_name", "observed.lingering[0].patch.name", { observed: { ...KERNEL, lingering: [{}] } }],
    ["patch_name", "refused.patch.name", { refused: { patch: { name: long_name } } }],
    ["patch_name", "removed.patch.name", { removed: { patch: { name: long_name } } }],
    ["build_id", "refused.patch.build_id", { refused: { patch: { build_id: new Uint8Array(65) } } }],
    [
      "build_id",
      "replaced.left[0].build_id",
      { replaced: { patch: { name: "a" }, left: [{ name: "b", build_id: new Uint8Array(65) }] } },
    ],
    [
      "phase",
      "observed.stack[1].phase",
      { observed: { ...KERNEL, stack: [entry("a"), { patch: { name: "b" } }] } },
    ],
    ["phase", "reversed.to", { reversed: { patch: { name: "a" } } }],
    ["phase", "reversed.to", { reversed: { patch: { name: "a" }, to: Phase.ENABLED } }],
    ["phase", "forced.phase", { forced: { patch: { name: "a" }, phase: 4 as never } }],
    ["phase", "forced.phase", { forced: { patch: { name: "a" }, phase: -1 as never } }],
    ["kernel_release", "observed.kernel_release", { observed: { arch: "x" } }],
    [
      "kernel_release",
      "observed.kernel_release",
      { observed: { arch: "x", kernel_release: "r".repeat(65) } },
    ],
    ["arch", "observed.arch", { observed: { kernel_release: "x" } }],
    ["arch", "observed.arch", { observed: { kernel_release: "x", arch: "a".repeat(65) } }],
    ["boot_id", "observed.boot_id", { observed: { ...KERNEL, boot_id: new Uint8Array(15) } }],
    ["boot_id", "observed.boot_id", { observed: { ...KERNEL, boot_id: new Uint8Array(17) } }],
    [
      "duplicate_name",
      "observed.stack[1].patch.name",
      { observed: { ...KERNEL, stack: [entry("a"), entry("a")] } },
    ],
    [
      "duplicate_name",
      "observed.lingering[0].patch.name",
      { observed: { ...KERNEL, stack: [entry("a")], lingering: [{ patch: { name: "a" } }] } },
    ],
    [
      "too_many_stack",
      "observed.stack",
      { observed: { ...KERNEL, stack: Array.from({ length: 65 }, (_, at) => entry(`s${at}`)) } },
    ],
    [
      "too_many_lingering",
      "observed.lingering",
      {
        observed: {
          ...KERNEL,
          lingering: Array.from({ length: 257 }, (_, at) => ({ patch: { name: `l${at}` } })),
        },
      },
    ],
    ["line", "refused.line", { refused: { line: "l".repeat(513) } }],
  ])("%s at %s", (code, field, event) => {
    expect(found(event)).toMatchObject({ code, field: `events[0].${field}` });
    expect(found(event)?.message).toMatch(
      new RegExp(`^events\\[0\\]\\.${field.replace(/[[\]]/g, "\\$&")}: `),
    );
  });

  it("of several errors with the one that stands first in the list", () => {
    const observed = { stack: [{ phase: Phase.ENABLED }] };
    expect(found({ host_id: "", stream: 0, observed })?.code).toBe("host_id");
    expect(found({ stream: 0, observed })?.code).toBe("stream");
    expect(found({ observed })?.code).toBe("patch_name");
    const twice = Buffer.concat([encode_event({ ...HEAD, host_id: "" }), encode_event({ stream: 1 })]);
    expect(validate_batch(encode_batch([twice]))?.code).toBe("given_twice");
  });
});

describe("a field or the change given twice", () => {
  const refused = (...parts: HostEvent[]) =>
    validate_batch(encode_batch([Buffer.concat(parts.map((part) => encode_event(part)))]));
  const loaded = { ...HEAD, loaded: { patch: { name: "a" } } };

  it.each<[string, HostEvent[]]>([
    ["host_id", [loaded, { host_id: "web-17" }]],
    ["time_unix_ms", [loaded, { time_unix_ms: 1 }]],
    ["loaded", [loaded, { loaded: {} }]],
    ["removed", [loaded, { removed: { patch: { name: "a" } } }]],
  ])("%s", (field, parts) => {
    expect(refused(...parts)).toMatchObject({ code: "given_twice", field: `events[0].${field}` });
  });

  it("is found in every message below, also where the second is the default", () => {
    const observed = Buffer.concat([
      klpstate.v1.Observed.encode({ ...KERNEL, stack: [entry("a")] }).finish(),
      // stack[1]: patch, phase ENABLED, then phase 0
      Buffer.from([0x32, 9, 0x0a, 3, 0x0a, 1, 0x62, 0x10, 2, 0x10, 0]),
    ]);
    const event = Buffer.concat([encode_event(HEAD), Buffer.from([0x82, 0x01, observed.length]), observed]);
    expect(validate_batch(encode_batch([event]))).toMatchObject({
      code: "given_twice",
      field: "events[0].observed.stack[1].phase",
    });
  });

  it("an unknown field may be there any number of times", () => {
    const unknown = Buffer.from([0xf8, 0x06, 1, 0xf8, 0x06, 2]);
    expect(validate_batch(encode_batch([Buffer.concat([encode_event(loaded), unknown])]))).toBeNull();
  });
});

describe("a record", () => {
  const event: HostEvent = { ...HEAD, removed: { patch: { name: "a" } } };

  it("without an event is empty, also where it holds something else", () => {
    expect(validate_batch(new Uint8Array(0))?.code).toBe("empty");
    expect(validate_batch(Uint8Array.from([0x10, 1]))?.code).toBe("empty");
  });

  it.each([
    ["tag 0", [0x00]],
    ["an event that ends beyond the record", [0x0a, 5, 1]],
    ["bad UTF-8", [0x0a, 4, 0x0a, 2, 0xc3, 0x28]],
    ["an over-long varint", [0x0a, 12, 0x18, ...new Array(10).fill(0x80), 0x01]],
    ["a group without its end", [0x13]],
  ])("with %s is malformed", (_, bytes) => {
    expect(validate_batch(Uint8Array.from(bytes))).toMatchObject({ code: "malformed", field: "events[0]" });
  });

  it("names the first event in its order, whatever stands behind it", () => {
    const bytes = Buffer.concat([encode_batch([event, { ...event, stream: 0 }]), Buffer.from([0xff])]);
    expect(validate_batch(bytes)).toMatchObject({ code: "stream", field: "events[1].stream" });
    expect(validate_batch(Buffer.concat([encode_batch([event, event]), Buffer.from([0xff])]))).toMatchObject({
      code: "malformed",
      field: "events[2]",
    });
  });

  it("of 10,000 events is taken, of one more refused", () => {
    const events = new Array(10_000).fill(encode_event(event));
    expect(validate_batch(encode_batch(events))).toBeNull();
    expect(validate_batch(encode_batch([...events, new Uint8Array(0)]))).toMatchObject({
      code: "too_many_events",
      field: "events[10000]",
    });
  });

  it("of 900 KiB is taken, of one byte more refused", () => {
    const filled = (bytes: number) => {
      const head = encode_batch([event]);
      // An unknown field: tag 2, four bytes of length.
      const rest = bytes - head.length - 4;
      return Buffer.concat([
        head,
        protobuf.Writer.create().uint32(0x12).bytes(new Uint8Array(rest)).finish(),
      ]);
    };
    expect(filled(900 * 1024).length).toBe(900 * 1024);
    expect(validate_batch(filled(900 * 1024))).toBeNull();
    expect(validate_batch(filled(900 * 1024 + 1))?.code).toBe("record_too_large");
  });

  it("with a host of another partition is refused", () => {
    const partition = partition_of(Buffer.from("web-17"), 64);
    const bytes = encode_batch([event]);
    expect(validate_batch(bytes, { partition, partitions: 64 })).toBeNull();
    expect(validate_batch(bytes, { partition: (partition + 1) % 64, partitions: 64 })).toMatchObject({
      code: "wrong_partition",
      field: "events[0].host_id",
    });
  });

  it("gives each event with its exact bytes", () => {
    const bytes = encode_batch([event, encode_event({ ...event, sequence: 2 })]);
    const spans = decode_batch(bytes).map(({ start, end }) => bytes.subarray(start, end));
    expect(spans).toEqual([encode_event(event), encode_event({ ...event, sequence: 2 })]);
  });
});

it("the codes of records are numbered as the core numbers them", () => {
  expect(RECORD_ERRORS.indexOf("malformed")).toBe(1);
  expect(RECORD_ERRORS.indexOf("patch_name")).toBe(6);
  expect(RECORD_ERRORS.indexOf("empty")).toBe(19);
});
