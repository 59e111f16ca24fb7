/**
 * That the topics hold a copy of an embedded log, as the catalog's own records say: the first one that it began, one
 * behind the copied ones that it ended. Whoever reads the topics asks here before it serves them.
 */
import type { CatalogRecord } from "../events/codec.js";
import { klpstate } from "../events/proto.js";
import { u64_from_bigint, u64_to_bigint } from "../events/u64.js";

const { BEGAN, ENDED } = klpstate.v1.MigrationPhase;

export interface MigrationEnd {
  registry_id: string;
  /** By partition of host-events: records below are copies, and their header has their log time. */
  ends: Map<number, bigint>;
  /** The same of the catalog. */
  catalog_end: bigint;
  /** Of the registry that moved, 32 bytes, big-endian. */
  digest: Uint8Array;
  fold_version: number;
}

/**
 * What all records of the catalog, decoded and in order, say; null: nothing was copied. "unfinished": it is not known
 * which part of the log is there, and nobody may serve it.
 */
export function migration_of(records: Iterable<CatalogRecord>): MigrationEnd | "unfinished" | null {
  let registry_id: string | null = null;
  for (const { migration } of records) {
    if (registry_id === null) {
      if (migration?.phase !== BEGAN) return null;
      registry_id = migration.registry_id ?? "";
    } else if (migration?.phase === ENDED && migration.registry_id === registry_id) {
      const { ends, catalog_end, digest, fold_version } = migration;
      return {
        registry_id,
        ends: new Map((ends ?? []).map(({ partition, end }) => [partition ?? 0, u64_to_bigint(end)])),
        catalog_end: u64_to_bigint(catalog_end),
        digest: digest ?? new Uint8Array(),
        fold_version: fold_version ?? 0,
      };
    }
  }
  return registry_id === null ? null : "unfinished";
}

export function migration_began(registry_id: string): CatalogRecord {
  return { migration: { registry_id, phase: BEGAN } };
}

export function migration_ended(end: MigrationEnd): CatalogRecord {
  const ends = [...end.ends].map(([partition, next]) => ({ partition, end: u64_from_bigint(next) }));
  const catalog_end = u64_from_bigint(end.catalog_end);
  return { migration: { ...end, phase: ENDED, ends, catalog_end } };
}
