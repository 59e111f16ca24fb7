/**
 * Random logs, catalogs and candidates for property tests. Steps are drawn first and told as a story afterwards, so
 * that a failing log shrinks to few short steps: publishers that lose, repeat, reuse and restart, with clocks that
 * are wrong, of hosts whose stacks reach the limits. Every record is valid.
 */

import fc from "fast-check";
import { klpstate } from "#services/events/proto.js";
import type { CandidateModel } from "./check.js";
import { type HostModel, LINGERING_ENTRIES_MAX, STACK_ENTRIES_MAX, u64 } from "./fold.js";
import {
  apply_record,
  batch_of,
  events_of,
  type LogRecord,
  long_of,
  new_registry,
  type RegistryModel,
} from "./registry.js";

const { HostEvent, Livepatching, Phase, Source } = klpstate.v1;
type Change = Partial<klpstate.v1.HostEvent.$Properties>;
type Observed = klpstate.v1.Observed.$Properties;
type Patch = klpstate.v1.Patch.$Properties;
type CatalogRecord = klpstate.v1.CatalogRecord.$Properties;

const HOST_IDS = ["h0", "h1-é", "h2", "h".repeat(255), "𝒽 4", "h5"];
/** The last ones are those that a filled stack and a filled lingering set begin with. */
const NAMES = ["kp_1", "kp_2", "kp_3", "kp_é", "k".repeat(55), "s0", "s63", "l0"];
const BUILD_IDS = ["", "0a", "0b", "0c".repeat(64)];
const KERNELS = [
  ["6.12.1", "x86_64"],
  ["6.12.1", "arm64"],
  ["6.1.0", "x86_64"],
] as const;
const BOOT_IDS = ["", "0a".repeat(16), "0b".repeat(16)];
const PHASES = [Phase.ENABLING, Phase.ENABLED, Phase.DISABLING];
/** A Tuesday in 2026, ms. */
const BEGINNING_MS = 1_770_000_000_000n;
const U64_MAX = 2n ** 64n - 1n;

function weighted<T>(...choices: [weight: number, value: T][]): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })));
}

const what = weighted(
  [10, "loading"],
  [10, "loaded"],
  [8, "replaced"],
  [6, "disabling"],
  [8, "disabled"],
  [6, "reversed"],
  [5, "removed"],
  [2, "forced"],
  [1, "refused"],
  [1, "stalled"],
  [1, "object_changed"],
  [8, "observed_as_folded"],
  [3, "observed_otherwise"],
  [2, "observed_near_the_limits"],
  [2, "observed_unreadable"],
  [1, "unknown_change"],
);

/** Which stream and which sequence an event has. */
const numbering = weighted(
  [60, "next"],
  [3, "same_again"],
  [2, "reused"],
  [2, "earlier"],
  [3, "gap"],
  [4, "new_stream"],
  [3, "previous_stream_again"],
  [2, "previous_stream_goes_on"],
  [2, "forgotten_stream"],
);

const clock = weighted(
  [30, "right"],
  [3, "behind"],
  [2, "before_everything"],
  [3, "ahead"],
  [1, "far_ahead"],
  [1, "zero"],
);

/** How the same event may stand on the wire otherwise. */
const wire = weighted([20, "canonical"], [1, "unknown_field"], [1, "default_written"], [1, "change_first"]);

const stream = fc.oneof(
  fc.bigInt(1n, U64_MAX),
  // That differ in one half only, and at the ends of the range.
  fc.constantFrom(1n, 0x1_0000_0001n, 0x2_0000_0001n, 2n ** 63n, U64_MAX),
);

const step = fc.record({
  host: fc.nat(HOST_IDS.length - 1),
  what,
  numbering,
  clock,
  wire,
  stream,
  name: fc.nat(NAMES.length - 1),
  build: weighted([6, 0], [6, 1], [1, 2], [1, 3]),
  phase: fc.nat(2),
  left: fc.array(fc.nat(NAMES.length - 1), { maxLength: 3 }),
  /** Replaced says what the fold expects of it. */
  left_as_folded: fc.boolean(),
  kernel: weighted([8, 0], [1, 1], [1, 2]),
  boot: fc.nat(BOOT_IDS.length - 1),
  not_built: weighted([15, false], [1, true]),
  policy: weighted([6, 0], [1, 1], [1, 2], [1, 4], [1, 7]),
  /** A stream mostly begins as it should. */
  begins_observed: weighted([3, true], [1, false]),
  begins_near_the_last_sequence: weighted([20, false], [1, true]),
  /** How far below the limits. */
  room: fc.tuple(fc.nat(2), fc.nat(2)),
  not_before_ms: fc.option(fc.nat(5000), { freq: 5 }),
  loss_ms: fc.option(fc.tuple(fc.nat(5000), fc.nat(3000)), { freq: 3 }),
  passes_ms: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 3000, max: 90_000_000 }),
  ),
  with_the_one_before: fc.boolean(),
});

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** What a story remembers of a host's publisher. */
interface Publisher {
  streams: { stream: bigint; sequence: bigint }[];
  last_bytes: Uint8Array | null;
}

interface Story {
  now_ms: bigint;
  registry: RegistryModel;
  publishers: Map<string, Publisher>;
}

function patch(name: string, build: number | string): Patch {
  const build_id = Buffer.from(typeof build === "number" ? BUILD_IDS[build]! : build, "hex");
  return build_id.length === 0 ? { name } : { name, build_id };
}

function observed(s: Step, now_ms: bigint, host: HostModel | undefined): Observed {
  const [kernel_release, arch] = KERNELS[s.kernel]!;
  const boot_id = Buffer.from(BOOT_IDS[s.boot]!, "hex");
  const common: Observed = {
    kernel_release,
    arch,
    ...(boot_id.length === 0 ? {} : { boot_id }),
    livepatching: s.not_built ? Livepatching.NOT_BUILT : Livepatching.SUPPORTED,
    ...(s.policy === 0
      ? {}
      : {
          policy: {
            ...((s.policy & 1) === 0 ? {} : { modules_disabled: true }),
            ...((s.policy & 2) === 0 ? {} : { signature_required: true }),
            ...((s.policy & 4) === 0 ? {} : { ftrace_off: true }),
          },
        }),
    ...(s.loss_ms === null
      ? {}
      : {
          losses: [
            {
              source: Source.SPOOL,
              from_unix_ms: long_of(now_ms - BigInt(s.loss_ms[0])),
              to_unix_ms: long_of(now_ms - BigInt(s.loss_ms[0]) + BigInt(s.loss_ms[1])),
            },
          ],
        }),
  };
  if (s.what === "observed_unreadable") return { ...common, livepatching: Livepatching.UNREADABLE };
  if (s.what === "observed_near_the_limits")
    return {
      ...common,
      stack: numbered("s", STACK_ENTRIES_MAX - s.room[0]).map((name, index) => ({
        patch: patch(name, s.build),
        phase: PHASES[index === 0 ? s.phase : 1]!,
      })),
      lingering: numbered("l", LINGERING_ENTRIES_MAX - s.room[1]).map((name, index) => ({
        patch: patch(name, s.build),
        ...(index % 3 === 0 ? { pinned: true } : {}),
      })),
    };
  if (s.what === "observed_as_folded")
    return {
      ...common,
      stack: (host?.stack ?? []).map((entry) => ({
        patch: patch(entry.name, entry.build_id),
        phase: Phase[entry.phase.toUpperCase() as "ENABLING" | "ENABLED" | "DISABLING"],
      })),
      lingering: [...(host?.lingering.values() ?? [])].reverse().map((entry) => ({
        patch: patch(entry.name, entry.build_id),
        ...(entry.pinned ? { pinned: true } : {}),
      })),
    };
  const names = [...new Set([s.name, ...s.left])].map((index) => NAMES[index]!);
  const on_stack = names.length - (s.room[0] % (names.length + 1));
  return {
    ...common,
    ...(s.room[1] === 0 ? { livepatching: Livepatching.LIVEPATCHING_UNSPECIFIED } : {}),
    stack: names.slice(0, on_stack).map((name, index) => ({
      patch: patch(name, s.build),
      phase: PHASES[(s.phase + index) % 3]!,
      ...(index === 0 ? { replace: true } : {}),
    })),
    lingering: names.slice(on_stack).map((name) => ({ patch: patch(name, s.build), pinned: s.phase === 0 })),
  };
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

function change_of(s: Step, now_ms: bigint, host: HostModel | undefined): Change {
  const p = { patch: patch(NAMES[s.name]!, s.build) };
  switch (s.what) {
    case "unknown_change":
      return {};
    case "replaced": {
      const position = host?.stack.findIndex((entry) => entry.name === p.patch.name) ?? -1;
      const earlier = position < 0 ? (host?.stack ?? []) : host!.stack.slice(0, position);
      const left = s.left_as_folded
        ? earlier.map((entry) => patch(entry.name, entry.build_id))
        : s.left.map((index) => patch(NAMES[index]!, 0));
      return { replaced: { ...p, left } };
    }
    case "reversed":
      return { reversed: { ...p, to: s.phase === 0 ? Phase.ENABLING : Phase.DISABLING } };
    case "forced":
      return { forced: { ...p, phase: PHASES[s.phase]! } };
    case "refused":
      return { refused: { ...(s.phase === 0 ? {} : p), line: "livepatch: not compatible" } };
    case "stalled":
      return { stalled: { ...p, tasks: [{ pid: 7, comm: "kworker", kthread: true }], tasks_total: 1 } };
    case "object_changed":
      return { object_changed: { ...p, object: "ext4", kind: klpstate.v1.Kind.APPLIED } };
    case "loading":
      return { loading: s.phase === 0 ? { ...p, replace: true } : p };
    case "loaded":
      return { loaded: p };
    case "disabling":
      return { disabling: p };
    case "disabled":
      return { disabled: p };
    case "removed":
      return { removed: p };
    default:
      return { observed: observed(s, now_ms, host) };
  }
}

function event_time_ms(s: Step, now_ms: bigint, host: HostModel | undefined): bigint {
  switch (s.clock) {
    case "right":
      return now_ms;
    case "behind":
      return now_ms - 3000n;
    case "before_everything":
      return (host?.stream_start_ms ?? BEGINNING_MS) - 1n - BigInt(s.phase);
    case "ahead":
      return now_ms + 100_000n;
    case "far_ahead":
      return U64_MAX;
    default:
      return 0n;
  }
}

/** The number that the event has, and what the publisher remembers afterwards. */
function number_event(s: Step, publisher: Publisher): { stream: bigint; sequence: bigint } {
  const current = publisher.streams.at(-1);
  const previous = publisher.streams.at(-2);
  const forgotten = publisher.streams.at(-3);
  if (current === undefined || s.numbering === "new_stream") {
    const begun = {
      stream: s.stream,
      sequence: s.begins_near_the_last_sequence ? 2n ** 32n - 3n : 1n + BigInt(s.room[1]),
    };
    publisher.streams.push({ ...begun });
    return begun;
  }
  const later = (from: { stream: bigint; sequence: bigint }, by: bigint) => {
    const sequence = from.sequence + by > 2n ** 32n - 1n ? from.sequence : from.sequence + by;
    return { stream: from.stream, sequence };
  };
  switch (s.numbering) {
    case "same_again":
    case "reused":
      return { ...current };
    case "earlier":
      return { stream: current.stream, sequence: current.sequence > 1n ? current.sequence - 1n : 1n };
    case "previous_stream_again":
      return { ...(previous ?? current) };
    case "previous_stream_goes_on":
      return later(previous ?? current, 1n);
    case "forgotten_stream":
      return later(forgotten ?? current, 1n);
    default: {
      const next = later(current, s.numbering === "gap" ? 2n + BigInt(s.room[0]) : 1n);
      current.sequence = next.sequence;
      return next;
    }
  }
}

function on_the_wire(s: Step, header: Change, change: Change): Uint8Array {
  const canonical = HostEvent.encode({ ...header, ...change }).finish();
  switch (s.wire) {
    case "unknown_field":
      // Field 99, varint 7.
      return Buffer.concat([canonical, Buffer.from([0x98, 0x06, 0x07])]);
    case "default_written":
      return HostEvent.encode({ not_before_unix_ms: 0, ...header, ...change }).finish();
    case "change_first":
      return Buffer.concat([HostEvent.encode(change).finish(), HostEvent.encode(header).finish()]);
    default:
      if (s.what !== "unknown_change" || s.phase === 0) return canonical;
      // Field 40, an empty message: a change of a newer version.
      return Buffer.concat([canonical, Buffer.from([0xc2, 0x02, 0x00])]);
  }
}

function tell(drawn: Step, story: Story): Uint8Array {
  const host_id = HOST_IDS[drawn.host]!;
  const host = story.registry.hosts.get(host_id);
  const publisher = story.publishers.get(host_id) ?? { streams: [], last_bytes: null };
  story.publishers.set(host_id, publisher);

  const begins = publisher.streams.length === 0 || drawn.numbering === "new_stream";
  const s: Step =
    begins && drawn.begins_observed && !drawn.what.startsWith("observed")
      ? { ...drawn, what: "observed_otherwise" }
      : drawn;

  const is_next = !["same_again", "reused", "earlier"].includes(s.numbering);
  if (s.numbering === "same_again" && publisher.last_bytes !== null) return publisher.last_bytes;
  const number = number_event(s, publisher);
  const time_ms = event_time_ms(s, story.now_ms, host);
  const header: Change = {
    host_id,
    stream: long_of(number.stream),
    sequence: long_of(number.sequence),
    ...(time_ms === 0n ? {} : { time_unix_ms: long_of(time_ms) }),
    ...(s.not_before_ms === null || time_ms < BEGINNING_MS / 2n
      ? {}
      : { not_before_unix_ms: long_of(time_ms - BigInt(s.not_before_ms)) }),
  };
  const bytes = on_the_wire(s, header, change_of(s, story.now_ms, host));
  if (is_next && number.stream === publisher.streams.at(-1)!.stream) publisher.last_bytes = bytes;
  return bytes;
}

/** Records with log times that increase, the events' clocks being before or ahead of them. */
function records_of(steps: Step[]): LogRecord[] {
  const story: Story = { now_ms: BEGINNING_MS, registry: new_registry(), publishers: new Map() };
  const records: { events: Uint8Array[]; log_time_ms: bigint }[] = [];
  for (const s of steps) {
    story.now_ms += BigInt(s.passes_ms);
    const event = tell(s, story);
    const last = records.at(-1);
    const fits = last !== undefined && s.with_the_one_before && s.passes_ms < 3000;
    if (fits) last.events.push(event);
    else records.push({ events: [event], log_time_ms: story.now_ms });
    // With the record's log time, which may lie before the event's own.
    apply_record(story.registry, { bytes: batch_of([event]), log_time_ms: records.at(-1)!.log_time_ms });
  }
  return records.map(({ events, log_time_ms }) => ({ bytes: batch_of(events), log_time_ms }));
}

export interface LogOptions {
  hosts_max?: number;
  steps_max?: number;
  /** Publishers and clocks do nothing wrong: what is folded is mostly known. */
  orderly?: boolean;
}

const ORDERLY = { numbering: "next", clock: "right", begins_observed: true } as const;

export function random_log(options: LogOptions = {}): fc.Arbitrary<LogRecord[]> {
  const hosts_max = Math.min(options.hosts_max ?? 3, HOST_IDS.length);
  return fc
    .array(step, { minLength: 1, maxLength: options.steps_max ?? 120, size: "max" })
    .map((steps) =>
      records_of(
        steps.map((s) => ({ ...s, host: s.host % hosts_max, ...(options.orderly === true ? ORDERLY : {}) })),
      ),
    );
}

/** Instants at which something changes in this log, and those beside them. */
export function instants_of(records: LogRecord[]): bigint[] {
  const instants = new Set<bigint>([0n, U64_MAX]);
  const add = (instant: bigint) => {
    for (const near of [instant - 1n, instant, instant + 1n])
      if (near >= 0n && near <= U64_MAX) instants.add(near);
  };
  for (const record of records) {
    add(record.log_time_ms);
    for (const bytes of events_of(record.bytes)) {
      const event = HostEvent.decode(bytes);
      add(u64(event.time_unix_ms));
      add(u64(event.not_before_unix_ms));
      for (const loss of event.observed?.losses ?? []) {
        add(u64(loss.from_unix_ms));
        add(u64(loss.to_unix_ms));
      }
    }
  }
  return [...instants].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

export function random_instant(records: LogRecord[]): fc.Arbitrary<bigint> {
  return fc.constantFrom(...instants_of(records));
}

const state_id = fc.constantFrom(
  1n,
  2n,
  3n,
  0x1_0000_0001n,
  0x2_0000_0001n,
  2n ** 53n + 1n,
  2n ** 63n,
  U64_MAX - 1n,
  U64_MAX,
);
const version = fc.constantFrom(0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff);
/** Near one another, so that hosts are compatible often enough to say something else as well. */
const low_version = fc.constantFrom(0, 1, 1, 2);

const states = fc.oneof(
  { weight: 2, arbitrary: fc.constant<[id: bigint, version: number][]>([]) },
  {
    weight: 4,
    arbitrary: fc.array(fc.tuple<[bigint, number]>(fc.constantFrom(1n, U64_MAX), low_version), {
      maxLength: 2,
    }),
  },
  { weight: 4, arbitrary: fc.array(fc.tuple<[bigint, number]>(state_id, version), { maxLength: 6 }) },
);

const catalog_step = fc.record({
  withdraws: weighted([8, false], [1, true]),
  name: fc.nat(NAMES.length - 1),
  kernel: weighted([8, 0], [1, 1], [1, 2]),
  build: weighted([2, 0], [6, 1], [1, 2], [1, 3]),
  replace: fc.boolean(),
  states,
  states_unknown: weighted([12, false], [1, true]),
  irreversible: weighted([5, ""], [1, "frees memory"]),
});

function catalog_record(s: typeof catalog_step extends fc.Arbitrary<infer S> ? S : never): CatalogRecord {
  const [kernel_release, arch] = KERNELS[s.kernel]!;
  const identity = { ...patch(NAMES[s.name]!, s.build), kernel_release, arch };
  if (s.withdraws) return { withdrawn: { identity, reason: "wrong file", by: "admin" } };
  return {
    published: {
      ...identity,
      ...(s.replace ? { replace: true } : {}),
      ...(s.states_unknown
        ? { states_unknown: true }
        : { states: s.states.map(([id, number]) => ({ id: long_of(id), version: number })) }),
      ...(s.irreversible === "" ? {} : { irreversible: s.irreversible }),
      // By build, so that the dice fall as they did without it.
      ...(s.build < 2 ? {} : { signature: { present: s.build === 2 } }),
    },
  };
}

/** Records of the catalog's log: manifests of the same names, builds and kernels as random_log's. */
export function random_catalog(records_max = 24): fc.Arbitrary<CatalogRecord[]> {
  return fc.array(catalog_step.map(catalog_record), { maxLength: records_max, size: "max" });
}

export const random_candidate: fc.Arbitrary<CandidateModel> = fc
  .tuple(fc.nat(NAMES.length - 1), weighted([3, 0], [2, 1], [1, 2]))
  .map(([name, build]) => {
    const build_id = BUILD_IDS[build]!;
    return build_id === "" ? { name: NAMES[name]! } : { name: NAMES[name]!, build_id };
  });

/** The same events at the same log times, in records of another size. */
export function recut(records: LogRecord[], events_max: number): LogRecord[] {
  return records.flatMap(({ bytes, log_time_ms }) => {
    const events = events_of(bytes);
    const cut: LogRecord[] = [];
    for (let first = 0; first < events.length; first += events_max)
      cut.push({ bytes: batch_of(events.slice(first, first + events_max)), log_time_ms });
    return cut;
  });
}
