import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { segment_name } from "#services/log/segment.js";
import {
  contents,
  expected_contents,
  faulty_disk,
  open_log,
  record,
  record_range,
  temporary_directory,
} from "./fixtures.js";

describe("a write that fails for want of room", () => {
  test.each(["ENOSPC", "EDQUOT", "EFBIG"])(
    "stores nothing, says so to all that wait, and later appends succeed: %s",
    async (error_code) => {
      const directory = temporary_directory();
      let full = false;
      const folded: number[] = [];
      const { log } = await open_log(directory, {
        disk: faulty_disk((step) => (full && step === "write" ? error_code : null)),
        on_frames: (frames) => folded.push(frames.length),
      });
      await log.append(record_range(0, 4));
      const before = readFileSync(join(directory, segment_name(0n)));
      full = true;
      const refused = [log.append([record(90)]), log.append([record(91)])];
      for (const each of refused) {
        await expect(each).rejects.toMatchObject({
          code: "disk_full",
          message: expect.stringContaining(error_code),
        });
      }
      expect(readFileSync(join(directory, segment_name(0n)))).toEqual(before);
      expect(folded).toEqual([before.length]);
      full = false;
      expect(await log.append([record(4)])).toMatchObject({ first_offset: 4n });
      await log.close();
      const again = await open_log(directory);
      expect(again.torn).toBeNull();
      expect(await contents(again.log)).toEqual(expected_contents(0, 5));
    },
  );

  test("may be a new segment's first", async () => {
    for (const failing of ["open_write", "write"]) {
      const directory = temporary_directory();
      let full = false;
      const { log } = await open_log(directory, {
        segment_bytes_max: 1,
        disk: faulty_disk((step) => (full && step === failing ? "ENOSPC" : null)),
      });
      await log.append([record(0)]);
      full = true;
      await expect(log.append([record(90)])).rejects.toMatchObject({ code: "disk_full" });
      expect(await contents(log)).toEqual(["0:0"]);
      full = false;
      await log.append([record(1)]);
      await log.append([record(2)]);
      await log.close();
      expect(await contents((await open_log(directory)).log)).toEqual(expected_contents(0, 3));
    }
  });

  test("ends writing if its part cannot be taken back", async () => {
    let full = false;
    const { log } = await open_log(temporary_directory(), {
      disk: faulty_disk((step) => (full && step !== "sync" ? "EIO" : null)),
    });
    await log.append([record(0)]);
    full = true;
    await expect(log.append([record(1)])).rejects.toMatchObject({ code: "unavailable" });
    full = false;
    await expect(log.append([record(1)])).rejects.toThrow("restart");
  });
});

describe("an fsync that fails", () => {
  test.each(["sync", "sync_directory"])(
    "(%s) ends writing until a restart; reading goes on",
    async (failing) => {
      const directory = temporary_directory();
      let fails = false;
      const { log } = await open_log(directory, {
        segment_bytes_max: 1,
        disk: faulty_disk((step) => (fails && step === failing ? "EIO" : null)),
      });
      await log.append(record_range(0, 2));
      fails = true;
      const refused = [log.append([record(2)]), log.append([record(3)])];
      for (const each of refused) await expect(each).rejects.toMatchObject({ code: "unavailable" });
      fails = false;
      await expect(log.append([record(2)])).rejects.toThrow("see to the disk, then restart");
      expect(log.next_offset).toBe(2n);
      expect(await contents(log)).toEqual(expected_contents(0, 2));
      await log.close();
      // What was refused may be there: it was written. It is whole, and in order.
      const again = await open_log(directory);
      expect(expected_contents(0, 4)).toEqual(expect.arrayContaining(await contents(again.log)));
      expect(again.log.next_offset).toBeGreaterThanOrEqual(2n);
      await again.log.append([record(Number(again.log.next_offset))]);
    },
  );
});
