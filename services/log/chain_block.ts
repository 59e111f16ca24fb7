/**
 * The chain of a segment: what the fold found of its events, kept beside it in `<first offset>.chain`; derived, and
 * made again where it is missing. A file is blocks, each of some whole frames of the segment, one behind the other.
 * A block, little-endian:
 *
 *   byte  bytes  field
 *      0      4  magic "KLPC"
 *      4      4  length of the whole block, bytes
 *      8      4  CRC-32 (zlib's) of everything behind this field
 *     12     12  how many frames, records and events it has, 4 bytes each
 *     24     16  byte of the segment where its frames begin, and where they end
 *     40     16  first offset, and the next one behind it
 *     56      8  lowest instant of all of its frames; 2^64-1 where there is none
 *     64     16  log times of its first and its last frame, ms since 1970
 *     80      4  0
 *     84      4  CRC-32 of bytes 12 to 84: a reader that passes a block over looks at its header alone
 *     88     40  per frame: 8 first offset, 8 lowest instant (effective times, not_before, losses), 8 log time,
 *                4 byte less the block's first, 4 CRC-32 of the frame, 4 records before it, 4 events before it
 *             8  per record: 4 offset less its frame's first, 4 events before it in its frame
 *            16  per event: 8 position of the host's event before it (offset << 14 | index; 2^64-1: none),
 *                8 effective time in 48 bits, above it the effect (services/core/codes.ts)
 *
 * The tables of frames, records and events are as the core makes them (core-wasm/assembly/chain.ts). Empty frames are
 * in none of them. A record that was not applied has no events.
 */
import { crc32 } from "node:zlib";
import { view_of } from "./frame.js";

export const CHAIN_HEADER_BYTES = 88;
export const CHAIN_FRAME_BYTES = 40;
export const CHAIN_RECORD_BYTES = 8;
export const CHAIN_EVENT_BYTES = 16;

const MAGIC_U32 = 0x43504c4b;
const CRC_AT = 8;
const CRC_FROM = 12;
const HEADER_CRC_AT = 84;
const NO_POSITION = 0xffff_ffff_ffff_ffffn;
const INDEX_BITS = 14n;
const INDEX_MASK = (1n << INDEX_BITS) - 1n;
const TIME_MASK = (1n << 48n) - 1n;
/** No more than a frame of the largest record, and as much again. */
export const CHAIN_BLOCK_BYTES_MAX = 4 * 1024 * 1024;

/** What a block's header says. */
export interface ChainBlockFacts {
  /** Of the whole block, bytes. */
  length: number;
  frames: number;
  records: number;
  events: number;
  /** Bytes of the segment. */
  from: number;
  to: number;
  first_offset: bigint;
  next_offset: bigint;
  lowest_ms: bigint;
  first_log_time_ms: number;
  last_log_time_ms: number;
}

/** An event's place: offset of its record, index in the record. */
export interface EventPlace {
  offset: bigint;
  index: number;
}

/** What the chain says of one event. */
export interface ChainedEvent {
  /** The host's event before it; null: it is the host's first. */
  previous: EventPlace | null;
  /** ms since 1970. */
  effective_time_ms: number;
  /** Number of services/core/codes.ts. */
  effect: number;
  /** Where its frame begins in the segment, and the frame's CRC-32: another one there is another log. */
  frame_byte: number;
  frame_crc32: number;
}

/** A frame as a block knows it. */
export interface ChainedFrame {
  byte: number;
  end: number;
  first_offset: bigint;
  lowest_ms: bigint;
  log_time_ms: number;
  crc32: number;
  /** Its events' entries in the block. */
  events_from: number;
  events_to: number;
}

/** The header of a block at the beginning of `bytes`; null where none begins, or one that cannot be. */
export function chain_header(bytes: Uint8Array): ChainBlockFacts | null {
  if (bytes.length < CHAIN_HEADER_BYTES) return null;
  const view = view_of(bytes);
  const length = view.getUint32(4, true);
  const [frames, records, events] = [12, 16, 20].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
  ];
  const expected =
    CHAIN_HEADER_BYTES +
    frames * CHAIN_FRAME_BYTES +
    records * CHAIN_RECORD_BYTES +
    events * CHAIN_EVENT_BYTES;
  if (view.getUint32(0, true) !== MAGIC_U32 || length !== expected || length > CHAIN_BLOCK_BYTES_MAX)
    return null;
  if (header_crc32(bytes) !== view.getUint32(HEADER_CRC_AT, true)) return null;
  return {
    length,
    frames,
    records,
    events,
    from: Number(view.getBigUint64(24, true)),
    to: Number(view.getBigUint64(32, true)),
    first_offset: view.getBigUint64(40, true),
    next_offset: view.getBigUint64(48, true),
    lowest_ms: view.getBigUint64(56, true),
    first_log_time_ms: Number(view.getBigUint64(64, true)),
    last_log_time_ms: Number(view.getBigUint64(72, true)),
  };
}

function header_crc32(block: Uint8Array): number {
  return crc32(block.subarray(CRC_FROM, HEADER_CRC_AT));
}

export type NewChainBlock = Omit<ChainBlockFacts, "length" | "frames" | "records" | "events">;

/** Tables as described above, of whole frames; `frames` with what stands before each in this block. */
export function encode_chain_block(
  facts: NewChainBlock,
  frames: Uint8Array,
  records: Uint8Array,
  events: Uint8Array,
): Uint8Array {
  const length = CHAIN_HEADER_BYTES + frames.length + records.length + events.length;
  const block: Uint8Array = Buffer.allocUnsafeSlow(length);
  const view = view_of(block);
  view.setUint32(0, MAGIC_U32, true);
  view.setUint32(4, length, true);
  view.setUint32(12, frames.length / CHAIN_FRAME_BYTES, true);
  view.setUint32(16, records.length / CHAIN_RECORD_BYTES, true);
  view.setUint32(20, events.length / CHAIN_EVENT_BYTES, true);
  view.setBigUint64(24, BigInt(facts.from), true);
  view.setBigUint64(32, BigInt(facts.to), true);
  view.setBigUint64(40, facts.first_offset, true);
  view.setBigUint64(48, facts.next_offset, true);
  view.setBigUint64(56, facts.lowest_ms, true);
  view.setBigUint64(64, BigInt(facts.first_log_time_ms), true);
  view.setBigUint64(72, BigInt(facts.last_log_time_ms), true);
  view.setUint32(80, 0, true);
  view.setUint32(HEADER_CRC_AT, header_crc32(block), true);
  block.set(frames, CHAIN_HEADER_BYTES);
  block.set(records, CHAIN_HEADER_BYTES + frames.length);
  block.set(events, CHAIN_HEADER_BYTES + frames.length + records.length);
  view.setUint32(CRC_AT, crc32(block.subarray(CRC_FROM)), true);
  return block;
}

/** A whole block that was checked, to look things up in. */
export class ChainBlock {
  readonly facts: ChainBlockFacts;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #records_at: number;
  readonly #events_at: number;

  /** Null: the bytes are not one whole block, as it was written. */
  static of(bytes: Uint8Array): ChainBlock | null {
    const facts = chain_header(bytes);
    if (facts?.length !== bytes.length) return null;
    const is_good = crc32(bytes.subarray(CRC_FROM)) === view_of(bytes).getUint32(CRC_AT, true);
    return is_good ? new ChainBlock(bytes, facts) : null;
  }

  /** `facts`: its header's. */
  constructor(bytes: Uint8Array, facts: ChainBlockFacts) {
    this.facts = facts;
    this.#bytes = bytes;
    this.#view = view_of(bytes);
    this.#records_at = CHAIN_HEADER_BYTES + facts.frames * CHAIN_FRAME_BYTES;
    this.#events_at = this.#records_at + facts.records * CHAIN_RECORD_BYTES;
  }

  frame(i: number): ChainedFrame {
    const at = CHAIN_HEADER_BYTES + i * CHAIN_FRAME_BYTES;
    const view = this.#view;
    const is_last = i + 1 === this.facts.frames;
    return {
      byte: this.facts.from + view.getUint32(at + 24, true),
      end: is_last ? this.facts.to : this.facts.from + view.getUint32(at + CHAIN_FRAME_BYTES + 24, true),
      first_offset: view.getBigUint64(at, true),
      lowest_ms: view.getBigUint64(at + 8, true),
      log_time_ms: Number(view.getBigUint64(at + 16, true)),
      crc32: view.getUint32(at + 28, true),
      events_from: view.getUint32(at + 36, true),
      events_to: is_last ? this.facts.events : view.getUint32(at + CHAIN_FRAME_BYTES + 36, true),
    };
  }

  /** Entries of the events [from, to), 16 bytes each; a view. */
  events(from: number, to: number): Uint8Array {
    const at = this.#events_at;
    return this.#bytes.subarray(at + from * CHAIN_EVENT_BYTES, at + to * CHAIN_EVENT_BYTES);
  }

  /** Null: it does not know the event. */
  find({ offset, index }: EventPlace): ChainedEvent | null {
    const { frames } = this.facts;
    const view = this.#view;
    const i = last_not_above(frames, offset, (n) =>
      view.getBigUint64(CHAIN_HEADER_BYTES + n * CHAIN_FRAME_BYTES, true),
    );
    if (i < 0) return null;
    const frame = this.frame(i);
    const at = CHAIN_HEADER_BYTES + i * CHAIN_FRAME_BYTES;
    const records_from = view.getUint32(at + 32, true);
    const records_to =
      i + 1 === frames ? this.facts.records : view.getUint32(at + CHAIN_FRAME_BYTES + 32, true);
    const record_at = (n: number) => this.#records_at + (records_from + n) * CHAIN_RECORD_BYTES;
    const delta = offset - frame.first_offset;
    const n = last_not_above(records_to - records_from, delta, (each) =>
      BigInt(view.getUint32(record_at(each), true)),
    );
    if (n < 0 || BigInt(view.getUint32(record_at(n), true)) !== delta) return null;
    const event = frame.events_from + view.getUint32(record_at(n) + 4, true) + index;
    const is_last = records_from + n + 1 === records_to;
    const end = is_last ? frame.events_to : frame.events_from + view.getUint32(record_at(n + 1) + 4, true);
    if (event >= end) return null;
    const previous = view.getBigUint64(this.#events_at + event * CHAIN_EVENT_BYTES, true);
    const told = view.getBigUint64(this.#events_at + event * CHAIN_EVENT_BYTES + 8, true);
    return {
      previous:
        previous === NO_POSITION
          ? null
          : { offset: previous >> INDEX_BITS, index: Number(previous & INDEX_MASK) },
      effective_time_ms: Number(told & TIME_MASK),
      effect: Number(told >> 48n),
      frame_byte: frame.byte,
      frame_crc32: frame.crc32,
    };
  }
}

/** Index of the last of `count` rising values that is not above `wanted`; -1: all are. */
export function last_not_above(count: number, wanted: bigint, value_at: (i: number) => bigint): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value_at(middle) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
