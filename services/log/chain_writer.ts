/**
 * Makes blocks of what the fold tells, and writes them beside the segments. Nothing waits for it: a chain that cannot
 * be written ends early, and what it lacks is made again later. Blocks follow each other in a file, from wherever in
 * the segment they begin.
 */
import { dirname } from "node:path";
import {
  CHAIN_EVENT_BYTES,
  CHAIN_FRAME_BYTES,
  CHAIN_RECORD_BYTES,
  ChainBlock,
  chain_header,
  encode_chain_block,
} from "./chain_block.js";
import type { Disk, WriteFile } from "./disk.js";
import { view_of } from "./frame.js";
import type { SegmentChain } from "./segment_chain.js";

/** A block is ended behind the frame that reaches this: about 10 KiB, so that a look-up reads little. */
const BLOCK_EVENTS = 512;
/** So much is written at once; less when somebody asks for it. */
const WRITE_BYTES = 1024 * 1024;
/** A chain that is written slower than the fold goes ends; it is made again later. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

/** What the fold tells of some frames: tables as chain_block.ts describes, `frames` with what stands before each. */
export interface ChainTables {
  frames: Uint8Array;
  records: Uint8Array;
  entries: Uint8Array;
}

/** The block that is being made. */
interface Unfinished {
  from: number;
  to: number;
  next_offset: bigint;
  frames: Uint8Array[];
  records: Uint8Array[];
  entries: Uint8Array[];
  frame_count: number;
  record_count: number;
  event_count: number;
}

export class ChainWriter {
  readonly #disk: Disk;
  readonly #chain: SegmentChain;
  #unfinished: Unfinished;
  #waiting: Uint8Array[] = [];
  #waiting_bytes = 0;
  #file: WriteFile | null = null;
  /** The file's name in the directory is durable. */
  #is_named = false;
  #work: Promise<void> = Promise.resolve();
  /** Nothing is written any more. */
  #ended = false;

  /** `byte`: of the segment, where the first frames to be told begin; the chain ends there, or is empty. */
  constructor(disk: Disk, chain: SegmentChain, byte: number) {
    this.#disk = disk;
    this.#chain = chain;
    this.#unfinished = unfinished_at(byte);
  }

  /** Frames [from, to) of the segment, which follow those told before; `next_offset` is the log's behind them. */
  tell(from: number, to: number, next_offset: bigint, tables: ChainTables): void {
    if (this.#ended) return;
    if (from !== this.#unfinished.to) {
      this.#end();
      return;
    }
    const { frames, records, entries } = tables;
    const view = view_of(frames);
    const count = frames.length / CHAIN_FRAME_BYTES;
    for (let i = 0; i < count; i++) {
      const at = i * CHAIN_FRAME_BYTES;
      const is_last = i + 1 === count;
      const next = at + CHAIN_FRAME_BYTES;
      const end = is_last ? to : from + view.getUint32(next + 24, true);
      const records_end = is_last ? records.length : view.getUint32(next + 32, true) * CHAIN_RECORD_BYTES;
      const entries_end = is_last ? entries.length : view.getUint32(next + 36, true) * CHAIN_EVENT_BYTES;
      const block = this.#unfinished;
      if (records_end > view.getUint32(at + 32, true) * CHAIN_RECORD_BYTES) {
        // The table is the core's memory: what is kept of it is a copy.
        const own = frames.slice(at, next);
        const own_view = view_of(own);
        own_view.setUint32(24, from + view.getUint32(at + 24, true) - block.from, true);
        own_view.setUint32(32, block.record_count, true);
        own_view.setUint32(36, block.event_count, true);
        block.frames.push(own);
        const own_records = records.slice(view.getUint32(at + 32, true) * CHAIN_RECORD_BYTES, records_end);
        const own_entries = entries.slice(view.getUint32(at + 36, true) * CHAIN_EVENT_BYTES, entries_end);
        block.records.push(own_records);
        block.entries.push(own_entries);
        block.frame_count += 1;
        block.record_count += own_records.length / CHAIN_RECORD_BYTES;
        block.event_count += own_entries.length / CHAIN_EVENT_BYTES;
      }
      block.to = end;
      block.next_offset = is_last ? next_offset : view.getBigUint64(next, true);
      if (block.event_count >= BLOCK_EVENTS || block.frame_count >= BLOCK_EVENTS) this.#finish_block();
    }
    // Empty frames alone are told too: the next ones follow them.
    if (count === 0) {
      this.#unfinished.to = to;
      this.#unfinished.next_offset = next_offset;
    }
    if (this.#waiting_bytes >= WRITE_BYTES) void this.flush();
  }

  /** Bytes of the segment that the chain covers, with what is not in a block yet. */
  get from(): number {
    return this.#chain.blocks.length > 0 || this.#ended ? this.#chain.from : this.#unfinished.from;
  }
  get to(): number {
    return this.#ended ? this.#chain.to : this.#unfinished.to;
  }

  /** What was told so far can be looked up. */
  finish(): void {
    this.#finish_block();
  }

  /** All that was told is in the file, as far as the disk lets it; not yet durable. */
  flush(): Promise<void> {
    this.finish();
    if (this.#waiting.length > 0) this.#work = this.#work.then(() => this.#write());
    return this.#work;
  }

  /** As `flush`, and durable. False where the disk did not let it. */
  async sync(): Promise<boolean> {
    await this.flush();
    if (this.#ended) return false;
    if (this.#file === null) return true;
    try {
      await this.#file.sync();
      if (!this.#is_named) await this.#disk.sync_directory(dirname(this.#chain.path));
      this.#is_named = true;
      return true;
    } catch {
      this.#end();
      return false;
    }
  }

  /** As `sync`, and nothing is written any more. */
  async close(): Promise<void> {
    await this.sync();
    await this.#file?.close().catch(() => {});
    this.#file = null;
    this.#ended = true;
  }

  #finish_block(): void {
    const { from, to, next_offset, frames, records, entries } = this.#unfinished;
    this.#unfinished = unfinished_at(to);
    if (this.#ended || to === from) return;
    const frame_table = Buffer.concat(frames);
    const view = view_of(frame_table);
    let lowest_ms = 0xffff_ffff_ffff_ffffn;
    for (let at = 0; at < frame_table.length; at += CHAIN_FRAME_BYTES) {
      const lowest = view.getBigUint64(at + 8, true);
      if (lowest < lowest_ms) lowest_ms = lowest;
    }
    const is_empty = frame_table.length === 0;
    const first_offset = is_empty ? next_offset : view.getBigUint64(0, true);
    const last_at = frame_table.length - CHAIN_FRAME_BYTES;
    const facts = {
      from,
      to,
      first_offset,
      next_offset,
      lowest_ms,
      first_log_time_ms: is_empty ? 0 : Number(view.getBigUint64(16, true)),
      last_log_time_ms: is_empty ? 0 : Number(view.getBigUint64(last_at + 16, true)),
    };
    const bytes = encode_chain_block(facts, frame_table, Buffer.concat(records), Buffer.concat(entries));
    this.#chain.add(new ChainBlock(bytes, chain_header(bytes)!));
    this.#waiting.push(bytes);
    this.#waiting_bytes += bytes.length;
    if (this.#waiting_bytes > WAITING_BYTES_MAX) this.#end();
  }

  async #write(): Promise<void> {
    const blocks = this.#waiting.splice(0);
    if (blocks.length === 0 || this.#ended) return;
    this.#waiting_bytes = 0;
    try {
      if (this.#file === null) {
        this.#file = await this.#disk.open_write(this.#chain.path);
        await this.#file.truncate(this.#chain.file_bytes);
      }
      await this.#file.write(blocks, this.#chain.file_bytes);
    } catch {
      this.#end();
      return;
    }
    // A sync may have failed meanwhile: then the chain has ended before them.
    if (!this.#ended) for (const _ of blocks) this.#chain.saved();
  }

  /** The chain ends with what is in the file; what comes later has none. */
  #end(): void {
    this.#ended = true;
    this.#waiting = [];
    this.#waiting_bytes = 0;
    this.#chain.drop_unsaved();
  }
}

function unfinished_at(byte: number): Unfinished {
  return {
    from: byte,
    to: byte,
    next_offset: 0n,
    frames: [],
    records: [],
    entries: [],
    frame_count: 0,
    record_count: 0,
    event_count: 0,
  };
}
