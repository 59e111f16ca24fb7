/**
 * The figures of a history: one host's events out of all, through the shard as the registry asks it, page by page; from
 * the page cache, and when nothing of the log is in memory. And what the log and its chains take of the disk.
 */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Disk, ReadFile } from "../services/log/disk.js";
import { frames_of, records_of } from "../services/log/frame.js";
import { node_disk } from "../services/log/node_disk.js";
import { log_directory, type RegistryPlace } from "../services/registry/partition_place.js";
import { Shard } from "../services/registry/shard.js";
import { Fleet, type Pieces } from "./data.js";
import { in_directory } from "./directory.js";
import { append_pieces, make_snapshot, open_partition, place_of } from "./kept_directory.js";
import { type Figure, figure_of, type Run, speed_against, timed, timed_until } from "./measure.js";
import { bytes_from_device, drop_pages } from "./page_cache.js";
import { type Random, random_from } from "./random.js";

export const HISTORY_FIGURES = ["history-one", "history-one-cold", "disk"];

const EVENTS_OF_HOST = 200;
const HOSTS_ASKED = 300;
/** Each drops the whole log from memory first. */
const HOSTS_ASKED_COLD = 50;
const WARM = 20;
/** So many events are made and appended at once. */
const EVENTS_AT_ONCE = 1_000_000;
const STALE_AFTER_MS = 93_600_000;
/** About a frame. */
const FLOOR_READ_BYTES = 16 * 1024;

interface StoredHost {
  host_id: string;
  sequence: number;
}

interface StoredLog {
  place: RegistryPlace;
  hosts: StoredHost[];
  /** Of all records, as they were sent. */
  event_bytes: number;
}

interface HistoryRun extends Run {
  reads: number;
  /** That came from the device. */
  device_bytes: number;
}

function record_bytes({ pieces }: Pieces): number {
  let sum = 0;
  for (const piece of pieces)
    for (const frame of frames_of(piece)) for (const { bytes } of records_of(frame)) sum += bytes.length;
  return sum;
}

async function store(directory: string, event_count: number): Promise<StoredLog> {
  const place = place_of(directory);
  const fleet = new Fleet(Math.ceil(event_count / EVENTS_OF_HOST));
  const partition = await open_partition(place);
  let event_bytes = 0;
  const append = async (pieces: Pieces) => {
    event_bytes += record_bytes(pieces);
    await append_pieces(partition, pieces);
  };
  await append(fleet.baseline());
  for (let left = event_count - fleet.hosts; left > 0; left -= EVENTS_AT_ONCE) {
    await append(fleet.events(Math.min(left, EVENTS_AT_ONCE)));
  }
  await make_snapshot(place, partition);
  const hosts = Array.from({ length: partition.core.host_count }, (_, host) => {
    const { host_id, sequence } = partition.core.host(host);
    return { host_id, sequence };
  });
  await partition.close();
  return { place, hosts, event_bytes };
}

/** The log's files: segments and chains. */
function files_of({ directory }: RegistryPlace, suffix: string): string[] {
  const logs = log_directory(directory, 0);
  return readdirSync(logs)
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(logs, name));
}

/** A disk that counts what is read from it. */
function counting_disk(): Disk & { reads: number } {
  const disk = {
    ...node_disk,
    reads: 0,
    open_read(path: string): ReadFile {
      const file = node_disk.open_read(path);
      return {
        size: () => file.size(),
        read(into, position) {
          disk.reads++;
          return file.read(into, position);
        },
        read_sync(into, position) {
          disk.reads++;
          return file.read_sync(into, position);
        },
        close: () => file.close(),
      };
    },
  };
  return disk;
}

/** The floor: as many reads of the log as the host has events, at random places, with a checksum over each. */
function start_floor(place: RegistryPlace, random: Random): { read(): Run; close(): void } {
  const files = files_of(place, ".log").map((path) => ({
    fd: openSync(path, "r"),
    size: statSync(path).size,
  }));
  const buffer = Buffer.allocUnsafe(FLOOR_READ_BYTES);
  return {
    read: () =>
      timed(() => {
        for (let i = 0; i < EVENTS_OF_HOST; i++) {
          const { fd, size } = files[random() % files.length]!;
          const at = Math.floor((random() / 0x100000000) * Math.max(0, size - FLOOR_READ_BYTES));
          crc32(buffer.subarray(0, readSync(fd, buffer, 0, FLOOR_READ_BYTES, at)));
        }
      }),
    close() {
      for (const { fd } of files) closeSync(fd);
    },
  };
}

/** Before a time is believed: every event of the host is there once, in order. */
function must_be_whole({ host_id, sequence }: StoredHost, sequences: readonly number[]): void {
  const is_whole = sequences.length === sequence && sequences.every((each, i) => each === i + 1);
  if (!is_whole) throw new Error(`${host_id}: ${sequences.length} events of ${sequence} are told`);
}

async function ask_hosts(
  { place, hosts }: StoredLog,
  { asked, is_cold }: { asked: number; is_cold: boolean },
): Promise<{ runs: HistoryRun[]; floor_runs: Run[] }> {
  const start = { place, partitions: [0], open: [0], stale_after_ms: STALE_AFTER_MS, catalog: [] };
  const disk = counting_disk();
  const shard = await Shard.open(start, disk, Date.now);
  const random = random_from(1);
  const floor = start_floor(place, random_from(2));
  const files = [...files_of(place, ".log"), ...files_of(place, ".chain")];
  const runs: HistoryRun[] = [];
  const floor_runs: Run[] = [];
  for (let i = 0; i < WARM + asked; i++) {
    const host = hosts[random() % hosts.length]!;
    const sequences: number[] = [];
    if (is_cold && i >= WARM) drop_pages(files);
    const [reads, device_bytes] = [disk.reads, bytes_from_device()];
    const run = await timed_until(async () => {
      const list = (await shard.history(0, host.host_id, {}))!;
      for (let done = false; !done; ) {
        const page = await shard.pull(list);
        for (const { effect, sequence } of page.items)
          if (effect === "applied") sequences.push(Number(sequence));
        done = page.done;
      }
    });
    const from_device = bytes_from_device() - device_bytes;
    must_be_whole(host, sequences);
    if (i < WARM) continue;
    runs.push({ ...run, reads: disk.reads - reads, device_bytes: from_device });
    if (is_cold) drop_pages(files);
    floor_runs.push(floor.read());
  }
  floor.close();
  await shard.close();
  return { runs, floor_runs };
}

function disk_figure({ place, event_bytes }: StoredLog): Figure {
  const size_of = (suffix: string) =>
    files_of(place, suffix).reduce((sum, path) => sum + statSync(path).size, 0);
  const bytes = size_of(".log") + size_of(".chain");
  const once: Run = { seconds: 0, cpu_seconds: 0 };
  return figure_of("disk", "of the events", [once], () => bytes / event_bytes, bytes);
}

const milliseconds = ({ seconds }: Run) => seconds * 1000;

export function history_figures(
  parent: string,
  event_count: number,
  wanted: ReadonlySet<string>,
): Promise<Figure[]> {
  return in_directory(parent, async (directory) => {
    const stored = await store(directory, event_count);
    const figures: Figure[] = [];
    for (const [name, is_cold, asked] of [
      ["history-one", false, HOSTS_ASKED],
      ["history-one-cold", true, HOSTS_ASKED_COLD],
    ] as const) {
      if (!wanted.has(name)) continue;
      const { runs, floor_runs } = await ask_hosts(stored, { asked, is_cold });
      const figure = figure_of(name, "ms", runs, milliseconds, 0);
      figure.against["200 reads"] = 1 / speed_against(runs, floor_runs);
      figures.push(figure);
      if (!is_cold) continue;
      figures.push(
        figure_of(`${name}-reads`, "reads", runs, ({ reads }) => reads, 0),
        figure_of(`${name}-device`, "KiB", runs, ({ device_bytes }) => device_bytes / 1024, 0),
      );
    }
    if (wanted.has("disk")) figures.push(disk_figure(stored));
    return figures;
  });
}
