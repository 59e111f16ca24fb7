/** The figures of a start: from a snapshot with nothing of the log behind it, and with as much as one is made for. */
import { closeSync, mkdtempSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { SNAPSHOT_AFTER_BYTES_DEFAULT } from "../services/registry/keeper.js";
import {
  log_directory,
  type RegistryPlace,
  snapshot_directory,
} from "../services/registry/partition_place.js";
import { Fleet } from "./data.js";
import { append_pieces, copy_of, make_snapshot, open_partition, place_of } from "./kept_directory.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed, timed_until } from "./measure.js";

export const RESTART_FIGURES = ["restart", "restart-64MiB"];

const EVENT_BYTES = 75;
const READ_BYTES = 4 * 1024 * 1024;

/** The floor: the snapshot, and what of the log is behind it, read from the page cache with one checksum over them. */
function read_all(place: RegistryPlace, log_bytes: number): number {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let bytes = 0;
  let checksum = 0;
  const read = (path: string, from: number) => {
    const file = openSync(path, "r");
    for (let at = from, filled = 1; filled > 0; at += filled) {
      filled = readSync(file, buffer, 0, buffer.length, at);
      checksum = crc32(buffer.subarray(0, filled), checksum);
      bytes += filled;
    }
    closeSync(file);
    return checksum;
  };
  const snapshots = snapshot_directory(place.directory, 0);
  read(join(snapshots, readdirSync(snapshots)[0]!), 0);
  const logs = log_directory(place.directory, 0);
  const last = readdirSync(logs)
    .filter((name) => name.endsWith(".log"))
    .sort()
    .at(-1)!;
  if (log_bytes > 0) read(join(logs, last), 0);
  return bytes;
}

async function start_figure(name: string, place: RegistryPlace, hosts: number): Promise<Figure> {
  const runs: Run[] = [];
  const floor: Run[] = [];
  let bytes = 0;
  for (let i = 0; i <= RUNS; i++) {
    const run = await timed_until(async () => {
      const partition = await open_partition(place);
      if (partition.core.host_count !== hosts) throw new Error("the start does not have all hosts");
      bytes = partition.status().unsnapshotted_bytes;
      await partition.close();
    });
    const read = timed(() => read_all(place, bytes));
    // The first one warms the page cache and the code.
    if (i === 0) continue;
    runs.push(run);
    floor.push(read);
  }
  const figure = figure_of(name, "ms", runs, ({ seconds }) => seconds * 1000, read_all(place, bytes));
  figure.against["read+crc"] = 1 / speed_against(runs, floor);
  return figure;
}

export async function restart_figures(hosts: number, wanted: ReadonlySet<string>): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const place = place_of(join(directory, "nothing"));
    const fleet = new Fleet(hosts);
    const partition = await open_partition(place);
    await append_pieces(partition, fleet.baseline());
    await make_snapshot(place, partition);
    // What is behind the snapshot then begins a segment, so that the floor can read it whole.
    partition.serving_log().end_segment();
    await partition.close();
    const figures: Figure[] = [];
    if (wanted.has("restart")) figures.push(await start_figure("restart", place, hosts));
    if (!wanted.has("restart-64MiB")) return figures;
    const behind = place_of(copy_of(place.directory, "behind"));
    const more = await open_partition(behind);
    more.serving_log().end_segment();
    await append_pieces(more, fleet.events(Math.ceil(SNAPSHOT_AFTER_BYTES_DEFAULT / EVENT_BYTES)));
    await more.close();
    return [...figures, await start_figure("restart-64MiB", behind, hosts)];
  } finally {
    rmSync(directory, { recursive: true });
  }
}
