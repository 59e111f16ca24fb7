// Memory without an allocator: whole pages are taken from the end of the linear memory and never given back, so a
// pointer stays good for the life of the core. Tables grow page by page; nothing is ever copied to grow.

export const PAGE_BYTES: u32 = 65536;

// memory.grow is asked for at least this many pages at once, and for a 64th of what there is. Each call makes a new
// ArrayBuffer of all the memory, which JavaScript's collector takes for as much garbage and sets out to collect: growing
// by a constant would have it collect a thousand times on the way to a gibibyte.
const PAGES_PER_GROW_MIN: u32 = 16;
const GROW_SHIFT: u32 = 6;

// The last pages below 4 GiB are never handed out: `address + length` cannot wrap.
const PAGES_MAX: u32 = 65536 - 16;

let first_page: u32 = 0;
let next_page: u32 = 0;
let page_limit: u32 = PAGES_MAX;
// Pages before it hold what is done away with after every call.
let first_owned_page: u32 = 0;
// Pages before it are buffers, which are written before they are read.
let first_zeroed_page: u32 = 0;

/** Begins with no page taken. A core that starts again gets its old pages, zeroed but for those of buffers. */
export function start_memory(limit_pages: u32): void {
  if (first_page == 0) first_page = memory.size();
  else {
    const from = max(first_page, first_zeroed_page);
    memory.fill(<usize>from * PAGE_BYTES, 0, <usize>(next_page - from) * PAGE_BYTES);
  }
  next_page = first_page;
  page_limit = min(limit_pages, PAGES_MAX);
}

/** What was taken so far are buffers. */
export function buffers_to_here(): void {
  first_zeroed_page = next_page;
}

/** From here on, pages are the fold's: a snapshot has them. */
export function own_from_here(): void {
  first_owned_page = next_page;
}

/** Where the pages of static data end, and those of the fold begin and end: what an image of the fold is made of. */
export function static_pages(): u32 {
  return first_page;
}
export function owned_from_page(): u32 {
  return first_owned_page;
}
export function owned_to_page(): u32 {
  return next_page;
}

/** Takes what an image needs beyond a fresh start; false at the limit, or where the image has fewer pages than that. */
export function take_pages_to(page: u32): bool {
  return page >= next_page && (page == next_page || take_pages(page - next_page) != 0);
}

/** Takes zeroed pages; 0 if the limit is reached. */
export function take_pages(count: u32): usize {
  if (next_page + count > page_limit) return 0;
  const have: u32 = memory.size();
  if (next_page + count > have) {
    const missing = next_page + count - have;
    const wanted = min(max(missing, max(PAGES_PER_GROW_MIN, have >> GROW_SHIFT)), page_limit - have);
    if (memory.grow(wanted) < 0 && memory.grow(missing) < 0) return 0;
  }
  const address = <usize>next_page * PAGE_BYTES;
  next_page += count;
  return address;
}

export function limit_bytes(): u64 {
  return <u64>page_limit * PAGE_BYTES;
}

/** Bytes that may still be taken. */
export function room_bytes(): u64 {
  return <u64>(page_limit - next_page) * PAGE_BYTES;
}

export function used_bytes(): u64 {
  return <u64>next_page * PAGE_BYTES;
}

/** A directory of page pointers: what makes a table out of pages. */
export function take_directory(entries: u32): usize {
  return take_pages((entries * 4 + PAGE_BYTES - 1) / PAGE_BYTES);
}

/** An arena: bytes are appended, never moved, never freed; no allocation crosses its page. */
@unmanaged
export class Arena {
  at: usize;
  end: usize;
}

export function start_arena(arena: Arena): void {
  arena.at = 0;
  arena.end = 0;
}

/** Address of `bytes` fresh bytes (at most a page), aligned to 4 in an arena of no others; 0 if memory is at its limit. */
export function arena_take(arena: Arena, bytes: u32): usize {
  return arena_take_bytes(arena, (bytes + 3) & ~3);
}

/** As `arena_take`, next to what was taken last. */
export function arena_take_bytes(arena: Arena, bytes: u32): usize {
  if (arena.at + bytes > arena.end || arena.at == 0) {
    const page = take_pages(1);
    if (page == 0) return 0;
    arena.at = page;
    arena.end = page + PAGE_BYTES;
  }
  const address = arena.at;
  arena.at += bytes;
  return address;
}

export function same_bytes(a: usize, b: usize, length: u32): bool {
  let i: u32 = 0;
  for (; i + 8 <= length; i += 8) if (load<u64>(a + i) != load<u64>(b + i)) return false;
  // The last eight bytes again, rather than the rest one by one.
  if (length >= 8) return load<u64>(a + length - 8) == load<u64>(b + length - 8);
  for (; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}

/** Byte order, the shorter first among equals: the order of UTF-8 text by code point. */
export function compare_bytes(a: usize, a_length: u32, b: usize, b_length: u32): i32 {
  const shared = min(a_length, b_length);
  for (let i: u32 = 0; i < shared; i++) {
    const difference = <i32>load<u8>(a + i) - <i32>load<u8>(b + i);
    if (difference != 0) return difference;
  }
  return <i32>a_length - <i32>b_length;
}
