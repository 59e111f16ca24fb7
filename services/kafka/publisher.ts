/**
 * Events to the topic of host events: any node does it for any partition. What is acknowledged was named by the broker,
 * partition and offset; kafkajs's own word for a send is not enough (docs/kafka.md says why, each with its test).
 */
import type { Kafka, Message, ProducerConfig } from "kafkajs";
import type { BatchPart } from "../core/way_in.js";
import { RECORD_BYTES_MAX } from "../events/limits.js";
import { Problem } from "../events/problem.js";
import { Outlet } from "./outlet.js";
import { held_bytes, PartitionQueue, type PartOutcome } from "./partition_queue.js";

/** Requests that come within it go to the broker together. */
const LINGER_MS = 2;
/** Two tries of a broker that does not answer, or the time in which a dead one's partitions get other leaders. */
const DEADLINE_MS = 30_000;
/** Of its client's requests, for `kafka_of`: one that is lost leaves time for another before the deadline. */
export const PUBLISHER_REQUEST_TIMEOUT_MS = 12_000;
/** Below that, so that a broker that waits for its replicas says so. Brokers need nine seconds to miss a dead one. */
const REPLICAS_MS = 10_000;
/** kafkajs holds up to three copies of what it sends beside it. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
/** So that a partition that takes nothing leaves room for the others. */
const PARTITION_HELD_BYTES_MAX = 8 * 1024 * 1024;
/** A broker answers a connection's requests one after the other, and waits for its replicas at each. */
const CONNECTIONS_MAX = 4;

export interface PublisherParts {
  kafka: Kafka;
  topic: string;
  /** Of the topic. */
  partitions: number;
  linger_ms?: number;
  deadline_ms?: number;
  held_bytes_max?: number;
  partition_held_bytes_max?: number;
  /** For the tests that show what another one loses. */
  producer?: ProducerConfig;
}

export class Publisher {
  readonly #outlets: Outlet[];
  readonly #queues: PartitionQueue[];
  readonly #held_bytes_max: number;
  readonly #partition_held_bytes_max: number;
  #held_bytes = 0;
  #is_closed = false;

  constructor(parts: PublisherParts) {
    const {
      kafka,
      topic,
      partitions,
      producer = {},
      linger_ms = LINGER_MS,
      deadline_ms = DEADLINE_MS,
    } = parts;
    this.#held_bytes_max = parts.held_bytes_max ?? HELD_BYTES_MAX;
    this.#partition_held_bytes_max = parts.partition_held_bytes_max ?? PARTITION_HELD_BYTES_MAX;
    this.#outlets = Array.from(
      { length: Math.min(partitions, CONNECTIONS_MAX) },
      () =>
        new Outlet({
          kafka,
          topic,
          producer,
          replicas_ms: REPLICAS_MS,
          monotonic_ms: () => performance.now(),
        }),
    );
    this.#queues = Array.from({ length: partitions }, (_, partition) => {
      const outlet = this.#outlets[partition % this.#outlets.length]!;
      return new PartitionQueue({
        partition,
        linger_ms,
        deadline_ms,
        send_bytes_max: RECORD_BYTES_MAX,
        attempt: (messages: Message[]) => outlet.attempt(partition, messages),
        free: (bytes) => {
          this.#held_bytes -= bytes;
        },
      });
    });
  }

  /** Of all that is not answered, or still under way. */
  get held_bytes(): number {
    return this.#held_bytes;
  }

  /** Rejects where no broker answers; `store` tries again by itself. */
  async connect(): Promise<void> {
    await Promise.all(this.#outlets.map((outlet) => outlet.connect()));
  }

  /**
   * What became of each part, in their order; each is of another partition. Later calls' parts come behind these. Throws
   * Problem `busy`, and nothing is stored.
   */
  async store(parts: readonly BatchPart[]): Promise<PartOutcome[]> {
    if (this.#is_closed) throw new Problem("unavailable", "this node takes no more events: it stops");
    const bytes = parts.reduce((sum, part) => sum + held_bytes(part), 0);
    this.#refuse_beyond(this.#held_bytes, bytes, this.#held_bytes_max, "the partitions");
    for (const part of parts) {
      const { held_bytes: held } = this.#queues[part.partition]!;
      const whose = `partition ${part.partition}`;
      this.#refuse_beyond(held, held_bytes(part), this.#partition_held_bytes_max, whose);
    }
    this.#held_bytes += bytes;
    return await Promise.all(parts.map((part) => this.#queues[part.partition]!.store(part)));
  }

  /** Takes no more, sends what waits, and ends the connections. */
  async close(): Promise<void> {
    this.#is_closed = true;
    await Promise.all(this.#queues.map((queue) => queue.close()));
    await Promise.all(this.#outlets.map((outlet) => outlet.close()));
  }

  /** What comes alone is always taken. */
  #refuse_beyond(held: number, more: number, max: number, whose: string): void {
    if (held === 0 || held + more <= max) return;
    throw new Problem(
      "busy",
      `${held} bytes of events wait for ${whose} of Kafka's topic; nothing of this batch was stored, send it again later`,
      { limit: `${max} bytes` },
    );
  }
}
