/**
 * Every record that the fold does not take goes to the topic of quarantined records, as it is, with the reason. Nothing
 * is looked at again while the fold's counter stands: only where it rises, the log is read from the last look on.
 */
import { setImmediate } from "node:timers/promises";
import type { Message } from "kafkajs";
import { type Fault, fault } from "../../events/record_error.js";
import { validate_batch } from "../../events/validate.js";
import { type LogRecord, records_of } from "../../log/frame.js";
import type { Partition } from "../../registry/partition.js";
import { type RegistryPlace, record_judge } from "../../registry/partition_place.js";
import type { PartitionSender } from "./partition_sender.js";
import { Wake } from "./wake.js";

export interface QuarantineOptions {
  partition: Partition;
  place: RegistryPlace;
  /** Of the topic of quarantined records. */
  sender: PartitionSender;
  /** The topic of host events. */
  source_topic: string;
  /** Records below are told already; null: none is. */
  quarantined_to: bigint | null;
  /** Everything below the offset is told. */
  on_progress(quarantined_to: bigint): void;
}

/** So many records are judged before others run in the thread. */
const RECORDS_AT_ONCE = 256;

export function quarantine_message(
  source: { topic: string; partition: number; offset: bigint },
  bytes: Uint8Array,
  { code, message }: Pick<Fault, "code" | "message">,
): Message {
  return {
    partition: source.partition,
    key: null,
    value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    headers: {
      reason: code,
      detail: message,
      source_topic: source.topic,
      source_partition: String(source.partition),
      source_offset: String(source.offset),
    },
  };
}

export class Quarantine {
  readonly #options: QuarantineOptions;
  readonly #wake = new Wake();
  readonly #ended: Promise<void>;
  /** Made when the first one is to be found. */
  #takes: ((record: Uint8Array) => boolean) | null = null;
  #stopped = false;
  #broken: string | null = null;

  constructor(options: QuarantineOptions) {
    this.#options = options;
    this.#ended = this.#run().catch((error: unknown) => {
      this.#broken = error instanceof Error ? error.message : String(error);
    });
  }

  /** Why no more is told; null: it goes on. */
  get broken(): string | null {
    return this.#broken;
  }

  /** More of the log is folded. */
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
    const { core } = this.#options.partition;
    let told_to = this.#options.quarantined_to ?? 0n;
    // The count of a start is of all that is in the log, told or not.
    let seen = 0;
    while (!this.#stopped) {
      const { records_quarantined, next_offset } = core;
      const has_new = records_quarantined > seen && next_offset > told_to;
      if (has_new && !(await this.#tell(told_to, next_offset))) return;
      if (next_offset > told_to) {
        told_to = next_offset;
        this.#options.on_progress(told_to);
      }
      seen = records_quarantined;
      await this.#wake.wait();
    }
  }

  /** False: stopped before the end. */
  async #tell(from: bigint, to: bigint): Promise<boolean> {
    const { partition, place, sender, source_topic } = this.#options;
    this.#takes ??= record_judge(place, partition.partition);
    let judged = 0;
    for await (const frame of partition.serving_log().read(from, to)) {
      for (const record of records_of(frame.bytes)) {
        if (record.offset < from || record.offset >= to) continue;
        if (++judged % RECORDS_AT_ONCE === 0) await setImmediate();
        if (this.#stopped) return false;
        if (this.#takes(record.bytes)) continue;
        const source = { topic: source_topic, partition: partition.partition, offset: record.offset };
        const message = quarantine_message(source, record.bytes, this.#reason(record));
        if (!(await sender.send([message]))) return false;
      }
    }
    return true;
  }

  #reason({ bytes }: LogRecord): Fault {
    const { partition, place } = this.#options;
    const ownership = { partition: partition.partition, partitions: place.partition_count };
    // The core has the last word; where the slow path finds nothing, the two would have to be compared.
    const found = validate_batch(bytes, ownership);
    return found ?? fault("malformed", "record", undefined, "is not taken by the fold", "EventBatch");
  }
}
