/** The chain, images and folds as of an instant: on random logs, what the plain model says of every past. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EFFECTS } from "#services/core/codes.js";
import { Core, type CoreImage } from "#services/core/core.js";
import { digest_of_core, format_digest } from "#services/core/digest.js";
import { encode_frames, frames_of } from "#services/log/frame.js";
import { core_module, host_state } from "../model/from_core.js";
import { random_instant, random_log } from "../model/random.js";
import {
  apply_record,
  as_of,
  fold_log,
  host_state_bytes,
  hosts_digest,
  type LogRecord,
  new_registry,
} from "../model/registry.js";

const ALONE = { partition: null, partitions: 1 };
const NO_POSITION = 2n ** 64n - 1n;
const INDEX_BITS = 14n;
const TIME_MAX = 2n ** 48n - 1n;
/** What a question may ask for ends long before. */
const INSTANT_MAX = 2n ** 53n - 1n;

const core = new Core(core_module, ALONE);
const other_core = new Core(core_module, ALONE);

const any_log = fc.oneof(
  random_log({ hosts_max: 6, steps_max: 80 }),
  random_log({ hosts_max: 6, steps_max: 80, orderly: true }),
);

function frames_from(records: LogRecord[], first_offset: number): Uint8Array {
  return encode_frames(
    records.map(({ bytes, log_time_ms }, index) => ({
      offset: BigInt(first_offset + index),
      log_time_ms: Number(log_time_ms),
      bytes,
    })),
    0,
  );
}

interface Entry {
  previous: bigint;
  effective_time_ms: bigint;
  effect: string;
}

interface Chain {
  entries: Uint8Array;
  read: Entry[];
  /** Lowest instant of each frame. */
  lowest: bigint[];
  frame_bytes: number[];
}

function fold_chained(of: Core, frames: Uint8Array): Chain {
  const entries: Uint8Array[] = [];
  const lowest: bigint[] = [];
  const positions: number[] = [];
  let bytes = 0;
  const status = of.fold_chained(frames, (piece) => {
    const view = new DataView(piece.frames.buffer, piece.frames.byteOffset, piece.frames.length);
    for (let at = 0; at < piece.frames.length; at += 40) {
      lowest.push(view.getBigUint64(at + 8, true));
      positions.push(bytes + view.getUint32(at + 24, true));
    }
    entries.push(piece.entries.slice());
    bytes += piece.bytes;
  });
  expect(status).toBe("folded");
  expect(bytes).toBe(frames.length);
  const all = Uint8Array.from(Buffer.concat(entries));
  const view = new DataView(all.buffer);
  const read = Array.from({ length: all.length / 16 }, (_, index): Entry => {
    const told = view.getBigUint64(index * 16 + 8, true);
    return {
      previous: view.getBigUint64(index * 16, true),
      effective_time_ms: told & TIME_MAX,
      effect: EFFECTS[Number(told >> 48n)]!,
    };
  });
  const ends = [...positions.slice(1), frames.length];
  return { entries: all, read, lowest, frame_bytes: positions.map((at, index) => ends[index]! - at) };
}

/** An image as it would come back from a file: nothing of it is the core's memory any more. */
function taken_image(of: Core): { image: CoreImage; bytes: Map<number, Uint8Array> } {
  const image = of.image();
  const bytes = new Map(image.runs.map((run) => [run.page, Uint8Array.from(of.page_bytes(run))]));
  return { image, bytes };
}

function go_on_from(of: Core, { image, bytes }: ReturnType<typeof taken_image>): void {
  of.restart(ALONE);
  expect(of.take_image(image, (run) => of.page_bytes(run).set(bytes.get(run.page)!))).toBe(true);
}

const log_and_cut = any_log.chain((records) =>
  fc.record({ records: fc.constant(records), cut: fc.integer({ min: 0, max: records.length }) }),
);

describe("the chain", () => {
  test("leads from every event to the host's event before it, with its effective time and effect", () => {
    fc.assert(
      fc.property(any_log, (records) => {
        core.restart(ALONE);
        const { read, lowest } = fold_chained(core, frames_from(records, 0));
        const registry = new_registry();
        const positions = new Map<string, bigint>();
        const expected: Entry[] = [];
        for (const [offset, record] of records.entries()) {
          for (const [index, entry] of apply_record(registry, record).entries()) {
            const { host_id } = entry.event;
            const { effective_time_ms, effect } = entry;
            expected.push({ previous: positions.get(host_id) ?? NO_POSITION, effective_time_ms, effect });
            positions.set(host_id, (BigInt(offset) << INDEX_BITS) | BigInt(index));
          }
        }
        expect(read).toEqual(expected);
        expect(format_digest(digest_of_core(core))).toBe(hosts_digest(registry.hosts.values()));
        expect(lowest.length).toBe([...frames_of(frames_from(records, 0))].length);
      }),
      { numRuns: 40 },
    );
  });
});

describe("an image", () => {
  test("goes on in another core as if nothing had been between", () => {
    fc.assert(
      fc.property(log_and_cut, ({ records, cut }) => {
        core.restart(ALONE);
        fold_chained(core, frames_from(records.slice(0, cut), 0));
        const image = taken_image(core);
        other_core.restart(ALONE);
        other_core.fold_frames(frames_from(records, 0), false);
        const undisturbed = format_digest(digest_of_core(other_core));
        go_on_from(other_core, image);
        expect(other_core.next_offset).toBe(BigInt(cut));
        const rest = fold_chained(other_core, frames_from(records.slice(cut), cut));
        expect(format_digest(digest_of_core(other_core))).toBe(undisturbed);
        expect(rest.read).toEqual(fold_chained(core, frames_from(records.slice(cut), cut)).read);
      }),
      { numRuns: 40 },
    );
  });

  test("of another core's layout is not taken", () => {
    core.restart(ALONE);
    const { image } = taken_image(core);
    const [statics, ...runs] = image.runs;
    const wrong: CoreImage[] = [
      { ...image, counters: image.counters.subarray(8) },
      { ...image, runs },
      { ...image, runs: [statics!, { page: 1, pages: 1 }] },
      { ...image, runs: [statics!, { page: image.to_page, pages: 1 }] },
      { ...image, to_page: 70_000 },
    ];
    for (const one of wrong) {
      other_core.restart(ALONE);
      expect(other_core.take_image(one, () => {})).toBe(false);
    }
  });
});

describe("a fold as of an instant", () => {
  test("from the beginning, or from an image that is older, has the hosts, states and doubts of that instant", () => {
    const pasts = log_and_cut.chain(({ records, cut }) =>
      fc.record({
        records: fc.constant(records),
        cut: fc.constant(cut),
        instant: random_instant(records).map((instant) => (instant < INSTANT_MAX ? instant : INSTANT_MAX)),
      }),
    );
    fc.assert(
      fc.property(pasts, ({ records, cut: any_cut, instant }) => {
        // An image is a start for what is later than all that it has folded.
        const is_older = (record: LogRecord) => record.log_time_ms < instant;
        const older = records.findIndex((record) => !is_older(record));
        const cut = Math.min(any_cut, older < 0 ? records.length : older);
        core.restart(ALONE);
        fold_chained(core, frames_from(records.slice(0, cut), 0));
        const image = taken_image(core);
        const rest = frames_from(records.slice(cut), cut);
        const { entries, lowest, frame_bytes } = fold_chained(core, rest);

        go_on_from(other_core, image);
        expect(other_core.mark_doubt(Number(instant))).toBe(true);
        expect(other_core.fold_as_of(rest, entries, Number(instant), Number(instant))).toBe("folded");
        const registry = fold_log(records);
        expect_past(registry, instant);

        // A frame whose lowest instant is later can be left out.
        go_on_from(other_core, image);
        other_core.mark_doubt(Number(instant));
        let at = 0;
        let entry_at = 0;
        for (const [index, bytes] of frame_bytes.entries()) {
          const frame = rest.subarray(at, at + bytes);
          const count = events_in(records, cut, frame);
          const own = entries.subarray(entry_at * 16, (entry_at + count) * 16);
          if (lowest[index]! <= instant)
            expect(other_core.fold_as_of(frame, own, Number(instant), Number(instant))).toBe("folded");
          at += bytes;
          entry_at += count;
        }
        expect_past(registry, instant);
      }),
      { numRuns: 150 },
    );
  });

  test("refuses entries that are not of its frames", () => {
    const records = fc.sample(random_log({ hosts_max: 3, steps_max: 20 }), { seed: 1, numRuns: 1 })[0]!;
    const frames = frames_from(records, 0);
    core.restart(ALONE);
    const { entries } = fold_chained(core, frames);
    core.restart(ALONE);
    expect(core.fold_as_of(frames, entries.subarray(16), 0, 0)).toBe("no_chain");
  });
});

/** How many events a frame of this log has. */
function events_in(records: LogRecord[], first_offset: number, frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const first = Number(view.getBigUint64(24, true)) - first_offset;
  const own = records.slice(first_offset).slice(first, first + view.getUint32(12, true));
  return [...fold_log(own).histories.values()].reduce((sum, history) => sum + history.length, 0);
}

function expect_past(registry: ReturnType<typeof fold_log>, instant: bigint): void {
  let known = 0;
  let uncertain = 0;
  for (const host_id of registry.hosts.keys()) {
    const past = as_of(registry, host_id, instant);
    const host = other_core.find_host(host_id);
    if (past.host === null) {
      expect(host).toBeNull();
      continue;
    }
    known++;
    if (past.uncertain) uncertain++;
    expect(host_state(other_core, host!)).toEqual(Uint8Array.from(host_state_bytes(past.host)));
    expect(other_core.is_uncertain(host!)).toBe(past.uncertain);
  }
  expect(other_core.host_count).toBe(known);
  expect(other_core.uncertain_count).toBe(uncertain);
}
