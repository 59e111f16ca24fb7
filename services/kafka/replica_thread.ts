/** The main thread's end of a shard whose partitions are replicas: what the registry asks it, and what the node tells it. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { ShardClient } from "../registry/shard_client.js";
import type { ShardStart, ShardStarted } from "../registry/shard_protocol.js";
import type { Broken } from "./replica.js";
import type {
  ReplicaMessage,
  ReplicaOperation,
  ReplicaOperations,
  ReplicaRequest,
  ReplicaStart,
} from "./replica_protocol.js";
import type { OutletProgress } from "./state_changes/outlet.js";

export interface ReplicaEvents {
  broken(partition: number, broken: Broken): void;
  published(partition: number, progress: OutletProgress): void;
  silent(partition: number, says: string): void;
  report(message: string): void;
}

export class ReplicaThread {
  readonly shard: ShardClient;
  readonly started: ShardStarted;
  readonly #control: MessagePort;
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  #next_id = 1;
  /** Why the thread answers no more; null: it does. */
  #gone: Error | null = null;

  private constructor(
    shard: ShardClient,
    started: ShardStarted,
    control: MessagePort,
    events: ReplicaEvents,
  ) {
    this.shard = shard;
    this.started = started;
    this.#control = control;
    control.on("message", (message: ReplicaMessage) => {
      if ("broken" in message) events.broken(message.broken.partition, message.broken);
      else if ("published" in message)
        events.published(message.published.partition, message.published.progress);
      else if ("silent" in message) events.silent(message.silent.partition, message.silent.says);
      else if ("report" in message) events.report(message.report);
      else this.#settle(message);
    });
    void shard.lost.then((error) => {
      this.#gone = error;
      for (const { reject } of this.#waiting.values()) reject(error);
    });
  }

  static async start(
    start: ShardStart,
    given: Omit<ReplicaStart, "shard" | "control">,
    events: ReplicaEvents,
  ): Promise<ReplicaThread> {
    const { port1, port2 } = new MessageChannel();
    const workerData: ReplicaStart = { shard: start, ...given, control: port2 };
    const worker = new Worker(new URL("./replica_worker.js", import.meta.url), {
      workerData,
      transferList: [port2],
    });
    const { shard, started } = await ShardClient.start(start, worker);
    return new ReplicaThread(shard, started, port1, events);
  }

  /** Rejects where the thread has ended: whoever closes a node must not wait for it. */
  tell<Op extends ReplicaOperation>(
    operation: Op,
    ...given: Parameters<ReplicaOperations[Op]>
  ): ReturnType<ReplicaOperations[Op]> {
    if (this.#gone !== null) return Promise.reject(this.#gone) as ReturnType<ReplicaOperations[Op]>;
    const id = this.#next_id++;
    this.#control.postMessage({ id, operation, arguments: given } satisfies ReplicaRequest);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject })) as ReturnType<
      ReplicaOperations[Op]
    >;
  }

  #settle(message: { id: number; answer: unknown } | { id: number; error: string }): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("answer" in message) waiting?.resolve(message.answer);
    else waiting?.reject(new Error(message.error));
  }
}
