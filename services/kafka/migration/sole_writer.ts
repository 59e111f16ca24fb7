/**
 * Writes one partition that nobody else writes to, so that it knows each record's offset before it is there. A send whose
 * answer was lost may have been stored: the high watermark tells, and a batch that stands there twice is seen, not hidden.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Message, Producer } from "kafkajs";
import { Problem } from "../../events/problem.js";

const ATTEMPTS = 8;
/** Twice as long after each attempt: half a minute in all, which is longer than a new leader takes. */
const FIRST_WAIT_MS = 250;
const SEND_TIMEOUT_MS = 30_000;

export interface WriterParts {
  producer: Pick<Producer, "send">;
  topic: string;
  partition: number;
  /** The partition's. */
  high_watermark(): Promise<bigint>;
  wait?(ms: number): Promise<unknown>;
}

export class SoleWriter {
  readonly #parts: WriterParts;
  #next_offset = 0n;

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  get next_offset(): bigint {
    return this.#next_offset;
  }

  /** One batch at a time. Throws Problem `contradiction` where offsets are not what they must be, `unavailable`. */
  async write(messages: Message[]): Promise<void> {
    const { topic, partition, wait = sleep } = this.#parts;
    const begin = this.#next_offset;
    const end = begin + BigInt(messages.length);
    for (let attempt = 1; ; attempt++) {
      const sent = await this.#send(messages);
      if (typeof sent === "bigint") {
        if (sent !== begin) throw this.#misplaced(begin, sent);
        break;
      }
      if (attempt === ATTEMPTS) {
        const where = `${topic}, partition ${partition}`;
        throw new Problem("unavailable", `${where}: Kafka stores nothing (${sent.message})`);
      }
      await wait(FIRST_WAIT_MS * 2 ** (attempt - 1));
      // Nobody tells now: what is sent twice is seen in the next answer.
      const stored = await this.#parts.high_watermark().catch(() => null);
      if (stored === end) break;
      if (stored !== null && stored !== begin) throw this.#misplaced(begin, stored);
    }
    this.#next_offset = end;
  }

  /** Offset of the first of them, or why it is not known. */
  async #send(messages: Message[]): Promise<bigint | Error> {
    const { producer, topic, partition } = this.#parts;
    try {
      const results = await producer.send({ topic, messages, acks: -1, timeout: SEND_TIMEOUT_MS });
      const result = results.find((one) => one.topicName === topic && one.partition === partition);
      // kafkajs can resolve without having sent to a partition whose leader moved.
      if (result?.errorCode !== 0 || result.baseOffset === undefined) return new Error("no answer for it");
      return BigInt(result.baseOffset);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #misplaced(wanted: bigint, found: bigint): Problem {
    const { topic, partition } = this.#parts;
    return new Problem(
      "contradiction",
      `${topic}, partition ${partition}: what should stand at offset ${wanted} is at ${found}; ` +
        "a batch was stored twice, or somebody else writes there",
    );
  }
}
