/** The main thread's end of a shard: one promise a request; a shard that dies rejects all that wait. */
import { Worker } from "node:worker_threads";
import { Problem } from "../events/problem.js";
import type {
  Answer,
  Arguments,
  Operation,
  PartitionStatus,
  ShardRequest,
  ShardResponse,
  ShardStart,
} from "./shard_protocol.js";

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

export class ShardClient {
  readonly partitions: readonly number[];
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next_id = 1;
  #gone: Error | null = null;
  #closing = false;
  /** Resolves if the thread ends and was not asked to: its partitions have nobody then. */
  readonly lost: Promise<Error>;
  #tell_lost: (error: Error) => void = () => {};

  private constructor(start: ShardStart) {
    this.partitions = start.partitions;
    this.lost = new Promise((resolve) => {
      this.#tell_lost = resolve;
    });
    this.#worker = new Worker(new URL("./shard_worker.js", import.meta.url), { workerData: start });
    this.#worker.on("message", (response: ShardResponse) => this.#settle(response));
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", (code) => this.#lose(new Error(`a shard's thread ended with ${code}`)));
  }

  /** Resolves when the shard has read its logs. */
  static async start(start: ShardStart): Promise<{ shard: ShardClient; status: PartitionStatus[] }> {
    const shard = new ShardClient(start);
    try {
      const status = (await shard.#wait(0)) as PartitionStatus[];
      return { shard, status };
    } catch (error) {
      await shard.#worker.terminate();
      throw error;
    }
  }

  /** `transfer`: memory that goes over instead of being copied. */
  ask<Op extends Operation>(
    operation: Op,
    given: Arguments<Op>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Awaited<Answer<Op>>> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = this.#next_id++;
    const answer = this.#wait(id);
    this.#worker.postMessage({ id, operation, arguments: given } satisfies ShardRequest, transfer);
    return answer as Promise<Awaited<Answer<Op>>>;
  }

  /** Finishes what it does, writes what it has to, and ends the thread. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#gone === null) await this.ask("close", []);
    await this.#worker.terminate();
  }

  #wait(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #settle(response: ShardResponse): void {
    const waiting = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if (waiting === undefined) return;
    if ("answer" in response) waiting.resolve(response.answer);
    else if ("problem" in response) {
      const { code, message, parts } = response.problem;
      waiting.reject(new Problem(code, message, parts));
    } else waiting.reject(new Error(response.error));
  }

  #lose(error: Error): void {
    this.#gone ??= error;
    if (!this.#closing) this.#tell_lost(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
