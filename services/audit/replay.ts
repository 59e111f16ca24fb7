/** Replay: the whole log folded anew beside the live state, in worker threads, and the digests compared (RULES F9). */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Core } from "../core/core.js";
import { add_digests, type Digest, format_digest } from "../core/digest.js";
import { load_core_module } from "../core/module.js";
import type { ReplayedPartition, ReplayTask } from "./replay_partition.js";

export interface LiveDigest {
  partition: number;
  next_offset: bigint;
  digest: Digest;
}

export interface ReplayProgress {
  bytes: number;
  bytes_total: number;
}

export interface ReplayReport {
  digest: string;
  fold_version: number;
  partitions: {
    partition: number;
    first: string;
    next: string;
    hosts: number;
    digest: string;
    events: number;
    matches: boolean;
  }[];
  /** Whether every partition's digest is that of the live state. */
  matches: boolean;
}

export type ReplayMessage =
  | { bytes: number }
  | { bytes: number; replayed: ReplayedPartition }
  | { bytes: number; partition: number; failed: string };

export interface ReplayOptions {
  /** The registry's directory; it may be served meanwhile. */
  directory: string;
  /** Of every partition of the live state, at the offset that it had. */
  live: LiveDigest[];
  bytes_total: number;
  progress?(progress: ReplayProgress): void;
}

/** Throws Error where a log cannot be read to its end, with what is wrong and where. */
export async function replay(options: ReplayOptions): Promise<ReplayReport> {
  const { directory, live, bytes_total, progress = () => {} } = options;
  const module = load_core_module();
  const tasks = live.map(
    ({ partition, next_offset }): ReplayTask => ({
      directory,
      partition,
      partition_count: live.length,
      to: next_offset,
    }),
  );
  let bytes = 0;
  const on_bytes = (more: number) => {
    bytes += more;
    progress({ bytes, bytes_total });
  };
  const workers = Array.from({ length: Math.min(tasks.length, availableParallelism()) }, () =>
    drain(tasks, module, on_bytes),
  );
  const replayed = (await Promise.all(workers)).flat().sort((a, b) => a.partition - b.partition);
  const partitions = replayed.map((partition) => ({
    partition: partition.partition,
    first: "0",
    next: String(partition.next_offset),
    hosts: partition.hosts,
    digest: format_digest(partition.digest),
    events: partition.events,
    matches: live.find((one) => one.partition === partition.partition)!.digest === partition.digest,
  }));
  return {
    digest: format_digest(add_digests(replayed.map(({ digest }) => digest))),
    fold_version: new Core(module, { partition: null, partitions: 1 }).fold_version,
    partitions,
    matches: partitions.every((partition) => partition.matches),
  };
}

/** One thread that takes tasks until there are none. */
function drain(tasks: ReplayTask[], module: WebAssembly.Module, on_bytes: (bytes: number) => void) {
  return new Promise<ReplayedPartition[]>((resolve, reject) => {
    const worker = new Worker(new URL("./replay_worker.js", import.meta.url), { workerData: module });
    const done: ReplayedPartition[] = [];
    const next = () => {
      const task = tasks.shift();
      if (task) worker.postMessage(task);
      else void worker.terminate().then(() => resolve(done));
    };
    worker.on("error", reject);
    worker.on("message", (message: ReplayMessage) => {
      on_bytes(message.bytes);
      if ("failed" in message) {
        // The other threads end by themselves: there is nothing left to take.
        tasks.length = 0;
        void worker.terminate().then(() => reject(new Error(message.failed)));
      } else if ("replayed" in message) {
        done.push(message.replayed);
        next();
      }
    });
    next();
  });
}
