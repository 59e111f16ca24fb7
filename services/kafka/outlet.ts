/**
 * One producer of kafkajs, made anew where it may be stuck, and what an attempt to send came to.
 *
 * kafkajs's own tries are off: behind them nobody knows whether an earlier one was written, and they go on when nobody
 * waits for them any more.
 */
import type { Kafka, Message, Producer, ProducerConfig } from "kafkajs";

/** So long nothing came through: kafkajs has states that only a new producer leaves. */
const STUCK_MS = 15_000;

/** What a broker answers before it has written anything; the tries that follow may succeed. */
const NOT_WRITTEN = new Set(["NOT_ENOUGH_REPLICAS", "THROTTLING_QUOTA_EXCEEDED"]);
/** The same, for good: the next try would be answered alike. */
const REFUSED = new Set([
  "MESSAGE_TOO_LARGE",
  "RECORD_LIST_TOO_LARGE",
  "INVALID_RECORD",
  "INVALID_TIMESTAMP",
  "INVALID_REQUIRED_ACKS",
  "UNSUPPORTED_FOR_MESSAGE_FORMAT",
]);
/** For good as well; but a look for the leader says so too, behind a try that may have been written. */
const FORBIDDEN = new Set([
  "TOPIC_AUTHORIZATION_FAILED",
  "CLUSTER_AUTHORIZATION_FAILED",
  "INVALID_TOPIC_EXCEPTION",
]);

export type Attempt =
  | /** Of the first message. */ { offset: bigint }
  | {
      why: string;
      /** Whether it may be in the log all the same. */
      may_be_written: boolean;
      /** No later try does better. */
      final: boolean;
    };

export interface OutletParts {
  kafka: Kafka;
  topic: string;
  producer: ProducerConfig;
  /** How long a broker may wait for the other replicas. */
  replicas_ms: number;
  monotonic_ms(): number;
}

export class Outlet {
  readonly #parts: OutletParts;
  #producer: Promise<Producer> | null = null;
  #worked_ms: number;

  constructor(parts: OutletParts) {
    this.#parts = parts;
    this.#worked_ms = parts.monotonic_ms();
  }

  /** Rejects where no broker answers. */
  async connect(): Promise<void> {
    await this.#connected();
  }

  /** All messages are of one partition. Never rejects. */
  async attempt(partition: number, messages: Message[]): Promise<Attempt> {
    const { topic, replicas_ms, monotonic_ms } = this.#parts;
    let producer: Promise<Producer>;
    try {
      producer = this.#connected();
      await producer;
    } catch (error) {
      return { why: message_of(error), may_be_written: false, final: false };
    }
    try {
      const results = await (await producer).send({ topic, messages, acks: -1, timeout: replicas_ms });
      const own = results.find((result) => result?.topicName === topic && result.partition === partition);
      const offset = BigInt(own?.baseOffset ?? -1);
      if (own?.errorCode === 0 && offset >= 0n) {
        this.#worked_ms = monotonic_ms();
        return { offset };
      }
      // kafkajs resolves also where the partition's leader was not known, and nothing was sent.
      return { why: "its leader is not known", may_be_written: true, final: false };
    } catch (error) {
      const { name, type } = cause_of(error);
      // Behind a request without an answer kafkajs neither looks for another leader nor for another connection.
      const is_stuck = monotonic_ms() - this.#worked_ms > STUCK_MS || name === "KafkaJSRequestTimeoutError";
      if (is_stuck) this.#give_up(producer);
      return {
        why: message_of(error),
        may_be_written: !REFUSED.has(type) && !NOT_WRITTEN.has(type),
        final: REFUSED.has(type) || FORBIDDEN.has(type),
      };
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await disconnect(producer);
  }

  #connected(): Promise<Producer> {
    this.#producer ??= this.#connect();
    return this.#producer;
  }

  async #connect(): Promise<Producer> {
    const producer = this.#parts.kafka.producer(this.#parts.producer);
    try {
      await producer.connect();
    } catch (error) {
      this.#producer = null;
      void disconnect(Promise.resolve(producer));
      throw error;
    }
    this.#worked_ms = this.#parts.monotonic_ms();
    return producer;
  }

  /** What others have under way with it comes to its end by itself. */
  #give_up(producer: Promise<Producer>): void {
    if (this.#producer !== producer) return;
    this.#producer = null;
    void disconnect(producer);
  }
}

async function disconnect(producer: Promise<Producer> | null): Promise<void> {
  try {
    await (await producer)?.disconnect();
  } catch {
    // Its connections are gone already.
  }
}

/** What a broker answered, from beneath what kafkajs puts around it. */
function cause_of(error: unknown): { name: string; type: string } {
  let found = error as { name?: string; type?: string; cause?: unknown };
  while (found.type === undefined && found.cause instanceof Error) found = found.cause as typeof found;
  return { name: found.name ?? "", type: found.type ?? "" };
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
