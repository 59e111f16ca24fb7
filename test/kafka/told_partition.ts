/** A partition in a directory of its own, whose outlet writes to topics of a real broker; and what a reader finds there. */
import type { IHeaders, KafkaMessage, Message } from "kafkajs";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import {
  type Outlet,
  type OutletOptions,
  type OutletProgress,
  start_outlet,
} from "#services/kafka/state_changes/outlet.js";
import { type Attempts, outlet_writers } from "#services/kafka/state_changes/partition_sender.js";
import { cause_from_headers, type ToldTo } from "#services/kafka/state_changes/record.js";
import { create_topics } from "#services/kafka/topics.js";
import { CatalogFacts } from "#services/registry/catalog_feed.js";
import { unsynced_disk } from "../unit/log/fixtures.js";
import { KeptPartition } from "../unit/registry/kept_partition.js";

/** As many partitions as the settings say. */
export async function make_topics(settings: KafkaSettings): Promise<void> {
  await create_topics(kafka_of(settings, "test"), settings);
}

export interface FoundRecord {
  offset: bigint;
  key: string | null;
  value: Buffer | null;
  headers: Record<string, string>;
}

/** All of the topic's partition. */
export async function read_all(
  settings: KafkaSettings,
  topic: string,
  partition = 0,
): Promise<FoundRecord[]> {
  const kafka = kafka_of(settings, "reader");
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const high = BigInt(ends.find((one) => one.partition === partition)!.high);
  const found: FoundRecord[] = [];
  if (high === 0n) return found;
  const consumer = kafka.consumer({ groupId: `read-${topic}-${Math.random()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve) => {
    void consumer.run({
      autoCommit: false,
      async eachMessage({ partition: of, message }) {
        if (of !== partition) return;
        found.push(record_of(message));
        if (BigInt(message.offset) === high - 1n) resolve();
      },
    });
  });
  await consumer.disconnect();
  return found;
}

function record_of({ offset, key, value, headers }: KafkaMessage): FoundRecord {
  return { offset: BigInt(offset), key: key?.toString() ?? null, value, headers: texts(headers) };
}

function texts(headers: IHeaders | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}

/** What the next owner finds at the topic's end. */
export async function last_cause(settings: KafkaSettings): Promise<ToldTo | null> {
  const last = (await read_all(settings, settings.topics.state_changes)).at(-1);
  return cause_from_headers(last?.headers);
}

export class ToldPartition {
  readonly kept = new KeptPartition();
  readonly facts = new CatalogFacts();
  progress: OutletProgress = { cause: null, quarantined_to: 0n };
  reports: string[] = [];
  outlet: Outlet | null = null;
  /** Null: the broker's answers arrive; else what is done in their place. */
  instead_of_answers: ((messages: Message[]) => Promise<never>) | null = null;
  #writers;

  constructor(readonly settings: KafkaSettings) {
    this.#writers = outlet_writers(kafka_of(settings, "outlet"), settings.topics);
  }

  start(resume: Partial<OutletOptions["resume"]> = {}, options: Partial<OutletOptions> = {}): Outlet {
    const { kept, facts, settings } = this;
    const heard = (writer: Attempts): Attempts => ({
      attempt: async (partition, messages) => {
        const attempt = await writer.attempt(partition, messages);
        return this.instead_of_answers === null ? attempt : this.instead_of_answers(messages);
      },
    });
    const { state_changes, quarantine } = this.#writers;
    this.outlet = start_outlet({
      partition: kept.partition,
      place: kept.place,
      disk: unsynced_disk,
      facts,
      catalog_next_offset: () => BigInt(facts.all.length),
      writers: { state_changes: heard(state_changes), quarantine: heard(quarantine) },
      topics: settings.topics,
      state_changes: true,
      may_publish: () => true,
      resume: {
        topic_cause: null,
        committed_cause: null,
        quarantined_to: null,
        source_end: kept.partition.log!.next_offset,
        ...resume,
      },
      on_progress: (progress) => {
        this.progress = { ...progress };
      },
      report: (message) => this.reports.push(message),
      ...options,
    });
    return this.outlet;
  }

  async stop(): Promise<void> {
    await this.outlet?.stop();
    this.outlet = null;
  }

  /** Of the outlet's connections. */
  async close(): Promise<void> {
    await this.stop();
    await this.#writers.state_changes.close();
    await this.#writers.quarantine.close();
  }

  /** Everything in the log is told. */
  get is_told(): boolean {
    const next_offset = this.kept.partition.log!.next_offset;
    const { cause, quarantined_to } = this.progress;
    return (cause?.offset ?? -1n) + 1n >= next_offset && quarantined_to >= next_offset;
  }
}
