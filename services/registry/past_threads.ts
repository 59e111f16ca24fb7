/**
 * The threads that make partitions as they were. As many as there are cores, made when they are needed and ended when
 * nobody has asked for a while: each holds a core as large as a partition's.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import type { RegistryPlace } from "./partition_place.js";
import type { PastAnswers, PastOperation, PastRequest, PastResponse } from "./past_protocol.js";

const IDLE_MS = 30_000;
/** Partitions of all questions that wait for a thread. */
const WAITING_MAX = 16_384;

/** A thread that is one asker's until it is given back. */
export interface PastThread {
  /** Rejects with Problem, with LogCorruption's message as DamagedPast, or with what went wrong. */
  ask<Op extends PastOperation>(
    operation: Op,
    given: PastAnswers[Op]["asks"],
  ): Promise<PastAnswers[Op]["tells"]>;
}

/** The log is damaged where it had to be read. */
export class DamagedPast extends Error {
  override readonly name = LogCorruption.name;
}

class Thread implements PastThread {
  readonly #worker: Worker;
  #next_id = 1;
  #settle: ((response: PastResponse | Error) => void) | null = null;
  is_gone = false;

  constructor(place: RegistryPlace, stale_after_ms: number) {
    this.#worker = new Worker(new URL("./past_worker.js", import.meta.url), {
      workerData: { place, stale_after_ms },
    });
    this.#worker.on("message", (response: PastResponse) => this.#settle?.(response));
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", (code) => this.#lose(new Error(`a thread for the past ended with ${code}`)));
    this.#worker.unref();
  }

  ask<Op extends PastOperation>(
    operation: Op,
    given: PastAnswers[Op]["asks"],
  ): Promise<PastAnswers[Op]["tells"]> {
    const id = this.#next_id++;
    return new Promise((resolve, reject) => {
      if (this.is_gone) {
        reject(new Problem("unavailable", "the registry is being closed"));
        return;
      }
      this.#worker.ref();
      this.#settle = (response) => {
        this.#settle = null;
        this.#worker.unref();
        if (response instanceof Error) reject(response);
        else if ("answer" in response) resolve(response.answer as PastAnswers[Op]["tells"]);
        else if ("damaged" in response) reject(new DamagedPast(response.damaged));
        else if ("problem" in response) {
          const { code, message, parts } = response.problem;
          reject(new Problem(code, message, parts));
        } else reject(new Error(response.error));
      };
      this.#worker.postMessage({ id, operation, given } satisfies PastRequest);
    });
  }

  #lose(error: Error): void {
    this.is_gone = true;
    this.#settle?.(error);
  }

  async end(): Promise<void> {
    this.#lose(new Problem("unavailable", "the registry is being closed"));
    await this.#worker.terminate();
  }
}

export class PastThreads {
  readonly #place: RegistryPlace;
  readonly #stale_after_ms: number;
  readonly #all = new Set<Thread>();
  readonly #free: Thread[] = [];
  readonly #waiting: ((thread: Thread) => void)[] = [];
  #idle: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(place: RegistryPlace, stale_after_ms: number) {
    this.#place = place;
    this.#stale_after_ms = stale_after_ms;
  }

  /** Lends a thread for as long as the work takes. Rejects with Problem `busy` where too many wait. */
  async with_thread<Result>(work: (thread: PastThread) => Promise<Result>): Promise<Result> {
    const thread = await this.take();
    try {
      return await work(thread);
    } finally {
      this.give_back(thread);
    }
  }

  /** To be given back. */
  async take(): Promise<PastThread> {
    if (this.#closed) throw new Problem("unavailable", "the registry is being closed");
    if (this.#idle !== null) clearTimeout(this.#idle);
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#all.size < availableParallelism()) {
      const thread = new Thread(this.#place, this.#stale_after_ms);
      this.#all.add(thread);
      return thread;
    }
    if (this.#waiting.length >= WAITING_MAX) {
      throw new Problem("busy", "too many questions about the past wait; ask again later", {
        limit: `${WAITING_MAX} partitions of questions at once`,
      });
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give_back(lent: PastThread): void {
    let thread = lent as Thread;
    if (thread.is_gone) {
      this.#all.delete(thread);
      if (this.#closed || this.#waiting.length === 0) return;
      thread = new Thread(this.#place, this.#stale_after_ms);
      this.#all.add(thread);
    }
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(thread);
      return;
    }
    this.#free.push(thread);
    if (this.#free.length === this.#all.size)
      this.#idle = setTimeout(() => void this.#end_free(), IDLE_MS).unref();
  }

  async #end_free(): Promise<void> {
    const ended = this.#free.splice(0);
    for (const thread of ended) this.#all.delete(thread);
    await Promise.all(ended.map((thread) => thread.end()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#idle !== null) clearTimeout(this.#idle);
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }
}
