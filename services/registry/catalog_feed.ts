/** The catalog's facts as they go to every shard, in the catalog's order, and into the cores there. */
import type { CatalogOutcome, Published } from "../catalog/manifests.js";
import type { Core, CoreManifest } from "../core/core.js";
import type { Manifest } from "../events/codec.js";
import { u64_to_bigint } from "../events/u64.js";

/** `number` counts published manifests from 0; `offset` is that of the catalog's record. */
export type CatalogFact =
  | { fact: "published"; number: number; offset: bigint; log_time_ms: number; manifest: CoreManifest }
  | { fact: "withdrawn"; number: number; offset: bigint; log_time_ms: number };

/** The part of a manifest that checks need. */
export function core_manifest(manifest: Manifest): CoreManifest {
  return {
    name: manifest.name ?? "",
    kernel_release: manifest.kernel_release ?? "",
    arch: manifest.arch ?? "",
    build_id: Uint8Array.from(manifest.build_id ?? []),
    replace: manifest.replace ?? false,
    states_unknown: manifest.states_unknown ?? false,
    irreversible: (manifest.irreversible ?? "") !== "",
    signed: manifest.signature?.present ?? false,
    states: (manifest.states ?? []).map((state) => ({
      id: u64_to_bigint(state.id),
      version: state.version ?? 0,
    })),
  };
}

/** Null: the record changes nothing that a check depends on. */
export function catalog_fact(change: CatalogOutcome): CatalogFact | null {
  if (change.outcome === "published") return published_fact(change.published);
  if (change.outcome !== "withdrawn") return null;
  const { number, withdrawn } = change.published;
  const { offset, log_time_ms } = withdrawn!;
  return { fact: "withdrawn", number, offset, log_time_ms };
}

function published_fact({ number, offset, log_time_ms, manifest }: Published): CatalogFact {
  return { fact: "published", number, offset, log_time_ms, manifest: core_manifest(manifest) };
}

/** A core's catalog follows the facts one by one, so that its numbers are theirs. */
export function apply_fact(core: Core, fact: CatalogFact): void {
  if (fact.fact === "withdrawn") core.withdraw_manifest(fact.number);
  else core.put_manifest(fact.manifest);
}

/**
 * The facts as a shard keeps them, to give a fresh core those about some names, as known at an instant: what a
 * reference resolves to depends on the manifests of its name alone.
 */
export class CatalogFacts {
  #by_name = new Map<
    string,
    { published: CatalogFact & { fact: "published" }; withdrawn_ms: number | null }[]
  >();
  #by_number = new Map<number, { withdrawn_ms: number | null }>();

  /** In the catalog's order. */
  readonly all: CatalogFact[] = [];

  /** One more than the offset of the last record that is a fact. */
  get next_offset(): bigint {
    return (this.all.at(-1)?.offset ?? -1n) + 1n;
  }

  add(fact: CatalogFact): void {
    this.all.push(fact);
    if (fact.fact === "withdrawn") {
      this.#by_number.get(fact.number)!.withdrawn_ms = fact.log_time_ms;
      return;
    }
    const entry = { published: fact, withdrawn_ms: null };
    this.#by_number.set(fact.number, entry);
    const same_name = this.#by_name.get(fact.manifest.name);
    if (same_name) same_name.push(entry);
    else this.#by_name.set(fact.manifest.name, [entry]);
  }

  /** Manifests of the name that stood at the instant (null: now), with their numbers. */
  of_name(name: string, known_at_ms: number | null): { number: number; manifest: CoreManifest }[] {
    const at = known_at_ms ?? Number.POSITIVE_INFINITY;
    return (this.#by_name.get(name) ?? [])
      .filter(
        ({ published, withdrawn_ms }) =>
          published.log_time_ms <= at && !(withdrawn_ms !== null && withdrawn_ms <= at),
      )
      .map(({ published }) => ({ number: published.number, manifest: published.manifest }));
  }
}
