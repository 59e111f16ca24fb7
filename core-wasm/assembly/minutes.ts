// How many hosts were last heard of in each minute, so that the number of stale hosts costs no scan of hosts.
// A direct table by minute since 1970: a root of pages, each with a total. The pages are small, since an event of any
// instant may need one.
import { kept } from "./kept";
import { Arena, arena_take, start_arena, take_directory } from "./memory";

const MINUTES_PER_PAGE_SHIFT: u32 = 10;
/** What an event may cost here. */
export const MINUTES_PAGE_BYTES: u32 = 4 << MINUTES_PER_PAGE_SHIFT;
/** 2^27 minutes reach to the year 2225; later instants count in the last one. */
const MINUTES_MAX: u32 = 1 << 27;
const PAGES: u32 = MINUTES_MAX >> MINUTES_PER_PAGE_SHIFT;

const arena: Arena = changetype<Arena>(memory.data(16));
let root: usize = 0;
let totals: usize = 0;
let lowest_page: u32 = PAGES;
let highest_page: u32 = 0;

export function start_minutes(): bool {
  root = take_directory(PAGES);
  totals = take_directory(PAGES);
  lowest_page = PAGES;
  highest_page = 0;
  start_arena(arena);
  return root != 0 && totals != 0;
}

export function keep_minutes(): void {
  lowest_page = <u32>kept(lowest_page);
  highest_page = <u32>kept(highest_page);
}

/** Whole minutes, at most 2^32-1. */
@inline
export function minute_of(time_ms: u64): u32 {
  return <u32>min(time_ms / 60000, <u64>u32.MAX_VALUE);
}

/** False where there is no room for the minute's page. */
export function add_to_minute(of_time: u32): bool {
  const minute = min(of_time, MINUTES_MAX - 1);
  const page = minute >> MINUTES_PER_PAGE_SHIFT;
  const pointer = root + (<usize>page << 2);
  if (load<u32>(pointer) == 0) {
    const fresh = arena_take(arena, MINUTES_PAGE_BYTES);
    if (fresh == 0) return false;
    store<u32>(pointer, <u32>fresh);
    lowest_page = min(lowest_page, page);
    highest_page = max(highest_page, page);
  }
  const at = <usize>load<u32>(pointer) + (<usize>(minute & ((1 << MINUTES_PER_PAGE_SHIFT) - 1)) << 2);
  store<u32>(at, load<u32>(at) + 1);
  const total = totals + (<usize>page << 2);
  store<u32>(total, load<u32>(total) + 1);
  return true;
}

export function take_from_minute(of_time: u32): void {
  const minute = min(of_time, MINUTES_MAX - 1);
  const page = minute >> MINUTES_PER_PAGE_SHIFT;
  const at =
    <usize>load<u32>(root + (<usize>page << 2)) + (<usize>(minute & ((1 << MINUTES_PER_PAGE_SHIFT) - 1)) << 2);
  store<u32>(at, load<u32>(at) - 1);
  const total = totals + (<usize>page << 2);
  store<u32>(total, load<u32>(total) - 1);
}

/** Hosts whose last minute lies before `minute`. */
export function hosts_before_minute(minute: u32): u32 {
  let hosts: u32 = 0;
  const last = minute >> MINUTES_PER_PAGE_SHIFT;
  for (let page = lowest_page; page <= highest_page && page < last; page++) {
    hosts += load<u32>(totals + (<usize>page << 2));
  }
  if (last >= PAGES) return hosts;
  const counts: usize = load<u32>(root + (<usize>last << 2));
  if (counts == 0) return hosts;
  const minutes = minute & ((1 << MINUTES_PER_PAGE_SHIFT) - 1);
  for (let i: u32 = 0; i < minutes; i++) hosts += load<u32>(counts + (<usize>i << 2));
  return hosts;
}
