/** Snapshots: which are kept, which are refused and why, and that a start without one has the same state. */
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { kept_snapshots, type SnapshotFile } from "#services/registry/snapshots.js";
import { observed } from "../core/fleet.js";
import { ALL, KeptPartition, NEWEST } from "./kept_partition.js";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Newest first, of `bytes` each. */
function files(log_times_ms: number[], bytes = 100): SnapshotFile[] {
  return log_times_ms.map((log_time_ms, i) => ({
    path: String(i),
    bytes,
    hosts: 1,
    position: { offset: BigInt(log_times_ms.length - i), segment: 0n, byte: 0, log_time_ms },
  }));
}

function kept(log_times_ms: number[], newest: number, days: number, bytes_max = 1e9): string[] {
  return kept_snapshots(files(log_times_ms), { newest, days, bytes_max }).map(({ path }) => path);
}

describe("of the snapshots that there are", () => {
  const times = [5.5, 5.2, 5.1, 4.9, 4.1, 2.9, 2.8, 0.5].map((days) => days * DAY_MS);

  test("the newest so many are kept", () => {
    expect(kept(times, 3, 0)).toEqual(["0", "1", "2"]);
    expect(kept(times, 100, 0)).toHaveLength(times.length);
  });

  test("the last one of each of so many days is kept, of days that have one", () => {
    expect(kept(times, 1, 4)).toEqual(["0", "3", "5", "7"]);
    expect(kept(times, 1, 3)).toEqual(["0", "3", "5"]);
    expect(kept(times, 2, 2)).toEqual(["0", "1", "3"]);
  });

  test("the oldest go when they have too many bytes, and never the newest one", () => {
    expect(kept(times, 1, 4, 300)).toEqual(["0", "3", "5"]);
    expect(kept(times, 1, 4, 99)).toEqual(["0"]);
    expect(kept(times, 0, 0, 1)).toEqual(["0"]);
    expect(kept([], 2, 31)).toEqual([]);
  });
});

/** A partition with two snapshots, and something behind each. */
let of_two: KeptPartition;
let digest: unknown;
let older: string;
let newest: string;
let written: Buffer;

async function make_two(): Promise<void> {
  of_two = new KeptPartition();
  await of_two.open();
  for (const [i, host_id] of ["h1", "h2", "h3"].entries()) {
    await of_two.append_events(observed(host_id, { stack: ["kp_1"] }));
    if (i < 2) await of_two.keep(NEWEST);
  }
  digest = of_two.partition.digest();
  await of_two.close();
  [older, newest] = of_two.snapshots as [string, string];
  written = readFileSync(newest);
}

function header_of(bytes: Buffer): Record<string, unknown> {
  return JSON.parse(bytes.subarray(12, 12 + bytes.readUInt32LE(4)).toString());
}

/** The newest one, with another header that checks. */
function write_header(change: Record<string, unknown>): void {
  const text = Buffer.from(JSON.stringify({ ...header_of(written), ...change }));
  const prefix = Buffer.from(written.subarray(0, 12));
  prefix.writeUInt32LE(text.length, 4);
  prefix.writeUInt32LE(crc32(text), 8);
  writeFileSync(newest, Buffer.concat([prefix, text, written.subarray(12 + written.readUInt32LE(4))]));
}

/** The one before it is used, with what it lacks from the log, and the message names file and reason. */
async function expect_refused(reason: string | RegExp): Promise<void> {
  const partition = await of_two.open();
  expect(of_two.reports).toHaveLength(1);
  const [path, said] = of_two.reports[0]!.split(" is not used: ");
  expect(path).toBe(newest);
  expect(said).toMatch(reason);
  expect(partition.broken).toBeNull();
  expect(partition.digest()).toEqual(digest);
  expect(partition.status().snapshot_log_time_ms).toBe(1_000);
  expect(partition.status().unsnapshotted_bytes).toBeGreaterThan(0);
  await of_two.close();
}

describe("a start", () => {
  beforeEach(make_two);

  test("goes on from the newest snapshot, and reads what is behind it only", async () => {
    const partition = await of_two.open();
    expect(of_two.reports).toEqual([]);
    expect(partition.digest()).toEqual(digest);
    const { unsnapshotted_bytes } = partition.status();
    rmSync(newest);
    const from_older = await of_two.open();
    expect(from_older.digest()).toEqual(digest);
    expect(from_older.status().unsnapshotted_bytes).toBeGreaterThan(unsnapshotted_bytes);
    expect(unsnapshotted_bytes).toBeGreaterThan(0);
  });

  test.each([
    ["of a newer format", { format: 2 }, "it has format 2: a newer klpstate made it"],
    ["of an older format", { format: 0 }, "it has format 0: another klpstate made it"],
    [
      "of another registry",
      { registry_id: "00000000-0000-4000-8000-000000000008" },
      "it is of another registry",
    ],
    ["of another partition", { partition: 1 }, "it is of partition 1 of 1"],
    ["of another number of partitions", { partitions: 8 }, "it is of partition 0 of 8"],
    ["folded by other rules", { fold_version: 99 }, "it was folded by version 99 of the rules"],
    ["of another build of the core", { core: "00".repeat(32) }, "another build of the core made it"],
    ["of more memory than there is", { to_page: 70_000 }, "its image does not fit into a core"],
    ["of another position", { next_offset: "1" }, "its counters are not of its position"],
    ["whose runs are not its bytes", { runs: [[0, 1]] }, /^its (image does not fit|runs have other lengths)/],
  ])("does not use a snapshot %s", async (_, change, reason) => {
    write_header(change);
    await expect_refused(reason);
  });

  test("does not use a snapshot that is cut, or longer, or no snapshot", async () => {
    for (const bytes of [0, 11, 12, 100, written.length - 1]) {
      writeFileSync(newest, written);
      truncateSync(newest, bytes);
      await expect_refused(/^it (is cut short|has [0-9]+ bytes instead of [0-9]+)$/);
    }
    writeFileSync(newest, Buffer.concat([written, Buffer.from([0])]));
    await expect_refused(`it has ${written.length + 1} bytes instead of ${written.length}`);
    writeFileSync(newest, "a note that somebody left");
    await expect_refused("it is no snapshot");
  });

  test("without a good snapshot takes all from the log, and knows how much that was", async () => {
    truncateSync(newest, 100);
    truncateSync(older, 200);
    const partition = await of_two.open();
    expect(of_two.reports.map((report) => report.split(" is not used: ")[0])).toEqual([newest, older]);
    expect(partition.digest()).toEqual(digest);
    const { snapshot_log_time_ms, unsnapshotted_bytes, log_bytes } = partition.status();
    expect(snapshot_log_time_ms).toBeNull();
    expect(unsnapshotted_bytes).toBe(log_bytes);
  });

  test("of a log that is shorter than its snapshot is broken, and says where the log ends", async () => {
    const segment = join(of_two.place.directory, "log", "0", `${"0".repeat(20)}.log`);
    truncateSync(segment, 40);
    const partition = await of_two.open();
    expect(partition.broken).toContain(segment);
    expect(partition.broken).toContain("it had records up to 2");
    expect(() => partition.serving_log()).toThrow();
  });
});

test("a snapshot with any bits flipped is refused, in its header and in its image", async () => {
  await make_two();
  const header_bytes = 12 + written.readUInt32LE(4);
  const flips = fc.array(
    fc.tuple(
      fc.oneof(fc.nat(header_bytes - 1), fc.integer({ min: header_bytes, max: written.length - 1 })),
      fc.nat(7),
    ),
    { minLength: 1, maxLength: 3 },
  );
  await fc.assert(
    fc.asyncProperty(flips, async (flipped) => {
      const damaged = Buffer.from(written);
      for (const [byte, bit] of flipped) damaged[byte]! ^= 1 << bit;
      fc.pre(!damaged.equals(written));
      writeFileSync(newest, damaged);
      await expect_refused(/^(it|its) /);
    }),
    { numRuns: 25 },
  );
});

describe("keeping", () => {
  test("takes away what a crash left unfinished, and what cannot be used", async () => {
    await make_two();
    const unfinished = `${newest}.new`;
    writeFileSync(unfinished, "half");
    write_header({ core: "00".repeat(32) });
    await of_two.open();
    await of_two.keep(NEWEST);
    expect(existsSync(unfinished)).toBe(false);
    expect(existsSync(newest)).toBe(false);
    expect(of_two.snapshots).toHaveLength(2);
    expect(of_two.reports).toEqual([`${newest} is not used: another build of the core made it`]);
    await of_two.open();
    expect(of_two.reports).toEqual([]);
    expect(of_two.partition.digest()).toEqual(digest);
  });

  test("calls empty frames nothing new", async () => {
    await make_two();
    await of_two.open();
    await of_two.keep(NEWEST);
    expect(of_two.partition.status().unsnapshotted_bytes).toBe(0);
    // A stop seals the log with an empty frame.
    await of_two.open();
    expect(of_two.partition.status().unsnapshotted_bytes).toBe(0);
  });
});

describe("over several days", () => {
  /** A record every five hours of ten days, from 02:00 on. */
  async function ten_days(): Promise<KeptPartition> {
    const of_days = new KeptPartition(2_000);
    await of_days.open();
    for (let hour = 2, i = 1; hour < 240; hour += 5, i++) {
      of_days.now_ms = 20_000 * DAY_MS + hour * HOUR_MS;
      await of_days.append_events(
        observed("h1", { sequence: i, stack: [`kp_${i}`], time_ms: of_days.now_ms }),
      );
    }
    return of_days;
  }

  /** Next offset behind each day's last record. */
  const day_ends = Array.from({ length: 10 }, (_, day) => Math.floor((24 * (day + 1) - 1 - 2) / 5) + 1);
  const names = (offsets: number[]) => offsets.map((offset) => String(offset).padStart(20, "0"));

  function names_of(of_days: KeptPartition): string[] {
    return of_days.snapshots.map((path) => path.slice(-20));
  }

  test("each day's end is kept, also where all were made by another build", async () => {
    const of_days = await ten_days();
    await of_days.keep(ALL);
    expect(names_of(of_days)).toEqual(names(day_ends));

    // As another build would find them.
    const other = { ...of_days.place, core_sha256: "00".repeat(32) };
    await of_days.keep(ALL, other);
    expect(of_days.reports).toHaveLength(10);
    expect(names_of(of_days)).toEqual(names(day_ends));
    await of_days.open(other);
    expect(of_days.reports).toEqual([]);
    expect(of_days.partition.status().unsnapshotted_bytes).toBe(0);
  });

  test("only the days that are wanted are made, and earlier ones go", async () => {
    const of_days = await ten_days();
    await of_days.keep({ newest: 1, days: 3, bytes_max: Number.MAX_SAFE_INTEGER });
    expect(names_of(of_days)).toEqual(names(day_ends.slice(-3)));
    of_days.now_ms += DAY_MS;
    await of_days.append_events(observed("h2"));
    await of_days.keep({ newest: 1, days: 3, bytes_max: Number.MAX_SAFE_INTEGER });
    expect(names_of(of_days)).toEqual(names([...day_ends.slice(-2), day_ends.at(-1)! + 1]));
  });

  test("a start from any of them has the same state", async () => {
    const of_days = await ten_days();
    const whole = of_days.partition.digest();
    await of_days.keep(ALL);
    for (const path of of_days.snapshots.reverse()) {
      const partition = await of_days.open();
      expect(of_days.reports).toEqual([]);
      expect(partition.digest()).toEqual(whole);
      rmSync(path);
    }
    expect((await of_days.open()).digest()).toEqual(whole);
  });
});
