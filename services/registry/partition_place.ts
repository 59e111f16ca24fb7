/** Where a registry's partitions are kept, and what their cores and snapshots have to agree on. */
import { join } from "node:path";
import { Core, type CoreOptions } from "../core/core.js";
import type { SnapshotStamp } from "../log/snapshot_file.js";

/** What all partitions of a registry share; it may cross a thread. */
export interface RegistryPlace {
  /** The registry's directory. */
  directory: string;
  registry_id: string;
  partition_count: number;
  /** The logs are replicas: offsets and times come from elsewhere, and offsets may leave gaps. */
  replica: boolean;
  module: WebAssembly.Module;
  /** Of the module's binary, hex. */
  core_sha256: string;
  /** Of one partition's core. */
  memory_bytes_max: number;
}

/** DIR/log/<partition>. */
export function log_directory(registry: string, name: string | number): string {
  return join(registry, "log", String(name));
}

/** DIR/snapshots/<partition>. */
export function snapshot_directory(registry: string, partition: number): string {
  return join(registry, "snapshots", String(partition));
}

/** Another registry has other hash tables, so that hosts chosen to collide in one do not in the next. */
export function seed_of(registry_id: string): bigint {
  return BigInt(`0x${registry_id.replaceAll("-", "").slice(0, 16)}`);
}

/** Of every core of the partition: an image of one is good in another. */
export function core_options(place: RegistryPlace, partition: number): CoreOptions & { partition: number } {
  const { partition_count, registry_id, memory_bytes_max } = place;
  return { partition, partitions: partition_count, memory_bytes_max, seed: seed_of(registry_id) };
}

export function stamp_of(place: RegistryPlace, partition: number, core: Core): SnapshotStamp {
  return {
    fold_version: core.fold_version,
    core: place.core_sha256,
    registry_id: place.registry_id,
    partition,
    partitions: place.partition_count,
  };
}

/** Little: what is judged is kept nowhere. */
const JUDGE_MEMORY_BYTES_MAX = 64 * 1024 * 1024;

/** Says of a record whether the partition's fold takes it. */
export function record_judge(place: RegistryPlace, partition: number): (record: Uint8Array) => boolean {
  const core = new Core(place.module, {
    ...core_options(place, partition),
    memory_bytes_max: JUDGE_MEMORY_BYTES_MAX,
  });
  return (record) => core.takes_record(record);
}
