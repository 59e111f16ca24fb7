/**
 * What waits for one partition of the topic: one send is outstanding, all that came meanwhile is the next one. So the
 * order of what is stored is the order of asking, whatever happens to a send.
 */
import type { Message } from "kafkajs";
import type { BatchPart } from "../core/way_in.js";
import { bytes_in_send, outgoing } from "./outgoing.js";
import type { Attempt } from "./outlet.js";

const RETRY_FIRST_MS = 50;
const RETRY_MS_MAX = 1_000;
/** Of a part that waits, beside its bytes. */
const WAITING_BYTES = 512;

export type PartOutcome =
  | { partition: number; fate: "stored"; next_offset: bigint }
  /** `unknown`: it may be stored. `refused`: it is not. */
  | { partition: number; fate: "unknown" | "refused"; why: string };

export interface QueueParts {
  partition: number;
  linger_ms: number;
  /** Of one part, from its coming to its answer. */
  deadline_ms: number;
  send_bytes_max: number;
  attempt(messages: Message[]): Promise<Attempt>;
  /** What is held in memory no more. */
  free(bytes: number): void;
}

interface Waiting {
  part: BatchPart;
  send_bytes: number;
  held_bytes: number;
  is_answered: boolean;
  answer(outcome: PartOutcome): void;
}

/** The send that is under way. */
interface Outstanding {
  waiting: Waiting[];
  /** Whether a try of it may be in the log, or is under way. */
  may_be_written: boolean;
  why: string;
}

/** What a part holds in memory while it waits. */
export function held_bytes(part: BatchPart): number {
  return part.demand.bytes + part.hosts.bytes.length + WAITING_BYTES;
}

export class PartitionQueue {
  readonly #parts: QueueParts;
  #waiting: Waiting[] = [];
  #waiting_bytes = 0;
  #held_bytes = 0;
  #outstanding: Outstanding | null = null;
  #linger: NodeJS.Timeout | null = null;
  #is_closing = false;
  /** Ends the pause before the next try. */
  #wake: () => void = () => {};
  #idle: (() => void)[] = [];

  constructor(parts: QueueParts) {
    this.#parts = parts;
  }

  /** Of all parts that are not answered, or under way. */
  get held_bytes(): number {
    return this.#held_bytes;
  }

  store(part: BatchPart): Promise<PartOutcome> {
    return new Promise((resolve) => {
      const waiting: Waiting = {
        part,
        send_bytes: bytes_in_send(part),
        held_bytes: held_bytes(part),
        is_answered: false,
        answer: (outcome) => {
          clearTimeout(deadline);
          waiting.is_answered = true;
          resolve(outcome);
        },
      };
      const deadline = setTimeout(() => this.#late(waiting), this.#parts.deadline_ms);
      this.#waiting.push(waiting);
      this.#waiting_bytes += waiting.send_bytes;
      this.#held_bytes += waiting.held_bytes;
      this.#stir();
    });
  }

  /** Resolves when nothing is under way. What waits is sent, what fails is not tried again. */
  async close(): Promise<void> {
    this.#is_closing = true;
    this.#wake();
    if (this.#linger !== null) this.#next();
    if (this.#outstanding !== null) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #stir(): void {
    if (this.#outstanding !== null) return;
    if (this.#waiting_bytes >= this.#parts.send_bytes_max || this.#is_closing) this.#next();
    else this.#linger ??= setTimeout(() => this.#next(), this.#parts.linger_ms);
  }

  #next(): void {
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#linger = null;
    const waiting = this.#take();
    if (waiting.length === 0) {
      for (const idle of this.#idle.splice(0)) idle();
      return;
    }
    this.#outstanding = { waiting, may_be_written: false, why: "" };
    void this.#send(this.#outstanding).finally(() => {
      this.#outstanding = null;
      for (const { held_bytes } of waiting) this.#free(held_bytes);
      this.#next();
    });
  }

  /** As many as go into one send; at least one. */
  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { send_bytes } of this.#waiting) {
      if (count > 0 && bytes + send_bytes > this.#parts.send_bytes_max) break;
      count++;
      bytes += send_bytes;
    }
    this.#waiting_bytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  /** Tries until it is stored, or no later try does better, or nobody waits for it any more. */
  async #send(sending: Outstanding): Promise<void> {
    const { partition, attempt } = this.#parts;
    const { waiting } = sending;
    const { messages, ends } = outgoing(
      partition,
      waiting.map(({ part }) => part),
    );
    for (let retry_ms = RETRY_FIRST_MS; ; retry_ms = Math.min(2 * retry_ms, RETRY_MS_MAX)) {
      const before = sending.may_be_written;
      sending.may_be_written = true;
      const result = await attempt(messages);
      if ("offset" in result) {
        for (const [i, { is_answered, answer }] of waiting.entries()) {
          if (!is_answered)
            answer({ partition, fate: "stored", next_offset: result.offset + BigInt(ends[i]!) });
        }
        return;
      }
      sending.may_be_written = before || result.may_be_written;
      sending.why = result.why;
      const is_over = result.final || this.#is_closing;
      if (!is_over) await this.#pause(retry_ms);
      for (const one of waiting) if (is_over && !one.is_answered) one.answer(this.#failed(sending));
      if (waiting.every(({ is_answered }) => is_answered)) return;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, ms);
    });
  }

  #failed({ may_be_written, why }: Outstanding): PartOutcome {
    const { partition } = this.#parts;
    return { partition, fate: may_be_written ? "unknown" : "refused", why };
  }

  #late(waiting: Waiting): void {
    const { partition, deadline_ms } = this.#parts;
    const sending = this.#outstanding;
    if (sending?.waiting.includes(waiting)) {
      const why = sending.why === "" ? `no answer within ${deadline_ms} ms` : sending.why;
      waiting.answer(this.#failed({ ...sending, why }));
      return;
    }
    const before = sending?.why ? `: ${sending.why}` : "";
    const why = `not sent within ${deadline_ms} ms, since what came before it is not answered${before}`;
    waiting.answer({ partition, fate: "refused", why });
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
    this.#waiting_bytes -= waiting.send_bytes;
    this.#free(waiting.held_bytes);
  }

  #free(bytes: number): void {
    this.#held_bytes -= bytes;
    this.#parts.free(bytes);
  }
}
