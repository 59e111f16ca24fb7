/** Records on their way into a topic: batches as large as a broker takes, one outstanding a partition, memory bounded. */
import type { Message } from "kafkajs";
import { copied_log_time_ms } from "../log_time_header.js";
import { RecordsSeal } from "./records_seal.js";
import type { SoleWriter } from "./sole_writer.js";

/** Of a batch, with what Kafka adds: its default limit is 1,048,588. */
const BATCH_BYTES = 900 * 1024;
/** kafkajs copies the list for each message of it. */
const BATCH_MESSAGES = 1000;
/** Of all partitions, what waits to be sent. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** Lengths, offset and time of a record in its batch, and the header's name. */
const MESSAGE_OVERHEAD_BYTES = 64;

class Lane {
  messages: Message[] = [];
  bytes = 0;
  sending: Promise<void> = Promise.resolve();
  readonly seal = new RecordsSeal();

  constructor(readonly writer: SoleWriter) {}
}

export class Outgoing {
  readonly #lanes: Lane[];
  readonly #on_sent: (bytes: number) => void;
  #waiting_bytes = 0;
  #failed: { error: unknown } | null = null;

  constructor(writers: SoleWriter[], on_sent: (bytes: number) => void) {
    this.#lanes = writers.map((writer) => new Lane(writer));
    this.#on_sent = on_sent;
  }

  /** Throws what an earlier send met. */
  async add(partition: number, message: Message): Promise<void> {
    const lane = this.#lanes[partition]!;
    const value = message.value as Buffer;
    const bytes = value.length + (message.key?.length ?? 0) + MESSAGE_OVERHEAD_BYTES;
    if (lane.bytes + bytes > BATCH_BYTES || lane.messages.length === BATCH_MESSAGES) await this.#send(lane);
    lane.seal.add(copied_log_time_ms(message.headers)!, value);
    lane.messages.push(message);
    lane.bytes += bytes;
    this.#waiting_bytes += bytes;
    if (this.#waiting_bytes > WAITING_BYTES_MAX) await this.#send_all();
  }

  /** Resolves when all is stored. */
  async flush(): Promise<void> {
    await this.#send_all();
    await Promise.all(this.#lanes.map(({ sending }) => sending));
    this.#throw_failed();
  }

  /** As `flush`: how many records each partition has, and what they are. */
  async end(): Promise<{ end: bigint; seal: string }[]> {
    await this.flush();
    return this.#lanes.map(({ writer, seal }) => ({ end: writer.next_offset, seal: seal.hex() }));
  }

  async #send_all(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => this.#send(lane)));
  }

  /** Resolves when the batch before it is stored. */
  async #send(lane: Lane): Promise<void> {
    await lane.sending;
    this.#throw_failed();
    if (lane.messages.length === 0) return;
    const { messages, bytes } = lane;
    lane.messages = [];
    lane.bytes = 0;
    this.#waiting_bytes -= bytes;
    lane.sending = lane.writer.write(messages).then(
      () => this.#on_sent(bytes),
      (error: unknown) => {
        this.#failed ??= { error };
      },
    );
  }

  #throw_failed(): void {
    if (this.#failed !== null) throw this.#failed.error;
  }
}
