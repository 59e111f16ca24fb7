/**
 * The bytes of a topic's partitions, from the brokers to the logs here. A consumer that is alone in its group, so that
 * nobody's coming or going stops it: it is assigned every partition, all paused; what is held is sought and resumed.
 * Its group has a name of its own for each start: a predecessor that was killed would be a member until its session
 * ends, and half of the partitions would be waiting for it.
 */
import { randomUUID } from "node:crypto";
import type { Admin, Batch, Consumer, EachBatchPayload, Kafka } from "kafkajs";
import type { Broken, Replica } from "./replica.js";

export interface ReplicatorOptions {
  kafka: Kafka;
  topic: string;
  /** Beginning of the group's name. */
  group: string;
  report(message: string): void;
  /** Told once for each partition, which is read no more. */
  broken(partition: number, broken: Broken): void;
  now(): number;
}

/** The field's live values: a record is here when it is there; a wait for more would hold up all partitions of a broker. */
const MAX_WAIT_MS = 50;
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_BYTES_PARTITION = 2 * 1024 * 1024;
/** Nobody else waits for this group. */
const SESSION_TIMEOUT_MS = 30_000;
const RESTART_AFTER_MS = 1_000;
const LOOK_EVERY_MS = 5_000;
const NO_PROGRESS_MS = 30_000;
const RETRY_APPEND_MS = 1_000;
/** A new leader's high watermark may lag for a moment. */
const SHORTER_LOOKS = 5;
const SHORTER_LOOK_MS = 1_000;

interface Held {
  replica: Replica;
  /** Fetched; not while an append is to be tried again. */
  reads: boolean;
  looks_shorter: boolean;
  /** What the last look saw, for the one that follows. */
  seen: { reached: bigint; since_ms: number };
}

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #held = new Map<number, Held>();
  readonly #admin: Admin;
  #consumer: Consumer | null = null;
  /** The consumer has joined: its partitions can be sought. */
  #joined = false;
  #partitions: number[] = [];
  #looks: NodeJS.Timeout | null = null;
  #closed = false;
  #restarting: NodeJS.Timeout | null = null;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#admin = options.kafka.admin();
  }

  /** `partitions`: how many the topic has; another number breaks all that is held. Waits for brokers that answer. */
  async start(partitions: number): Promise<void> {
    this.#partitions = Array.from({ length: partitions }, (_, partition) => partition);
    while (!(await this.#connected()) && !this.#closed) await pause_ms(RESTART_AFTER_MS);
    await this.#run();
    this.#look_later();
  }

  hold(replica: Replica): void {
    const { now } = this.#options;
    const seen = { reached: replica.reached, since_ms: now() };
    this.#held.set(replica.partition, { replica, reads: true, looks_shorter: false, seen });
    this.#read(replica.partition);
  }

  release(partition: number): void {
    this.#held.delete(partition);
    this.#pause(partition);
  }

  /** The topic's earliest and next offset of each partition that has a leader. */
  async offsets(): Promise<Map<number, { low: bigint; high: bigint }>> {
    const found = await this.#admin.fetchTopicOffsets(this.#options.topic);
    return new Map(
      found.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]),
    );
  }

  /** Nothing of what waits is in the log: it is fetched again in a while. */
  append_failed(partition: number): void {
    const held = this.#held.get(partition);
    if (held === undefined || !held.reads) return;
    held.reads = false;
    this.#pause(partition);
    setTimeout(async () => {
      await held.replica.begin_again();
      if (this.#held.get(partition) !== held) return;
      held.reads = true;
      this.#read(partition);
    }, RETRY_APPEND_MS).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#held.clear();
    if (this.#looks !== null) clearTimeout(this.#looks);
    if (this.#restarting !== null) clearTimeout(this.#restarting);
    await this.#consumer?.disconnect().catch(() => {});
    await this.#admin.disconnect().catch(() => {});
  }

  async #connected(): Promise<boolean> {
    try {
      await this.#admin.connect();
      return true;
    } catch (error) {
      this.#options.report(`${this.#options.topic} cannot be asked for: ${message_of(error)}`);
      return false;
    }
  }

  async #run(): Promise<void> {
    const { kafka, topic, group } = this.#options;
    this.#joined = false;
    const consumer = kafka.consumer({
      groupId: `${group}.${randomUUID()}`,
      sessionTimeout: SESSION_TIMEOUT_MS,
      maxWaitTimeInMs: MAX_WAIT_MS,
      minBytes: 1,
      maxBytes: MAX_BYTES,
      maxBytesPerPartition: MAX_BYTES_PARTITION,
      // An offset that the topic does not have leads to its beginning, where the replica sees that it was not meant.
      allowAutoTopicCreation: false,
      // One that was given up must not start itself again. The number is kafkajs's own.
      retry: { retries: 5, restartOnFailure: async () => !this.#closed && this.#consumer === consumer },
    });
    this.#consumer = consumer;
    consumer.on(consumer.events.GROUP_JOIN, () => {
      if (this.#consumer !== consumer) {
        // It was given up while kafkajs was about to start it again.
        consumer.disconnect().catch(() => {});
        return;
      }
      // In the same turn, before anything is fetched: a new generation begins at what is committed, which is nothing.
      this.#joined = true;
      consumer.pause([{ topic, partitions: this.#partitions }]);
      for (const partition of this.#held.keys()) this.#read(partition);
    });
    consumer.on(consumer.events.STOP, () => {
      // Until it has joined again, also of itself behind a crash, it throws at whoever seeks.
      if (this.#consumer === consumer) this.#joined = false;
    });
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      // kafkajs shows batches of control records and aborted transactions nowhere else.
      if (payload.batchSize > 0 || payload.topic !== topic || this.#consumer !== consumer) return;
      const held = this.#held.get(payload.partition);
      if (held?.reads) void this.#pass(held, payload);
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      this.#options.report(`the consumer of ${topic} stopped: ${payload.error.message}`);
      if (this.#consumer !== consumer) return;
      this.#joined = false;
      if (!payload.restart) this.#restart();
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: this.#partitions.length,
        eachBatch: async (payload) => {
          if (this.#consumer === consumer) await this.#each_batch(payload);
        },
      });
    } catch (error) {
      this.#options.report(`the consumer of ${topic} does not start: ${message_of(error)}`);
      if (this.#consumer === consumer) this.#restart();
    }
  }

  /** With a consumer made anew: one that has crashed, or stands still, may have lost more than it says. */
  #restart(): void {
    const old = this.#consumer;
    this.#consumer = null;
    this.#joined = false;
    old?.disconnect().catch(() => {});
    if (this.#closed || this.#restarting !== null) return;
    this.#restarting = setTimeout(() => {
      this.#restarting = null;
      void this.#run();
    }, RESTART_AFTER_MS);
  }

  /** From the last record here on. */
  #read(partition: number): void {
    const held = this.#held.get(partition);
    if (!this.#joined || held === undefined || !held.reads) return;
    const { topic } = this.#options;
    try {
      this.#consumer?.seek({ topic, partition, offset: String(held.replica.fetch_offset) });
      this.#consumer?.resume([{ topic, partitions: [partition] }]);
    } catch {
      // kafkajs has stopped it and not said so yet: all is sought when it has joined again.
    }
  }

  #pause(partition: number): void {
    if (!this.#joined) return;
    try {
      this.#consumer?.pause([{ topic: this.#options.topic, partitions: [partition] }]);
    } catch {
      // As above: then all are paused.
    }
  }

  /** Never throws: a handler that does slows its neighbours down, and in the end silences them. */
  async #each_batch({ batch, resolveOffset, heartbeat, isStale }: EachBatchPayload): Promise<void> {
    const { partition } = batch;
    const held = this.#held.get(partition);
    if (held === undefined || !held.reads || isStale()) return;
    try {
      await this.#take(held, batch, resolveOffset);
      await heartbeat();
    } catch (error) {
      if (is_of_group(error)) throw error;
      this.#options.report(`partition ${partition} of ${batch.topic}: ${message_of(error)}`);
      this.append_failed(partition);
    }
  }

  async #take(held: Held, batch: Batch, resolve: (offset: string) => void): Promise<void> {
    const { replica } = held;
    const asked = BigInt((batch as Batch & { fetchedOffset: string }).fetchedOffset);
    if (asked < replica.fetch_offset) {
      // kafkajs went to the topic's beginning: the topic does not have what was asked for.
      await this.#look_shorter(held);
      return;
    }
    const taken = await replica.take(batch);
    if (this.#held.get(replica.partition) !== held) return;
    if (taken === "taken") resolve(batch.lastOffset());
    else if (taken === "compare_next") resolve(String(replica.fetch_offset - 1n));
    else if (taken === "again") this.#read(replica.partition);
    else this.#break(replica.partition, taken);
  }

  async #pass(held: Held, { firstOffset, lastOffset }: InstrumentationBatch): Promise<void> {
    const { partition } = held.replica;
    const last = BigInt(lastOffset);
    try {
      const broken = await held.replica.passed(firstOffset === null ? last : BigInt(firstOffset), last);
      if (broken !== null && this.#held.get(partition) === held) this.#break(partition, broken);
    } catch (error) {
      this.#options.report(`partition ${partition} of ${this.#options.topic}: ${message_of(error)}`);
      this.append_failed(partition);
    }
  }

  /** The topic seems to end before the log here does. */
  async #look_shorter(held: Held): Promise<void> {
    if (held.looks_shorter) return;
    held.looks_shorter = true;
    try {
      await this.#wait_for_length(held);
    } finally {
      held.looks_shorter = false;
    }
  }

  async #wait_for_length(held: Held): Promise<void> {
    const { partition } = held.replica;
    for (let looks = 0; ; ) {
      // A leader that moves tells nothing, and the new one may lag: only what is told counts.
      const high = await this.offsets().then(
        (offsets) => offsets.get(partition)?.high,
        () => undefined,
      );
      if (this.#held.get(partition) !== held) return;
      if (high !== undefined && high >= held.replica.expected_offset) {
        this.#read(partition);
        return;
      }
      if (high !== undefined) looks += 1;
      if (looks === SHORTER_LOOKS) {
        this.#break(partition, {
          reason: "log_diverged",
          says: `the topic ends at offset ${high} and the log here at ${held.replica.expected_offset}: it was made anew, or lost records`,
        });
        return;
      }
      await pause_ms(SHORTER_LOOK_MS);
    }
  }

  #break(partition: number, broken: Broken): void {
    if (!this.#held.has(partition)) return;
    this.release(partition);
    this.#options.broken(partition, broken);
  }

  #look_later(): void {
    this.#looks = setTimeout(async () => {
      try {
        await this.#look();
      } catch (error) {
        this.#options.report(`${this.#options.topic} cannot be looked at: ${message_of(error)}`);
      }
      if (!this.#closed) this.#look_later();
    }, LOOK_EVERY_MS);
  }

  /** Whether the topic is as it was, and whether what it has comes in. */
  async #look(): Promise<void> {
    if (this.#held.size === 0) return;
    const { topic, now, report } = this.#options;
    const metadata = await this.#admin.fetchTopicMetadata({ topics: [topic] });
    const count = metadata.topics[0]?.partitions.length ?? 0;
    // A topic that is not there at the moment has none; whether it comes back as another one its records tell.
    if (count === 0) throw new Error("there is no such topic");
    if (count !== this.#partitions.length) {
      const says = `${topic} has ${count} partitions and not ${this.#partitions.length}: hosts would have others`;
      for (const partition of [...this.#held.keys()]) {
        this.#break(partition, { reason: "partition_count_changed", says });
      }
      return;
    }
    const offsets = await this.offsets();
    let stands_still = false;
    for (const [partition, held] of this.#held) {
      const { replica, seen } = held;
      const there = offsets.get(partition);
      const hole = there === undefined ? null : replica.hole(there.low);
      if (hole !== null && held.reads) {
        // Where nothing follows it, no fetch brings it to light.
        this.#break(partition, hole);
        continue;
      }
      if (there !== undefined && held.reads && there.high < replica.expected_offset)
        void this.#look_shorter(held);
      if (
        there === undefined ||
        !held.reads ||
        replica.reached > seen.reached ||
        replica.reached >= there.high
      ) {
        // An empty log ends where the topic does, however far that is.
        held.seen = { reached: replica.reached, since_ms: now() };
      } else if (now() - seen.since_ms > NO_PROGRESS_MS) {
        stands_still = true;
        held.seen.since_ms = now();
      }
    }
    if (!stands_still) return;
    report(
      `nothing of ${topic} has come in for ${NO_PROGRESS_MS / 1000} s though there is more: reading anew`,
    );
    this.#restart();
  }
}

/** Of kafkajs's event; `firstOffset` null: the broker sent what lies before the offset that was asked for. */
interface InstrumentationBatch {
  firstOffset: string | null;
  lastOffset: string;
}

/** These are how kafkajs learns that it has to join again. */
function is_of_group(error: unknown): boolean {
  const type = (error as { type?: string }).type ?? "";
  return [
    "REBALANCE_IN_PROGRESS",
    "NOT_COORDINATOR_FOR_GROUP",
    "UNKNOWN_MEMBER_ID",
    "ILLEGAL_GENERATION",
  ].includes(type);
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pause_ms(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
