import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { encode_empty_frame, FRAME_BYTES_MAX, RECORD_BYTES_MAX, records_of } from "#services/log/frame.js";
import {
  contents,
  expected_contents,
  faulty_disk,
  open_log,
  record,
  record_range,
  temporary_directory,
} from "./fixtures.js";

/** A fold that counts: the offsets in the frames that it is given. */
function offsets_in(frames: Uint8Array): bigint[] {
  const found: bigint[] = [];
  for (let at = 0; at < frames.length; ) {
    const length = Buffer.from(frames.buffer, frames.byteOffset).readUint32LE(at + 4);
    for (const each of records_of(frames.subarray(at, at + length))) found.push(each.offset);
    at += length;
  }
  return found;
}

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => BigInt(from + index));

describe("an embedded log", () => {
  test("keeps records, their offsets and times over a restart", async () => {
    const directory = temporary_directory();
    const first = await open_log(directory);
    expect(first.torn).toBeNull();
    expect(await first.log.append(record_range(0, 3))).toEqual({
      first_offset: 0n,
      next_offset: 3n,
      log_time_ms: 1_000,
    });
    expect(await first.log.append([record(3)])).toMatchObject({ first_offset: 3n, next_offset: 4n });
    expect(await contents(first.log)).toEqual(expected_contents(0, 4));
    await first.log.close();

    const second = await open_log(directory);
    expect(second.torn).toBeNull();
    expect(second.log.next_offset).toBe(4n);
    expect(second.log.last_log_time_ms).toBe(1_000);
    expect(await second.log.append([record(4)])).toMatchObject({ first_offset: 4n });
    expect(await contents(second.log)).toEqual(expected_contents(0, 5));
    expect(await contents(second.log, 2n, 3n)).toContain("2:2");
  });

  test("has times that never fall, whatever the clock does", async () => {
    const directory = temporary_directory();
    let clock_ms = 5_000;
    const { log } = await open_log(directory, { now: () => clock_ms });
    await log.append([record(0)]);
    clock_ms = 4_000;
    expect(await log.append([record(1)])).toMatchObject({ log_time_ms: 5_000 });
    await log.close();
    const again = await open_log(directory, { now: () => 10 });
    expect(await again.log.append([record(2)])).toMatchObject({ log_time_ms: 5_000 });
  });

  test("writes all that waits as one commit, folds in order, and acknowledges after the fold", async () => {
    const directory = temporary_directory();
    const seen: string[] = [];
    let syncs = 0;
    const { log } = await open_log(directory, {
      disk: faulty_disk((step) => {
        if (step === "sync") syncs += 1;
        return null;
      }),
      on_frames: (frames) => seen.push(`fold ${offsets_in(frames)}`),
    });
    const before = syncs;
    const acknowledged = (number: number) => () => seen.push(`ack ${number}`);
    const first = log.append([record(0)]).then(acknowledged(0));
    await Promise.resolve();
    const more = [1, 2, 3].map((number) => log.append([record(number)]).then(acknowledged(number)));
    await first;
    const late = log.append([record(4)]).then(acknowledged(4));
    await Promise.all([...more, late]);
    expect(seen.filter((each) => each.startsWith("ack"))).toEqual(
      [0, 1, 2, 3, 4].map((number) => `ack ${number}`),
    );
    expect(
      seen.filter((each) => each.startsWith("fold")).flatMap((each) => each.slice(5).split(",")),
    ).toEqual(["0", "1", "2", "3", "4"]);
    for (let number = 0; number < 5; number++) {
      const fold = seen.findIndex(
        (each) => each.startsWith("fold") && each.slice(5).split(",").includes(`${number}`),
      );
      expect(fold).toBeLessThan(seen.indexOf(`ack ${number}`));
    }
    expect(syncs - before).toBeLessThanOrEqual(3);
  });

  test("hands a restart's fold every record once, in any segment size and any buffer", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.nat(20_000), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 0, max: 50 }),
        async (commits, segment_bytes_max, from) => {
          const directory = temporary_directory();
          const live: bigint[] = [];
          const { log } = await open_log(directory, {
            segment_bytes_max,
            on_frames: (frames) => live.push(...offsets_in(frames)),
          });
          const positions = [log.position];
          for (const sizes of commits) {
            await log.append(sizes.map((bytes) => new Uint8Array(bytes)));
            positions.push(log.position);
          }
          const count = commits.flat().length;
          expect(live).toEqual(numbers(0, count));
          await log.close();

          const position = positions[from % positions.length]!;
          const replayed: bigint[] = [];
          const buffer = new Uint8Array(FRAME_BYTES_MAX);
          const again = await open_log(directory, {
            segment_bytes_max,
            from: position,
            buffer: () => buffer,
            on_frames: (frames) => replayed.push(...offsets_in(frames)),
          });
          expect(again.log.next_offset).toBe(BigInt(count));
          expect(again.log.bytes).toBe(log.bytes);
          expect(again.log.last_log_time_ms).toBe(1_000);
          expect(replayed).toEqual(numbers(Number(position.offset), count));
          // Also what the start has not read is there, whoever comes first.
          const readers = [contents(again.log), contents(again.log)];
          for (const found of readers) expect((await found).length).toBe(count);
          for (let offset = 0n; offset < count; offset += 1n) {
            const found: bigint[] = [];
            for await (const frame of again.log.read(offset, offset + 1n))
              found.push(...offsets_in(frame.bytes));
            expect(found).toContain(offset);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("begins a new segment, named by its first offset, when one is full", async () => {
    const directory = temporary_directory();
    const { log } = await open_log(directory, { segment_bytes_max: 1_000 });
    for (let number = 0; number < 20; number++) await log.append([record(number, 300)]);
    expect(readdirSync(directory).sort().slice(0, 3)).toEqual([
      "00000000000000000000.log",
      "00000000000000000002.log",
      "00000000000000000004.log",
    ]);
    expect(await contents(log)).toEqual(expected_contents(0, 20));
    expect(await contents(log, 7n, 8n)).toEqual(["7:7"]);
    await log.close();
    const again = await open_log(directory);
    expect(await contents(again.log)).toEqual(expected_contents(0, 20));
  });

  test("takes records up to 900 KiB and refuses longer ones and none", async () => {
    const { log } = await open_log(temporary_directory());
    await log.append([record(0, RECORD_BYTES_MAX), record(1), record(2, RECORD_BYTES_MAX)]);
    await expect(log.append([record(3, RECORD_BYTES_MAX + 1)])).rejects.toMatchObject({ code: "too_large" });
    await expect(log.append([])).rejects.toMatchObject({ code: "bad_input" });
    expect(await contents(log)).toEqual(expected_contents(0, 3));
  });

  test("refuses an append when too much waits, and takes it later", async () => {
    const { log } = await open_log(temporary_directory(), { queue_bytes_max: 2_000 });
    const waiting = log.append([record(0, 900)]);
    await expect(log.append([record(1, 900)])).rejects.toMatchObject({ code: "busy" });
    await expect(log.append([record(1, 2_000)])).rejects.toMatchObject({ code: "too_large" });
    await waiting;
    expect(await log.append([record(1, 900)])).toMatchObject({ first_offset: 1n });
  });

  test("appends an empty frame when nothing follows, and at a stop, once", async () => {
    const directory = temporary_directory();
    const { log } = await open_log(directory, { seal_after_ms: 1 });
    await log.append([record(0)]);
    const sealed = log.bytes + encode_empty_frame(0n, 0, 0).length;
    await vi.waitFor(() => expect(log.bytes).toBe(sealed));
    await log.close();
    expect(log.bytes).toBe(sealed);
    const again = await open_log(directory);
    await again.log.close();
    expect(again.log.bytes).toBe(sealed);
    await again.log.close();
    await expect(again.log.append([record(1)])).rejects.toMatchObject({ code: "unavailable" });
    expect(await contents(again.log)).toEqual(["0:0"]);
  });

  test("answers all that waits before it closes", async () => {
    const { log } = await open_log(temporary_directory());
    const waiting = [0, 1, 2].map((number) => log.append([record(number)]));
    await log.close();
    expect((await Promise.all(waiting)).map((each) => each.first_offset)).toEqual([0n, 1n, 2n]);
  });

  test("stops when its fold throws: what is durable is not acknowledged, what follows is refused", async () => {
    const directory = temporary_directory();
    const { log } = await open_log(directory, {
      on_frames: () => {
        throw new Error("no room in the core");
      },
    });
    await expect(log.append([record(0)])).rejects.toThrow("no room in the core");
    await expect(log.append([record(1)])).rejects.toThrow("no room in the core");
    await log.close();
    expect((await open_log(directory)).log.next_offset).toBe(1n);
  });
});

describe("a replica", () => {
  const replica = { replica: true };
  const at = (offset: number, log_time_ms = 500) => ({
    offset: BigInt(offset),
    log_time_ms,
    bytes: record(offset),
  });

  test("keeps offsets with gaps, and times, over a restart and over segments", async () => {
    const directory = temporary_directory();
    const { log } = await open_log(directory, { ...replica, segment_bytes_max: 500 });
    let after = 0n;
    const offsets = [3, 4, 9, 10, 30, 31, 32, 60, 61];
    for (const offset of offsets) {
      const appended = await log.append_replica(after, [at(offset, offset)]);
      expect(appended).toEqual({
        first_offset: BigInt(offset),
        next_offset: BigInt(offset + 1),
        log_time_ms: offset,
      });
      after = appended.next_offset;
    }
    const expected = offsets.map((offset) => `${offset}:${offset}`);
    expect(await contents(log)).toEqual(expected);
    expect(readdirSync(directory).length).toBeGreaterThan(2);
    await log.close();
    const again = await open_log(directory, replica);
    expect(await contents(again.log)).toEqual(expected);
    expect(await contents(again.log, 11n, 31n)).toEqual(["30:30"]);
    expect(again.log.next_offset).toBe(62n);
  });

  test("has a new frame where the time changes, and times that never fall", async () => {
    const { log } = await open_log(temporary_directory(), replica);
    await log.append_replica(0n, [at(0, 700), at(1, 700), at(2, 600), at(3, 800)]);
    const found: [bigint, number][] = [];
    for await (const frame of log.read(0n)) found.push([frame.first_offset, frame.log_time_ms]);
    expect(found).toEqual([
      [0n, 700],
      [3n, 800],
    ]);
  });

  test("refuses records that do not follow, and a caller who counts on what was refused", async () => {
    let full = false;
    const { log } = await open_log(temporary_directory(), {
      ...replica,
      disk: faulty_disk((step) => (full && step === "write" ? "ENOSPC" : null)),
    });
    await log.append_replica(0n, [at(0)]);
    await expect(log.append_replica(1n, [at(0)])).rejects.toMatchObject({ code: "bad_input" });
    await expect(log.append_replica(1n, [at(5), at(5)])).rejects.toMatchObject({ code: "bad_input" });
    await expect(log.append_replica(3n, [at(3)])).rejects.toMatchObject({ code: "contradiction" });
    full = true;
    const refused = [log.append_replica(1n, [at(1)]), log.append_replica(2n, [at(2)])];
    for (const each of refused) await expect(each).rejects.toMatchObject({ code: "disk_full" });
    full = false;
    await expect(log.append_replica(3n, [at(3)])).rejects.toMatchObject({ code: "contradiction" });
    await log.append_replica(1n, [at(1), at(2), at(3)]);
    expect(await contents(log)).toEqual(expected_contents(0, 4));
  });
});
