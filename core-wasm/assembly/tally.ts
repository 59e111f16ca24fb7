// The fast way through very many configurations (scan.ts). Those whose head (columns.ts) and first conflict are the same
// are one cell, which sums up their hosts; what a cell comes to is judged by one of them. Eight stacks at a time: each
// installed patch has a key, and the lowest key on a stack is its first conflict.
//
//   key = bits 0 to 22:  its entry in a column, which is also where its cell is in a row; 0: none
//         bits 23 to 25: its place in the stack, added where it is met
//         bit 26:        it conflicts
//         bit 27:        it does not
//         neither:       there is more to say of it, and so of its stack: that is left to who looks at classes
import { judge_configuration, outcome, TELL_LESS } from "./check";
import { ENTRY_SHIFT, GENERAL, SHAPE_MASK } from "./columns";
import { room_bytes, take_pages } from "./memory";
import { installed_count } from "./tables";

const PLACE_SHIFT: i32 = 23;
const CONFLICT: u32 = 1 << 26;
const NO_CONFLICT: u32 = 1 << 27;
const VERDICT_SHIFT: i32 = 26;

/**
 * By a column's entry. The table stands where the compiler knows, so that a look-up has nothing to add up; where there are
 * more installed patches, all goes by classes.
 */
const KEYS: u32 = 1 << 15;
const keys: usize = memory.data(4 * (1 << 15), 16);

/** u32 hosts, and whether a configuration of theirs is known; once it is judged, u32 outcome. */
const CELL_SHIFT: u32 = ENTRY_SHIFT;
const SAMPLED: u32 = 1 << 31;
const CELLS_MAX: u32 = 1 << 19;
/** So far behind each cell that configuration stands: written once, and not for every host. */
const SAMPLES: usize = 4 << 19;
/** Rows of cells by head, with a cell for each installed patch, and one. */
const ROWS_MAX: u32 = 64;
let cells: usize = 0;
let cells_in_row: u32 = 0;
let rows_max: u32 = 0;
let rows: u32 = 0;
/** Open addressing: u32 head, u32 where its row begins. */
const HEADS: u32 = 128;
const row_index: usize = memory.data(8 * 128, 8);
let last_head: u32 = 0;
let last_row: usize = 0;

/** Of four configurations: their cells. */
const found: usize = memory.data(16, 16);

/** What is taken here is for speed: it is left alone where events may come to need it. */
const ROOM_LEFT_BYTES: u64 = 256 << 20;

export function start_tally(): void {
  cells = 0;
}

/** Makes room for cells; false where the fast way cannot be gone. */
export function begin_tally(): bool {
  cells_in_row = installed_count + 1;
  if (cells_in_row > KEYS) return false;
  if (cells == 0) {
    if (room_bytes() < ROOM_LEFT_BYTES) return false;
    cells = take_pages((2 * CELLS_MAX << CELL_SHIFT) >> 16);
    if (cells == 0) return false;
  }
  rows_max = min(CELLS_MAX / cells_in_row, ROWS_MAX);
  store<u32>(keys, NO_CONFLICT);
  clear_tally();
  return true;
}

function clear_tally(): void {
  memory.fill(row_index, 0, HEADS << 3);
  rows = 0;
  last_head = 0;
  last_row = 0;
}

/** What the candidate is to an installed patch. */
@inline
export function put_key(installed: u32, conflicts: bool, is_odd: bool): void {
  const entry = (installed + 1) << ENTRY_SHIFT;
  store<u32>(entry, is_odd ? 0 : conflicts ? CONFLICT | entry : NO_CONFLICT, keys);
}

@inline
function row_of(head: u32): usize {
  const slot = row_index + (<usize>((head * 0x9e3779b1) >> 25) << 3);
  return load<u32>(slot) == head ? <usize>load<u32>(slot, 4) : meet_head(head);
}

/** 0 where the head has no row: it has to be looked at more closely, or there are too many. */
function meet_head(head: u32): usize {
  const shape = head & SHAPE_MASK;
  if (shape == 0 || shape == GENERAL) return 0;
  let place = (head * 0x9e3779b1) >> 25;
  while (true) {
    const slot = row_index + (<usize>place << 3);
    const known = load<u32>(slot);
    if (known == head) return load<u32>(slot, 4);
    if (known == 0) {
      if (rows == rows_max) return 0;
      const row = cells + (<usize>(rows++ * cells_in_row) << CELL_SHIFT);
      memory.fill(row, 0, <usize>cells_in_row << CELL_SHIFT);
      store<u32>(slot, head);
      store<u32>(slot, <u32>row, 4);
      return row;
    }
    place = (place + 1) & (HEADS - 1);
  }
}

/** The keys of four entries of a column. */
@inline
function keys_of(entries: usize): v128 {
  let four = v128.load32_zero(load<u32>(entries), keys);
  four = v128.load_lane<u32>(load<u32>(entries, 4), four, 1, keys);
  four = v128.load_lane<u32>(load<u32>(entries, 8), four, 2, keys);
  return v128.load_lane<u32>(load<u32>(entries, 12), four, 3, keys);
}

@inline
function least_with(least: v128, place: i32, entries: usize): v128 {
  return i32x4.min_u(least, i32x4.add(keys_of(entries), i32x4.splat(place << PLACE_SHIFT)));
}

/**
 * Tallies eight configurations, the first of them `id`, with heads and hosts at the places given and the stacks' columns
 * at `columns`, or puts their outcomes at `placed`. Of which four nothing was done, since one of them has to be looked at
 * more closely: 1 of the first, 2 of the others, 3 of both.
 */
@inline
export function tally_eight(id: u32, heads: usize, hosts: usize, columns: usize, depth: usize, at: usize, placed: usize): u32 {
  let low = i32x4.splat(NO_CONFLICT);
  let high = low;
  // Not a loop: its branches cost as much as what they are for. The depth is the same for a whole block.
  if (depth > 0) {
    const entries = <usize>load<u32>(columns) + at;
    low = keys_of(entries);
    high = keys_of(entries + 16);
  }
  if (depth > 1) {
    const entries = <usize>load<u32>(columns, 4) + at;
    low = least_with(low, 1, entries);
    high = least_with(high, 1, entries + 16);
  }
  if (depth > 2) {
    const entries = <usize>load<u32>(columns, 8) + at;
    low = least_with(low, 2, entries);
    high = least_with(high, 2, entries + 16);
  }
  if (depth > 3) {
    const entries = <usize>load<u32>(columns, 12) + at;
    low = least_with(low, 3, entries);
    high = least_with(high, 3, entries + 16);
  }
  if (depth > 4) {
    const entries = <usize>load<u32>(columns, 16) + at;
    low = least_with(low, 4, entries);
    high = least_with(high, 4, entries + 16);
  }
  if (depth > 5) {
    const entries = <usize>load<u32>(columns, 20) + at;
    low = least_with(low, 5, entries);
    high = least_with(high, 5, entries + 16);
  }
  if (depth > 6) {
    const entries = <usize>load<u32>(columns, 24) + at;
    low = least_with(low, 6, entries);
    high = least_with(high, 6, entries + 16);
  }
  if (depth > 7) {
    const entries = <usize>load<u32>(columns, 28) + at;
    low = least_with(low, 7, entries);
    high = least_with(high, 7, entries + 16);
  }
  if (
    last_row != 0 &&
    i32x4.all_true(i32x4.shr_u(i32x4.min_u(low, high), VERDICT_SHIFT)) &&
    i32x4.all_true(v128.and(have_last_head(heads), have_last_head(heads + 16)))
  ) {
    find_in_last_row(low);
    give_four(id, hosts, placed);
    find_in_last_row(high);
    give_four(id + 4, hosts + 16, placed != 0 ? placed + 16 : 0);
    return 0;
  }
  const is_left = tally_four(low, id, heads, hosts, placed) ? 0 : 1;
  return tally_four(high, id + 4, heads + 16, hosts + 16, placed != 0 ? placed + 16 : 0) ? is_left : is_left | 2;
}

@inline
function have_last_head(heads: usize): v128 {
  return i32x4.eq(v128.load(heads), i32x4.splat(last_head));
}

@inline
function cells_in(least: v128): v128 {
  return v128.and(least, i32x4.splat((1 << PLACE_SHIFT) - 1));
}

@inline
function find_in_last_row(least: v128): void {
  v128.store(found, i32x4.add(cells_in(least), i32x4.splat(<u32>last_row)));
}

/** Four of whatever heads; false: nothing was done. */
function tally_four(least: v128, id: u32, heads: usize, hosts: usize, placed: usize): bool {
  if (!i32x4.all_true(i32x4.shr_u(least, VERDICT_SHIFT))) return false;
  const row_0 = row_of(load<u32>(heads));
  const row_1 = row_of(load<u32>(heads, 4));
  const row_2 = row_of(load<u32>(heads, 8));
  const row_3 = row_of(load<u32>(heads, 12));
  if (row_0 == 0 || row_1 == 0 || row_2 == 0 || row_3 == 0) return false;
  last_head = load<u32>(heads, 12);
  last_row = row_3;
  v128.store(found, i32x4.add(cells_in(least), i32x4(<u32>row_0, <u32>row_1, <u32>row_2, <u32>row_3)));
  give_four(id, hosts, placed);
  return true;
}

/** Hosts to their cells, or the cells' outcomes to where they are wanted. */
@inline
function give_four(id: u32, hosts: usize, placed: usize): void {
  const cell_0 = <usize>load<u32>(found);
  const cell_1 = <usize>load<u32>(found, 4);
  const cell_2 = <usize>load<u32>(found, 8);
  const cell_3 = <usize>load<u32>(found, 12);
  if (placed != 0) {
    store<u32>(placed, load<u32>(cell_0));
    store<u32>(placed, load<u32>(cell_1), 4);
    store<u32>(placed, load<u32>(cell_2), 8);
    store<u32>(placed, load<u32>(cell_3), 12);
    return;
  }
  const sum_0 = load<u32>(cell_0) + load<u32>(hosts);
  store<u32>(cell_0, sum_0);
  const sum_1 = load<u32>(cell_1) + load<u32>(hosts, 4);
  store<u32>(cell_1, sum_1);
  const sum_2 = load<u32>(cell_2) + load<u32>(hosts, 8);
  store<u32>(cell_2, sum_2);
  const sum_3 = load<u32>(cell_3) + load<u32>(hosts, 12);
  store<u32>(cell_3, sum_3);
  if ((sum_0 & sum_1 & sum_2 & sum_3 & SAMPLED) == 0) sample_four(id);
}

function sample_four(id: u32): void {
  for (let i: u32 = 0; i < 4; i++) {
    const cell = <usize>load<u32>(found + (<usize>i << 2));
    store<u32>(cell, load<u32>(cell) | SAMPLED);
    store<u32>(cell, id + i, SAMPLES);
  }
}

/** Judges the cells and gives their hosts to their outcomes: 0, or what kept it from that. */
export function end_tally(): u32 {
  const end = cells + (<usize>(rows * cells_in_row) << CELL_SHIFT);
  for (let cell = cells; cell < end; cell += 1 << CELL_SHIFT) {
    const sum = load<u32>(cell);
    if (sum == 0) continue;
    const judged = judge_configuration(load<u32>(cell, SAMPLES));
    if (judged >= TELL_LESS) return judged;
    outcome(judged).hosts += sum & ~SAMPLED;
    store<u32>(cell, judged);
  }
  return 0;
}
