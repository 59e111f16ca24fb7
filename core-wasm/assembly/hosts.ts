// Hosts: a 64-byte record each, a column with the configuration, one with the minute of the effective time, an index by
// host id. What is asked of all hosts reads columns: a record is a cache line each.
import { HashIndex, first, insert, next, slot_tag, slot_value, start_index } from "./hash_index";
import { kept } from "./kept";
import { Arena, arena_take_bytes, same_bytes, start_arena, take_directory } from "./memory";
import { add_to_minute, minute_of, start_minutes, take_from_minute } from "./minutes";
import { page_for } from "./tables";

export const HOSTS_MAX: u32 = 1 << 26;
/** No host, no position. */
export const NONE: u32 = u32.MAX_VALUE;
export const NO_POSITION: u64 = u64.MAX_VALUE;

/** One cache line. Written by the fold only. Stream 0: none, since no event has it. */
@unmanaged
export class Host {
  stream: u64;
  previous_stream: u64;
  /** Of the last event that took effect: a repeat of its number with other bytes is a second writer. */
  event_hash: u64;
  /** MurmurHash64A of the 16 bytes, 0: not known. */
  boot_hash: u64;
  /** Log offset << 14 | index in the record, of the host's last event, also one without effect. */
  position: u64;
  sequence: u32;
  previous_sequence: u32;
  /** Length byte, then the host id. */
  id: u32;
  // Two instants of 48 bits: the start of the current stream and the effective time.
  start_low: u32;
  effective_low: u32;
  start_high: u16;
  effective_high: u16;
}

const HOSTS_PER_PAGE_SHIFT: u32 = 10;
const COLUMN_PER_PAGE_SHIFT: u32 = 14;
const INDEX_DEPTH_MAX: u32 = 17;

const index: HashIndex = changetype<HashIndex>(memory.data(16));
const ids: Arena = changetype<Arena>(memory.data(16));
let records: usize = 0;
let column: usize = 0;
let minutes: usize = 0;
export let host_count: u32 = 0;

export function start_hosts(): bool {
  records = take_directory(HOSTS_MAX >> HOSTS_PER_PAGE_SHIFT);
  column = take_directory(HOSTS_MAX >> COLUMN_PER_PAGE_SHIFT);
  minutes = take_directory(HOSTS_MAX >> COLUMN_PER_PAGE_SHIFT);
  host_count = 0;
  start_arena(ids);
  return records != 0 && column != 0 && minutes != 0 && start_index(index, INDEX_DEPTH_MAX) && start_minutes();
}

export function keep_hosts(): void {
  host_count = <u32>kept(host_count);
}

@inline
export function host(i: u32): Host {
  return changetype<Host>(
    <usize>load<u32>(records + (<usize>(i >> HOSTS_PER_PAGE_SHIFT) << 2)) +
      (<usize>(i & ((1 << HOSTS_PER_PAGE_SHIFT) - 1)) << 6),
  );
}

@inline
function at_in(directory: usize, i: u32): usize {
  return (
    <usize>load<u32>(directory + (<usize>(i >> COLUMN_PER_PAGE_SHIFT) << 2)) +
    (<usize>(i & ((1 << COLUMN_PER_PAGE_SHIFT) - 1)) << 2)
  );
}

/** Hosts in a page of a column. */
export const HOSTS_PER_BLOCK: u32 = 1 << COLUMN_PER_PAGE_SHIFT;

@inline
export function column_block(block: u32): usize {
  return load<u32>(column + (<usize>block << 2));
}

@inline
export function minute_block(block: u32): usize {
  return load<u32>(minutes + (<usize>block << 2));
}

/** Where the host's configuration and its minute stand: to be read ahead. */
@inline
export function configuration_place(i: u32): usize {
  return at_in(column, i);
}
@inline
export function minute_place(i: u32): usize {
  return at_in(minutes, i);
}

@inline
export function configuration_of(i: u32): u32 {
  return load<u32>(at_in(column, i));
}

@inline
export function set_configuration(i: u32, configuration: u32): void {
  store<u32>(at_in(column, i), configuration);
}

/** Of the host's effective time, in whole minutes since 1970. */
@inline
export function minute_of_host(i: u32): u32 {
  return load<u32>(at_in(minutes, i));
}

/** All minutes that an answer's instant can be compared with fit: until the year 10136. */
@inline
function set_minute(i: u32, minute: u32): void {
  store<u32>(at_in(minutes, i), minute);
}

@inline
export function stream_start(record: Host): u64 {
  return <u64>record.start_low | (<u64>record.start_high << 32);
}

@inline
export function effective_time(record: Host): u64 {
  return <u64>record.effective_low | (<u64>record.effective_high << 32);
}

@inline
export function set_stream_start(record: Host, time_ms: u64): void {
  record.start_low = <u32>time_ms;
  record.start_high = <u16>(time_ms >> 32);
}

/** Moves the host's effective time forward and its minute with it; never back (RULES F8). */
export function advance_effective_time(i: u32, record: Host, time_ms: u64): bool {
  const before = effective_time(record);
  if (time_ms <= before) return true;
  record.effective_low = <u32>time_ms;
  record.effective_high = <u16>(time_ms >> 32);
  const minute = minute_of(time_ms);
  const minute_before = minute_of_host(i);
  if (minute == minute_before) return true;
  set_minute(i, minute);
  take_from_minute(minute_before);
  return add_to_minute(minute);
}

/** Where a look-up of the tag begins: read ahead of need, so that cache misses overlap. */
@inline
export function host_slot(tag: u32): usize {
  return first(index, tag);
}

/** The first slot from `slot` on that has the tag; the empty one that ends the probe where there is none. */
@inline
export function seek_slot(slot: usize, tag: u32): usize {
  while (slot_value(slot) != 0 && slot_tag(slot) != tag) slot = next(slot);
  return slot;
}

/** The host at a slot or behind it; NONE if there is none. */
export function find_host_from(slot: usize, tag: u32, at: usize, length: u32): u32 {
  for (let value = slot_value(slot); value != 0; slot = next(slot), value = slot_value(slot)) {
    if (slot_tag(slot) != tag) continue;
    const id: usize = host(value - 1).id;
    if (<u32>load<u8>(id) == length && same_bytes(id + 1, at, length)) return value - 1;
  }
  return NONE;
}

/** Adds a host with nothing but its id, its first effective time and no configuration; NONE at a limit. */
export function add_host(tag: u32, at: usize, length: u32, time_ms: u64): u32 {
  const i = host_count;
  if (i == HOSTS_MAX) return NONE;
  if (
    !page_for(records, i, HOSTS_PER_PAGE_SHIFT) ||
    !page_for(column, i, COLUMN_PER_PAGE_SHIFT) ||
    !page_for(minutes, i, COLUMN_PER_PAGE_SHIFT)
  ) {
    return NONE;
  }
  const id = arena_take_bytes(ids, length + 1);
  if (id == 0 || !add_to_minute(minute_of(time_ms)) || !insert(index, tag, i)) return NONE;
  store<u8>(id, <u8>length);
  memory.copy(id + 1, at, length);
  const record = host(i);
  record.id = <u32>id;
  record.position = NO_POSITION;
  record.effective_low = <u32>time_ms;
  record.effective_high = <u16>(time_ms >> 32);
  set_minute(i, minute_of(time_ms));
  host_count = i + 1;
  return i;
}
