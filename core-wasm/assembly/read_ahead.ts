// Cache lines are read ahead of need, since WebAssembly has no prefetch. A processor goes on past a read that misses only
// as far as its window of instructions reaches. So places are listed first, and then read one right behind the other:
// of such reads many more are under way at once than of reads with their addresses' arithmetic in between.

/** Of one list. */
export const PLACES_MAX: u32 = 192;
const READS: u32 = 8;
/** Where a list begins. */
export const places: usize = memory.data(4 * (192 + 8), 16);

// What the reads come to: kept, so that no compiler leaves them out.
let touched: u32 = 0;

/** Puts a place at the end of the list; where the next one goes. Four bytes are read that lie in one line, and in memory. */
@inline
export function list_place(end: usize, place: usize): usize {
  store<u32>(end, <u32>place & ~3);
  return end + 4;
}

/** Reads what is listed from `places` to `end`. */
export function read_places(end: usize): void {
  // Whole groups are read: behind the last place the list itself.
  for (let i: u32 = 0; i < READS - 1; i++) store<u32>(end + (<usize>i << 2), <u32>places);
  let sum: u32 = 0;
  for (let at = places; at < end; at += READS << 2) {
    sum += load<u32>(load<u32>(at));
    sum += load<u32>(load<u32>(at, 4));
    sum += load<u32>(load<u32>(at, 8));
    sum += load<u32>(load<u32>(at, 12));
    sum += load<u32>(load<u32>(at, 16));
    sum += load<u32>(load<u32>(at, 20));
    sum += load<u32>(load<u32>(at, 24));
    sum += load<u32>(load<u32>(at, 28));
  }
  touched += sum;
}
