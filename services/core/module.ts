/** The compiled core: one module for all instances; it can be handed to worker threads. */
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";

const CORE_FILE = new URL("../../core-wasm/core.wasm", import.meta.url);

/** Reads and compiles the core that the build made. */
export function load_core_module(): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(CORE_FILE));
}

/** SHA-256 of its binary, hex: an image is good for the very same binary only. */
export function core_sha256(): string {
  return hash("sha256", readFileSync(CORE_FILE), "hex");
}

/** Memory of an instance through views that are made anew when it has grown: growing detaches the old ones. */
export class CoreMemory {
  #memory: WebAssembly.Memory;
  #u8: Uint8Array<ArrayBuffer>;
  #view: DataView;

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#u8 = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  #refresh(): void {
    // What is detached has no length; to ask the memory for its buffer takes ten times as long.
    if (this.#u8.length !== 0) return;
    this.#u8 = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
  }

  /** A view of `length` bytes; good until the core is called again. */
  bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    this.#refresh();
    return this.#u8.subarray(at, at + length);
  }

  get view(): DataView {
    this.#refresh();
    return this.#view;
  }
}

/** Pointers above 2 GiB come out of WebAssembly as negative numbers. */
export function address(pointer: number): number {
  return pointer >>> 0;
}
