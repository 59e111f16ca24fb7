/** The chain of one segment: which blocks there are, in its file or still in memory, and what one of them says. */
import {
  CHAIN_HEADER_BYTES,
  ChainBlock,
  type ChainBlockFacts,
  type ChainedEvent,
  chain_header,
  type EventPlace,
  last_not_above,
} from "./chain_block.js";
import { type Disk, error_code, type ReadFile } from "./disk.js";
import { segment_name } from "./segment.js";

/** Where a block is read to that is looked at before anything else runs: new memory for each costs more than the read. */
const scratch: Uint8Array = Buffer.allocUnsafeSlow(64 * 1024);

/** Of the chain that belongs to a segment. */
export function chain_name(first_offset: bigint): string {
  return segment_name(first_offset).replace(/log$/, "chain");
}

interface BlockPlace {
  facts: ChainBlockFacts;
  /** Byte of the file; null: it is in memory only. */
  file_byte: number | null;
  block: ChainBlock | null;
}

export class SegmentChain {
  readonly #disk: Disk;
  readonly path: string;
  /** One behind the other, without a gap. */
  readonly #blocks: BlockPlace[] = [];
  #file: ReadFile | null = null;
  /** Length of the file's blocks. */
  file_bytes = 0;
  /** It did not tell what it should, or a block was not what was written: the file is to be made anew. */
  damaged = false;

  constructor(disk: Disk, path: string) {
    this.#disk = disk;
    this.path = path;
  }

  /** What the file has of blocks that follow each other; behind a header, a block is checked when it is read. */
  static load(disk: Disk, path: string): SegmentChain {
    const chain = new SegmentChain(disk, path);
    const file = chain.#open();
    if (file === null) return chain;
    const size = file.size();
    for (let at = 0; at < size; ) {
      const header = new Uint8Array(CHAIN_HEADER_BYTES);
      const facts = chain.#fill(header, at) ? chain_header(header) : null;
      if (facts === null || at + facts.length > size || !chain.follows(facts)) break;
      chain.#blocks.push({ facts, file_byte: at, block: null });
      at += facts.length;
      chain.file_bytes = at;
    }
    chain.close();
    return chain;
  }

  /** Whether a block goes on where the last one ends. */
  follows({ from, to, first_offset }: ChainBlockFacts): boolean {
    const last = this.#blocks.at(-1)?.facts;
    return from < to && (last === undefined || (last.to === from && last.next_offset <= first_offset));
  }

  /** Bytes of the segment that it covers. */
  get from(): number {
    return this.#blocks[0]?.facts.from ?? 0;
  }
  get to(): number {
    return this.#blocks.at(-1)?.facts.to ?? 0;
  }

  /** Forgets blocks that end behind byte `to` of the segment, so that others can follow. False: none ends just there. */
  cut(to: number): boolean {
    while (this.to > to) this.#blocks.pop();
    const last = this.#blocks.at(-1);
    this.file_bytes = last === undefined ? 0 : last.file_byte! + last.facts.length;
    return this.to === to;
  }

  /** It has nothing: what the file has is written over. */
  clear(): void {
    this.#blocks.length = 0;
    this.file_bytes = 0;
    this.damaged = false;
  }

  /** A block that is not in the file yet. */
  add(block: ChainBlock): void {
    this.#blocks.push({ facts: block.facts, file_byte: null, block });
  }

  /** The oldest block that was only in memory is in the file now. */
  saved(): void {
    const place = this.#blocks.find(({ file_byte }) => file_byte === null)!;
    place.file_byte = this.file_bytes;
    place.block = null;
    this.file_bytes += place.facts.length;
  }

  /** Blocks that are in memory only will not be written. */
  drop_unsaved(): void {
    while (this.#blocks.at(-1)?.file_byte === null) this.#blocks.pop();
  }

  /** Facts of all blocks, in order. */
  get blocks(): ChainBlockFacts[] {
    return this.#blocks.map(({ facts }) => facts);
  }

  /** Null: it cannot be read, or is damaged. */
  block(i: number): ChainBlock | null {
    return this.#read(i, (length) => Buffer.allocUnsafeSlow(length));
  }

  #read(i: number, memory: (length: number) => Uint8Array): ChainBlock | null {
    const place = this.#blocks[i];
    if (place === undefined) return null;
    if (place.block !== null) return place.block;
    const bytes = memory(place.facts.length);
    const block = this.#fill(bytes, place.file_byte!) ? ChainBlock.of(bytes) : null;
    if (block === null) this.damaged = true;
    return block;
  }

  /** Fills `into`; a chain is derived, and what cannot be read is as good as not there. */
  #fill(into: Uint8Array, at: number): boolean {
    try {
      return this.#open()?.read_sync(into, at) === into.length;
    } catch {
      return false;
    }
  }

  /** Null: it does not tell. */
  find(place: EventPlace): ChainedEvent | null {
    const blocks = this.#blocks;
    const i = last_not_above(blocks.length, place.offset, (n) => blocks[n]!.facts.first_offset);
    const found = this.#read(i, scratch_of)?.find(place) ?? null;
    // Nobody asks for what is no event: a damaged header has led to another block, or the block is missing.
    if (found === null) this.damaged = true;
    return found;
  }

  /** Lets go of the file until it is read again. */
  close(): void {
    this.#file?.close();
    this.#file = null;
  }

  #open(): ReadFile | null {
    if (this.#file !== null) return this.#file;
    try {
      this.#file = this.#disk.open_read(this.path);
    } catch (error) {
      if (error_code(error) === "") throw error;
    }
    return this.#file;
  }
}

function scratch_of(length: number): Uint8Array {
  return length <= scratch.length ? scratch.subarray(0, length) : Buffer.allocUnsafeSlow(length);
}
