import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RECORD_HEADER_BYTES } from "#services/log/columns.js";
import {
  check_frame,
  encode_empty_frame,
  encode_frames,
  FRAME_HEADER_BYTES,
  FRAME_RECORDS_BYTES,
  type FrameFacts,
  type LogRecord,
  RECORD_BYTES_MAX,
  records_of,
  view_of,
} from "#services/log/frame.js";

/** Records in a log's order, with gaps and times as a replica has them. */
const log_records = fc
  .array(
    fc.record({
      gap: fc.oneof({ weight: 8, arbitrary: fc.constant(0n) }, fc.bigInt(0n, 2n ** 34n)),
      later_ms: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.nat()),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(40_000).map((length) => new Uint8Array(length).fill(length)),
      ),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((given) => {
    let offset = 0n;
    let log_time_ms = 0;
    return given.map(({ gap, later_ms, bytes }): LogRecord => {
      offset += gap;
      log_time_ms += later_ms;
      const made = { offset, log_time_ms, bytes };
      offset += 1n;
      return made;
    });
  });

function checked_frames(bytes: Uint8Array): { frame: Uint8Array; facts: FrameFacts }[] {
  const found: { frame: Uint8Array; facts: FrameFacts }[] = [];
  const view = view_of(bytes);
  for (let at = 0; at < bytes.length; ) {
    const facts = check_frame(bytes, view, at);
    if (facts === null || typeof facts === "string")
      throw new Error(`at byte ${at}: ${facts ?? "not whole"}`);
    found.push({ frame: bytes.subarray(at, at + facts.length), facts });
    at += facts.length;
  }
  return found;
}

describe("a frame", () => {
  test("gives back the records that were put in, in frames that keep the format's bounds", () => {
    fc.assert(
      fc.property(log_records, fc.nat(), (records, synced) => {
        const frames = checked_frames(encode_frames(records, synced));
        const back = frames.flatMap(({ frame }) => [...records_of(frame)]);
        expect(back.length).toBe(records.length);
        for (const [index, record] of records.entries()) {
          const { offset, log_time_ms, bytes } = back[index]!;
          expect([offset, log_time_ms]).toEqual([record.offset, record.log_time_ms]);
          expect(Buffer.compare(bytes, record.bytes)).toBe(0);
        }
        for (const { frame, facts } of frames) {
          const inside = [...records_of(frame)];
          expect(facts.synced).toBe(synced);
          expect(facts.count).toBe(inside.length);
          expect(facts.first_offset).toBe(inside[0]!.offset);
          expect(facts.next_offset).toBe(inside.at(-1)!.offset + 1n);
          expect(facts.gapless).toBe(facts.next_offset - facts.first_offset === BigInt(facts.count));
          expect(new Set(inside.map((each) => each.log_time_ms))).toEqual(new Set([facts.log_time_ms]));
          if (facts.count > 1)
            expect(facts.length - FRAME_HEADER_BYTES).toBeLessThanOrEqual(FRAME_RECORDS_BYTES);
        }
      }),
    );
  });

  test("has the bytes that its table says", () => {
    const frame = encode_frames(
      [{ offset: 0x0102n, log_time_ms: 0x0304, bytes: Uint8Array.of(9, 8) }],
      0x0506,
    );
    expect(Buffer.from(frame).toString("hex")).toBe(
      "4b4c5046" + // magic
        "32000000" + // 40 + 8 + 2 bytes
        "49966659" + // CRC-32
        "01000000" + // one record
        "0605000000000000" + // synced
        "0201000000000000" + // first offset
        "0403000000000000" + // log time
        "00000000" + // the record's offset less the first
        "02000000" + // its length
        "0908",
    );
  });

  test("takes the largest record, and records without bytes", () => {
    const records = [new Uint8Array(RECORD_BYTES_MAX).fill(7), new Uint8Array(0), new Uint8Array(0)];
    const frames = checked_frames(
      encode_frames(
        records.map((bytes, index) => ({ offset: BigInt(index), log_time_ms: 5, bytes })),
        0,
      ),
    );
    expect(frames.map(({ facts }) => facts.count)).toEqual([1, 2]);
    expect(frames[1]!.facts.length).toBe(FRAME_HEADER_BYTES + 2 * RECORD_HEADER_BYTES);
  });

  test("may be empty: it states where the log goes on", () => {
    const [empty] = checked_frames(encode_empty_frame(42n, 1_234, 99));
    expect(empty!.facts).toEqual({
      length: FRAME_HEADER_BYTES,
      count: 0,
      synced: 99,
      first_offset: 42n,
      next_offset: 42n,
      log_time_ms: 1_234,
      gapless: true,
    });
  });

  test("with any one bit flipped does not check", () => {
    const frame = encode_frames(
      [3, 50, 0].map((length, index) => ({
        offset: BigInt(index),
        log_time_ms: 77,
        bytes: new Uint8Array(length).fill(index),
      })),
      40,
    );
    // Room behind it, so that a longer length finds bytes there.
    const room = new Uint8Array(frame.length + 4_096);
    for (let bit = 0; bit < frame.length * 8; bit++) {
      room.set(frame);
      room[bit >> 3]! ^= 1 << (bit & 7);
      const found = check_frame(room, view_of(room), 0);
      expect(found === null || typeof found === "string", `bit ${bit}`).toBe(true);
    }
  });

  test("that is cut at any byte asks for more", () => {
    const frame = encode_frames([{ offset: 0n, log_time_ms: 1, bytes: new Uint8Array(20) }], 0);
    for (let bytes = 0; bytes < frame.length; bytes++) {
      const part = frame.subarray(0, bytes);
      expect(check_frame(part, view_of(part), 0)).toBeNull();
    }
  });
});
