import {
  appendFileSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LogCorruption } from "#services/log/corruption.js";
import { encode_empty_frame, encode_frames } from "#services/log/frame.js";
import type { LogOptions } from "#services/log/log.js";
import { segment_name } from "#services/log/segment.js";
import {
  contents,
  expected_contents,
  faulty_disk,
  open_log,
  record,
  record_range,
  temporary_directory,
  unsynced_disk,
} from "./fixtures.js";

const FIRST = segment_name(0n);

/** A log of some commits, one append each, without the empty frame; ends of the commits in the file. */
async function make_log(
  directory: string,
  commits: Uint8Array[][],
  options: Partial<LogOptions> = {},
): Promise<number[]> {
  const { log } = await open_log(directory, options);
  const ends: number[] = [];
  for (const records of commits) {
    await log.append(records);
    ends.push(log.bytes);
  }
  const path = join(directory, readdirSync(directory).sort().at(-1)!);
  const bytes = readFileSync(path);
  await log.close();
  // As a crash leaves it: what a clean stop appends is not there.
  writeFileSync(path, bytes);
  return ends;
}

async function corruption_of(directory: string, options: Partial<LogOptions> = {}): Promise<LogCorruption> {
  return open_log(directory, options).then(
    () => {
      throw new Error("it opened");
    },
    (error) => {
      expect(error).toBeInstanceOf(LogCorruption);
      return error;
    },
  );
}

function flip_bit(path: string, byte: number, bit = 0): void {
  const bytes = readFileSync(path);
  bytes[byte]! ^= 1 << bit;
  writeFileSync(path, bytes);
}

describe("a torn tail", () => {
  // Three frames, so that the tear is in each of them.
  const last_commit = record_range(4, 7, 90).map((each, index) => (index === 1 ? record(5, 17_000) : each));

  test("at any byte of the last commit is cut: whole frames before it stay, so do all commits before", async () => {
    const source = temporary_directory();
    const [, start, end] = await make_log(source, [record_range(0, 2), record_range(2, 4), last_commit]);
    const whole = readFileSync(join(source, FIRST));
    expect(whole.length).toBe(end);
    const directory = temporary_directory();
    const path = join(directory, FIRST);
    const sizes = [40 + 8 + 90, 40 + 8 + 17_000, 40 + 8 + 90];
    const frame_ends = sizes.map((_, index) => start! + sizes.slice(0, index + 1).reduce((a, b) => a + b));
    expect(frame_ends.at(-1)).toBe(end);
    // Every byte of the short frames and of the headers; of the long record's inside, some.
    const cuts = Array.from({ length: end! - start! }, (_, index) => start! + index).filter(
      (byte) => byte < start! + 300 || byte > end! - 300 || byte % 509 === 0,
    );
    for (const cut of cuts) {
      writeFileSync(path, whole.subarray(0, cut));
      const { log, torn } = await open_log(directory, { disk: unsynced_disk });
      const good = frame_ends.filter((each) => each <= cut).length;
      const kept = frame_ends[good - 1] ?? start!;
      expect(await contents(log), `cut at ${cut}`).toEqual(expected_contents(0, 4 + good));
      if (kept === cut) expect(torn).toBeNull();
      else
        expect(torn).toMatchObject({ file: path, byte: kept, bytes: cut - kept, offset: BigInt(4 + good) });
      expect(await log.append([record(99)])).toMatchObject({ first_offset: BigInt(4 + good) });
      await log.close();
      expect((await open_log(directory, { disk: unsynced_disk })).torn).toBeNull();
    }
  }, 60_000);

  test("may have later frames of the same commit behind the bad one: none of them calls it durable", async () => {
    const directory = temporary_directory();
    const [start] = await make_log(directory, [record_range(0, 4), last_commit]);
    flip_bit(join(directory, FIRST), start! + 60);
    const { log, torn } = await open_log(directory);
    expect(torn).toMatchObject({ byte: start, offset: 4n, reason: "the checksum does not match" });
    expect(await contents(log)).toEqual(expected_contents(0, 4));
  });

  test.each([
    ["zeros", new Uint8Array(5_000)],
    ["one zero", new Uint8Array(1)],
    ["a frame's first bytes", Buffer.from("KLPF")],
    [
      "other bytes, with a good frame that calls nothing of them durable",
      [new Uint8Array(50), encode_empty_frame(4n, 0, 100)],
    ],
    [
      "other bytes, with a frame that calls its own bytes durable",
      [new Uint8Array(50), encode_empty_frame(4n, 0, 99_999)],
    ],
  ])("of %s is cut", async (_, tail) => {
    const directory = temporary_directory();
    const [end] = await make_log(directory, [record_range(0, 4)]);
    appendFileSync(join(directory, FIRST), Buffer.concat([tail].flat()));
    const { log, torn } = await open_log(directory);
    expect(torn).toMatchObject({ byte: end, offset: 4n });
    expect(await contents(log)).toEqual(expected_contents(0, 4));
  });

  test("may be all of a new segment", async () => {
    for (const left of ["", "KLPF and nothing else"]) {
      const directory = temporary_directory();
      await make_log(directory, [record_range(0, 4)]);
      writeFileSync(join(directory, segment_name(4n)), left);
      const { log } = await open_log(directory, { now: () => 1 });
      expect(await contents(log)).toEqual(expected_contents(0, 4));
      expect(log.last_log_time_ms).toBe(1_000);
      await log.append([record(4)]);
      await log.close();
      // A snapshot's position is all that such a start knows.
      truncateSync(join(directory, segment_name(4n)), 0);
      const from = { offset: 4n, segment: 4n, byte: 0, log_time_ms: 1_000 };
      const again = await open_log(directory, { from, now: () => 1 });
      expect(again.log.last_log_time_ms).toBe(1_000);
    }
  });

  test("is made durable again before it is served: rewritten and synced, the directory too", async () => {
    const directory = temporary_directory();
    const [start, end] = await make_log(directory, [record_range(0, 4), last_commit]);
    const steps: string[] = [];
    await open_log(directory, {
      disk: faulty_disk((step, path) => {
        steps.push(`${step} ${path}`);
        return null;
      }),
    });
    const path = join(directory, FIRST);
    expect(steps.slice(-5)).toEqual([
      `open_write ${path}`,
      `truncate ${path}`,
      `write ${path}`,
      `sync ${path}`,
      `sync_directory ${directory}`,
    ]);
    expect(end! - start!).toBeGreaterThan(0);
  });
});

describe("damage", () => {
  test("to any byte of synced frames is corruption, named with file, byte and offset", async () => {
    const source = temporary_directory();
    const ends = await make_log(source, [
      record_range(0, 2, 20),
      record_range(2, 4, 20),
      record_range(4, 6, 20),
    ]);
    const directory = temporary_directory();
    const path = join(directory, FIRST);
    // One commit is one frame here; the last one calls those before it durable.
    for (let byte = 0; byte < ends[1]!; byte++) {
      copyFileSync(join(source, FIRST), path);
      flip_bit(path, byte, byte % 8);
      const second = byte >= ends[0]!;
      expect(await corruption_of(directory), `byte ${byte}`).toMatchObject({
        log: "partition 0",
        file: path,
        byte: second ? ends[0] : 0,
        offset: second ? 2n : 0n,
      });
    }
    expect(readFileSync(path).length).toBe(ends[2]);
  });

  test("to the last commit is corruption too, where an empty frame follows it", async () => {
    const directory = temporary_directory();
    const { log } = await open_log(directory);
    await log.append(record_range(0, 3, 17_000));
    await log.close();
    const path = join(directory, FIRST);
    const bytes = readFileSync(path);
    for (const byte of [0, 5, 9, 20, 1_000, 17_048, 17_048 + 13, 2 * 17_048, bytes.length - 41]) {
      writeFileSync(path, bytes);
      flip_bit(path, byte);
      expect(await corruption_of(directory), `byte ${byte}`).toMatchObject({
        byte: Math.floor(byte / 17_048) * 17_048,
      });
    }
    // The empty frame itself holds nothing.
    writeFileSync(path, bytes);
    flip_bit(path, bytes.length - 1);
    const again = await open_log(directory);
    expect(again.torn).toMatchObject({ byte: bytes.length - 40, bytes: 40 });
    expect(again.log.next_offset).toBe(3n);
  });

  test("far before the good frame that tells of it is found: more than a buffer of bad bytes", async () => {
    const directory = temporary_directory();
    const ends = await make_log(directory, [
      [record(0)],
      ...Array.from({ length: 8 }, (_, index) => [record(1 + index, 900 * 1024)]),
      [record(9)],
    ]);
    const path = join(directory, FIRST);
    const bytes = readFileSync(path);
    bytes.fill(0, ends[0], ends.at(-2));
    writeFileSync(path, bytes);
    expect(await corruption_of(directory)).toMatchObject({ byte: ends[0], offset: 1n });
    // The same, with bytes that look like frames' beginnings all over.
    bytes.fill("KLPF", ends[0], ends.at(-2));
    writeFileSync(path, bytes);
    expect(await corruption_of(directory)).toMatchObject({ byte: ends[0], offset: 1n });
  });

  test("to a segment that is not the last is corruption, also at its end", async () => {
    const source = temporary_directory();
    await make_log(source, [record_range(0, 2), record_range(2, 4), record_range(4, 6)], {
      segment_bytes_max: 1,
    });
    expect(readdirSync(source).sort()).toEqual([0n, 2n, 4n].map(segment_name));
    const middle = join(source, segment_name(2n));
    const bytes = readFileSync(middle);
    for (const left of [bytes.subarray(0, -1), Buffer.concat([bytes, new Uint8Array(1)])]) {
      writeFileSync(middle, left);
      expect(await corruption_of(source)).toMatchObject({ file: middle });
    }
    // Cut between two frames: it checks, and the next file does not follow.
    writeFileSync(middle, "");
    expect(await corruption_of(source)).toMatchObject({ file: join(source, segment_name(4n)), offset: 2n });
  });

  test("that took a whole segment away is seen, in a replica too", async () => {
    for (const replica of [false, true]) {
      for (const missing of [0, 1]) {
        const directory = temporary_directory();
        const { log } = await open_log(directory, { segment_bytes_max: 1, replica });
        for (let number = 0; number < 4; number++) {
          const record_at = { offset: BigInt(number * 10), log_time_ms: 1, bytes: record(number) };
          await (replica ? log.append_replica(log.next_offset, [record_at]) : log.append([record(number)]));
        }
        await log.close();
        const names = readdirSync(directory).sort();
        rmSync(join(directory, names[missing]!));
        const found = await corruption_of(directory, { replica });
        expect(found.file).toBe(join(directory, names[missing + 1]!));
        expect(found.reason).toContain("missing");
      }
    }
  });

  test("is a frame that is good and does not follow", async () => {
    const frame = (offset: bigint, log_time_ms: number, synced: number) =>
      encode_frames([{ offset, log_time_ms, bytes: record(0) }], synced);
    for (const [bytes, reason] of [
      [frame(5n, 1_000, 0), "does not follow"],
      [frame(3n, 1_000, 0), "does not follow"],
      [frame(4n, 999, 0), "log time"],
      [frame(4n, 1_000, 1_000_000), "durable"],
      [
        encode_frames(
          [4n, 6n].map((offset) => ({ offset, log_time_ms: 1_000, bytes: record(0) })),
          0,
        ),
        "gaps",
      ],
    ] as const) {
      const directory = temporary_directory();
      await make_log(directory, [record_range(0, 4)]);
      appendFileSync(join(directory, FIRST), bytes);
      const found = await corruption_of(directory);
      expect(found.reason).toContain(reason);
      expect(found.offset).toBe(4n);
    }
  });

  test("is a log that ends before a position that was durable", async () => {
    const directory = temporary_directory();
    await make_log(directory, [record_range(0, 4)]);
    const path = join(directory, FIRST);
    const from = { offset: 5n, segment: 0n, byte: statSync(path).size + 60, log_time_ms: 1_000 };
    expect(await corruption_of(directory, { from })).toMatchObject({ file: path, offset: 4n });
    // The segment that the position names is gone.
    expect(await corruption_of(directory, { from: { ...from, segment: 5n, byte: 0 } })).toMatchObject({
      file: path,
      offset: 4n,
    });
    expect(await corruption_of(temporary_directory(), { from })).toMatchObject({ offset: 0n });
  });

  test("after the start is found when it is read, also where the start did not read", async () => {
    const directory = temporary_directory();
    await make_log(directory, [record_range(0, 2), record_range(2, 4), record_range(4, 6)], {
      segment_bytes_max: 1,
    });
    const from = { offset: 4n, segment: 4n, byte: 0, log_time_ms: 1_000 };
    const { log } = await open_log(directory, { from });
    flip_bit(join(directory, segment_name(2n)), 60);
    flip_bit(join(directory, segment_name(4n)), 60);
    expect(await contents(log, 0n, 2n)).toEqual(expected_contents(0, 2));
    await expect(contents(log, 2n, 4n)).rejects.toMatchObject({ name: "LogCorruption", byte: 0, offset: 2n });
    await expect(contents(log, 4n)).rejects.toMatchObject({ name: "LogCorruption", byte: 0, offset: 4n });
  });

  test("is what a disk cannot read back", async () => {
    const directory = temporary_directory();
    await make_log(directory, [record_range(0, 4)]);
    const disk = faulty_disk(() => null);
    const found = await corruption_of(directory, {
      disk: {
        ...disk,
        open_read: (path) => ({
          ...disk.open_read(path),
          size: () => 100,
          close: () => {},
          read_sync: () => {
            throw Object.assign(new Error("read"), { code: "EIO" });
          },
        }),
      },
    });
    expect(found.reason).toContain("EIO");
  });
});
