// A hash index that grows a segment at a time (extendible hashing), so that no insertion ever rehashes all of it.
//
// A directory of 2^depth entries, chosen by the tag's highest bits, points to segments of 1,024 slots; a slot is
// found by the tag's lowest ten bits and linear probing inside the segment. A full segment splits in two. Segments
// are aligned to their size: the low bits of a directory entry hold the segment's own depth.
//
//   slot: u32 tag, u32 value + 1 (0: empty)
//
// The caller compares keys: `first`, then `next` while the slot is not empty.
import { kept } from "./kept";
import { PAGE_BYTES, take_directory, take_pages } from "./memory";

const SLOTS: u32 = 1024;
const SEGMENT_BYTES: usize = 8192;
const SEGMENT_MASK: usize = SEGMENT_BYTES - 1;
/** A segment splits above this load: 0.8 keeps a probe at about three slots. */
const SPLIT_AT: u32 = 820;
/** At the deepest level a segment may fill up to this; one slot stays empty so that every probe ends. */
const SLOTS_MAX: u32 = 1022;

@unmanaged
export class HashIndex {
  directory: usize;
  depth: u32;
  depth_max: u32;
}

// How many slots of each segment are in use, by address / 8 KiB: one array for all indexes.
let segment_counts: usize = 0;
// What is left of the page that segments are cut from.
let spare_segments: usize = 0;
let spare_end: usize = 0;
let scratch: usize = 0;

export function start_hash_indexes(): bool {
  // 2^32 / 8 KiB segments, two bytes each; pages that are never touched cost nothing.
  spare_segments = 0;
  spare_end = 0;
  segment_counts = take_pages(16);
  scratch = take_pages(1);
  return segment_counts != 0 && scratch != 0;
}

export function keep_hash_indexes(): void {
  spare_segments = <usize>kept(spare_segments);
  spare_end = <usize>kept(spare_end);
}

function take_segment(): usize {
  if (spare_segments == spare_end) {
    spare_segments = take_pages(1);
    if (spare_segments == 0) {
      spare_end = 0;
      return 0;
    }
    spare_end = spare_segments + PAGE_BYTES;
  }
  const segment = spare_segments;
  spare_segments += SEGMENT_BYTES;
  return segment;
}

@inline
function count_at(segment: usize): usize {
  return segment_counts + ((segment / SEGMENT_BYTES) << 1);
}

export function start_index(index: HashIndex, depth_max: u32): bool {
  index.directory = take_directory(1 << depth_max);
  const low = take_segment();
  const high = take_segment();
  if (index.directory == 0 || low == 0 || high == 0) return false;
  store<u32>(index.directory, <u32>low | 1);
  store<u32>(index.directory, <u32>high | 1, 4);
  index.depth = 1;
  index.depth_max = depth_max;
  return true;
}

@inline
function entry_at(index: HashIndex, tag: u32): usize {
  return index.directory + (<usize>(tag >> (32 - index.depth)) << 2);
}

/** The slot where a look-up of the tag begins. */
@inline
export function first(index: HashIndex, tag: u32): usize {
  return (<usize>load<u32>(entry_at(index, tag)) & ~SEGMENT_MASK) + ((tag & (SLOTS - 1)) << 3);
}

@inline
export function next(slot: usize): usize {
  return (slot & ~SEGMENT_MASK) | ((slot + 8) & SEGMENT_MASK);
}

/** The slot a few probes on, often of the next cache line: to be read ahead. */
@inline
export function likely_end(slot: usize): usize {
  return (slot & ~SEGMENT_MASK) | ((slot + 24) & SEGMENT_MASK);
}

@inline
export function slot_tag(slot: usize): u32 {
  return load<u32>(slot);
}

/** Value + 1; 0 where the slot is empty and the probe ends. */
@inline
export function slot_value(slot: usize): u32 {
  return load<u32>(slot, 4);
}

function place(segment: usize, tag: u32, stored: u32): void {
  let slot = segment + ((tag & (SLOTS - 1)) << 3);
  while (load<u32>(slot, 4) != 0) slot = next(slot);
  store<u32>(slot, tag);
  store<u32>(slot, stored, 4);
  store<u16>(count_at(segment), load<u16>(count_at(segment)) + 1);
}

/** Splits the tag's segment in two by one more bit; false at the limit of depth or memory. */
function split(index: HashIndex, tag: u32): bool {
  let entry = load<u32>(entry_at(index, tag));
  const depth = entry & <u32>SEGMENT_MASK;
  const segment: usize = entry & ~<u32>SEGMENT_MASK;
  if (depth == index.depth) {
    if (depth == index.depth_max) return false;
    for (let i: i32 = (1 << depth) - 1; i >= 0; i--) {
      entry = load<u32>(index.directory + (<usize>i << 2));
      store<u32>(index.directory + (<usize>i << 3), entry);
      store<u32>(index.directory + (<usize>i << 3), entry, 4);
    }
    index.depth++;
  }
  const fresh = take_segment();
  if (fresh == 0) return false;

  // The entries that point to the segment are neighbours: the upper half of them gets the new one.
  const span: u32 = 1 << (index.depth - depth);
  const begin = (tag >> (32 - index.depth)) & ~(span - 1);
  for (let i: u32 = 0; i < span; i++) {
    const half = i < span / 2 ? segment : fresh;
    store<u32>(index.directory + (<usize>(begin + i) << 2), <u32>half | (depth + 1));
  }
  memory.copy(scratch, segment, SEGMENT_BYTES);
  memory.fill(segment, 0, SEGMENT_BYTES);
  store<u16>(count_at(segment), 0);
  store<u16>(count_at(fresh), 0);
  for (let at = scratch; at < scratch + SEGMENT_BYTES; at += 8) {
    const stored = load<u32>(at, 4);
    if (stored == 0) continue;
    const moved = load<u32>(at);
    place((moved >> (31 - depth)) & 1 ? fresh : segment, moved, stored);
  }
  return true;
}

/** Adds a value under a tag; false where there is no room. */
export function insert(index: HashIndex, tag: u32, value: u32): bool {
  while (true) {
    const segment = <usize>load<u32>(entry_at(index, tag)) & ~SEGMENT_MASK;
    const count = load<u16>(count_at(segment));
    if (count >= SPLIT_AT && !split(index, tag)) {
      if (count >= SLOTS_MAX) return false;
    } else if (count >= SPLIT_AT) continue;
    place(segment, tag, value + 1);
    return true;
  }
}

/** Takes the slot out and moves what probed past it back, so that no probe meets a hole. */
export function remove(slot: usize): void {
  const segment = slot & ~SEGMENT_MASK;
  store<u16>(count_at(segment), load<u16>(count_at(segment)) - 1);
  let hole = slot;
  let at = next(slot);
  while (load<u32>(at, 4) != 0) {
    const home: u32 = load<u32>(at) & (SLOTS - 1);
    const from_home = (<u32>((at & SEGMENT_MASK) >> 3) - home) & (SLOTS - 1);
    const from_hole = (<u32>((at - hole) & SEGMENT_MASK) >> 3) & (SLOTS - 1);
    if (from_home >= from_hole) {
      store<u64>(hole, load<u64>(at));
      hole = at;
    }
    at = next(at);
  }
  store<u64>(hole, 0);
}
