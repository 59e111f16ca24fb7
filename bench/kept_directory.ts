/** A partition's directory with the benchmark's events in it, as the product leaves it: log, chain, snapshot. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { Core, MEMORY_BYTES_MAX } from "../services/core/core.js";
import { core_sha256, load_core_module } from "../services/core/module.js";
import type { Disk } from "../services/log/disk.js";
import { frames_of, records_of } from "../services/log/frame.js";
import { node_disk } from "../services/log/node_disk.js";
import { keep_snapshots } from "../services/registry/keep.js";
import { Partition } from "../services/registry/partition.js";
import { core_options, type RegistryPlace } from "../services/registry/partition_place.js";
import type { Pieces } from "./data.js";

/** What is measured is reading: a sync would only make the directory slower to build. */
const unsynced_disk: Disk = {
  ...node_disk,
  async open_write(path) {
    const file = await node_disk.open_write(path);
    return {
      write: (buffers, position) => file.write(buffers, position),
      truncate: (bytes) => file.truncate(bytes),
      sync: async () => {},
      close: () => file.close(),
    };
  },
  sync_directory: async () => {},
};

const APPENDS_UNDER_WAY = 4;

export function place_of(directory: string): RegistryPlace {
  return {
    directory,
    registry_id: "00000000-0000-4000-8000-000000000001",
    partition_count: 1,
    replica: false,
    module: load_core_module(),
    core_sha256: core_sha256(),
    memory_bytes_max: MEMORY_BYTES_MAX,
  };
}

export function open_partition(place: RegistryPlace): Promise<Partition> {
  return Partition.open({
    disk: unsynced_disk,
    place,
    partition: 0,
    report(message) {
      throw new Error(message);
    },
    now: Date.now,
  });
}

/** Appends the records of the pieces as they are. */
export async function append_pieces(partition: Partition, { pieces }: Pieces): Promise<void> {
  const log = partition.serving_log();
  const under_way: Promise<unknown>[] = [];
  for (const piece of pieces) {
    const records = [...frames_of(piece)].flatMap((frame) =>
      [...records_of(frame)].map(({ bytes }) => bytes),
    );
    under_way.push(log.append(records));
    if (under_way.length >= APPENDS_UNDER_WAY) await under_way.shift();
  }
  await Promise.all(under_way);
}

export async function make_snapshot(place: RegistryPlace, partition: Partition): Promise<void> {
  const to = await partition.chained_position(true);
  const core = new Core(place.module, core_options(place, 0));
  const retention = { newest: 1, days: 0, bytes_max: Number.MAX_SAFE_INTEGER };
  await keep_snapshots(unsynced_disk, place, core, { partition: 0, to, retention }, () => {});
  partition.snapshot_made(to);
}

/** Another directory with the same in it. */
export function copy_of(directory: string, name: string): string {
  const copy = join(directory, "..", name);
  cpSync(directory, copy, { recursive: true });
  return copy;
}
