// Configurations (RULES F): everything about a host that a check depends on. Hosts share them: one is kept once, with
// the number of its hosts, and its place is used again when the last host has left it.
//
//   u32 kernel | u32 flags | u32 stack_count + (lingering_count << 16) | stack words | lingering words
//   stack word     = installed patch << 2 | phase
//   lingering word = installed patch << 1 | pinned, sorted by name so that equal sets are equal bytes
import { clear_columns, host_cell, keep_columns, put_columns, start_columns } from "./columns";
import { HashIndex, first, insert, next, remove, slot_tag, slot_value, start_index } from "./hash_index";
import { tag_of } from "./hash";
import { kept } from "./kept";
import { compare_bytes, same_bytes, take_directory, Arena, arena_take, start_arena } from "./memory";
import { NO_ROOM, installed_patch, page_for, strings } from "./tables";
import { string_at, string_bytes } from "./strings";

export const CONFIGURATIONS_MAX: u32 = 1 << 26;
export const STACK_MAX: u32 = 64;
export const LINGERING_MAX: u32 = 256;

export const ENABLING: u32 = 1;
export const ENABLED: u32 = 2;
export const DISABLING: u32 = 3;

// Knowledge, in the schema's numbers: the worse one is the greater.
export const COMPLETE: u32 = 1;
export const GAP: u32 = 2;
export const UNREADABLE: u32 = 3;
export const NO_BASELINE: u32 = 4;
export const DISPUTED: u32 = 5;

// flags: livepatching (2 bits), policy (3), forced (1), knowledge (3)
export const LIVEPATCHING_MASK: u32 = 3;
export const NOT_BUILT: u32 = 2;
export const MODULES_DISABLED: u32 = 4;
export const SIGNATURE_REQUIRED: u32 = 8;
export const FTRACE_OFF: u32 = 16;
export const POLICY_MASK: u32 = MODULES_DISABLED | SIGNATURE_REQUIRED | FTRACE_OFF;
export const FORCED: u32 = 32;
export const KNOWLEDGE_SHIFT: u32 = 6;

const WORDS_BEFORE_STACK: u32 = 3;
// A change may put one more on the stack, and let all of it leave, before the limits are looked at.
const WORDS_MAX: u32 = WORDS_BEFORE_STACK + 2 * (STACK_MAX + 1) + LINGERING_MAX;

/** The configuration that an event works on; stack and lingering are separate so that each can grow. */
export let kernel_id: u32 = 0;
export let flags: u32 = 0;
export let stack_count: u32 = 0;
export let lingering_count: u32 = 0;
export const stack: usize = memory.data(4 * 128, 8);
export const lingering: usize = memory.data(4 * 512, 8);
const packed: usize = memory.data(4 * 640, 8);

export function set_kernel(id: u32): void {
  kernel_id = id;
}
export function set_flags(value: u32): void {
  flags = value;
}
export function set_stack_count(count: u32): void {
  stack_count = count;
}
export function set_lingering_count(count: u32): void {
  lingering_count = count;
}

@inline
export function knowledge(): u32 {
  return flags >> KNOWLEDGE_SHIFT;
}

export function set_knowledge(value: u32): void {
  flags = (flags & ((1 << KNOWLEDGE_SHIFT) - 1)) | (value << KNOWLEDGE_SHIFT);
}

/** The worse knowledge stays (RULES F2). */
export function worsen_knowledge(value: u32): void {
  if (value > knowledge()) set_knowledge(value);
}

@inline
export function stack_word(i: u32): u32 {
  return load<u32>(stack + (<usize>i << 2));
}

@inline
export function lingering_word(i: u32): u32 {
  return load<u32>(lingering + (<usize>i << 2));
}

export function put_stack(i: u32, word: u32): void {
  store<u32>(stack + (<usize>i << 2), word);
}

export function put_lingering(i: u32, word: u32): void {
  store<u32>(lingering + (<usize>i << 2), word);
}

export function push_stack(installed: u32, phase: u32): void {
  put_stack(stack_count++, (installed << 2) | phase);
}

/** Position of the name on the stack; -1 where it is not. */
export function find_on_stack(name: u32): i32 {
  for (let i: u32 = 0; i < stack_count; i++) if (installed_patch(stack_word(i) >> 2).name == name) return <i32>i;
  return -1;
}

export function find_lingering(name: u32): i32 {
  for (let i: u32 = 0; i < lingering_count; i++) {
    if (installed_patch(lingering_word(i) >> 1).name == name) return <i32>i;
  }
  return -1;
}

export function take_from_stack(i: u32): void {
  memory.copy(stack + (<usize>i << 2), stack + (<usize>(i + 1) << 2), <usize>(stack_count - i - 1) << 2);
  stack_count--;
}

export function take_from_lingering(i: u32): void {
  memory.copy(lingering + (<usize>i << 2), lingering + (<usize>(i + 1) << 2), <usize>(lingering_count - i - 1) << 2);
  lingering_count--;
}

/** Adds to the lingering set in the order of names' bytes. */
export function add_lingering(installed: u32, pinned: u32): void {
  const name = installed_patch(installed).name;
  let i = lingering_count;
  while (i > 0) {
    const before = installed_patch(lingering_word(i - 1) >> 1).name;
    const order = compare_bytes(
      string_at(strings, before),
      string_bytes(strings, before),
      string_at(strings, name),
      string_bytes(strings, name),
    );
    if (order <= 0) break;
    store<u32>(lingering + (<usize>i << 2), lingering_word(i - 1));
    i--;
  }
  store<u32>(lingering + (<usize>i << 2), (installed << 1) | pinned);
  lingering_count++;
}

@unmanaged
class Entry {
  /** 0: free; then `tag` is the next free entry of all + 1. */
  words: u32;
  reserved: u32;
  tag: u32;
  /** Tells it from all others that had the id; 0: free, or one of those after the first 2^32-1. */
  serial: u32;
}
const ENTRIES_PER_PAGE_SHIFT: u32 = 12;
const index: HashIndex = changetype<HashIndex>(memory.data(16));
const arena: Arena = changetype<Arena>(memory.data(16));
// Free places by capacity in words / 4, each the start of a list through the places' first word.
const free_places: usize = memory.data(4 * 128, 8);
let entries: usize = 0;
/** One more than the highest id in use ever. */
export let configuration_count: u32 = 0;
/** How many have hosts now. */
export let configurations_live: u32 = 0;
let free_entry: u32 = 0;
let next_serial: u32 = 1;

export function start_configurations(): bool {
  entries = take_directory(CONFIGURATIONS_MAX >> ENTRIES_PER_PAGE_SHIFT);
  configuration_count = 0;
  configurations_live = 0;
  free_entry = 0;
  next_serial = 1;
  start_arena(arena);
  memory.fill(free_places, 0, 4 * 128);
  return entries != 0 && start_columns() && start_index(index, 17);
}

export function keep_configurations(): void {
  configuration_count = <u32>kept(configuration_count);
  configurations_live = <u32>kept(configurations_live);
  free_entry = <u32>kept(free_entry);
  next_serial = <u32>kept(next_serial);
  keep_columns();
}

@inline
function entry(id: u32): Entry {
  return changetype<Entry>(
    <usize>load<u32>(entries + (<usize>(id >> ENTRIES_PER_PAGE_SHIFT) << 2)) +
      (<usize>(id & ((1 << ENTRIES_PER_PAGE_SHIFT) - 1)) << 4),
  );
}

/** Where what is known of the id stands: to be read ahead. */
@inline
export function entry_place(id: u32): usize {
  return changetype<usize>(entry(id));
}

/** Where the words of a configuration are; 0 for a free id. */
@inline
export function words_of(id: u32): usize {
  return entry(id).words;
}

/** Exact at every instant. */
@inline
export function hosts_of(id: u32): u32 {
  return load<u32>(host_cell(id));
}

/** Never of two configurations but 0, which says nothing. */
@inline
export function serial_of(id: u32): u32 {
  return entry(id).serial;
}

/** A host joins a configuration that there is. */
@inline
export function join_configuration(id: u32): void {
  const hosts = host_cell(id);
  store<u32>(hosts, load<u32>(hosts) + 1);
}

/** Takes a configuration apart to be worked on. */
export function open_configuration(id: u32): void {
  const words: usize = entry(id).words;
  kernel_id = load<u32>(words);
  flags = load<u32>(words, 4);
  const counts = load<u32>(words, 8);
  stack_count = counts & 0xffff;
  lingering_count = counts >> 16;
  memory.copy(stack, words + 12, <usize>stack_count << 2);
  memory.copy(lingering, words + 12 + (<usize>stack_count << 2), <usize>lingering_count << 2);
}

/** A host of which nothing is known yet. */
export function open_unknown(): void {
  kernel_id = 0;
  flags = NO_BASELINE << KNOWLEDGE_SHIFT;
  stack_count = 0;
  lingering_count = 0;
}

/** Words of the place that a configuration of so many words is in: a place is used again for the same number. */
@inline
function capacity_for(words: u32): u32 {
  return (words + 3) & ~3;
}

function take_place(capacity: u32): usize {
  const list = free_places + (<usize>(capacity >> 2) << 2);
  const place: usize = load<u32>(list);
  if (place == 0) return arena_take(arena, capacity << 2);
  store<u32>(list, load<u32>(place));
  return place;
}

/** The id of the configuration that is being worked on, which gains a host; NO_ROOM at a limit. */
export function close_configuration(): u32 {
  const count = WORDS_BEFORE_STACK + stack_count + lingering_count;
  store<u32>(packed, kernel_id);
  store<u32>(packed, flags, 4);
  store<u32>(packed, stack_count | (lingering_count << 16), 8);
  memory.copy(packed + 12, stack, <usize>stack_count << 2);
  memory.copy(packed + 12 + (<usize>stack_count << 2), lingering, <usize>lingering_count << 2);
  const bytes = count << 2;
  const tag = tag_of(packed, bytes, strings.seed);
  let slot = first(index, tag);
  for (let value = slot_value(slot); value != 0; slot = next(slot), value = slot_value(slot)) {
    if (slot_tag(slot) != tag) continue;
    const known = entry(value - 1);
    // Different counts differ in the third word, so that no more than the shorter one is read.
    if (load<u32>(known.words, 8) == load<u32>(packed, 8) && same_bytes(known.words, packed, bytes)) {
      join_configuration(value - 1);
      return value - 1;
    }
  }
  let id = free_entry;
  if (id != 0) id--;
  else {
    id = configuration_count;
    if (id == CONFIGURATIONS_MAX || !page_for(entries, id, ENTRIES_PER_PAGE_SHIFT)) return NO_ROOM;
  }
  if (!put_columns(id, kernel_id, flags, stack, stack_count, lingering_count)) return NO_ROOM;
  const place = take_place(capacity_for(count));
  if (place == 0 || !insert(index, tag, id)) {
    clear_columns(id);
    return NO_ROOM;
  }
  if (free_entry != 0) free_entry = entry(id).tag;
  else configuration_count = id + 1;
  memory.copy(place, packed, bytes);
  const fresh = entry(id);
  fresh.words = <u32>place;
  fresh.tag = tag;
  fresh.serial = next_serial;
  // No number comes twice: after the last one, all have 0.
  if (next_serial != 0) next_serial++;
  configurations_live++;
  return id;
}

/** A host leaves the configuration. */
export function leave_configuration(id: u32): void {
  const hosts = load<u32>(host_cell(id)) - 1;
  store<u32>(host_cell(id), hosts);
  if (hosts != 0) return;
  const left = entry(id);
  clear_columns(id);
  let slot = first(index, left.tag);
  while (slot_value(slot) != id + 1) slot = next(slot);
  remove(slot);
  const counts = load<u32>(left.words, 8);
  const capacity = capacity_for(WORDS_BEFORE_STACK + (counts & 0xffff) + (counts >> 16));
  const list = free_places + (<usize>(capacity >> 2) << 2);
  store<u32>(left.words, load<u32>(list));
  store<u32>(list, left.words);
  left.words = 0;
  left.serial = 0;
  left.tag = free_entry;
  free_entry = id + 1;
  configurations_live--;
}
