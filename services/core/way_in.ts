/**
 * The stateless way in: judges a protobuf EventBatch whole and cuts it into records, one partition each, without
 * making an object of an event. One instance serves any number of batches, one at a time.
 */
import { address, CoreMemory } from "./module.js";

interface Exports {
  memory: WebAssembly.Memory;
  start_way_in(): number;
  input(): number;
  input_bytes(): number;
  cut_batch(length: number, partitions: number): number;
  cut_count(): number;
  cuts(): number;
  cut_hosts(): number;
  record_error(): number;
  error_index(): number;
}

/** What is wrong with a batch: a number of services/events/record_error.ts, and the event that has it. */
export interface BatchError {
  error: number;
  index: number;
}

export interface CutBatch {
  count: number;
  /** In the order of partitions; a partition's records in the order of their events. */
  records: { partition: number; count: number; bytes: Uint8Array }[];
  /** Of each event in the batch's order. */
  events: { partition: number; host_id: string }[];
}

const EMPTY = 19;
const RECORD_TOO_LARGE = 17;
/** U+FEFF at the beginning of a text is a part of it. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

export class WayIn {
  #core: Exports;
  #memory: CoreMemory;

  constructor(module: WebAssembly.Module) {
    this.#core = new WebAssembly.Instance(module).exports as unknown as Exports;
    if (!this.#core.start_way_in()) throw new Error("no memory for the core's way in");
    this.#memory = new CoreMemory(this.#core.memory);
  }

  /** The records are copies; they may be transferred. */
  cut(batch: Uint8Array, partitions: number): CutBatch | BatchError {
    const core = this.#core;
    if (batch.length === 0) return { error: EMPTY, index: 0 };
    if (batch.length > core.input_bytes()) return { error: RECORD_TOO_LARGE, index: 0 };
    this.#memory.bytes(address(core.input()), batch.length).set(batch);
    const count = core.cut_batch(batch.length, partitions);
    if (count === 0) return { error: core.record_error(), index: core.error_index() };

    const view = this.#memory.view;
    const records: CutBatch["records"] = [];
    const cuts = address(core.cuts());
    for (let i = 0; i < core.cut_count(); i++) {
      const at = cuts + i * 16;
      const bytes = this.#memory.bytes(view.getUint32(at, true), view.getUint32(at + 4, true)).slice();
      records.push({ partition: view.getUint32(at + 8, true), count: view.getUint32(at + 12, true), bytes });
    }
    const events: CutBatch["events"] = [];
    const hosts = address(core.cut_hosts());
    for (let i = 0; i < count; i++) {
      const at = hosts + i * 12;
      const id = this.#memory.bytes(view.getUint32(at + 4, true), view.getUint32(at + 8, true));
      events.push({ partition: view.getUint32(at, true), host_id: utf8.decode(id) });
    }
    return { count, records, events };
  }
}
