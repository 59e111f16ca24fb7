/** A partition in a directory that goes away, with a clock of the test's own, and snapshots made when the test says. */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { Core, MEMORY_BYTES_MAX } from "#services/core/core.js";
import { host_list } from "#services/core/host_list.js";
import { encode_batch, encode_event, type HostEvent } from "#services/events/codec.js";
import type { LogPosition } from "#services/log/segment.js";
import { type ChainGap, keep_snapshots, remake_chain } from "#services/registry/keep.js";
import { Partition } from "#services/registry/partition.js";
import {
  core_options,
  log_directory,
  type RegistryPlace,
  snapshot_directory,
} from "#services/registry/partition_place.js";
import type { Retention } from "#services/registry/snapshots.js";
import { place_in } from "../../model/place.js";
import { unsynced_disk } from "../log/fixtures.js";

export const ALL: Retention = { newest: 1_000, days: 1_000, bytes_max: Number.MAX_SAFE_INTEGER };
export const NEWEST: Retention = { newest: 2, days: 0, bytes_max: Number.MAX_SAFE_INTEGER };

const opened: KeptPartition[] = [];

afterEach(async () => {
  for (const kept of opened.splice(0)) await kept.remove();
});

export class KeptPartition {
  readonly place: RegistryPlace;
  now_ms = 1_000;
  /** What the last start and the last work said. */
  reports: string[] = [];
  /** Made by the first work: an instance of the core for it. */
  #core: Core | null = null;
  #partition: Partition | null = null;

  constructor(
    readonly segment_bytes_max = 1_000_000_000,
    memory_bytes_max = MEMORY_BYTES_MAX,
  ) {
    this.place = place_in(mkdtempSync(join(tmpdir(), "klpstate-kept-")), 1, memory_bytes_max);
    opened.push(this);
  }

  get partition(): Partition {
    return this.#partition!;
  }

  /** Again, if it is open. */
  async open(place = this.place): Promise<Partition> {
    await this.close();
    this.reports = [];
    this.#partition = await Partition.open({
      disk: unsynced_disk,
      place,
      partition: 0,
      segment_bytes_max: this.segment_bytes_max,
      report: (message) => this.reports.push(message),
      now: () => this.now_ms,
    });
    return this.#partition;
  }

  async append(records: Uint8Array[]): Promise<void> {
    await this.partition.append(records, host_list([]), false);
  }

  async append_events(...events: HostEvent[]): Promise<void> {
    await this.append([encode_batch(events.map((event) => encode_event(event)))]);
  }

  /** A snapshot of all that is in the log, as the keeper has it made. */
  async keep(retention: Retention, place = this.place): Promise<LogPosition> {
    const to = await this.partition.chained_position(true);
    this.#core ??= new Core(place.module, core_options(place, 0));
    this.reports = [];
    const task = { partition: 0, to, retention };
    await keep_snapshots(unsynced_disk, place, this.#core, task, (message) => this.reports.push(message));
    this.partition.snapshot_made(to);
    return to;
  }

  /** As the keeper does it; the gaps that were filled. */
  async remake_chains(): Promise<ChainGap[]> {
    const gaps = this.partition.chain_gaps();
    this.#core ??= new Core(this.place.module, core_options(this.place, 0));
    for (const gap of gaps) {
      await remake_chain(unsynced_disk, this.place, this.#core, gap, (message) => this.reports.push(message));
      this.partition.chain_made(gap.segment);
    }
    return gaps;
  }

  get snapshots_directory(): string {
    return snapshot_directory(this.place.directory, 0);
  }

  /** Paths, oldest first. */
  get snapshots(): string[] {
    return readdirSync(this.snapshots_directory)
      .sort()
      .map((name) => join(this.snapshots_directory, name));
  }

  /** Paths, oldest first. */
  get chain_files(): string[] {
    const directory = log_directory(this.place.directory, 0);
    return readdirSync(directory)
      .filter((name) => name.endsWith(".chain"))
      .sort()
      .map((name) => join(directory, name));
  }

  async close(): Promise<void> {
    await this.#partition?.close();
    this.#partition = null;
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.place.directory, { recursive: true, force: true });
  }
}
