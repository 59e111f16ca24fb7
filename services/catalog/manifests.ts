/**
 * The fold of the catalog's log (RULES C, Catalog): which manifests there are. Manifests are immutable facts: the
 * first of an identity wins, an identical one is accepted again, a different one is refused and the refusal is on
 * record. A withdrawal frees the identity; its manifest resolves no more, and stays to be seen.
 */
import {
  type CatalogRecord,
  decode_catalog_record,
  encode_manifest,
  type Manifest,
} from "../events/codec.js";
import { check_manifest } from "../events/manifest.js";
import type { klpstate } from "../events/proto.js";

export type Identity = klpstate.v1.Identity.$Properties;

export interface Published {
  /** Counts the published manifests: the core's number for it. */
  number: number;
  /** Of the catalog's record. */
  offset: bigint;
  log_time_ms: number;
  manifest: Manifest;
  withdrawn: Withdrawal | null;
  /** Other manifests that claimed the same identity later. */
  refused: { offset: bigint; log_time_ms: number; manifest: Manifest }[];
}

export interface Withdrawal {
  offset: bigint;
  log_time_ms: number;
  reason: string;
  by: string;
}

/** What a record came to. */
export type CatalogOutcome =
  | { outcome: "published" | "known" | "contradicts"; published: Published }
  | { outcome: "withdrawn"; published: Published }
  | { outcome: "nothing_to_withdraw" | "migration" | "unknown_record" };

/** (name, kernel release, arch, build id or none) as a key. */
export function identity_key(identity: Identity): string {
  const build_id = Buffer.from(identity.build_id ?? []).toString("hex");
  return JSON.stringify([identity.name ?? "", identity.kernel_release ?? "", identity.arch ?? "", build_id]);
}

export function identity_of(manifest: Manifest): Identity {
  const { name, kernel_release, arch, build_id } = manifest;
  return {
    name: name ?? "",
    kernel_release: kernel_release ?? "",
    arch: arch ?? "",
    build_id: build_id ?? new Uint8Array(),
  };
}

export function same_manifest(a: Manifest, b: Manifest): boolean {
  return Buffer.compare(encode_manifest(a), encode_manifest(b)) === 0;
}

/** Null: other writers of a shared log may have put anything there. */
function record_of(bytes: Uint8Array): CatalogRecord | null {
  try {
    const record = decode_catalog_record(bytes);
    if (record.published) check_manifest(record.published);
    return record;
  } catch {
    return null;
  }
}

export class Manifests {
  /** In the order of the log. */
  readonly all: Published[] = [];
  #live = new Map<string, Published>();
  #by_name = new Map<string, Published[]>();

  /** The manifest that an identity stands for now. */
  live(identity: Identity): Published | null {
    return this.#live.get(identity_key(identity)) ?? null;
  }

  /** As `live`; where the identity is free, the last one that had it. */
  latest(identity: Identity): Published | null {
    const key = identity_key(identity);
    const same_name = this.of_name(identity.name ?? "");
    return this.live(identity) ?? same_name.findLast((one) => identity_key(one.manifest) === key) ?? null;
  }

  /** Every manifest of a name, also withdrawn ones, in the order of the log. */
  of_name(name: string): readonly Published[] {
    return this.#by_name.get(name) ?? [];
  }

  /** What the record would come to, and nothing else. */
  would_be(record: CatalogRecord): CatalogOutcome["outcome"] {
    if (record.published) {
      const first = this.live(identity_of(record.published));
      if (first === null) return "published";
      return same_manifest(first.manifest, record.published) ? "known" : "contradicts";
    }
    if (record.withdrawn)
      return this.live(record.withdrawn.identity ?? {}) ? "withdrawn" : "nothing_to_withdraw";
    return record.migration ? "migration" : "unknown_record";
  }

  /** What is no record of a catalog, or has a manifest that the door would not take, publishes nothing. */
  apply(bytes: Uint8Array, offset: bigint, log_time_ms: number): CatalogOutcome {
    const record = record_of(bytes);
    if (record === null) return { outcome: "unknown_record" };
    const outcome = this.would_be(record);
    if (record.published) {
      if (outcome === "published")
        return { outcome, published: this.#publish(record.published, offset, log_time_ms) };
      const published = this.live(identity_of(record.published))!;
      if (outcome === "contradicts")
        published.refused.push({ offset, log_time_ms, manifest: record.published });
      return { outcome: outcome as "known" | "contradicts", published };
    }
    if (outcome !== "withdrawn")
      return { outcome: outcome as "nothing_to_withdraw" | "migration" | "unknown_record" };
    const identity = record.withdrawn!.identity!;
    const published = this.live(identity)!;
    published.withdrawn = {
      offset,
      log_time_ms,
      reason: record.withdrawn!.reason ?? "",
      by: record.withdrawn!.by ?? "",
    };
    this.#live.delete(identity_key(identity));
    return { outcome, published };
  }

  /** Whether the very same manifest was refused before: once on record is enough. */
  is_refused(manifest: Manifest): boolean {
    const first = this.live(identity_of(manifest));
    return first?.refused.some((refused) => same_manifest(refused.manifest, manifest)) ?? false;
  }

  #publish(manifest: Manifest, offset: bigint, log_time_ms: number): Published {
    const number = this.all.length;
    const published: Published = { number, offset, log_time_ms, manifest, withdrawn: null, refused: [] };
    this.all.push(published);
    this.#live.set(identity_key(manifest), published);
    const name = manifest.name ?? "";
    const same_name = this.#by_name.get(name);
    if (same_name) same_name.push(published);
    else this.#by_name.set(name, [published]);
    return published;
  }
}
