/** The catalog as the fold of its log, and what a reference means in it: docs/rules.md C, "References" and "Catalog". */
import { klpstate } from "#services/events/proto.js";
import { type Reference, u64 } from "./fold.js";
import type { StatesArray } from "./kernel.js";

const { Manifest } = klpstate.v1;

export interface ManifestModel {
  name: string;
  kernel_release: string;
  arch: string;
  /** Lower-case hex; empty: none. */
  build_id: string;
  replace: boolean;
  states: StatesArray;
  states_unknown: boolean;
  irreversible: string;
  signed: boolean;
  /** The whole manifest as protobuf, to tell an identical one from a different one. */
  bytes: Uint8Array;
}

export interface CatalogModel {
  /** By identity; withdrawn ones are not there. */
  manifests: Map<string, ManifestModel>;
}

export type CatalogOutcome = "published" | "known" | "refused" | "withdrawn" | "nothing";

export function new_catalog(): CatalogModel {
  return { manifests: new Map() };
}

function identity_key(identity: klpstate.v1.Identity.$Properties): string {
  return JSON.stringify([
    identity.name ?? "",
    identity.kernel_release ?? "",
    identity.arch ?? "",
    Buffer.from(identity.build_id ?? []).toString("hex"),
  ]);
}

function manifest_model(manifest: klpstate.v1.Manifest.$Properties): ManifestModel {
  return {
    name: manifest.name ?? "",
    kernel_release: manifest.kernel_release ?? "",
    arch: manifest.arch ?? "",
    build_id: Buffer.from(manifest.build_id ?? []).toString("hex"),
    replace: manifest.replace ?? false,
    states: (manifest.states ?? []).map((state) => ({ id: u64(state.id), version: state.version ?? 0 })),
    states_unknown: manifest.states_unknown ?? false,
    irreversible: manifest.irreversible ?? "",
    signed: manifest.signature?.present ?? false,
    // Through decode, which drops fields that are set to their default.
    bytes: Manifest.encode(Manifest.decode(Manifest.encode(manifest).finish())).finish(),
  };
}

/** The first of an identity wins until it is withdrawn. */
export function apply_catalog_record(
  catalog: CatalogModel,
  record: klpstate.v1.CatalogRecord.$Properties,
): CatalogOutcome {
  if (record.published) {
    const key = identity_key(record.published);
    const manifest = manifest_model(record.published);
    const known = catalog.manifests.get(key);
    if (known !== undefined) return Buffer.compare(known.bytes, manifest.bytes) === 0 ? "known" : "refused";
    catalog.manifests.set(key, manifest);
    return "published";
  }
  if (record.withdrawn)
    return catalog.manifests.delete(identity_key(record.withdrawn.identity ?? {})) ? "withdrawn" : "nothing";
  return "nothing";
}

export function fold_catalog(records: Iterable<klpstate.v1.CatalogRecord.$Properties>): CatalogModel {
  const catalog = new_catalog();
  for (const record of records) apply_catalog_record(catalog, record);
  return catalog;
}

/** What kernel a host runs; null: unknown, and then nothing is for it. */
export interface Kernel {
  kernel_release: string | null;
  arch: string | null;
}

export function is_for(manifest: ManifestModel, kernel: Kernel): boolean {
  return manifest.kernel_release === kernel.kernel_release && manifest.arch === kernel.arch;
}

export function manifests_named(catalog: CatalogModel, name: string): ManifestModel[] {
  return [...catalog.manifests.values()].filter((manifest) => manifest.name === name);
}

/** The manifest of an installed patch, or why there is none. */
export function resolve(
  catalog: CatalogModel,
  installed: Reference,
  kernel: Kernel,
): ManifestModel | "missing" | "ambiguous" {
  const named = manifests_named(catalog, installed.name);
  const here = named.filter((manifest) => is_for(manifest, kernel));
  if (installed.build_id === "") return only_one(here);
  const built = named.filter((manifest) => manifest.build_id === installed.build_id);
  const built_here = here.filter((manifest) => manifest.build_id === installed.build_id);
  return built_here.length === 1 ? built_here[0]! : only_one(built);
}

function only_one(manifests: ManifestModel[]): ManifestModel | "missing" | "ambiguous" {
  if (manifests.length === 0) return "missing";
  return manifests.length === 1 ? manifests[0]! : "ambiguous";
}

/** Its build id is in the catalog, and only for kernels that this host does not run. */
export function is_built_for_other_kernel(
  catalog: CatalogModel,
  installed: Reference,
  kernel: Kernel,
): boolean {
  if (installed.build_id === "" || kernel.kernel_release === null) return false;
  const built = manifests_named(catalog, installed.name).filter(
    (manifest) => manifest.build_id === installed.build_id,
  );
  return built.length > 0 && !built.some((manifest) => is_for(manifest, kernel));
}
