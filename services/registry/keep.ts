/**
 * What is made from a partition's log beside the fold that serves: snapshots, by folding the last one forward, and
 * chains that are missing. In a thread of its own; the shard goes on.
 */
import { dirname, join } from "node:path";
import type { Core } from "../core/core.js";
import { ChainWriter } from "../log/chain_writer.js";
import { type Disk, UNFINISHED_SUFFIX } from "../log/disk.js";
import { frames_of, view_of } from "../log/frame.js";
import { read_log } from "../log/read_only.js";
import type { FramesPlace, LogPosition } from "../log/segment.js";
import { chain_name, SegmentChain } from "../log/segment_chain.js";
import { log_directory, type RegistryPlace } from "./partition_place.js";
import { prune_snapshots, type Retention, restore_core, save_core } from "./snapshots.js";

const DAY_MS = 86_400_000;

export interface KeepTask {
  partition: number;
  /** The end of what is durable, with its chain. */
  to: LogPosition;
  retention: Retention;
}

/** The log goes on with another day. */
class DayEnd extends Error {
  constructor(readonly position: LogPosition) {
    super("a day ends");
  }
}

function day_of(time_ms: number): number {
  return Math.floor(time_ms / DAY_MS);
}

/**
 * Makes a snapshot at the task's position, and on the way those of days that have none and are to be kept; takes away
 * what is not. `core` is used for it. Throws LogCorruption, and what the disk does.
 */
export async function keep_snapshots(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  task: KeepTask,
  report: (message: string) => void,
): Promise<void> {
  const { partition, to, retention } = task;
  const base = await restore_core(disk, place, core, partition, report, (facts) => {
    return facts.position.offset <= to.offset;
  });
  const first_day = day_of(to.log_time_ms) - retention.days + 1;
  let ended_day: number | null = null;
  for (let position = base?.position ?? null; position?.offset !== to.offset; ) {
    const is_kept = (day: number) => day >= first_day && day !== ended_day;
    const stop = await fold_to(disk, place, core, partition, position, to, is_kept);
    // A base that a day has ended with is there already.
    if (stop.offset !== position?.offset) await save_core(disk, place, core, partition, stop);
    ended_day = day_of(stop.log_time_ms);
    position = stop;
  }
  await prune_snapshots(disk, place, core, partition, retention);
}

/** Folds up to `to`, or to the end of a day that is kept; where it stands then. */
async function fold_to(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  partition: number,
  position: LogPosition | null,
  to: LogPosition,
  is_kept: (day: number) => boolean,
): Promise<LogPosition> {
  try {
    await read_log({
      disk,
      directory: log_directory(place.directory, partition),
      name: `partition ${partition}`,
      replica: place.replica,
      position,
      to: to.offset,
      buffer: () => core.input(core.input_bytes_max),
      on_frames(frames, at) {
        const length = same_day_bytes(frames, core.log_time_ms, is_kept);
        // The frames stand in the core's memory: when that grows they are gone, and have no length.
        const all_of_it = length === frames.length;
        if (length > 0) fold(core, frames.subarray(0, length), partition);
        if (all_of_it) return;
        const { next_offset: offset, log_time_ms } = core;
        throw new DayEnd({ offset, segment: at.segment, byte: at.byte + length, log_time_ms });
      },
    });
  } catch (error) {
    if (error instanceof DayEnd) return error.position;
    throw error;
  }
  return to;
}

function fold(core: Core, frames: Uint8Array, partition: number): void {
  if (core.fold_frames(frames, false) === "folded") return;
  throw new Error(`partition ${partition} does not fit into memory from offset ${core.stopped_at} on`);
}

/** How many bytes of the frames stand before the first end of a day that is kept. */
function same_day_bytes(frames: Uint8Array, before_ms: number, is_kept: (day: number) => boolean): number {
  const view = view_of(frames);
  let day = before_ms === 0 ? null : day_of(before_ms);
  let at = 0;
  for (const frame of frames_of(frames)) {
    const frame_day = day_of(Number(view.getBigUint64(at + 32, true)));
    if (day !== null && frame_day !== day && is_kept(day)) return at;
    day = frame_day;
    at += frame.length;
  }
  return at;
}

/** A segment that is written to no more: first offset of it, and of the next one. */
export interface ChainGap {
  partition: number;
  segment: bigint;
  next_segment: bigint;
}

/** Makes the chain of a segment, from its beginning. Throws as `keep_snapshots`. */
export async function remake_chain(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  { partition, segment, next_segment }: ChainGap,
  report: (message: string) => void,
): Promise<void> {
  const directory = log_directory(place.directory, partition);
  const path = join(directory, chain_name(segment));
  const base = await restore_core(disk, place, core, partition, report, ({ position }) => {
    return position.segment < segment || (position.segment === segment && position.byte === 0);
  });
  const beside = path + UNFINISHED_SUFFIX;
  const chain = new SegmentChain(disk, beside);
  const writer = new ChainWriter(disk, chain, 0);
  let is_written = false;
  try {
    await read_log({
      disk,
      directory,
      name: `partition ${partition}`,
      replica: place.replica,
      position: base?.position ?? null,
      to: next_segment,
      buffer: () => core.input(core.input_bytes_max),
      on_frames(frames, at) {
        if (at.segment < segment) fold(core, frames, partition);
        else fold_chained(core, writer, frames, at);
      },
    });
    is_written = await writer.sync();
  } finally {
    await writer.close();
    chain.close();
  }
  if (!is_written) throw new Error(`${beside} cannot be written`);
  await disk.rename(beside, path);
  await disk.sync_directory(dirname(path));
}

function fold_chained(core: Core, writer: ChainWriter, frames: Uint8Array, at: FramesPlace): void {
  let byte = at.byte;
  const status = core.fold_chained(frames, (piece) => {
    writer.tell(byte, byte + piece.bytes, core.next_offset, piece);
    byte += piece.bytes;
  });
  if (status !== "folded") throw new Error(`the core is full at offset ${core.stopped_at}`);
}
