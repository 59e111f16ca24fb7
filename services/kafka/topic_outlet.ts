/** The topic of host events as a program without a registry writes to it. */
import { randomBytes } from "node:crypto";
import type { Kafka } from "kafkajs";
import { load_core_module } from "../core/module.js";
import { WayIn } from "../core/way_in.js";
import { Problem } from "../events/problem.js";
import { fault_problem } from "../events/record_error.js";
import { validate_batch } from "../events/validate.js";
import { unavailable } from "./broker_problem.js";
import { kafka_of } from "./kafka_client.js";
import { all_stored, type StoredPart } from "./publish_problem.js";
import { PUBLISHER_REQUEST_TIMEOUT_MS, Publisher } from "./publisher.js";
import type { KafkaSettings } from "./settings.js";

export class TopicOutlet {
  readonly topic: string;
  readonly partitions: number;
  readonly #publisher: Publisher;
  readonly #way_in = new WayIn(load_core_module(), randomBytes(8).readBigUInt64LE());

  private constructor(topic: string, partitions: number, publisher: Publisher) {
    this.topic = topic;
    this.partitions = partitions;
    this.#publisher = publisher;
  }

  /** Throws Problem where no broker answers, or the topic is not there. */
  static async open(settings: KafkaSettings): Promise<TopicOutlet> {
    const kafka = kafka_of(settings, "produce", undefined, PUBLISHER_REQUEST_TIMEOUT_MS);
    const topic = settings.topics.host_events;
    const partitions = await partition_count(kafka, settings);
    const publisher = new Publisher({ kafka, topic, partitions });
    try {
      await publisher.connect();
    } catch (error) {
      await publisher.close();
      throw unavailable(error, settings);
    }
    return new TopicOutlet(topic, partitions, publisher);
  }

  /**
   * Takes one EventBatch as a registry does: judged whole before anything is sent. Throws Problem; `unavailable` where it
   * was not stored whole.
   */
  async publish(batch: Uint8Array): Promise<StoredPart[]> {
    const cut = this.#way_in.cut(batch, this.partitions);
    if (!("error" in cut)) return all_stored(await this.#publisher.store(cut.parts));
    const fault = validate_batch(batch);
    if (fault === null)
      throw new Error(`the core refuses what is good: error ${cut.error} of event ${cut.index}`);
    throw fault_problem(fault);
  }

  close(): Promise<void> {
    return this.#publisher.close();
  }
}

/** Asks for nothing that a producer may not know where brokers have access lists. */
async function partition_count(kafka: Kafka, settings: KafkaSettings): Promise<number> {
  const topic = settings.topics.host_events;
  const admin = kafka.admin({ retry: { retries: 3 } });
  try {
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]!.partitions.length;
  } catch (error) {
    if ((error as { type?: string }).type !== "UNKNOWN_TOPIC_OR_PARTITION")
      throw unavailable(error, settings);
    const advice = "`klpstate topics create` makes it; KLPSTATE_KAFKA_TOPIC_PREFIX names others";
    throw new Problem("not_found", `there is no topic ${topic}; ${advice}`, { value: topic });
  } finally {
    await admin.disconnect();
  }
}
