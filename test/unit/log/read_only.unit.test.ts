/** Reading a log beside its writer: exactly the records that were asked for, and damage told from what is half written. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { frames_of, records_of } from "#services/log/frame.js";
import { node_disk } from "#services/log/node_disk.js";
import { read_log } from "#services/log/read_only.js";
import { SCAN_BYTES, segment_name } from "#services/log/segment.js";
import { expected_contents, open_log, record_range, temporary_directory } from "./fixtures.js";

const RECORDS = 40;

/** Ten commits, each one frame of four records, in segments of some of them. */
async function make_log(segment_bytes_max: number): Promise<string> {
  const directory = temporary_directory();
  const { log } = await open_log(directory, { segment_bytes_max });
  for (let first = 0; first < RECORDS; first += 4) await log.append(record_range(first, first + 4));
  await log.close();
  return directory;
}

/** `offset:number` of every record that is handed over. */
async function read(directory: string, to: bigint | null, from = 0n): Promise<string[]> {
  const found: string[] = [];
  const buffer = new Uint8Array(SCAN_BYTES);
  await read_log({
    disk: node_disk,
    directory,
    name: "partition 0",
    from,
    to,
    buffer: () => buffer,
    on_frames(frames) {
      for (const frame of frames_of(frames)) {
        for (const { offset, bytes } of records_of(frame))
          found.push(`${offset}:${Buffer.from(bytes).readUint32LE(0)}`);
      }
    },
  });
  return found;
}

describe.each([
  ["in one file", 1 << 20],
  ["in files of two frames", 1_000],
])("a log %s", (_, segment_bytes_max) => {
  test("is read to any offset, also within a frame, and on from there", async () => {
    const directory = await make_log(segment_bytes_max);
    for (let to = 0; to <= RECORDS; to++) {
      expect(await read(directory, BigInt(to))).toEqual(expected_contents(0, to));
    }
    for (let from = 0; from < RECORDS; from += 4) {
      const rest = await read(directory, null, BigInt(from));
      expect(rest.filter((each) => Number(each.split(":")[0]) >= from)).toEqual(
        expected_contents(from, RECORDS),
      );
      // What was read before is not handed over again.
      expect(rest).toHaveLength(RECORDS - from);
    }
  });

  test("that ends before the offset is damaged, and says where it ends", async () => {
    const directory = await make_log(segment_bytes_max);
    await expect(read(directory, BigInt(RECORDS + 1))).rejects.toMatchObject({
      offset: BigInt(RECORDS),
      reason: `the log ends before offset ${RECORDS + 1}`,
    });
  });
});

test("what stands behind the offset may be half written; at the end it is what a crash leaves", async () => {
  const directory = await make_log(1 << 20);
  const file = join(directory, segment_name(0n));
  appendFileSync(file, readFileSync(file).subarray(0, 100));
  expect(await read(directory, BigInt(RECORDS))).toHaveLength(RECORDS);
  expect(await read(directory, null)).toHaveLength(RECORDS);
});

test("damage in the middle is found up to where it was asked for, and never taken for the end", async () => {
  const directory = await make_log(1 << 20);
  const file = join(directory, segment_name(0n));
  const bytes = readFileSync(file);
  const frame_bytes = [...frames_of(bytes)][0]!.length;
  bytes[5 * frame_bytes + 100]! ^= 1;
  writeFileSync(file, bytes);
  expect(await read(directory, 20n)).toEqual(expected_contents(0, 20));
  for (const to of [21n, BigInt(RECORDS), null]) {
    await expect(read(directory, to)).rejects.toMatchObject({ file, byte: 5 * frame_bytes, offset: 20n });
  }
});
