/**
 * Reads what producers compress, within bounds. kafkajs has gzip only, and no bound: a batch of 1 MB may hold a gigabyte.
 * What this program writes is compressed by gzip or not at all.
 */
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { uncompress } from "snappyjs";
import { read_lz4 } from "./lz4_frame.js";

/** Of one batch of records, decompressed. A batch is 1 MB compressed, unless a topic allows more. */
export const DECOMPRESSED_BYTES_MAX = 64 * 1024 ** 2;

interface Codec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

/** In a batch's attributes, as Kafka's protocol has them. */
const GZIP = 1;
const SNAPPY = 2;
const LZ4 = 3;
const ZSTD = 4;

/** In the shape of kafkajs's CompressionCodecs. */
export const CODECS: Record<number, () => Codec> = {
  [GZIP]: () => ({
    compress: ({ buffer }) => promisify(gzip)(buffer),
    decompress: (buffer) => promisify(gunzip)(buffer, { maxOutputLength: DECOMPRESSED_BYTES_MAX }),
  }),
  [SNAPPY]: reader("snappy", read_snappy),
  [LZ4]: reader("lz4", (buffer) => read_lz4(buffer, DECOMPRESSED_BYTES_MAX)),
  [ZSTD]: reader("zstd", read_zstd),
};

function reader(name: string, read: (buffer: Buffer) => Buffer | Promise<Buffer>): () => Codec {
  return () => ({
    async compress() {
      throw new Error(`${name} is read, but not written: compress with gzip`);
    },
    async decompress(buffer) {
      return read(buffer);
    },
  });
}

/** Java's stream: this, two versions, then blocks that each follow their length. librdkafka writes one bare block. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

function read_snappy(buffer: Buffer): Buffer {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
    return uncompress(buffer, DECOMPRESSED_BYTES_MAX);
  }
  const blocks: Buffer[] = [];
  let room = DECOMPRESSED_BYTES_MAX;
  let at = XERIAL_HEADER_BYTES;
  while (at < buffer.length) {
    if (at + 4 > buffer.length) throw new Error("a snappy stream ends within a block's length");
    const begin = at + 4;
    at = begin + buffer.readUInt32BE(at);
    if (at > buffer.length) throw new Error("a snappy stream ends within a block");
    const block = uncompress(buffer.subarray(begin, at), room);
    room -= block.length;
    blocks.push(block);
  }
  return Buffer.concat(blocks);
}

/** From where the decoder makes no progress and does not say so: the frame is damaged. */
const EMPTY_PARTS_MAX = 64;

/** As a stream: producers leave the content's size out of the frame's header, and it would be no bound. */
async function read_zstd(buffer: Buffer): Promise<Buffer> {
  const { ZSTDDecoder } = await import("zstddec/stream");
  const decoder = new ZSTDDecoder();
  await decoder.init();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  let empty = 0;
  for (const part of decoder.decodeStreaming([buffer])) {
    empty = part.length === 0 ? empty + 1 : 0;
    if (empty > EMPTY_PARTS_MAX) throw new Error("a zstd frame is damaged");
    bytes += part.length;
    if (bytes > DECOMPRESSED_BYTES_MAX) {
      throw new Error(`a zstd frame has more than ${DECOMPRESSED_BYTES_MAX} bytes`);
    }
    // The decoder gives copies of its memory.
    parts.push(part);
  }
  return Buffer.concat(parts, bytes);
}
