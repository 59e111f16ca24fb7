/** The main thread's end of a thread that replays: one request at a time, one answer each. */
import { Worker } from "node:worker_threads";
import type { Digest } from "../core/digest.js";
import type { HostHashes } from "../core/host_hashes.js";
import type { ReplayedDifference, ReplayedRange, ReplayTask } from "./replay_partition.js";

export type ReplayRequest =
  | { what: "replay"; task: ReplayTask }
  | { what: "compare"; to: bigint; hashes: HostHashes }
  | { what: "state"; to: bigint; host_id: string };

export type ReplayMessage = { bytes: number } | { answer: unknown } | { failed: string };

/** `damaged`: why the log cannot be folded to the task's end, and where; the range ends there. */
export type ThreadReplay = ReplayedRange &
  ({ digest: Digest; damaged: null } | { digest: null; damaged: string });

/** The log cannot be read or folded on. */
export class CannotReplay extends Error {
  override readonly name = "CannotReplay";
}

/** Throws CannotReplay; of `replay` that is an answer. */
export class ReplayThread {
  readonly #worker: Worker;
  #settle: { resolve(answer: unknown): void; reject(error: Error): void } | null = null;
  #gone: Error | null = null;

  constructor(module: WebAssembly.Module, on_bytes: (bytes: number) => void) {
    this.#worker = new Worker(new URL("./replay_worker.js", import.meta.url), { workerData: module });
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", (code) => this.#lose(new Error(`a replay's thread ended with ${code}`)));
    this.#worker.on("message", (message: ReplayMessage) => {
      if ("bytes" in message) on_bytes(message.bytes);
      else if ("failed" in message) this.#settle?.reject(new CannotReplay(message.failed));
      else this.#settle?.resolve(message.answer);
    });
  }

  replay(task: ReplayTask): Promise<ThreadReplay> {
    return this.#ask({ what: "replay", task }) as Promise<ThreadReplay>;
  }

  /** Folds what was replayed last on to `to`, and compares its hosts with those of a core that stands there. */
  compare(to: bigint, hashes: HostHashes): Promise<ReplayedDifference | null> {
    return this.#ask({ what: "compare", to, hashes }) as Promise<ReplayedDifference | null>;
  }

  /** The host's canonical state at `to`, which is not before what was folded; null: it is not known there. */
  state(to: bigint, host_id: string): Promise<Uint8Array | null> {
    return this.#ask({ what: "state", to, host_id }) as Promise<Uint8Array | null>;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(request: ReplayRequest): Promise<unknown> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#worker.postMessage(request);
    });
  }

  #lose(error: Error): void {
    this.#gone ??= error;
    this.#settle?.reject(this.#gone);
  }
}
