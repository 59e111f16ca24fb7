/**
 * One partition's snapshots on the simulated disk: made beside the appends, spoiled, and looked at after each start.
 * Which one a start has to take is told here by names and by what was done to the files; of the product's own checks
 * nothing is used.
 */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Core } from "#services/core/core.js";
import { error_code } from "#services/log/disk.js";
import type { LogPosition } from "#services/log/segment.js";
import { keep_snapshots } from "#services/registry/keep.js";
import type { Partition } from "#services/registry/partition.js";
import { core_options, type RegistryPlace, snapshot_directory } from "#services/registry/partition_place.js";
import type { Retention } from "#services/registry/snapshots.js";
import { spoil_derived } from "./derived_damage.js";
import { fail, type ReadFrom, type World } from "./inhabitant.js";
import type { SimulatedProcess } from "./simulated_disk.js";
import { SimulatedFile } from "./simulated_file.js";

const NAME = /^\d{20}$/;
const RETENTIONS: readonly Retention[] = [
  { newest: 2, days: 31, bytes_max: 16 * 1024 ** 3 },
  { newest: 1, days: 0, bytes_max: 16 * 1024 ** 3 },
  { newest: 2, days: 2, bytes_max: 16 * 1024 ** 3 },
  { newest: 4, days: 4, bytes_max: 2 * 1024 ** 2 },
];

interface NamedFile {
  name: string;
  path: string;
  offset: bigint;
  file: SimulatedFile;
}

/** What a start had of snapshots. */
export interface SnapshotsFound {
  /** Null: it took none. */
  from: ReadFrom | null;
  log_time_ms: number | null;
  /** Of the log, as the names say. */
  reaches: bigint;
}

export class SnapshotLife {
  readonly #world: World;
  readonly #place: RegistryPlace;
  readonly #number: number;
  readonly #directory: string;
  readonly #retention: Retention;
  readonly #spoilt = new WeakSet<SimulatedFile>();
  readonly #foreign = new WeakSet<SimulatedFile>();
  /** This one was called made, and it or a later one has to be there. */
  #made: bigint | null = null;
  #thread: SimulatedProcess | null = null;
  #core: Core | null = null;

  constructor(world: World, place: RegistryPlace, number: number) {
    this.#world = world;
    this.#place = place;
    this.#number = number;
    this.#directory = snapshot_directory(place.directory, number);
    this.#retention = world.dice.pick(RETENTIONS);
  }

  /** For threads, one after the other: one that is dead reads nothing more into it. */
  get core(): Core {
    this.#core ??= new Core(this.#place.module, core_options(this.#place, this.#number));
    return this.#core;
  }

  /** Newest first. */
  #files(): NamedFile[] {
    const directory = this.#world.disk.directory(this.#directory);
    return [...(directory?.names() ?? [])]
      .filter((name) => NAME.test(name))
      .sort((a, b) => (a < b ? 1 : -1))
      .map((name) => {
        const file = directory!.find(name) as SimulatedFile;
        return { name, path: join(this.#directory, name), offset: BigInt(name), file };
      });
  }

  #own_files(): NamedFile[] {
    return this.#files().filter(({ file }) => !this.#foreign.has(file));
  }

  /**
   * A thread makes them as the product's does; where it stands then, or null: it could not. Throws what the product
   * throws of a log that does not check.
   */
  async keep(partition: Partition, thread: SimulatedProcess): Promise<LogPosition | null> {
    this.#thread = thread;
    const before = this.#files();
    const reports: string[] = [];
    const to = await partition.chained_position(true);
    const task = { partition: this.#number, to, retention: this.#retention };
    try {
      await keep_snapshots(thread, this.#place, this.core, task, (message) => reports.push(message));
    } catch (error) {
      if (error_code(error) !== "" && thread.errors.length > 0) return null;
      throw error;
    }
    partition.snapshot_made(to);
    this.#check_refusals(before, reports, thread);
    if (thread.errors.length > 0) return null;
    this.#check_kept(before, to.offset);
    this.#made = to.offset;
    return to;
  }

  #check_kept(before: readonly NamedFile[], offset: bigint): void {
    const names = [...(this.#world.disk.directory(this.#directory)?.names() ?? [])];
    const kept = this.#files();
    if (kept.length !== names.length) fail(`${this.#directory} has something unfinished: ${names.join(" ")}`);
    if (kept[0]?.offset !== offset) fail(`no snapshot of offset ${offset} is there: ${names.join(" ")}`);
    const { newest, days } = this.#retention;
    if (kept.length > Math.max(1, newest) + days) fail(`${kept.length} snapshots are kept`);
    const known = new Set(before.map(({ name }) => name));
    this.#world.happened("snapshot made");
    if (kept.filter(({ name }) => !known.has(name)).length > 1) {
      this.#world.happened("snapshot of a day's end made");
    }
    if (before.some(({ name }) => !names.includes(name))) this.#world.happened("snapshot taken away");
  }

  /** What a start has found, by what it reports; fails where it refuses one for nothing, or takes a bad one. */
  found_by_start(reports: readonly string[], process: SimulatedProcess): SnapshotsFound {
    if (this.#thread !== null && this.#thread.errors.length > 0) this.#made = null;
    const files = this.#files();
    const made = this.#made;
    if (made !== null && !files.some(({ offset }) => offset >= made)) {
      fail(`the snapshot of offset ${made} was made, and is gone from ${this.#directory}`);
    }
    const used = this.#check_refusals(files, reports, process);
    const reaches = this.#own_files()[0]?.offset ?? 0n;
    if (used === null) {
      if (files.length > 0) this.#world.happened("start from the log, though snapshots were there");
      return { from: null, log_time_ms: null, reaches };
    }
    this.#world.happened("start from a snapshot");
    if (used !== files[0]) this.#world.happened("start from an older snapshot");
    const { next_offset, segment, byte, log_time_ms } = header_of(used.file).header;
    const from = { offset: BigInt(next_offset), segment: BigInt(segment), byte };
    return { from, log_time_ms, reaches };
  }

  /** The one that is to be used after those that were refused; null: none is left. */
  #check_refusals(
    files: readonly NamedFile[],
    reports: readonly string[],
    process: SimulatedProcess,
  ): NamedFile | null {
    const left = new Set(reports);
    for (const named of files) {
      const { path, file } = named;
      const report = [...left].find((message) => message.startsWith(`${path} is not used: `));
      const is_bad = this.#spoilt.has(file) || this.#foreign.has(file);
      if (report === undefined) {
        if (is_bad) fail(`${path} is used, and is ${this.#foreign.has(file) ? "foreign" : "spoilt"}`);
        if (left.size > 0) fail(`no snapshot is: ${[...left].join("; ")}`);
        return named;
      }
      left.delete(report);
      if (!is_bad && !process.errors.some((error) => error.path === path)) {
        fail(`a snapshot is refused, and nothing was done to it: ${report}`);
      }
      this.#world.happened("snapshot refused");
    }
    if (left.size > 0) fail(`no snapshot is: ${[...left].join("; ")}`);
    return null;
  }

  /** How far the newest one shows that the log goes; null: it can be read by nobody, or its name may not be durable. */
  known_end(): ReadFrom | null {
    const newest = this.#own_files()[0];
    if (newest === undefined || newest.offset !== this.#made || this.#spoilt.has(newest.file)) return null;
    const { next_offset, segment, byte } = header_of(newest.file).header;
    return { offset: BigInt(next_offset), segment: BigInt(segment), byte };
  }

  /** One of them is damaged, or one of another registry is put before them, of an offset that the log has. */
  spoil(promised_end: bigint): void {
    const { dice, disk } = this.#world;
    const files = this.#own_files().filter(({ file }) => !this.#spoilt.has(file));
    const named = dice.chance(0.7) ? files[0] : dice.pick(files);
    if (named === undefined) return;
    const directory = disk.directory(this.#directory)!;
    if (named === files[0] && named.offset < promised_end && dice.chance(0.35)) {
      const other = of_another_registry(named.file);
      const later = 1 + dice.below(Number(promised_end - named.offset));
      const name = String(named.offset + BigInt(later)).padStart(20, "0");
      if (directory.find(name) !== null) return;
      this.#foreign.add(other);
      directory.damage(name, other);
      this.#world.happened("snapshot of another registry");
      return;
    }
    const kind = spoil_derived(directory, named.name, dice);
    if (kind === null) return;
    if (kind === "removed") this.#made = null;
    else this.#spoilt.add(named.file);
    this.#world.happened(`snapshot ${kind}`);
  }
}

function header_of(file: SimulatedFile) {
  const bytes = Buffer.from(file.bytes());
  const end = 12 + bytes.readUInt32LE(4);
  return { header: JSON.parse(bytes.toString("utf8", 12, end)), end, bytes };
}

/** All in it is good, but for whose it is. */
function of_another_registry(file: SimulatedFile): SimulatedFile {
  const { header, end, bytes } = header_of(file);
  const registry_id = header.registry_id.replace("7", "8");
  const text = Buffer.from(`${JSON.stringify({ ...header, registry_id })}\n`);
  const prefix = bytes.subarray(0, 12);
  prefix.writeUInt32LE(text.length, 4);
  prefix.writeUInt32LE(crc32(text), 8);
  const other = new SimulatedFile();
  other.write(0, Buffer.concat([prefix, text, bytes.subarray(end)]));
  other.sync();
  return other;
}
