/** The main thread's end of a shard: one promise a request; a shard that dies rejects all that wait. */
import { Worker } from "node:worker_threads";
import { Problem } from "../events/problem.js";
import type {
  Answer,
  Arguments,
  Operation,
  ShardRequest,
  ShardResponse,
  ShardStart,
  ShardStarted,
} from "./shard_protocol.js";

/** Requests of a shard that wait for its answer at once. */
export const REQUESTS_MAX = 1_024;
/** Records of a shard that wait for being stored at once, bytes. */
export const APPEND_BYTES_MAX = 64 * 1024 * 1024;
/** Questions of a shard that wait for a position: they take no work of it, so they do not keep others out. */
export const POSITION_WAITS_MAX = 1_024;

/**
 * Never refused: what a shard must not miss, and the pages of lists, of which each has one request at most and the
 * number is limited where they are opened. A list that was begun is not broken off by who came later.
 */
const ALWAYS_TAKEN: ReadonlySet<Operation> = new Set([
  "catalog",
  "pull",
  "cancel",
  "check_hosts",
  "check_lines",
  "close",
]);

type Queue = "requests" | "position_waits" | "always_taken";

interface Waiting {
  queue: Queue;
  /** Of the records that it appends. */
  bytes: number;
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

/** What a shard runs in, as its client sees it. */
export interface ShardThread {
  postMessage(request: ShardRequest, transfer: ArrayBuffer[]): void;
  on(event: "message", told: (response: ShardResponse) => void): unknown;
  on(event: "error", told: (error: Error) => void): unknown;
  on(event: "exit", told: (code: number) => void): unknown;
  terminate(): Promise<unknown>;
}

export class ShardClient {
  readonly partitions: readonly number[];
  readonly #thread: ShardThread;
  readonly #waiting = new Map<number, Waiting>();
  readonly #count: Record<Queue, number> = { requests: 0, position_waits: 0, always_taken: 0 };
  #append_bytes = 0;
  #next_id = 1;
  #gone: Error | null = null;
  #closing = false;
  /** Resolves if the thread ends and was not asked to: its partitions have nobody then. */
  readonly lost: Promise<Error>;
  #tell_lost: (error: Error) => void = () => {};

  private constructor(start: ShardStart, thread: ShardThread) {
    this.partitions = start.partitions;
    this.lost = new Promise((resolve) => {
      this.#tell_lost = resolve;
    });
    this.#thread = thread;
    thread.on("message", (response) => this.#settle(response));
    thread.on("error", (error) => this.#lose(error));
    thread.on("exit", (code) => this.#lose(new Error(`a shard's thread ended with ${code}`)));
  }

  /** Resolves when the shard has read its logs. `thread` is told of `start` by who made it. */
  static async start(
    start: ShardStart,
    thread: ShardThread = new Worker(new URL("./shard_worker.js", import.meta.url), { workerData: start }),
  ): Promise<{ shard: ShardClient; started: ShardStarted }> {
    const shard = new ShardClient(start, thread);
    try {
      const started = (await shard.#wait(0, "always_taken", 0)) as ShardStarted;
      return { shard, started };
    } catch (error) {
      await shard.#thread.terminate();
      throw error;
    }
  }

  /** `transfer`: memory that goes over instead of being copied. Rejects with Problem `busy` where too much waits. */
  ask<Op extends Operation>(
    operation: Op,
    given: Arguments<Op>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Awaited<Answer<Op>>> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const bytes = transfer.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const queue = queue_of(operation);
    const refusal = this.#refusal(queue, bytes);
    if (refusal !== null) return Promise.reject(refusal);
    const id = this.#next_id++;
    const answer = this.#wait(id, queue, bytes);
    this.#thread.postMessage({ id, operation, arguments: given }, transfer);
    return answer as Promise<Awaited<Answer<Op>>>;
  }

  /** Finishes what it does, writes what it has to, and ends the thread. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#gone === null) await this.ask("close", []);
    await this.#thread.terminate();
  }

  #refusal(queue: Queue, bytes: number): Problem | null {
    if (queue === "requests" && this.#count.requests >= REQUESTS_MAX) {
      return busy(`${this.#count.requests} requests wait`, `${REQUESTS_MAX} requests waiting`);
    }
    if (queue === "position_waits" && this.#count.position_waits >= POSITION_WAITS_MAX) {
      return busy(
        `${this.#count.position_waits} questions wait for positions`,
        `${POSITION_WAITS_MAX} waiting for positions`,
      );
    }
    if (bytes > 0 && this.#append_bytes + bytes > APPEND_BYTES_MAX) {
      return busy(`${this.#append_bytes} bytes wait to be stored`, `${APPEND_BYTES_MAX} bytes waiting`);
    }
    return null;
  }

  #wait(id: number, queue: Queue, bytes: number): Promise<unknown> {
    this.#count[queue] += 1;
    this.#append_bytes += bytes;
    return new Promise((resolve, reject) => this.#waiting.set(id, { queue, bytes, resolve, reject }));
  }

  #settle(response: ShardResponse): void {
    const waiting = this.#waiting.get(response.id);
    if (waiting === undefined) return;
    this.#waiting.delete(response.id);
    this.#count[waiting.queue] -= 1;
    this.#append_bytes -= waiting.bytes;
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

function queue_of(operation: Operation): Queue {
  if (operation === "wait_for") return "position_waits";
  return ALWAYS_TAKEN.has(operation) ? "always_taken" : "requests";
}

function busy(says: string, limit: string): Problem {
  return new Problem("busy", `a part of the registry has too much to do: ${says}; send again later`, {
    limit,
  });
}
