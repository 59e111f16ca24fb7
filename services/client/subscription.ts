/**
 * Reads the topic of state changes in a consumer group: each change once per cause, in the causes' order, at least once
 * over crashes and rebalances. A change counts as handled when its handler has resolved; what was handled is committed
 * with its cause, so that repeats are known after a restart too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, Consumer, EachBatchPayload, Kafka, KafkaConfig, KafkaMessage } from "kafkajs";
import { BEGIN_AGAIN_HEADER, is_after } from "../events/cause.js";
import { decode_state_change, type StateChange } from "../events/state_change.js";
import { commit_metadata, committed_position, later_position, type Position } from "./position.js";
import { SubscriptionError } from "./subscription_error.js";

export interface SubscribeOptions {
  /** HOST:PORT of some brokers, or all that kafkajs is to know of them: TLS, SASL. */
  readonly brokers: string[] | KafkaConfig;
  /** Those who share it share the partitions, and go on where one of them was. */
  readonly group_id: string;
  /** As the registry's KLPSTATE_KAFKA_TOPIC_PREFIX. Default: `klpstate.` */
  readonly topic_prefix?: string;
  /** Where a group begins that has never read. Default: `earliest` */
  readonly from?: "earliest" | "latest";
  /** Where unread changes are in the topic no more: end with `expired`, or go on with the first that is. Default: `fail` */
  readonly when_expired?: "fail" | "go_on";
}

/** The next change comes when it has resolved; where it rejects, the subscription ends with its error. */
export type ChangeHandler = (change: StateChange) => Promise<void> | void;

export interface Subscription {
  /** Resolves when it has ended by `close`; rejects with SubscriptionError, or with the handler's own error. */
  readonly ended: Promise<void>;
  /** Waits for the handler, commits what was handled, and leaves the group; resolves when that is done. */
  close(): Promise<void>;
}

const COMMIT_AFTER_MS = 1_000;
const COMMIT_AFTER_CHANGES = 1_000;
const HEARTBEAT_MS = 3_000;
const FETCH_WAITS_MS = 500;
const ASKED_AGAIN_AFTER_MS = 1_000;

export function subscribe_with(options: SubscribeOptions, handler: ChangeHandler): Subscription {
  const reader = new Reader(options, handler);
  return { ended: reader.ended, close: () => reader.close() };
}

class Reader {
  readonly #options: SubscribeOptions;
  readonly #topic: string;
  readonly #handler: ChangeHandler;
  readonly ended: Promise<void>;
  #settle: (error: unknown) => void = () => {};
  #reading: Promise<void> = Promise.resolve();
  #consumer: Consumer | null = null;
  #admin: Admin | null = null;
  /** Of this reader, by partition: handled, perhaps not committed yet. */
  readonly #positions = new Map<number, Position>();
  /** Partitions whose position goes beyond what is committed. */
  readonly #uncommitted = new Set<number>();
  #changes_uncommitted = 0;
  #committed_ms = performance.now();
  /** Counts joins: what was begun for an earlier one is not gone on with. */
  #generation = 0;
  #is_closing = false;

  constructor(options: SubscribeOptions, handler: ChangeHandler) {
    this.#options = options;
    this.#topic = `${options.topic_prefix ?? "klpstate."}state-changes`;
    this.#handler = handler;
    const failed = new Promise<unknown>((resolve) => {
      this.#settle = resolve;
    });
    this.ended = this.#run(failed);
    // Whoever awaits it is told all the same; nobody has to.
    this.ended.catch(() => {});
  }

  async close(): Promise<void> {
    this.#end(null);
    await this.ended.catch(() => {});
  }

  async #run(failed: Promise<unknown>): Promise<void> {
    try {
      await this.#start().catch((error: unknown) => {
        if (error instanceof SubscriptionError) throw error;
        throw new SubscriptionError("kafka", message_of(error), null, { cause: error });
      });
      const error = await failed;
      if (error !== null) throw error;
    } finally {
      this.#is_closing = true;
      await this.#reading.catch(() => {});
      await this.#commit().catch(() => {});
      await this.#consumer?.disconnect().catch(() => {});
      await this.#admin?.disconnect().catch(() => {});
    }
  }

  async #start(): Promise<void> {
    const { brokers, group_id } = this.#options;
    const kafka = await kafka_client(Array.isArray(brokers) ? { brokers } : brokers);
    const admin = kafka.admin();
    const consumer = kafka.consumer({
      groupId: group_id,
      allowAutoTopicCreation: false,
      heartbeatInterval: HEARTBEAT_MS,
      maxWaitTimeInMs: FETCH_WAITS_MS,
      // kafkajs would start one again that was closed while it waited to. The number is its own.
      retry: { retries: 5, restartOnFailure: async () => !this.#is_closing },
    });
    this.#admin = admin;
    this.#consumer = consumer;
    await Promise.all([admin.connect(), consumer.connect()]).catch((error: unknown) => {
      throw new SubscriptionError("unreachable", `no broker can be used: ${message_of(error)}`, null, {
        cause: error,
      });
    });
    await admin.fetchTopicMetadata({ topics: [this.#topic] }).catch((error: unknown) => {
      // A broker or a leader that is away comes back; the consumer waits for it.
      if (answer_of(error) !== "UNKNOWN_TOPIC_OR_PARTITION") return;
      throw new SubscriptionError("no_topic", `there is no topic ${this.#topic}`, null, { cause: error });
    });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      void this.#joined(payload.memberAssignment[this.#topic] ?? []);
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) this.#fail("kafka", message_of(payload.error), null, payload.error);
    });
    await consumer.subscribe({ topic: this.#topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => {
        this.#reading = this.#read(payload);
        return this.#reading;
      },
    });
  }

  #end(error: unknown): void {
    this.#is_closing = true;
    this.#settle(error);
  }

  #fail(code: SubscriptionError["code"], message: string, partition: number | null, cause?: unknown): void {
    this.#end(new SubscriptionError(code, message, partition, { cause }));
  }

  /**
   * Where each partition goes on. kafkajs would begin again at what it committed, and where that is gone from the topic,
   * silently at its beginning: so nothing is read before it is known.
   */
  async #joined(partitions: number[]): Promise<void> {
    const generation = ++this.#generation;
    const consumer = this.#consumer!;
    // They may be another member's by now.
    this.#uncommitted.clear();
    consumer.pause([{ topic: this.#topic, partitions }]);
    const is_over = () => generation !== this.#generation || this.#is_closing;
    while (!is_over()) {
      try {
        const starts = await this.#starts(partitions);
        if (is_over()) return;
        for (const [partition, position] of starts) {
          this.#positions.set(partition, position);
          this.#uncommitted.add(partition);
          const offset = String(position.next_offset);
          consumer.seek({ topic: this.#topic, partition, offset });
        }
        consumer.resume([{ topic: this.#topic, partitions }]);
        // A group that begins at the end begins there for good, also where it stops before the first change.
        await this.#commit().catch(() => {});
        return;
      } catch (error) {
        if (error instanceof SubscriptionError) this.#end(error);
        await sleep(ASKED_AGAIN_AFTER_MS);
      }
    }
  }

  async #starts(partitions: number[]): Promise<Map<number, Position>> {
    const { group_id, from = "earliest", when_expired = "fail" } = this.#options;
    const topic = this.#topic;
    const admin = this.#admin!;
    const [committed] = await admin.fetchOffsets({ groupId: group_id, topics: [topic] });
    const ends = await admin.fetchTopicOffsets(topic);
    const starts = new Map<number, Position>();
    for (const partition of partitions) {
      const end = ends.find((one) => one.partition === partition);
      const entry = committed?.partitions.find((one) => one.partition === partition);
      const low = BigInt(end?.low ?? 0);
      const high = BigInt(end?.high ?? 0);
      const known = later_position(
        this.#positions.get(partition) ?? null,
        committed_position(entry?.offset ?? "-1", entry?.metadata ?? null),
      );
      if (known !== null && known.next_offset >= low && known.next_offset <= high) {
        starts.set(partition, known);
      } else if (known === null || when_expired === "go_on") {
        const next_offset = known === null && from === "latest" ? high : low;
        starts.set(partition, { next_offset, cause: known?.cause ?? null });
      } else {
        throw new SubscriptionError(
          "expired",
          `${topic}, partition ${partition}: group ${group_id} is at offset ${known.next_offset}, and the topic has ` +
            `${low} to ${high} only; when_expired: "go_on" goes on with what is there`,
          partition,
        );
      }
    }
    return starts;
  }

  async #read(payload: EachBatchPayload): Promise<void> {
    const { batch, isRunning, isStale } = payload;
    const generation = this.#generation;
    const is_over = () => this.#is_closing || generation !== this.#generation || !isRunning() || isStale();
    try {
      for (const message of batch.messages) {
        if (is_over() || !(await this.#take(message, payload))) return;
        await this.#commit_if_due();
        await payload.heartbeat();
      }
    } catch (error) {
      // The group changes: what was handled is not to be handled again by another member.
      await this.#commit().catch(() => {});
      throw error;
    }
  }

  /** False: it is not done with, and nothing behind it is to be read now. */
  async #take(
    message: KafkaMessage,
    { batch, resolveOffset, heartbeat }: EachBatchPayload,
  ): Promise<boolean> {
    const { partition } = batch;
    const position = this.#positions.get(partition);
    const change = this.#change(partition, message);
    if (position === undefined || change === "not_understood") return false;
    let cause = begins_again(message) ? null : position.cause;
    if (change !== null && is_after(change.cause, cause)) {
      if (!(await this.#handle(change, heartbeat))) return false;
      cause = change.cause;
      this.#changes_uncommitted++;
    }
    this.#positions.set(partition, { next_offset: BigInt(message.offset) + 1n, cause });
    this.#uncommitted.add(partition);
    resolveOffset(message.offset);
    return true;
  }

  /** Null: a record that is not about a change. */
  #change(partition: number, { offset, value }: KafkaMessage): StateChange | null | "not_understood" {
    if (value === null) return null;
    try {
      return decode_state_change(value);
    } catch (error) {
      const place = `${this.#topic}, partition ${partition}, offset ${offset}`;
      this.#fail("not_understood", `${place}: ${message_of(error)}`, partition, error);
      return "not_understood";
    }
  }

  /** False: the handler failed, and the subscription ends. */
  async #handle(change: StateChange, heartbeat: () => Promise<void>): Promise<boolean> {
    // A group waits for one that is slow only as long as it is heard of.
    const beats = setInterval(() => void heartbeat().catch(() => {}), HEARTBEAT_MS);
    try {
      await this.#handler(change);
      return true;
    } catch (error) {
      if (!this.#is_closing) this.#end(error);
      return false;
    } finally {
      clearInterval(beats);
    }
  }

  async #commit_if_due(): Promise<void> {
    const is_due =
      this.#changes_uncommitted >= COMMIT_AFTER_CHANGES ||
      performance.now() - this.#committed_ms >= COMMIT_AFTER_MS;
    // What is not committed now is with the next one; a group that has changed takes no commit of this member.
    if (is_due) await this.#commit().catch(() => {});
  }

  async #commit(): Promise<void> {
    this.#committed_ms = performance.now();
    this.#changes_uncommitted = 0;
    if (this.#consumer === null || this.#uncommitted.size === 0) return;
    const partitions = [...this.#uncommitted];
    this.#uncommitted.clear();
    await this.#consumer.commitOffsets(
      partitions.map((partition) => {
        const position = this.#positions.get(partition)!;
        const offset = String(position.next_offset);
        return { topic: this.#topic, partition, offset, metadata: commit_metadata(position) };
      }),
    );
  }
}

/** Causes that came before may come again, and are no repeats. */
function begins_again({ value, headers }: KafkaMessage): boolean {
  return value === null && headers?.[BEGIN_AGAIN_HEADER] !== undefined;
}

async function kafka_client(config: KafkaConfig): Promise<Kafka> {
  // Loaded where it is needed: whoever only decodes records needs no Kafka client.
  const { default: kafkajs } = await import("kafkajs");
  return new kafkajs.Kafka({ clientId: "klpstate.client", logLevel: kafkajs.logLevel.NOTHING, ...config });
}

/** What the broker answered, from beneath what kafkajs puts around it. */
function answer_of(error: unknown): string | undefined {
  let found = error as { type?: string; cause?: unknown };
  while (found.type === undefined && found.cause instanceof Error) found = found.cause as typeof found;
  return found.type;
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
