/**
 * Reads the LZ4 frame format (lz4_Frame_format.md 1.6.2), as Java's producer and librdkafka write it: blocks that know each
 * other or not, with or without checksums and the content's size. The packages for it need a compiler or a binary for each
 * machine, or write past the end of what they were given. Checksums are not looked at: Kafka has its own over the batch,
 * and its first producers wrote a wrong one.
 */

const MAGIC = 0x184d2204;
const FLAG_BLOCK_CHECKSUM = 0x10;
const FLAG_CONTENT_SIZE = 0x08;
const FLAG_CONTENT_CHECKSUM = 0x04;
const FLAG_DICTIONARY = 0x01;
const BLOCK_STORED = 0x8000_0000;
const MATCH_MIN = 4;
/** Up to here a loop is quicker than a call. */
const LOOP_BYTES_MAX = 32;
/** By the number in the header. */
const BLOCK_BYTES_MAX = [0, 0, 0, 0, 65_536, 262_144, 1_048_576, 4_194_304];

/** Throws Error for what is no such frame, is damaged, or has more than `bytes_max`. */
export function read_lz4(source: Buffer, bytes_max: number): Buffer {
  const output = new Output(bytes_max);
  let at = 0;
  while (at < source.length) at = read_frame(source, at, output);
  return output.taken();
}

/** Returns where the frame ends. */
function read_frame(source: Buffer, begin: number, output: Output): number {
  if (begin + 7 > source.length || source.readUInt32LE(begin) !== MAGIC) throw damaged("is none");
  const flags = source[begin + 4]!;
  const block_bytes_max = BLOCK_BYTES_MAX[(source[begin + 5]! >> 4) & 7]!;
  if (flags >> 6 !== 1 || block_bytes_max === 0) throw damaged("is of another version");
  if ((flags & FLAG_DICTIONARY) !== 0) throw damaged("needs a dictionary");
  let at = begin + 7 + ((flags & FLAG_CONTENT_SIZE) !== 0 ? 8 : 0);
  output.begin_frame();
  while (true) {
    if (at + 4 > source.length) throw damaged("ends before its end mark");
    const word = source.readUInt32LE(at);
    at += 4;
    if (word === 0) break;
    const length = word & ~BLOCK_STORED;
    const end = at + length;
    if (length > block_bytes_max || end > source.length) throw damaged("ends within a block");
    output.reserve(block_bytes_max);
    if (word >= BLOCK_STORED) output.copy_from(source, at, end);
    else read_block(source, at, end, output);
    at = end + ((flags & FLAG_BLOCK_CHECKSUM) !== 0 ? 4 : 0);
  }
  return at + ((flags & FLAG_CONTENT_CHECKSUM) !== 0 ? 4 : 0);
}

function read_block(source: Buffer, begin: number, end: number, output: Output): void {
  let at = begin;
  /** A length of 15 goes on in the bytes that follow. */
  function length_from(nibble: number): number {
    let length = nibble;
    if (nibble < 15) return length;
    while (at < end) {
      const more = source[at++]!;
      length += more;
      if (more < 255) return length;
    }
    throw damaged("ends within a length");
  }
  while (at < end) {
    const token = source[at++]!;
    const literals = length_from(token >> 4);
    if (at + literals > end) throw damaged("ends within literals");
    output.copy_from(source, at, at + literals);
    at += literals;
    if (at === end) return;
    if (at + 2 > end) throw damaged("ends within a match");
    const distance = source.readUInt16LE(at);
    at += 2;
    output.repeat(distance, length_from(token & 15) + MATCH_MIN);
  }
}

class Output {
  readonly #bytes_max: number;
  #bytes = Buffer.alloc(0);
  #length = 0;
  /** Matches do not reach behind it. */
  #frame_begin = 0;

  constructor(bytes_max: number) {
    this.#bytes_max = bytes_max;
  }

  begin_frame(): void {
    this.#frame_begin = this.#length;
  }

  /** Room for so many more, as far as the bound allows. */
  reserve(count: number): void {
    const wanted = Math.min(this.#length + count, this.#bytes_max);
    if (wanted <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.min(Math.max(wanted, this.#bytes.length * 2), this.#bytes_max));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }

  copy_from(source: Buffer, begin: number, end: number): void {
    const count = end - begin;
    this.#claim(count);
    const bytes = this.#bytes;
    const to = this.#length;
    if (count > LOOP_BYTES_MAX) source.copy(bytes, to, begin, end);
    else for (let i = 0; i < count; i++) bytes[to + i] = source[begin + i]!;
    this.#length += count;
  }

  repeat(distance: number, count: number): void {
    const from = this.#length - distance;
    if (distance === 0 || from < this.#frame_begin) throw damaged("repeats what is not there");
    this.#claim(count);
    const bytes = this.#bytes;
    const to = this.#length;
    if (distance >= count && count > LOOP_BYTES_MAX) bytes.copyWithin(to, from, from + count);
    else for (let i = 0; i < count; i++) bytes[to + i] = bytes[from + i]!;
    this.#length += count;
  }

  taken(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A block that is longer than its frame's header allows, or a frame than the bound. */
  #claim(count: number): void {
    if (this.#length + count > this.#bytes.length) throw damaged(`has a block or a content that is too long`);
  }
}

function damaged(what: string): Error {
  return new Error(`an lz4 frame ${what}`);
}
