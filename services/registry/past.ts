/**
 * A partition as it was: a core of its own that goes on from the nearest snapshot and folds of the rest of the log what
 * counts as of the instant (RULES F8). The chain says what counts, and which frames need not be read at all; where it is
 * missing, a second core folds all of it to find out.
 */
import type { Core } from "../core/core.js";
import { Problem } from "../events/problem.js";
import type { ChainBlock, ChainedFrame } from "../log/chain_block.js";
import type { Disk, ReadFile } from "../log/disk.js";
import { check_frame, frames_of, view_of } from "../log/frame.js";
import { read_log } from "../log/read_only.js";
import { find_segments, type Place } from "../log/recovery.js";
import type { LogPosition, Segment } from "../log/segment.js";
import { chain_name, SegmentChain } from "../log/segment_chain.js";
import type { SnapshotFacts } from "../log/snapshot_file.js";
import { log_directory, type RegistryPlace } from "./partition_place.js";
import { restore_core } from "./snapshots.js";

export interface PastInstants {
  /** Events count that took effect by then; null: all that are known. */
  as_of_ms: number | null;
  /** Records count that had arrived by then; null: all. */
  known_at_ms: number | null;
  /** What is asked for whether it is certain: `as_of_ms`, else the node's clock. */
  doubt_ms: number;
}

export interface PastQuestion extends PastInstants {
  partition: number;
  /** The end of the log that is asked about, with its chain in its files. */
  to: LogPosition;
}

/** Cores for it: the second one is made only where a chain is missing. */
export interface PastCores {
  main: Core;
  second(): Core;
}

/** So much is read at once; one frame alone may be longer, and fits into a core's input all the same. */
const READ_BYTES_MAX = 1024 * 1024;
/** Later than all instants that a core knows. */
const NEVER_MS = 2 ** 48 - 1;

/**
 * Leaves the partition as it was in the main core; how far of the log was known, as a next offset. Throws LogCorruption,
 * and Problem where it does not fit into a core.
 */
export async function fold_past(
  disk: Disk,
  place: RegistryPlace,
  cores: PastCores,
  question: PastQuestion,
  report: (message: string) => void,
): Promise<bigint> {
  const base = await nearest_start(disk, place, cores.main, question, report);
  const by_chain = await fold_by_chain(disk, place, cores.main, question, base);
  if (by_chain !== null) return by_chain;
  // The main core may have folded a part.
  const again = await nearest_start(disk, place, cores.main, question, report);
  return fold_by_second(disk, place, cores, question, again, report);
}

/** The newest snapshot of which all that it has folded is older than the instants; the core goes on from it. */
async function nearest_start(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  question: PastQuestion,
  report: (message: string) => void,
): Promise<SnapshotFacts | null> {
  const { partition, to, known_at_ms } = question;
  const before_ms = Math.min(question.as_of_ms ?? NEVER_MS, question.doubt_ms);
  for (let end = to.offset; ; ) {
    const base = await restore_core(disk, place, core, partition, report, ({ position }) => {
      const { offset, log_time_ms } = position;
      return offset <= end && log_time_ms < before_ms && log_time_ms <= (known_at_ms ?? NEVER_MS);
    });
    // One that does not know of all losses that reach to the instant is passed over; the beginning knows of all.
    if (core.mark_doubt(question.doubt_ms) || base === null) return base;
    end = base.position.offset - 1n;
  }
}

/** Null: the chain does not lead through all of it. */
async function fold_by_chain(
  disk: Disk,
  place: RegistryPlace,
  core: Core,
  question: PastQuestion,
  base: SnapshotFacts | null,
): Promise<bigint | null> {
  const { to } = question;
  const from = base?.position ?? null;
  for (const segment of await segments_between(disk, place, question, from)) {
    const begin = segment.first_offset === from?.segment ? from.byte : 0;
    const end = segment.first_offset === to.segment ? to.byte : segment.bytes;
    const known = fold_segment(disk, core, question, segment, begin, end);
    if (known !== "all_known") return known;
  }
  return to.offset;
}

/** Those that have a record of [from, to). */
async function segments_between(
  disk: Disk,
  place: RegistryPlace,
  { partition, to }: PastQuestion,
  from: LogPosition | null,
): Promise<Segment[]> {
  const name = `partition ${partition}`;
  const directory = log_directory(place.directory, partition);
  const log: Place = { disk, directory, name, replica: place.replica };
  const segments = await find_segments(log);
  return segments.filter(
    ({ first_offset }) => first_offset <= to.segment && first_offset >= (from?.segment ?? 0n),
  );
}

/** Next offset where the known ends in it; null: its chain does not lead through. */
function fold_segment(
  disk: Disk,
  core: Core,
  question: PastQuestion,
  segment: Segment,
  begin: number,
  end: number,
): bigint | null | "all_known" {
  const up_to_ms = question.as_of_ms ?? NEVER_MS;
  const known_at_ms = question.known_at_ms ?? NEVER_MS;
  if (begin >= end) return "all_known";
  const chain = SegmentChain.load(disk, segment.path.replace(/[^/]*$/, chain_name(segment.first_offset)));
  const file = disk.open_read(segment.path);
  try {
    const { blocks } = chain;
    if (chain.from > begin || chain.to < end) return null;
    for (const [i, facts] of blocks.entries()) {
      if (facts.to <= begin || facts.from >= end || facts.frames === 0) continue;
      if (facts.lowest_ms > up_to_ms && facts.last_log_time_ms <= known_at_ms) continue;
      const block = chain.block(i);
      if (block === null) return null;
      const frames = frames_between(block, begin, end);
      const known = frames.filter(({ log_time_ms }) => log_time_ms <= known_at_ms);
      for (const stretch of stretches(known.filter(({ lowest_ms }) => lowest_ms <= up_to_ms))) {
        if (!fold_stretch(file, core, question, block, stretch)) return null;
      }
      if (known.length < frames.length) return frames[known.length]!.first_offset;
    }
    return "all_known";
  } finally {
    file.close();
    chain.close();
  }
}

/** The block's frames within [begin, end) of the segment. */
function frames_between(block: ChainBlock, begin: number, end: number): ChainedFrame[] {
  const all = Array.from({ length: block.facts.frames }, (_, i) => block.frame(i));
  return all.filter(({ byte }) => byte >= begin && byte < end);
}

/** Frames that stand next to each other, together, as far as they are read at once. */
function stretches(frames: ChainedFrame[]): ChainedFrame[][] {
  const found: ChainedFrame[][] = [];
  for (const frame of frames) {
    const last = found.at(-1);
    const goes_on = last?.at(-1)?.end === frame.byte && frame.end - last[0]!.byte <= READ_BYTES_MAX;
    if (goes_on) last.push(frame);
    else found.push([frame]);
  }
  return found;
}

/** False: the log's frames are not those of the chain. */
function fold_stretch(
  file: ReadFile,
  core: Core,
  { as_of_ms, doubt_ms, partition }: PastQuestion,
  block: ChainBlock,
  stretch: ChainedFrame[],
): boolean {
  const first = stretch[0]!;
  const last = stretch.at(-1)!;
  const bytes = core.input(last.end - first.byte);
  if (file.read_sync(bytes, first.byte) < bytes.length) return false;
  const view = view_of(bytes);
  for (const { byte, crc32 } of stretch) {
    const at = byte - first.byte;
    const frame = check_frame(bytes, view, at);
    if (frame === null || typeof frame === "string" || view.getUint32(at + 8, true) !== crc32) return false;
  }
  const entries = block.events(first.events_from, last.events_to);
  const status = core.fold_as_of(bytes, entries, as_of_ms ?? NEVER_MS, doubt_ms);
  if (status === "partition_full") throw full(partition);
  return status === "folded";
}

function full(partition: number): Problem {
  return new Problem("unavailable", `partition ${partition}, as it was, does not fit into memory`);
}

/** What was known ends before the log does. */
class KnownEnd extends Error {}

/** The second core folds all that is known and so makes the chain that the main one needs. */
async function fold_by_second(
  disk: Disk,
  place: RegistryPlace,
  { main, second }: PastCores,
  question: PastQuestion,
  base: SnapshotFacts | null,
  report: (message: string) => void,
): Promise<bigint> {
  const { partition, to, known_at_ms, as_of_ms, doubt_ms } = question;
  const other = second();
  await restore_core(disk, place, other, partition, report, ({ position }) => {
    return position.offset === base?.position.offset;
  });
  let known_to = to.offset;
  try {
    await read_log({
      disk,
      directory: log_directory(place.directory, partition),
      name: `partition ${partition}`,
      replica: place.replica,
      position: base?.position ?? null,
      to: to.offset,
      buffer: () => other.input(other.input_bytes_max),
      on_frames(frames) {
        const later = known_at_ms === null ? null : first_later(frames, known_at_ms);
        const known = later === null ? frames : frames.subarray(0, later.at);
        const status = other.fold_chained(known, ({ folded, entries }) => {
          const told = main.fold_as_of(folded, entries, as_of_ms ?? NEVER_MS, doubt_ms);
          if (told !== "folded") throw full(partition);
        });
        if (status !== "folded") throw full(partition);
        if (later === null) return;
        known_to = later.first_offset;
        throw new KnownEnd();
      },
    });
  } catch (error) {
    if (!(error instanceof KnownEnd)) throw error;
  }
  return known_to;
}

/** The first frame that arrived after the instant; null: none. */
function first_later(frames: Uint8Array, known_at_ms: number): { at: number; first_offset: bigint } | null {
  let at = 0;
  for (const frame of frames_of(frames)) {
    const view = view_of(frame);
    if (Number(view.getBigUint64(32, true)) > known_at_ms) {
      return { at, first_offset: view.getBigUint64(24, true) };
    }
    at += frame.length;
  }
  return null;
}
