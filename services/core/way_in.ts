/**
 * The stateless way in: judges a protobuf EventBatch whole and cuts it into records, one partition each, without
 * making an object of an event. One instance serves any number of batches, one at a time.
 */
import type { Demand } from "./facts.js";
import type { HostList } from "./host_list.js";
import { address, CoreMemory } from "./module.js";

interface Exports {
  memory: WebAssembly.Memory;
  start_way_in(seed: bigint): number;
  input(): number;
  input_bytes(): number;
  cut_batch(length: number, partitions: number): number;
  cut_count(): number;
  cuts(): number;
  part_count(): number;
  parts(): number;
  record_error(): number;
  error_index(): number;
}

/** What is wrong with a batch: a number of services/events/record_error.ts, and the event that has it. */
export interface BatchError {
  error: number;
  index: number;
}

export interface CutBatch {
  /** Of its events. */
  count: number;
  /** In the order of partitions; without those that no event belongs to. */
  parts: BatchPart[];
}

export interface BatchPart {
  partition: number;
  /** In the order of their events; views of one buffer that nothing else is in. */
  records: CutRecord[];
  /** Each host that the records are about once, in the order of their first events. */
  hosts: HostList;
  /** What they may need of the partition's core. */
  demand: Demand;
}

export interface CutRecord {
  /** Of its events. */
  count: number;
  bytes: Uint8Array;
}

const EMPTY = 19;
const RECORD_TOO_LARGE = 17;
const CUT_BYTES = 16;
const PART_BYTES = 32;

export class WayIn {
  #core: Exports;
  #memory: CoreMemory;

  /** `seed` spreads its hash table; it changes nothing that is cut. */
  constructor(module: WebAssembly.Module, seed: bigint) {
    this.#core = new WebAssembly.Instance(module).exports as unknown as Exports;
    if (!this.#core.start_way_in(seed)) throw new Error("no memory for the core's way in");
    this.#memory = new CoreMemory(this.#core.memory);
  }

  /** What it gives are copies; the records' buffers may be transferred. */
  cut(batch: Uint8Array, partitions: number): CutBatch | BatchError {
    const core = this.#core;
    if (batch.length === 0) return { error: EMPTY, index: 0 };
    if (batch.length > core.input_bytes()) return { error: RECORD_TOO_LARGE, index: 0 };
    this.#memory.bytes(address(core.input()), batch.length).set(batch);
    const count = core.cut_batch(batch.length, partitions);
    if (count === 0) return { error: core.record_error(), index: core.error_index() };

    const parts: BatchPart[] = [];
    let cut_at = address(core.cuts());
    for (let i = 0; i < core.part_count(); i++) {
      const part = this.#part(address(core.parts()) + i * PART_BYTES, cut_at);
      cut_at += part.records.length * CUT_BYTES;
      parts.push(part);
    }
    return { count, parts };
  }

  /** The part whose description is at `at`, and the first of whose records' is at `cut_at`. */
  #part(at: number, cut_at: number): BatchPart {
    const view = this.#memory.view;
    const [begin, length] = [view.getUint32(at + 4, true), view.getUint32(at + 8, true)];
    const bytes = this.#memory.bytes(begin, length).slice();
    const records = Array.from({ length: view.getUint32(at + 12, true) }, (_, i): CutRecord => {
      const cut = cut_at + i * CUT_BYTES;
      const from = view.getUint32(cut, true) - begin;
      const to = from + view.getUint32(cut + 4, true);
      return { count: view.getUint32(cut + 8, true), bytes: bytes.subarray(from, to) };
    });
    const hosts = this.#memory.bytes(view.getUint32(at + 16, true), view.getUint32(at + 20, true)).slice();
    return {
      partition: view.getUint32(at, true),
      demand: {
        events: records.reduce((sum, record) => sum + record.count, 0),
        unreadable: view.getUint32(at + 28, true),
        bytes: length,
      },
      records,
      hosts: { count: view.getUint32(at + 24, true), bytes: hosts },
    };
  }
}
