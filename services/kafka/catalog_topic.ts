/** The catalog's topic: read to its end and followed, and written to by any node. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Kafka } from "kafkajs";
import type { Catalog } from "../catalog/catalog.js";
import { identity_key, identity_of } from "../catalog/manifests.js";
import { decode_catalog_record } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import { klpstate } from "../events/proto.js";
import type { RecordColumns } from "../log/columns.js";
import { copied_log_time_ms } from "./log_time_header.js";
import { Outlet } from "./outlet.js";
import { replica_log } from "./partition_log.js";
import type { FetchedRecord } from "./record_batch.js";
import { Replica } from "./replica.js";
import { Replicator } from "./replicator.js";

export interface CatalogTopicOptions {
  kafka: Kafka;
  topic: string;
  /** Beginning of the consumer's group. */
  group: string;
  report(message: string): void;
}

const APPEND_WITHIN_MS = 10_000;
const RETRY_MS = 100;
const REPLICAS_MS = 5_000;
const ASK_END_EVERY_MS = 200;

export class CatalogTopic {
  readonly #options: CatalogTopicOptions;
  readonly #outlet: Outlet;
  readonly #replicator: Replicator;
  /** Why it is followed no more; null: it is. */
  #broken: string | null = null;
  #replica: Replica | null = null;
  /** The topic has the last record of the catalog here. */
  #is_verified = false;
  #waiting: { offset: bigint; resolve(): void; reject(error: Error): void }[] = [];

  constructor(options: CatalogTopicOptions) {
    this.#options = options;
    const { kafka, topic, group, report } = options;
    this.#outlet = new Outlet({
      kafka,
      topic,
      replicas_ms: REPLICAS_MS,
      monotonic_ms: () => performance.now(),
    });
    this.#replicator = new Replicator({
      kafka,
      topic,
      group,
      report,
      broken: (_partition, { reason, says }) => this.#break(`the catalog is broken, ${reason}: ${says}`),
      now: () => performance.now(),
    });
  }

  get broken(): string | null {
    return this.#broken;
  }

  /** Resolves when all that the topic had is in the catalog. Throws Problem where it cannot be. */
  async follow(catalog: Catalog): Promise<void> {
    const { log } = catalog;
    this.#is_verified = log.next_offset === 0n;
    const append = async (after: bigint, records: RecordColumns) => {
      await log.append_replica(after, records);
    };
    const replica = new Replica({
      partition: 0,
      log: replica_log(log, append),
      begins_anywhere: false,
      copied_time: copied_times(catalog),
      earliest: async () => (await this.#replicator.offsets()).get(0)?.low ?? 0n,
      now: () => performance.now(),
      failed: (error) => {
        this.#options.report(`the catalog: ${error instanceof Error ? error.message : String(error)}`);
        this.#replicator.append_failed(0);
      },
      verified: () => {
        this.#is_verified = true;
        this.#tell_who_waits();
      },
      reached: () => this.#tell_who_waits(),
    });
    this.#replica = replica;
    await this.#replicator.start(1);
    this.#replicator.hold(replica);
    await this.#reach(await this.#end());
  }

  /** Resolves with the record's offset when the brokers have it. Throws Problem. */
  async append(record: Uint8Array): Promise<bigint> {
    if (this.#broken !== null) throw new Problem("unavailable", this.#broken);
    const message = { partition: 0, key: key_of(record), value: Buffer.from(record) };
    const until = performance.now() + APPEND_WITHIN_MS;
    let may_be_written = false;
    for (;;) {
      const attempt = await this.#outlet.attempt(0, [message]);
      if ("offset" in attempt) return attempt.offset;
      may_be_written ||= attempt.may_be_written;
      if (attempt.final || performance.now() > until) {
        const stands = may_be_written ? "it may be in the catalog" : "it is not in the catalog";
        throw new Problem("unavailable", `Kafka did not take the record: ${attempt.why}; ${stands}`);
      }
      await sleep(RETRY_MS);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#replicator.close(), this.#outlet.close()]);
  }

  /** Waits for a leader, where there is none. */
  async #end(): Promise<bigint> {
    for (;;) {
      const end = (await this.#replicator.offsets()).get(0);
      if (end !== undefined) return end.high;
      await sleep(ASK_END_EVERY_MS);
    }
  }

  #reach(offset: bigint): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ offset, resolve, reject });
      this.#tell_who_waits();
    });
  }

  #tell_who_waits(): void {
    // A log that goes beyond the topic has reached all of it, and is another's.
    if (!this.#is_verified) return;
    const { reached } = this.#replica!;
    for (const { resolve } of this.#waiting.filter(({ offset }) => offset <= reached)) resolve();
    this.#waiting = this.#waiting.filter(({ offset }) => offset > reached);
  }

  #break(says: string): void {
    this.#broken = says;
    this.#options.report(says);
    for (const { reject } of this.#waiting.splice(0)) reject(new Problem("unavailable", says));
  }
}

/** So that one identity's records can be found by who looks at the topic. */
function key_of(record: Uint8Array): string {
  const { published, withdrawn } = decode_catalog_record(record);
  return identity_key(published ? identity_of(published) : (withdrawn?.identity ?? {}));
}

/** Records from the one that says that a copy began to the one that it ended have their log times in a header. */
function copied_times(catalog: Catalog): (record: FetchedRecord) => number | null {
  let copies = catalog.migration === "unfinished";
  return ({ offset, value, headers }) => {
    const phase = phase_of(value!);
    // The one that says so counts among them: log times never fall, and by its own all would be of the copying's day.
    if (phase !== null) copies = phase === klpstate.v1.MigrationPhase.BEGAN && offset === 0;
    return copies ? copied_log_time_ms(headers) : null;
  };
}

function phase_of(record: Uint8Array): klpstate.v1.MigrationPhase | null {
  try {
    return decode_catalog_record(record).migration?.phase ?? null;
  } catch {
    return null;
  }
}
