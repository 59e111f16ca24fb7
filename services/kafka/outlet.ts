/**
 * One producer of kafkajs, made anew where it may be stuck, and what an attempt to send came to.
 *
 * kafkajs's own tries are off: behind them nobody knows whether an earlier one was written, and they go on when nobody
 * waits for them any more.
 */
import type { Kafka, Message, Producer, ProducerConfig } from "kafkajs";

/** So long nothing came through: kafkajs has states that only a new producer leaves. */
const STUCK_MS = 15_000;
/** Of one attempt. Each of kafkajs's requests has a limit, but what comes before them, such as SASL's words, has none. */
const ATTEMPT_MS_MAX = 60_000;

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

/** Of every outlet: each attempt is one try, for the partition that its messages name. */
const ONE_TRY: ProducerConfig = {
  idempotent: false,
  retry: { retries: 0 },
  allowAutoTopicCreation: false,
  createPartitioner:
    () =>
    ({ message }) =>
      message.partition!,
};

export interface OutletParts {
  kafka: Kafka;
  topic: string;
  /** Instead of what an outlet has; for the tests that show what another one loses. */
  producer?: ProducerConfig;
  /** How long a broker may wait for the other replicas. */
  replicas_ms: number;
  monotonic_ms(): number;
}

/** A producer on its way to its brokers. */
interface Line {
  producer: Producer;
  connected: Promise<void>;
}

export class Outlet {
  readonly #parts: OutletParts;
  #line: Line | null = null;
  #worked_ms: number;

  constructor(parts: OutletParts) {
    this.#parts = parts;
    this.#worked_ms = parts.monotonic_ms();
  }

  /** Rejects where no broker answers. */
  async connect(): Promise<void> {
    await this.#open().connected;
  }

  /** All messages are of one partition. Never rejects, and always ends. */
  async attempt(partition: number, messages: Message[]): Promise<Attempt> {
    const line = this.#open();
    let timer: NodeJS.Timeout;
    const endless = new Promise<Attempt>((resolve) => {
      timer = setTimeout(() => {
        this.#give_up(line);
        const why = `no end within ${ATTEMPT_MS_MAX} ms`;
        resolve({ why, may_be_written: true, final: false });
      }, ATTEMPT_MS_MAX);
    });
    return await Promise.race([this.#try(line, partition, messages), endless]).finally(() =>
      clearTimeout(timer),
    );
  }

  async #try(line: Line, partition: number, messages: Message[]): Promise<Attempt> {
    const { topic, replicas_ms, monotonic_ms } = this.#parts;
    try {
      await line.connected;
    } catch (error) {
      this.#give_up(line);
      return { why: message_of(error), may_be_written: false, final: false };
    }
    try {
      const results = await line.producer.send({ topic, messages, acks: -1, timeout: replicas_ms });
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
      if (is_stuck) this.#give_up(line);
      return {
        why: message_of(error),
        may_be_written: !REFUSED.has(type) && !NOT_WRITTEN.has(type),
        final: REFUSED.has(type) || FORBIDDEN.has(type),
      };
    }
  }

  async close(): Promise<void> {
    const line = this.#line;
    this.#line = null;
    if (line !== null) await end(line);
  }

  #open(): Line {
    if (this.#line !== null) return this.#line;
    const producer = this.#parts.kafka.producer({ ...ONE_TRY, ...this.#parts.producer });
    const connected = producer.connect().then(() => {
      this.#worked_ms = this.#parts.monotonic_ms();
    });
    this.#line = { producer, connected };
    return this.#line;
  }

  /** What others have under way with it comes to its end by itself. */
  #give_up(line: Line): void {
    if (this.#line !== line) return;
    this.#line = null;
    void end(line);
  }
}

async function end({ producer }: Line): Promise<void> {
  try {
    await producer.disconnect();
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
