/** A partition's snapshots: the newest that is good goes into a core, a core goes into a new one, old ones go. */
import { join } from "node:path";
import type { Core } from "../core/core.js";
import { type Disk, UNFINISHED_SUFFIX } from "../log/disk.js";
import type { LogPosition } from "../log/segment.js";
import {
  open_snapshot,
  type SnapshotFacts,
  type SnapshotRefusal,
  snapshot_name,
  snapshot_offset,
  write_snapshot,
} from "../log/snapshot_file.js";
import { core_options, type RegistryPlace, snapshot_directory, stamp_of } from "./partition_place.js";

export interface SnapshotFile extends SnapshotFacts {
  path: string;
  bytes: number;
}

/** Which snapshots are kept; the newest `newest`, and the newest of each of the last `days` days that have one. */
export interface Retention {
  newest: number;
  /** Days in UTC, by log time. */
  days: number;
  /** Of one partition's snapshots: the oldest go first, but never the newest one. */
  bytes_max: number;
}

const DAY_MS = 86_400_000;

/**
 * Restarts the core with the newest good snapshot that is wanted; where it stands in the log, or null: there is none,
 * and the core begins at the beginning. `report` is told of each that is refused, and up to where the log had records
 * when that was made (0: it is of another log).
 */
export async function restore_core(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  partition: number,
  report: (message: string, reaches: bigint) => void,
  is_wanted: (facts: SnapshotFacts) => boolean = () => true,
): Promise<SnapshotFacts | null> {
  const directory = snapshot_directory(place.directory, partition);
  for (const name of await snapshot_names(disk, directory)) {
    core.restart(core_options(place, partition));
    const path = join(directory, name);
    const restored = restore_from(disk, place, core, partition, path, is_wanted);
    if (restored === null) continue;
    if (!("refused" in restored)) return restored;
    const { refused, is_foreign } = restored;
    report(`${path} is not used: ${refused}`, is_foreign ? 0n : snapshot_offset(name)!);
  }
  core.restart(core_options(place, partition));
  return null;
}

/** Null: it is not wanted. */
function restore_from(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  partition: number,
  path: string,
  is_wanted: (facts: SnapshotFacts) => boolean,
): SnapshotFacts | SnapshotRefusal | null {
  const snapshot = open_snapshot(disk, path, stamp_of(place, partition, core));
  if ("refused" in snapshot) return snapshot;
  const refusal = (refused: string) => ({ refused, is_foreign: false });
  const { facts, image } = snapshot;
  try {
    if (!is_wanted(facts)) return null;
    if (!core.take_image(image, (run) => snapshot.fill(core.page_bytes(run)))) {
      return refusal("its image does not fit into a core");
    }
    const verdict = snapshot.verdict();
    if (verdict !== null) return refusal(verdict);
    if (core.next_offset === facts.position.offset) return facts;
    return refusal("its counters are not of its position");
  } catch (error) {
    return refusal(`it cannot be read (${error instanceof Error ? error.message : String(error)})`);
  } finally {
    snapshot.close();
  }
}

/** Newest first. */
async function snapshot_names(disk: Disk, directory: string): Promise<string[]> {
  const names = (await disk.list(directory)) ?? [];
  return names.filter((name) => snapshot_offset(name) !== null).sort((a, b) => (a < b ? 1 : -1));
}

/** Of a core that was given no manifest, and has folded the log up to the position. Throws what the disk does. */
export async function save_core(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  partition: number,
  position: LogPosition,
): Promise<void> {
  if (core.next_offset > position.offset || core.stopped_at !== null) {
    throw new Error(`the core stands at ${core.next_offset}, not at ${position.offset}`);
  }
  const image = core.image();
  const path = join(snapshot_directory(place.directory, partition), snapshot_name(position.offset));
  const body = image.runs.map((run) => core.page_bytes(run));
  const facts = { position, hosts: core.host_count };
  await write_snapshot(disk, path, stamp_of(place, partition, core), facts, image, body);
}

/** Takes away what is not to be kept, and what a crash left unfinished. */
export async function prune_snapshots(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  partition: number,
  retention: Retention,
): Promise<void> {
  const directory = snapshot_directory(place.directory, partition);
  for (const name of (await disk.list(directory)) ?? []) {
    if (name.endsWith(UNFINISHED_SUFFIX)) await disk.remove(join(directory, name));
  }
  const found: SnapshotFile[] = [];
  for (const name of await snapshot_names(disk, directory)) {
    const path = join(directory, name);
    const snapshot = open_snapshot(disk, path, stamp_of(place, partition, core));
    // One that cannot be used is in the way of nothing but the disk's room.
    if ("refused" in snapshot) await disk.remove(path);
    else {
      const file = disk.open_read(path);
      found.push({ ...snapshot.facts, path, bytes: file.size() });
      file.close();
      snapshot.close();
    }
  }
  const kept = new Set(kept_snapshots(found, retention));
  for (const file of found) if (!kept.has(file)) await disk.remove(file.path);
  if (found.length > 0) await disk.sync_directory(directory);
}

/** `found`: newest first. */
export function kept_snapshots(found: readonly SnapshotFile[], retention: Retention): SnapshotFile[] {
  const { newest, days, bytes_max } = retention;
  const seen_days = new Set<number>();
  let bytes = 0;
  return found.filter((file, i) => {
    const day = Math.floor(file.position.log_time_ms / DAY_MS);
    const is_daily = !seen_days.has(day) && seen_days.size < days;
    seen_days.add(day);
    if (i >= Math.max(1, newest) && !is_daily) return false;
    bytes += file.bytes;
    return i === 0 || bytes <= bytes_max;
  });
}
