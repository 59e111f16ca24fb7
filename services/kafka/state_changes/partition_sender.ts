/**
 * One partition of a topic, written one send at a time, each repeated until it is acknowledged. A send that failed may
 * have been appended all the same, so readers meet repeats, but never a later record before an earlier one.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Kafka, Message, ProducerConfig } from "kafkajs";
import { Outlet as Writer } from "../outlet.js";

/** Tries once to write messages of one partition to its topic. */
export type Attempts = Pick<Writer, "attempt">;

export interface PartitionSenderOptions {
  writer: Attempts;
  partition: number;
  /** Asked before each attempt: whether the partition is this node's. */
  may_publish(): boolean;
  /** Told of a failure once, until a send has succeeded or fails otherwise. */
  report(message: string): void;
}

/** How long a broker may wait for its replicas; below the client's request timeout. */
const REPLICAS_MS = 10_000;
const LEASE_ASKED_EVERY_MS = 50;
const REPEATED_AFTER_MS = 100;
const REPEATED_AFTER_MS_MAX = 5_000;

export class PartitionSender {
  readonly #options: PartitionSenderOptions;
  readonly #stop = new AbortController();
  /** For who waits for a broker's answer. */
  readonly #stopped: Promise<"stopped">;
  #last_failure: string | null = null;

  constructor(options: PartitionSenderOptions) {
    this.#options = options;
    this.#stopped = new Promise((resolve) => {
      this.#stop.signal.addEventListener("abort", () => resolve("stopped"), { once: true });
    });
  }

  /** Resolves with true when the broker has all of them, with false when `stop` came before. One at a time. */
  async send(messages: Message[]): Promise<boolean> {
    const { signal } = this.#stop;
    for (let wait_ms = REPEATED_AFTER_MS; !signal.aborted; ) {
      if (!this.#options.may_publish()) {
        await wait(LEASE_ASKED_EVERY_MS, signal);
        continue;
      }
      const failure = await Promise.race([this.#attempt(messages), this.#stopped]);
      if (failure === null) {
        this.#last_failure = null;
        return true;
      }
      if (signal.aborted) break;
      this.#tell(failure);
      await wait(wait_ms, signal);
      wait_ms = Math.min(wait_ms * 2, REPEATED_AFTER_MS_MAX);
    }
    return false;
  }

  /** What is under way may still arrive. */
  stop(): void {
    this.#stop.abort();
  }

  async #attempt(messages: Message[]): Promise<string | null> {
    const attempt = await this.#options.writer.attempt(this.#options.partition, messages);
    return "why" in attempt ? attempt.why : null;
  }

  #tell(failure: string): void {
    if (failure === this.#last_failure) return;
    this.#last_failure = failure;
    const { partition, report } = this.#options;
    report(
      `partition ${partition}: what is told of it is not written (${failure}); it is sent again until it is`,
    );
  }
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal }).catch(() => {});
}

export interface OutletWriters {
  state_changes: Writer;
  quarantine: Writer;
}

/** For all partitions of a shard. `producer`: for the tests that show what another one loses. */
export function outlet_writers(
  kafka: Kafka,
  topics: Record<keyof OutletWriters, string>,
  producer: ProducerConfig = {},
): OutletWriters {
  const writer_to = (topic: string) =>
    new Writer({
      kafka,
      topic,
      producer,
      replicas_ms: REPLICAS_MS,
      monotonic_ms: () => performance.now(),
    });
  return { state_changes: writer_to(topics.state_changes), quarantine: writer_to(topics.quarantine) };
}
