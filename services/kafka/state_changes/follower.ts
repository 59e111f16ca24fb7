/** Tells a partition's changes: reads them behind the log, puts them into sends, and says how far it has come. */
import type { Message } from "kafkajs";
import { type CausePosition, is_after } from "../../events/cause.js";
import { HostChanges, type HostChangesOptions } from "../../registry/host_changes.js";
import type { PartitionSender } from "./partition_sender.js";
import { all_before, begin_message, state_change_message } from "./record.js";
import { Wake } from "./wake.js";

export interface FollowerOptions extends HostChangesOptions {
  /** Of the topic of state changes. */
  sender: PartitionSender;
  /** The topic of host events, which a cause is an address in. */
  source: string;
  /** Nothing was ever told: a mark says from now on that it begins here. */
  is_new: boolean;
  /** Everything up to it is told. */
  on_progress(cause: CausePosition): void;
}

/** kafkajs does not split a send, and a broker takes 1,048,588 bytes of one by default. */
const SEND_BYTES_MAX = 900 * 1024;

class Batch {
  readonly messages: Message[] = [];
  bytes = 0;
  /** Of the last change in it. */
  last: CausePosition | null = null;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #wake = new Wake();
  readonly #ended: Promise<void>;
  /** Resolves when it is on record where telling begins, or when it was stopped before. */
  readonly started: Promise<void>;
  #sending: Promise<void> = Promise.resolve();
  #told_to: CausePosition | null;
  #stopped = false;
  #broken: string | null = null;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#told_to = options.after;
    const { partition, sender, is_new } = options;
    const mark = begin_message(partition.partition);
    this.started = is_new ? sender.send([mark]).then(() => {}) : Promise.resolve();
    this.#ended = this.#run().catch((error: unknown) => {
      this.#broken = error instanceof Error ? error.message : String(error);
    });
  }

  /** Why no more is told; null: it goes on. */
  get broken(): string | null {
    return this.#broken;
  }

  /** More of the log is there. */
  wake(): void {
    this.#wake.ring();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#options.sender.stop();
    this.#wake.ring();
    await this.#ended;
  }

  async #run(): Promise<void> {
    await this.started;
    if (this.#stopped) return;
    const changes = await HostChanges.open(this.#options);
    while (!this.#stopped) {
      await this.#tell(changes);
      if (this.#stopped) return;
      this.#progress(all_before(changes.next_offset));
      await this.#wake.wait();
    }
  }

  /** All that the log has; one send is under way while the next is put together. */
  async #tell(changes: HostChanges): Promise<void> {
    let batch = new Batch();
    for await (const told of changes.pending()) {
      for (const change of told) {
        const { message, bytes } = state_change_message(change, this.#options.source);
        if (batch.bytes + bytes > SEND_BYTES_MAX) {
          await this.#send(batch);
          batch = new Batch();
        }
        batch.messages.push(message);
        batch.bytes += bytes;
        batch.last = change.cause;
      }
      if (this.#stopped) return;
    }
    await this.#send(batch);
    await this.#sending;
  }

  /** Resolves when the send before it is acknowledged and this one under way. */
  async #send({ messages, last }: Batch): Promise<void> {
    await this.#sending;
    if (last === null) return;
    this.#sending = this.#options.sender.send(messages).then((is_sent) => {
      if (is_sent) this.#progress(last);
    });
  }

  #progress(cause: CausePosition): void {
    if (!is_after(cause, this.#told_to) || cause.offset < 0n) return;
    this.#told_to = cause;
    this.#options.on_progress(cause);
  }
}
