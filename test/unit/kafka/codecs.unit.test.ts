// Compressed records: every way to write them is read, damage is told, and nothing fills the memory.
import { gzipSync } from "node:zlib";
import { compress } from "snappyjs";
import { describe, expect, test } from "vitest";
import { type CODECS, DECOMPRESSED_BYTES_MAX } from "#services/kafka/codecs.js";
import kafkajs from "#services/kafka/kafkajs.js";
import { read_lz4 } from "#services/kafka/lz4_frame.js";

const { CompressionTypes } = kafkajs;
const CompressionCodecs = kafkajs.CompressionCodecs as typeof CODECS;

/** As kafkajs does. */
function decompress(type: number, bytes: Buffer): Promise<Buffer> {
  return CompressionCodecs[type]!().decompress(bytes);
}

/** What the frames below hold. */
const TEXT = Buffer.from(
  Array.from({ length: 40 }, (_, i) => `record ${i} with some text that repeats itself; `).join(""),
);

// Of the programs zstd 1.5 and lz4 1.9, with the options that they are named by.
const ZSTD_WITHOUT_SIZE =
  "KLUv/QRY3QQAMgURF5C3OaDkWtKqa15+u3v0dne3ljI81x/k////v23btt22bVslQQ6juMtFMLB1iOuMFUzxzDnewY5GSIvnkIEEAyoBTAUoIIAzSg8f0TybTFNkniazKZonk2mKzNNkMkXzNJlN0TyZTFPcPJ81mc6aYrPmyazJXNYUlTXPZE0msqZ4rAkbMy+TxZTMi8kyJeZlskypm1voxjKTehHx";
const LZ4_FRAMES = {
  "-B4 -BD --no-frame-crc":
    "BCJNGGBAgvkAAADzHnJlY29yZCAwIHdpdGggc29tZSB0ZXh0IHRoYXQgcmVwZWF0cyBpdHNlbGY7IC0AHzEtABkfMi0AGR8zLQAZHzQtABkfNS0AGR82LQAZHzctABkfOC0AGR85LQAZHzHDARsPxAEaHzHFARofMcYBGh8xxwEaHzHIARofMckBGh8xygEaHzHLARofMcwBGh8yzAEaHzLMARofMswBGh8yzAEaHzLMARofMswBGh8yzAEaHzLMARofMswBGh8yzAEaHzPMARofM8wBGh8zzAEaHzPMARofM8wBGh8zzAEaHzPMARofM8wBGh8zzAEaHzPMAQ5QZWxmOyAAAAAA",
  "-B4 -BX --content-size":
    "BCJNGHRAvfkAAADzHnJlY29yZCAwIHdpdGggc29tZSB0ZXh0IHRoYXQgcmVwZWF0cyBpdHNlbGY7IC0AHzEtABkfMi0AGR8zLQAZHzQtABkfNS0AGR82LQAZHzctABkfOC0AGR85LQAZHzHDARsPxAEaHzHFARofMcYBGh8xxwEaHzHIARofMckBGh8xygEaHzHLARofMcwBGh8yzAEaHzLMARofMswBGh8yzAEaHzLMARofMswBGh8yzAEaHzLMARofMswBGh8yzAEaHzPMARofM8wBGh8zzAEaHzPMARofM8wBGh8zzAEaHzPMARofM8wBGh8zzAEaHzPMAQ5QZWxmOyDknVHNAAAAAHvCfOA=",
};

const HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0]);
const END_MARK = Buffer.alloc(4);

function lz4_block(bytes: number[], stored = false): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE((stored ? 0x8000_0000 : 0) + bytes.length);
  return Buffer.concat([head, Buffer.from(bytes)]);
}

describe("lz4", () => {
  test.each(Object.entries(LZ4_FRAMES))("a frame of lz4 %s is read", async (_, frame) => {
    expect(await decompress(CompressionTypes.LZ4, Buffer.from(frame, "base64"))).toEqual(TEXT);
  });

  test("a block may repeat what the block before it had", () => {
    const letters = [...Buffer.from("abcdefgh")];
    // No literals, 8 bytes from 8 bytes back, then the literals "xyz12".
    const repeat = [0x04, 8, 0, 0x50, ...Buffer.from("xyz12")];
    const frame = Buffer.concat([HEADER, lz4_block(letters, true), lz4_block(repeat), END_MARK]);
    expect(read_lz4(frame, 1000).toString()).toBe("abcdefghabcdefghxyz12");
    expect(read_lz4(Buffer.concat([frame, frame]), 1000).toString()).toBe("abcdefghabcdefghxyz12".repeat(2));
  });

  test("a frame may not repeat what stands before it", () => {
    const first = Buffer.concat([HEADER, lz4_block([...Buffer.from("abcdefgh")], true), END_MARK]);
    const second = Buffer.concat([HEADER, lz4_block([0x04, 8, 0, 0x10, 0x61]), END_MARK]);
    expect(() => read_lz4(Buffer.concat([first, second]), 1000)).toThrow("repeats what is not there");
  });

  test.each<[string, Buffer]>([
    ["is none", Buffer.from("no frame of anything")],
    ["is of another version", Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x80, 0x40, 0xc0])],
    ["needs a dictionary", Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x41, 0x40, 0xc0])],
    ["ends before its end mark", HEADER],
    ["ends within a block", Buffer.concat([HEADER, lz4_block([0x50, 1, 2, 3, 4, 5]).subarray(0, -1)])],
    ["ends within literals", Buffer.concat([HEADER, lz4_block([0x50, 1, 2]), END_MARK])],
    ["ends within a length", Buffer.concat([HEADER, lz4_block([0xf0, 255]), END_MARK])],
    ["ends within a match", Buffer.concat([HEADER, lz4_block([0x10, 1, 1]), END_MARK])],
    ["repeats what is not there", Buffer.concat([HEADER, lz4_block([0x10, 1, 2, 0]), END_MARK])],
  ])("a frame that %s is refused", (message, frame) => {
    expect(() => read_lz4(frame, 1000)).toThrow(message);
  });

  test("a damaged byte of a frame is refused, or gives other bytes, and never more than the bound", () => {
    const frame = Buffer.from(LZ4_FRAMES["-B4 -BX --content-size"], "base64");
    for (let at = 0; at < frame.length; at++) {
      for (const flip of [0x01, 0x10, 0x80, 0xff]) {
        const damaged = Buffer.from(frame);
        damaged[at] = damaged[at]! ^ flip;
        try {
          expect(read_lz4(damaged, 4000).length).toBeLessThanOrEqual(4000);
        } catch (error) {
          expect((error as Error).message).toMatch(/^an lz4 frame /);
        }
      }
    }
  });
});

describe("snappy", () => {
  /** As snappy-java's stream has it. */
  function xerial(blocks: Buffer[]): Buffer {
    const header = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    const parts = blocks.flatMap((block) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(block.length);
      return [length, block];
    });
    return Buffer.concat([header, ...parts]);
  }

  test("a bare block, as librdkafka writes it, is read", async () => {
    expect(await decompress(CompressionTypes.Snappy, compress(TEXT))).toEqual(TEXT);
  });

  test("a stream of blocks, as Java writes it, is read; one that is cut off is refused", async () => {
    const stream = xerial([compress(TEXT), compress(Buffer.from("more"))]);
    expect(await decompress(CompressionTypes.Snappy, stream)).toEqual(
      Buffer.concat([TEXT, Buffer.from("more")]),
    );
    for (const cut of [1, 8]) {
      await expect(decompress(CompressionTypes.Snappy, stream.subarray(0, -cut))).rejects.toThrow(
        /ends within/,
      );
    }
  });
});

describe("zstd", () => {
  test("a frame without the content's size is read", async () => {
    expect(await decompress(CompressionTypes.ZSTD, Buffer.from(ZSTD_WITHOUT_SIZE, "base64"))).toEqual(TEXT);
  });

  test("a frame that is cut off or damaged is refused", async () => {
    const frame = Buffer.from(ZSTD_WITHOUT_SIZE, "base64");
    await expect(decompress(CompressionTypes.ZSTD, frame.subarray(0, -20))).rejects.toThrow();
    const damaged = Buffer.from(frame);
    damaged.fill(0xff, 8, 40);
    await expect(decompress(CompressionTypes.ZSTD, damaged)).rejects.toThrow();
  });
});

describe("a batch that would fill the memory", () => {
  const over = Buffer.alloc(DECOMPRESSED_BYTES_MAX + 1);

  test("is refused with gzip", async () => {
    await expect(decompress(CompressionTypes.GZIP, gzipSync(over))).rejects.toThrow(/larger than/);
  });

  test("is refused with snappy, which says its length first", async () => {
    const length = DECOMPRESSED_BYTES_MAX + 1;
    const varint = [0, 7, 14, 21, 28].map((shift) => ((length >>> shift) & 0x7f) | (shift < 28 ? 0x80 : 0));
    await expect(decompress(CompressionTypes.Snappy, Buffer.from([...varint, 0, 0]))).rejects.toThrow(
      /too big/,
    );
  });

  test("is refused with lz4", async () => {
    // A literal, then 60,000 times the byte before.
    const block = lz4_block([0x1f, 0, 1, 0, ...Array<number>(235).fill(255), 0, 0x10, 0]);
    const count = Math.ceil(DECOMPRESSED_BYTES_MAX / 59_000);
    const frame = Buffer.concat([HEADER, ...Array<Buffer>(count).fill(block), END_MARK]);
    await expect(decompress(CompressionTypes.LZ4, frame)).rejects.toThrow(/too long/);
  });

  test("is refused with zstd", async () => {
    // Blocks of 128 KiB of one byte, the last of which says so, in a frame with a window of as much.
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
    const block = Buffer.from([0x02, 0x00, 0x10, 0x61]);
    const last = Buffer.from([0x03, 0x00, 0x10, 0x61]);
    const count = DECOMPRESSED_BYTES_MAX / 131_072;
    const frame = Buffer.concat([header, ...Array<Buffer>(count).fill(block), last]);
    await expect(decompress(CompressionTypes.ZSTD, frame)).rejects.toThrow(/more than/);
  });
});

test("what cannot be written says so", async () => {
  for (const type of [CompressionTypes.Snappy, CompressionTypes.LZ4, CompressionTypes.ZSTD]) {
    await expect(CompressionCodecs[type]!().compress({ buffer: TEXT })).rejects.toThrow("compress with gzip");
  }
});
