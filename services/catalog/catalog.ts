/** The catalog: all manifests, in one more log of the same format. Writes one record at a time, in order. */
import {
  type CatalogRecord,
  decode_catalog_record,
  encode_catalog_record,
  type Manifest,
} from "../events/codec.js";
import { check_manifest } from "../events/manifest.js";
import { Problem } from "../events/problem.js";
import type { Disk } from "../log/disk.js";
import { frames_of, records_of } from "../log/frame.js";
import { Log, type OpenedLog } from "../log/log.js";
import { Waiters } from "../log/waiters.js";
import {
  type CatalogOutcome,
  type Identity,
  identity_of,
  Manifests,
  type Published,
  same_manifest,
} from "./manifests.js";
import { type MigrationEnd, migration_of } from "./migration.js";

export interface CatalogOptions {
  disk: Disk;
  directory: string;
  /** See LogOptions. */
  segment_bytes_max?: number;
  now(): number;
  /** The log is a replica of one that lies elsewhere; without it records are appended to the log here. */
  replica?: CatalogReplica;
  /** Every manifest that is published or withdrawn, in the log's order; first those that are there at the start. */
  on_change(outcome: CatalogOutcome): void;
}

/** A catalog whose log lies elsewhere, with other writers beside this one. */
export interface CatalogReplica {
  /** Resolves with the record's offset there when it is durable there; that it is folded here is awaited by itself. */
  append(record: Uint8Array): Promise<bigint>;
}

/** How long the own record may take to come back from where the log lies. */
const READ_BACK_MS = 10_000;

/** For a person: name, build, kernel. */
export function describe_identity(identity: Identity): string {
  const build_id = Buffer.from(identity.build_id ?? []).toString("hex");
  return `${identity.name}${build_id && `@${build_id}`} for ${identity.kernel_release} ${identity.arch}`;
}

/** What of the log is in the manifests. */
class Folded {
  readonly waiters = new Waiters();
  /** In the log's order; a replica's offsets may leave gaps. */
  readonly records: { offset: bigint; log_time_ms: number }[] = [];
  /** The first record, and those that say that others are copies. */
  readonly about_migration: CatalogRecord[] = [];

  get next_offset(): bigint {
    return (this.records.at(-1)?.offset ?? -1n) + 1n;
  }

  add(bytes: Uint8Array, offset: bigint, log_time_ms: number): void {
    const record = decoded(bytes);
    if (record !== null && (this.records.length === 0 || record.migration)) this.about_migration.push(record);
    this.records.push({ offset, log_time_ms });
  }

  tell(): void {
    this.waiters.folded_to(this.next_offset);
  }
}

/** Null: it is no record of a catalog. */
function decoded(bytes: Uint8Array): CatalogRecord | null {
  try {
    // A copy: the frames' memory is the log's.
    return decode_catalog_record(bytes.slice());
  } catch {
    return null;
  }
}

export class Catalog {
  readonly manifests: Manifests;
  readonly #log: Log;
  readonly #replica: CatalogReplica | null;
  readonly #folded: Folded;
  // The tail of the queue: a record's fate depends on those before it.
  #last: Promise<unknown> = Promise.resolve();

  private constructor(manifests: Manifests, log: Log, replica: CatalogReplica | null, folded: Folded) {
    this.manifests = manifests;
    this.#log = log;
    this.#replica = replica;
    this.#folded = folded;
  }

  static async open(options: CatalogOptions): Promise<{ catalog: Catalog; torn: OpenedLog["torn"] }> {
    const manifests = new Manifests();
    const replica = options.replica ?? null;
    const folded = new Folded();
    const { log, torn } = await Log.open({
      ...options,
      replica: replica !== null,
      name: "catalog",
      on_frames(frames) {
        for (const frame of frames_of(frames)) {
          for (const { bytes, offset, log_time_ms } of records_of(frame)) {
            // The frames' memory is the log's; a manifest keeps views of what it was decoded from.
            options.on_change(manifests.apply(bytes.slice(), offset, log_time_ms));
            folded.add(bytes, offset, log_time_ms);
          }
        }
        folded.tell();
      },
    });
    return { catalog: new Catalog(manifests, log, replica, folded), torn };
  }

  get next_offset(): bigint {
    return this.#log.next_offset;
  }

  /** Whether the log was copied from an embedded one, and how far. */
  get migration(): MigrationEnd | "unfinished" | null {
    return migration_of(this.#folded.about_migration);
  }

  /** For who feeds a replica. */
  get log(): Log {
    return this.#log;
  }

  /** Resolves with whether it is folded up to the offset: false after `wait_ms`. */
  async folded(next_offset: bigint, wait_ms: number): Promise<boolean> {
    return this.#folded.next_offset >= next_offset || this.#folded.waiters.wait(next_offset, wait_ms);
  }

  /** Next offset as known at an instant, ms; undefined: now. */
  position_at(known_at_ms?: number): bigint {
    if (known_at_ms === undefined) return this.next_offset;
    return (
      this.#folded.records.find(({ log_time_ms }) => log_time_ms > known_at_ms)?.offset ?? this.next_offset
    );
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
      const offset = would_be !== "known" && !known_refusal ? await this.#append(record) : null;
      // Told from the log, not from what was expected: another node's record may stand before this one.
      const published = this.manifests.latest(identity_of(manifest))!;
      if (same_manifest(published.manifest, manifest)) {
        return { published, outcome: published.offset === offset ? "published" : "known" };
      }
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
      const offset = await this.#append({ withdrawn: { identity, reason, by } });
      if (published.withdrawn?.offset === offset) return published;
      throw new Problem(
        "contradiction",
        `another withdrawal of ${describe_identity(identity)} came first, at offset ${published.withdrawn?.offset}`,
      );
    });
  }

  /** Resolves with the record's offset when it is folded. */
  async #append(record: CatalogRecord): Promise<bigint> {
    const bytes = encode_catalog_record(record);
    if (this.#replica === null) return (await this.#log.append([bytes])).first_offset;
    const offset = await this.#replica.append(bytes);
    if (await this.folded(offset + 1n, READ_BACK_MS)) return offset;
    throw new Problem(
      "unavailable",
      `the catalog's record ${offset} is written and was not read back within ${READ_BACK_MS / 1000} s; ` +
        "look for it later with `klpstate patch list`",
    );
  }

  #in_order<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    this.#folded.waiters.give_up();
    await this.#last;
    await this.#log.close();
  }
}
