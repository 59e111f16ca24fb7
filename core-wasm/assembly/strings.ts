// Interned byte strings: kernel releases, architectures, patch names, build ids. Id 0 is the empty string, "not
// known". A string is never freed; the fold and the catalog have a table each, so that what the catalog says never
// enters what the fold owns.
import { HashIndex, first, insert, next, slot_tag, slot_value, start_index } from "./hash_index";
import { tag_of } from "./hash";
import { Arena, arena_take, same_bytes, start_arena, take_directory, take_pages } from "./memory";

export const STRINGS_MAX: u32 = 1 << 22;
const DIRECTORY_DEPTH_MAX: u32 = 13;
/** 8,192 entries of 8 bytes a page. */
const PER_PAGE_SHIFT: u32 = 13;

@unmanaged
export class Strings {
  arena_at: usize;
  arena_end: usize;
  index_directory: usize;
  index_depth: u32;
  index_depth_max: u32;
  entries: usize;
  count: u32;
  seed: u64;
}

@inline
function index_of(strings: Strings): HashIndex {
  return changetype<HashIndex>(changetype<usize>(strings) + offsetof<Strings>("index_directory"));
}

@inline
function arena_of(strings: Strings): Arena {
  return changetype<Arena>(changetype<usize>(strings));
}

export function start_strings(strings: Strings, seed: u64): bool {
  start_arena(arena_of(strings));
  strings.seed = seed;
  strings.count = 1;
  strings.entries = take_directory(STRINGS_MAX >> PER_PAGE_SHIFT);
  if (strings.entries == 0) return false;
  const page = take_pages(1);
  store<u32>(strings.entries, <u32>page);
  return page != 0 && start_index(index_of(strings), DIRECTORY_DEPTH_MAX);
}

@inline
function entry(strings: Strings, id: u32): usize {
  return (
    <usize>load<u32>(strings.entries + (<usize>(id >> PER_PAGE_SHIFT) << 2)) +
    (<usize>(id & ((1 << PER_PAGE_SHIFT) - 1)) << 3)
  );
}

@inline
export function string_at(strings: Strings, id: u32): usize {
  return load<u32>(entry(strings, id));
}

@inline
export function string_bytes(strings: Strings, id: u32): u32 {
  return load<u32>(entry(strings, id), 4);
}

function find_tagged(strings: Strings, at: usize, length: u32, tag: u32): u32 {
  let slot = first(index_of(strings), tag);
  for (let value = slot_value(slot); value != 0; slot = next(slot), value = slot_value(slot)) {
    if (slot_tag(slot) != tag) continue;
    const id = value - 1;
    if (string_bytes(strings, id) == length && same_bytes(string_at(strings, id), at, length)) return id;
  }
  return 0;
}

/** Id of the bytes; 0 if they are empty or not known. */
export function find_string(strings: Strings, at: usize, length: u32): u32 {
  return length == 0 ? 0 : find_tagged(strings, at, length, tag_of(at, length, strings.seed));
}

/** Id of the bytes, which are kept if they are new; U32.MAX where there is no room. */
export function intern_string(strings: Strings, at: usize, length: u32): u32 {
  if (length == 0) return 0;
  const tag = tag_of(at, length, strings.seed);
  const known = find_tagged(strings, at, length, tag);
  if (known != 0) return known;
  const id = strings.count;
  if (id == STRINGS_MAX) return u32.MAX_VALUE;
  const page = strings.entries + (<usize>(id >> PER_PAGE_SHIFT) << 2);
  if (load<u32>(page) == 0) store<u32>(page, <u32>take_pages(1));
  const bytes = arena_take(arena_of(strings), length);
  if (load<u32>(page) == 0 || bytes == 0 || !insert(index_of(strings), tag, id)) return u32.MAX_VALUE;
  memory.copy(bytes, at, length);
  store<u32>(entry(strings, id), <u32>bytes);
  store<u32>(entry(strings, id), length, 4);
  strings.count = id + 1;
  return id;
}
