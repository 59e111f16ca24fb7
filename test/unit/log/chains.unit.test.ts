/** The chain in its files: what it says of an event is so, and where it is damaged or cut it says nothing. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EFFECTS } from "#services/core/codes.js";
import { CHAIN_HEADER_BYTES, type ChainedEvent, chain_header } from "#services/log/chain_block.js";
import { Chains } from "#services/log/chains.js";
import { type LogRecord, records_of } from "#services/log/frame.js";
import type { Log } from "#services/log/log.js";
import { node_disk } from "#services/log/node_disk.js";
import { SegmentChain } from "#services/log/segment_chain.js";
import { random_log } from "../../model/random.js";
import { apply_record, type LogRecord as ModelRecord, new_registry } from "../../model/registry.js";
import { log_of, observed } from "../core/fleet.js";
import { open_chained } from "./chained_log.js";
import { faulty_disk, open_log, temporary_directory, unsynced_disk } from "./fixtures.js";

/** Field 99 of a batch, which no version knows: the record is large, and its events are what they were. */
const PADDING = Buffer.concat([Buffer.from([0x9a, 0x06, 0x80, 0x80, 0x08]), Buffer.alloc(128 * 1024)]);
const NO_BATCH = Buffer.from([0xff, 0xff, 0xff]);

/** What stands around a record. */
interface Around {
  /** Offsets that are left out before it. */
  gap: number;
  /** A record before it. */
  extra: "nothing" | "no batch" | "no events";
  padded: boolean;
  with_the_one_before: boolean;
  /** The log is closed and opened behind it. */
  sealed: boolean;
}

const before_record: fc.Arbitrary<Around> = fc.record({
  gap: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
  extra: fc.oneof(
    { weight: 8, arbitrary: fc.constant("nothing" as const) },
    { weight: 1, arbitrary: fc.constant("no batch" as const) },
    { weight: 1, arbitrary: fc.constant("no events" as const) },
  ),
  padded: fc.oneof(
    { weight: 20, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
  with_the_one_before: fc.boolean(),
  sealed: fc.oneof(
    { weight: 12, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
});

const any_log = random_log({ hosts_max: 6, steps_max: 60 }).chain((records) =>
  fc.record({
    records: fc.constant(records),
    around: fc.array(before_record, { minLength: records.length, maxLength: records.length }),
    segment_bytes_max: fc.constantFrom(300, 3_000, 30_000, 1_000_000),
  }),
);

interface Expected {
  offset: bigint;
  index: number;
  previous: { offset: bigint; index: number } | null;
  effective_time_ms: number;
  effect: string;
}

/** Commits of records, and what is to be found of their events. */
function laid_out(records: ModelRecord[], around: Around[]) {
  const registry = new_registry();
  const last = new Map<string, { offset: bigint; index: number }>();
  const commits: { records: LogRecord[]; sealed: boolean }[] = [];
  const expected: Expected[] = [];
  const nothing: bigint[] = [];
  let offset = 0n;
  for (const [i, record] of records.entries()) {
    const { gap, extra, padded, with_the_one_before, sealed } = around[i]!;
    offset += BigInt(gap);
    const log_time_ms = Number(record.log_time_ms);
    const own: LogRecord[] = [];
    if (extra !== "nothing") {
      nothing.push(offset);
      own.push({ offset: offset++, log_time_ms, bytes: extra === "no batch" ? NO_BATCH : Buffer.alloc(0) });
    }
    for (const [index, { event, effective_time_ms, effect }] of apply_record(registry, record).entries()) {
      const previous = last.get(event.host_id) ?? null;
      expected.push({ offset, index, previous, effective_time_ms: Number(effective_time_ms), effect });
      last.set(event.host_id, { offset, index });
    }
    own.push({
      offset: offset++,
      log_time_ms,
      bytes: padded ? Buffer.concat([record.bytes, PADDING]) : record.bytes,
    });
    const before = commits.at(-1);
    if (before !== undefined && with_the_one_before && !before.sealed) before.records.push(...own);
    else commits.push({ records: own, sealed: false });
    commits.at(-1)!.sealed = sealed;
  }
  return { commits, expected, nothing };
}

function find(log: Log, chains: Chains, offset: bigint, index: number): ChainedEvent | null {
  return chains.find(log.segment_of(offset)!, { offset, index });
}

function expect_found(log: Log, chains: Chains, { offset, index, ...said }: Expected): void {
  const segment = log.segment_of(offset)!;
  const found = chains.find(segment, { offset, index });
  const { previous, effective_time_ms, effect, frame_byte, frame_crc32 } = found!;
  expect({ previous, effective_time_ms, effect: EFFECTS[effect] }).toEqual(said);
  const frame = log.frame_at({ segment, byte: frame_byte }, frame_crc32)!;
  expect([...records_of(frame.bytes)].some((record) => record.offset === offset)).toBe(true);
}

describe("a chain", () => {
  test("finds every event of any log, from its files and while it is written, and nothing that is no event", async () => {
    await fc.assert(
      fc.asyncProperty(any_log, async ({ records, around, segment_bytes_max }) => {
        const directory = temporary_directory();
        const { commits, expected, nothing } = laid_out(records, around);
        let open = await open_chained(directory, segment_bytes_max);
        for (const { records: own, sealed } of commits) {
          await open.append(own);
          if (!sealed) continue;
          await open.close();
          open = await open_chained(directory, segment_bytes_max);
        }
        for (const one of expected) expect_found(open.log, open.chains, one);
        await open.close();

        const { log } = await open_log(directory, { disk: unsynced_disk, replica: true });
        const chains = new Chains(node_disk, directory);
        for (const one of expected) {
          expect_found(log, chains, one);
          expect(find(log, chains, one.offset, one.index + 10_000)).toBeNull();
        }
        for (const offset of nothing) expect(find(log, chains, offset, 0)).toBeNull();
        for (const { first_offset, bytes } of log.segments) {
          const { from, to } = chains.of_segment(first_offset);
          expect([from, to]).toEqual([0, bytes]);
        }
        await chains.close();
        await log.close();
      }),
      { numRuns: 12 },
    );
  });

  test("names the first frame that is later than an instant", async () => {
    await fc.assert(
      fc.asyncProperty(any_log, async ({ records, around }) => {
        const directory = temporary_directory();
        const { commits } = laid_out(records, around);
        const { log, chains, append, close } = await open_chained(directory, 1_000_000_000);
        for (const { records: own } of commits) await append(own);
        for (const { log_time_ms } of records) {
          for (const instant of [Number(log_time_ms) - 1, Number(log_time_ms)]) {
            const later = commits
              .flatMap(({ records: own }) => own)
              .find((record) => record.log_time_ms > instant);
            const frame = later === undefined ? null : chains.first_later(0n, instant);
            if (later === undefined) expect(chains.first_later(0n, instant)).toBeNull();
            else expect(frame).toBe(later.offset);
          }
        }
        await close();
        expect(log.segments.length).toBe(1);
      }),
      { numRuns: 20 },
    );
  });
});

/** Some blocks of one segment: 6,000 events of 600 hosts. */
async function some_blocks() {
  const directory = temporary_directory();
  const events = Array.from({ length: 6_000 }, (_, i) =>
    observed(`h${i % 600}`, { sequence: 1 + Math.floor(i / 600) }),
  );
  const records = log_of(events, 40);
  const open = await open_chained(directory, 1_000_000_000);
  await open.append(records);
  await open.close();
  const file = join(directory, readdirSync(directory).find((name) => name.endsWith(".chain"))!);
  const written = Uint8Array.from(readFileSync(file));
  const blocks: { from: number; to: number; first_offset: bigint; next_offset: bigint }[] = [];
  for (let at = 0; at < written.length; ) {
    const { length, first_offset, next_offset } = chain_header(written.subarray(at))!;
    blocks.push({ from: at, to: at + length, first_offset, next_offset });
    at += length;
  }
  const places = events.map((_, i) => ({ offset: BigInt(Math.floor(i / 40)), index: i % 40 }));
  const whole = SegmentChain.load(node_disk, file);
  const said = places.map((place) => whole.find(place)!);
  whole.close();
  expect(blocks.length).toBeGreaterThan(3);
  expect(said.every((one) => one !== null)).toBe(true);
  return { file, written, blocks, places, said };
}

describe("the file of a chain", () => {
  test("with any bit flipped says nothing of some events, and of every other one what it said", async () => {
    const { file, written, blocks, places, said } = await some_blocks();
    fc.assert(
      fc.property(
        fc.nat(blocks.length - 1),
        fc.oneof(fc.nat(CHAIN_HEADER_BYTES - 1), fc.nat(100_000)),
        fc.nat(7),
        (which, place_in_block, bit) => {
          const block = blocks[which]!;
          const damaged = written.slice();
          const at = block.from + (place_in_block % (block.to - block.from));
          damaged[at]! ^= 1 << bit;
          writeFileSync(file, damaged);
          const chain = SegmentChain.load(node_disk, file);
          const found = places.map((place) => chain.find(place));
          for (const [i, one] of found.entries()) {
            const { offset } = places[i]!;
            if (one !== null) expect(one).toEqual(said[i]);
            if (offset >= block.first_offset && offset < block.next_offset) expect(one).toBeNull();
            if (offset < block.first_offset) expect(one).not.toBeNull();
          }
          // Either it ends before the damage, or it knows that it is to be made anew.
          expect(chain.damaged || chain.blocks.length === which).toBe(true);
          chain.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  test("cut anywhere has the blocks before", async () => {
    const { file, written, blocks, places, said } = await some_blocks();
    fc.assert(
      fc.property(fc.nat(written.length), (bytes) => {
        writeFileSync(file, written);
        truncateSync(file, bytes);
        const chain = SegmentChain.load(node_disk, file);
        const whole = blocks.filter(({ to }) => to <= bytes);
        expect(chain.blocks.length).toBe(whole.length);
        const end = whole.at(-1)?.next_offset ?? 0n;
        for (const [i, place] of places.entries()) {
          expect(chain.find(place)).toEqual(place.offset < end ? said[i] : null);
        }
        chain.close();
      }),
      { numRuns: 40 },
    );
  });

  test("with a damaged header ends before it, and never names a frame that is not the first one later than an instant", async () => {
    const { file, written, blocks } = await some_blocks();
    const directory = join(file, "..");
    for (const [which, { from }] of blocks.entries()) {
      for (let byte = 0; byte < CHAIN_HEADER_BYTES; byte++) {
        const damaged = written.slice();
        damaged[from + byte]! ^= 0xff;
        writeFileSync(file, damaged);
        const chains = new Chains(node_disk, directory);
        // Who passes a block over does so by its header alone. The block's own checksum is of no header.
        const is_of_block = byte >= 8 && byte < 12;
        if (!is_of_block) expect(chains.of_segment(0n).blocks.length).toBe(which);
        // All frames have one log time: the first one is later than what is before it, none is later than it.
        expect([0n, null]).toContain(chains.first_later(0n, 1));
        expect(chains.first_later(0n, Number.MAX_SAFE_INTEGER)).toBeNull();
        await chains.close();
      }
    }
  });

  test("that cannot be written costs no record: the log goes on, and the chain says nothing", async () => {
    const directory = temporary_directory();
    const disk = faulty_disk((step, path) => (step === "write" && path.endsWith(".chain") ? "ENOSPC" : null));
    const { log, chains, append, close } = await open_chained(directory, 1_000_000_000, disk);
    await append(log_of([observed("h1"), observed("h2")], 1));
    expect(chains.find(0n, { offset: 0n, index: 0 })).not.toBeNull();
    await chains.flush();
    await chains.sync();
    expect(chains.find(0n, { offset: 0n, index: 0 })).toBeNull();
    await append(log_of([observed("h3")], 1, 2n));
    expect(log.next_offset).toBe(3n);
    await close();
  });
});
