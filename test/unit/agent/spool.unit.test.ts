/** What a spool keeps when its process dies at any byte, and what it does with a file that is damaged. */
import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DiskSpool, type SpooledEvent, type SpoolState } from "#services/agent/spool.js";
import { temporary_directory } from "./watch_fixtures.js";

const state = (next_sequence: number): SpoolState => ({
  host_id: "web-17",
  stream: "18446744073709551615",
  next_sequence,
  known: null,
  floor_unix_ms: 7,
  daily_unix_ms: 0,
  blind_since_unix_ms: null,
  taken: [],
});

const event = (sequence: number, bytes = 3): SpooledEvent => ({
  stream: "18446744073709551615",
  sequence,
  time_unix_ms: 1_790_000_000_000,
  forced: false,
  bytes: new Uint8Array(bytes).fill(sequence),
});

/** What a start finds: the next sequence, and those of the events that are to be sent. */
function found(directory: string): string {
  const spool = new DiskSpool(directory);
  const sequences = spool.unsent.map(({ sequence, bytes }) => {
    expect([...bytes]).toEqual([sequence, sequence, sequence]);
    return sequence;
  });
  spool.close();
  if (spool.damaged) expect([spool.state, sequences]).toEqual([null, []]);
  return spool.damaged ? "damaged" : `${spool.state?.next_sequence ?? "new"}: ${sequences}`;
}

describe("a spool", () => {
  test("has after a start what was committed, without what was acknowledged", () => {
    const directory = temporary_directory();
    expect(found(directory)).toBe("new: ");
    const spool = new DiskSpool(directory);
    spool.commit(state(3), [event(1), event(2)], false);
    spool.commit(state(4), [event(3)], false);
    spool.acknowledged(2, 99);
    spool.close();
    expect(found(directory)).toBe("4: 3");
    expect(new DiskSpool(directory).state!.floor_unix_ms).toBe(99);
  });

  test("cut at any byte is as before its last commit, or as after it", () => {
    const directory = temporary_directory();
    const spool = new DiskSpool(directory);
    spool.commit(state(2), [event(1)], false);
    spool.commit(state(3), [event(2)], false);
    const before_bytes = statSync(join(directory, "spool")).size;
    spool.commit(state(4), [event(3)], false);
    spool.close();
    const whole = readFileSync(join(directory, "spool"));
    for (let end = whole.length; end >= before_bytes; end--) {
      writeFileSync(join(directory, "spool"), whole.subarray(0, end));
      // The line feed alone is no part of the entry.
      const is_whole = end >= whole.length - 1;
      expect([end, found(directory)]).toEqual([end, is_whole ? "4: 1,2,3" : "3: 1,2"]);
    }
  });

  test("that was cut goes on behind what is left, and a later start finds all of it", () => {
    const directory = temporary_directory();
    const cut = new DiskSpool(directory);
    cut.commit(state(2), [event(1)], false);
    cut.commit(state(3), [event(2)], false);
    cut.close();
    truncateSync(join(directory, "spool"), statSync(join(directory, "spool")).size - 5);
    const spool = new DiskSpool(directory);
    spool.commit(state(3), [event(2)], false);
    spool.commit(state(4), [event(3)], false);
    spool.close();
    expect(found(directory)).toBe("4: 1,2,3");
  });

  test("with a byte that changed before its last entry is damaged, and nothing of it is used", () => {
    const directory = temporary_directory();
    const spool = new DiskSpool(directory);
    for (let sequence = 1; sequence <= 3; sequence++)
      spool.commit(state(sequence + 1), [event(sequence)], false);
    spool.close();
    const path = join(directory, "spool");
    const whole = readFileSync(path);
    const last_entry = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let at = 0; at < last_entry; at += 7) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1;
      writeFileSync(path, changed);
      expect([at, found(directory)]).toEqual([at, "damaged"]);
    }
  });

  test("of another format is not guessed at", () => {
    const directory = temporary_directory();
    const spool = new DiskSpool(directory);
    spool.commit(state(2), [event(1)], false);
    spool.close();
    const path = join(directory, "spool");
    const text = readFileSync(path, "utf8").slice(9, -1).replace('"format":1', '"format":2');
    writeFileSync(path, `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`);
    expect(found(directory)).toBe("damaged");
  });

  test("does not grow by what was acknowledged", () => {
    const directory = temporary_directory();
    const spool = new DiskSpool(directory);
    for (let sequence = 1; sequence <= 3_000; sequence++) {
      spool.commit(state(sequence + 1), [event(sequence)], false);
      spool.acknowledged(1, 0);
    }
    expect(statSync(join(directory, "spool")).size).toBeLessThan(300 * 1024);
    spool.close();
    expect(found(directory)).toBe("3001: ");
  });

  test("gives up what was not sent where it is told to, and counts that", () => {
    const directory = temporary_directory();
    const spool = new DiskSpool(directory);
    spool.commit(state(3), [event(1), event(2)], false);
    expect(spool.generation).toBe(0);
    spool.commit(state(2), [event(1)], true);
    expect(spool.generation).toBe(1);
    spool.close();
    expect(found(directory)).toBe("2: 1");
  });

  test("whose directory was taken away is there again with all of it at the next commit", () => {
    const directory = join(temporary_directory(), "spool-of-it");
    const spool = new DiskSpool(directory);
    spool.commit(state(2), [event(1)], false);
    rmSync(directory, { recursive: true });
    spool.commit(state(3), [event(2)], false);
    spool.close();
    expect(existsSync(directory)).toBe(true);
    expect(found(directory)).toBe("3: 1,2");
  });

  test("that cannot be written is as before, and says why", () => {
    const directory = join(temporary_directory(), "spool-of-it");
    const spool = new DiskSpool(directory);
    spool.commit(state(2), [event(1)], false);
    rmSync(directory, { recursive: true });
    writeFileSync(directory, "no directory");
    expect(() => spool.commit(state(3), [event(2)], false)).toThrow(/EEXIST|ENOTDIR/);
    expect(spool.unsent.map(({ sequence }) => sequence)).toEqual([1]);
    expect(spool.state!.next_sequence).toBe(2);
    rmSync(directory);
    spool.commit(state(3), [event(2)], false);
    spool.close();
    expect(found(directory)).toBe("3: 1,2");
  });
});
