/** The catalog: all manifests, in one more log of the same format. Writes one record at a time, in order. */
import { type CatalogRecord, encode_catalog_record, type Manifest } from "../events/codec.js";
import { check_manifest } from "../events/manifest.js";
import { Problem } from "../events/problem.js";
import type { Disk } from "../log/disk.js";
import { frames_of, records_of } from "../log/frame.js";
import { Log, type OpenedLog } from "../log/log.js";
import { Waiters } from "../log/waiters.js";
import { type CatalogOutcome, type Identity, identity_of, Manifests, type Published } from "./manifests.js";

export interface CatalogOptions {
  disk: Disk;
  directory: string;
  /** See LogOptions. */
  segment_bytes_max?: number;
  now(): number;
  /** Every manifest that is published or withdrawn, in the log's order; first those that are there at the start. */
  on_change(outcome: CatalogOutcome): void;
}

/** For a person: name, build, kernel. */
export function describe_identity(identity: Identity): string {
  const build_id = Buffer.from(identity.build_id ?? []).toString("hex");
  return `${identity.name}${build_id && `@${build_id}`} for ${identity.kernel_release} ${identity.arch}`;
}

export class Catalog {
  readonly manifests: Manifests;
  #log: Log;
  #waiters: Waiters;
  // By offset: an embedded log has no gaps.
  #log_times_ms: number[];
  // The tail of the queue: a record's fate depends on those before it.
  #last: Promise<unknown> = Promise.resolve();

  private constructor(manifests: Manifests, log: Log, log_times_ms: number[], waiters: Waiters) {
    this.manifests = manifests;
    this.#log = log;
    this.#waiters = waiters;
    this.#log_times_ms = log_times_ms;
  }

  static async open(options: CatalogOptions): Promise<{ catalog: Catalog; torn: OpenedLog["torn"] }> {
    const manifests = new Manifests();
    const log_times_ms: number[] = [];
    const waiters = new Waiters();
    const { log, torn } = await Log.open({
      ...options,
      name: "catalog",
      on_frames(frames) {
        for (const frame of frames_of(frames)) {
          for (const { bytes, offset, log_time_ms } of records_of(frame)) {
            // The frames' memory is the log's; a manifest keeps views of what it was decoded from.
            log_times_ms.push(log_time_ms);
            options.on_change(manifests.apply(bytes.slice(), offset, log_time_ms));
          }
        }
        waiters.folded_to(BigInt(log_times_ms.length));
      },
    });
    return { catalog: new Catalog(manifests, log, log_times_ms, waiters), torn };
  }

  get next_offset(): bigint {
    return this.#log.next_offset;
  }

  /** Resolves with whether it is folded up to the offset: false after `wait_ms`. */
  async folded(next_offset: bigint, wait_ms: number): Promise<boolean> {
    return BigInt(this.#log_times_ms.length) >= next_offset || this.#waiters.wait(next_offset, wait_ms);
  }

  /** Next offset as known at an instant, ms; undefined: now. */
  position_at(known_at_ms?: number): bigint {
    if (known_at_ms === undefined) return this.next_offset;
    const later = this.#log_times_ms.findIndex((time_ms) => time_ms > known_at_ms);
    return later < 0 ? this.next_offset : BigInt(later);
  }

  /**
   * Throws Problem: `bad_input`, `too_large`; `contradiction` where another manifest has the identity; then the refused
   * one is on record.
   */
  publish(manifest: Manifest): Promise<{ published: Published; outcome: "published" | "known" }> {
    check_manifest(manifest);
    return this.#in_order(async () => {
      const record: CatalogRecord = { published: manifest };
      const would_be = this.manifests.would_be(record);
      const known_refusal = would_be === "contradicts" && this.manifests.is_refused(manifest);
      if (would_be !== "known" && !known_refusal) await this.#append(record);
      const published = this.manifests.live(identity_of(manifest))!;
      if (would_be !== "contradicts") return { published, outcome: would_be as "published" | "known" };
      throw new Problem(
        "contradiction",
        `the catalog has another manifest of ${describe_identity(identity_of(manifest))}, at offset ${published.offset}; ` +
          "withdraw it first if it is wrong",
        { field: "name", value: manifest.name ?? "" },
      );
    });
  }

  /** Throws Problem `not_found` where no manifest has the identity. */
  withdraw(identity: Identity, reason: string, by: string): Promise<Published> {
    return this.#in_order(async () => {
      const published = this.manifests.live(identity);
      if (published === null) {
        throw new Problem("not_found", `the catalog has no manifest of ${describe_identity(identity)}`);
      }
      await this.#append({ withdrawn: { identity, reason, by } });
      return published;
    });
  }

  async #append(record: CatalogRecord): Promise<void> {
    await this.#log.append([encode_catalog_record(record)]);
  }

  #in_order<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    this.#waiters.give_up();
    await this.#last;
    await this.#log.close();
  }
}
