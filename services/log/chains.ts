/** The chains of one log: each segment's, the last one's being written. For the process that owns the log. */
import { join } from "node:path";
import type { ChainedEvent, EventPlace } from "./chain_block.js";
import { type ChainTables, ChainWriter } from "./chain_writer.js";
import type { Disk } from "./disk.js";
import type { FramesPlace } from "./segment.js";
import { chain_name, SegmentChain } from "./segment_chain.js";

/** A log may have thousands of segments. */
const OPEN_FILES_MAX = 16;

export class Chains {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #known = new Map<bigint, SegmentChain>();
  readonly #used = new Set<SegmentChain>();
  #writer: ChainWriter | null = null;
  #writer_segment = -1n;
  /** Writers of segments before that, which write on by themselves until all is durable. */
  readonly #closing = new Set<Promise<void>>();

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** What the fold found of the `bytes` of frames at the place, in the log's order; `next_offset` is behind them. */
  tell({ segment, byte }: FramesPlace, bytes: number, next_offset: bigint, tables: ChainTables): void {
    if (segment !== this.#writer_segment || this.#writer === null) this.#begin(segment, byte);
    this.#writer!.tell(byte, byte + bytes, next_offset, tables);
  }

  /** A chain that does not end where the fold goes on is of another history, or lacks something: it begins anew. */
  #begin(segment: bigint, byte: number): void {
    if (this.#writer !== null) {
      const closing = this.#writer.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    const chain = this.of_segment(segment);
    if (!chain.cut(byte)) chain.clear();
    this.#writer = new ChainWriter(this.#disk, chain, byte);
    this.#writer_segment = segment;
  }

  of_segment(segment: bigint): SegmentChain {
    let chain = this.#known.get(segment);
    if (chain === undefined) {
      chain = SegmentChain.load(this.#disk, join(this.#directory, chain_name(segment)));
      this.#known.set(segment, chain);
    }
    if (this.#used.size >= OPEN_FILES_MAX && !this.#used.has(chain)) {
      for (const used of this.#used) used.close();
      this.#used.clear();
    }
    this.#used.add(chain);
    return chain;
  }

  /** Whether it tells of the segment's first so many bytes, as far as is known. */
  covers(segment: bigint, bytes: number): boolean {
    const chain = this.of_segment(segment);
    const { from, to } = segment === this.#writer_segment ? this.#writer! : chain;
    return from === 0 && to >= bytes && !chain.damaged;
  }

  /** What is said of an event of the segment; null: nothing. */
  find(segment: bigint, place: EventPlace): ChainedEvent | null {
    if (segment === this.#writer_segment) this.#writer?.finish();
    return this.of_segment(segment).find(place);
  }

  /** First offset of the segment's first frame that is later than the instant; null: the chain does not tell of one. */
  first_later(segment: bigint, log_time_ms: number): bigint | null {
    const chain = this.of_segment(segment);
    if (segment === this.#writer_segment) this.#writer?.finish();
    if (chain.from > 0) return null;
    const { blocks } = chain;
    const i = blocks.findIndex(
      ({ frames, last_log_time_ms }) => frames > 0 && last_log_time_ms > log_time_ms,
    );
    const block = i < 0 ? null : chain.block(i);
    for (let n = 0; block !== null && n < block.facts.frames; n++) {
      const frame = block.frame(n);
      if (frame.log_time_ms > log_time_ms) return frame.first_offset;
    }
    return null;
  }

  /** All that was told is in the files. */
  async flush(): Promise<void> {
    await Promise.all([...this.#closing, this.#writer?.flush()]);
  }

  /** As `flush`, and durable, as far as the disk lets it. */
  async sync(): Promise<void> {
    await Promise.all([...this.#closing, this.#writer?.sync()]);
  }

  /** The segment's file was made anew. */
  forget(segment: bigint): void {
    const chain = this.#known.get(segment);
    this.#known.delete(segment);
    if (chain === undefined) return;
    chain.close();
    this.#used.delete(chain);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#closing, this.#writer?.close()]);
    for (const chain of this.#used) chain.close();
    this.#used.clear();
    this.#known.clear();
  }
}
