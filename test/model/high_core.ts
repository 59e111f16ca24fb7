/** A core with its tables where only a large fleet has them: addresses from 2 GiB on are negative in JavaScript. */
import { Core, type CoreOptions } from "#services/core/core.js";
import { core_module } from "./from_core.js";

const PAGE_BYTES = 65536;

/**
 * All of its tables are above `from_bytes`: the core begins where its memory ends when it is started first. What is
 * below is never touched, and costs nothing.
 */
export function high_core(from_bytes: number, options: CoreOptions): Core {
  const { Instance } = WebAssembly;
  class HighInstance extends Instance {
    constructor(module: WebAssembly.Module) {
      super(module);
      const memory = this.exports.memory as { buffer: ArrayBuffer; grow(pages: number): number };
      memory.grow(Math.floor(from_bytes / PAGE_BYTES) - memory.buffer.byteLength / PAGE_BYTES);
    }
  }
  WebAssembly.Instance = HighInstance;
  try {
    return new Core(core_module, options);
  } finally {
    WebAssembly.Instance = Instance;
  }
}
