// The fast way through very many configurations (scan.ts). Those whose head (columns.ts) and first conflict are the same
// are one cell, which sums up their hosts; what a cell comes to is judged by one of them. Four stacks at a time: each
// installed patch has a key, and the lowest key on a stack is its first conflict.
//
//   key = bits 0 to 22:  the installed patch + 1; 0: none
//         bits 23 to 25: its place in the stack, added where it is met
//         bit 26:        it conflicts
//         bit 27:        it does not
//         neither:       there is more to say of it, and so of its stack: that is left to who looks at classes
import { judge_configuration, outcome, TELL_LESS } from "./check";
import { GENERAL, SHAPE_MASK } from "./columns";
import { gather_words } from "./gather";
import { room_bytes, take_pages } from "./memory";
import { installed_count } from "./tables";

const PLACE_SHIFT: i32 = 23;
const CONFLICT: u32 = 1 << 26;
const NO_CONFLICT: u32 = 1 << 27;
const VERDICT_SHIFT: i32 = 26;

// By installed patch + 1; 0 is none.
let keys: usize = 0;
let keys_pages: u32 = 0;

/** u32 hosts, u32 one of its configurations + 1; once it is judged, u32 outcome. */
const CELL_SHIFT: u32 = 3;
const CELLS_MAX: u32 = 1 << 19;
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

/** Of four configurations: where in their rows their cells are. */
const found: usize = memory.data(16, 16);

/** What is taken here is for speed: it is left alone where events may come to need it. */
const ROOM_LEFT_BYTES: u64 = 256 << 20;

export function start_tally(): void {
  keys = 0;
  keys_pages = 0;
  cells = 0;
}

/** Makes room for keys and cells; false where the fast way cannot be gone. */
export function begin_tally(): bool {
  cells_in_row = installed_count + 1;
  rows_max = min(CELLS_MAX / cells_in_row, ROWS_MAX);
  const wanted = (cells_in_row >> 14) + 1;
  if (rows_max == 0 || ((cells == 0 || keys_pages < wanted) && room_bytes() < ROOM_LEFT_BYTES)) return false;
  if (cells == 0) cells = take_pages((CELLS_MAX << CELL_SHIFT) >> 16);
  if (keys_pages < wanted) {
    const pages = max(wanted, 2 * keys_pages);
    keys = take_pages(pages);
    keys_pages = keys == 0 ? 0 : pages;
  }
  if (cells == 0 || keys == 0) return false;
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
  const key = is_odd ? 0 : conflicts ? CONFLICT | (installed + 1) : NO_CONFLICT;
  store<u32>(keys + (<usize>(installed + 1) << 2), key);
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

@inline
function least_with(least: v128, columns: usize, place: i32, at: usize): v128 {
  const key = gather_words(keys, <usize>load<u32>(columns + (place << 2)) + at);
  return i32x4.min_u(least, i32x4.add(key, i32x4.splat(place << PLACE_SHIFT)));
}

/**
 * Tallies four configurations, the first of them `id`, with heads and hosts at the places given and the stacks' columns
 * at `columns`, or puts their outcomes at `placed`. False: nothing was done, one of them has to be looked at more closely.
 */
@inline
export function tally_four(id: u32, heads: usize, hosts: usize, columns: usize, depth: usize, at: usize, placed: usize): bool {
  // Not a loop: its branches cost as much as what they are for. The depth is the same for a whole block.
  let least = i32x4.splat(NO_CONFLICT);
  if (depth > 0) least = least_with(least, columns, 0, at);
  if (depth > 1) least = least_with(least, columns, 1, at);
  if (depth > 2) least = least_with(least, columns, 2, at);
  if (depth > 3) least = least_with(least, columns, 3, at);
  if (depth > 4) least = least_with(least, columns, 4, at);
  if (depth > 5) least = least_with(least, columns, 5, at);
  if (depth > 6) least = least_with(least, columns, 6, at);
  if (depth > 7) least = least_with(least, columns, 7, at);
  if (!i32x4.all_true(i32x4.shr_u(least, VERDICT_SHIFT))) return false;
  v128.store(found, i32x4.shl(v128.and(least, i32x4.splat((1 << PLACE_SHIFT) - 1)), CELL_SHIFT));
  let row_0 = last_row;
  let row_1 = row_0;
  let row_2 = row_0;
  let row_3 = row_0;
  if (row_0 == 0 || !i32x4.all_true(i32x4.eq(v128.load(heads), i32x4.splat(last_head)))) {
    row_0 = row_of(load<u32>(heads));
    row_1 = row_of(load<u32>(heads, 4));
    row_2 = row_of(load<u32>(heads, 8));
    row_3 = row_of(load<u32>(heads, 12));
    if (row_0 == 0 || row_1 == 0 || row_2 == 0 || row_3 == 0) return false;
    last_head = load<u32>(heads, 12);
    last_row = row_3;
  }
  row_0 += load<u32>(found);
  row_1 += load<u32>(found, 4);
  row_2 += load<u32>(found, 8);
  row_3 += load<u32>(found, 12);
  if (placed != 0) {
    store<u32>(placed, load<u32>(row_0));
    store<u32>(placed, load<u32>(row_1), 4);
    store<u32>(placed, load<u32>(row_2), 8);
    store<u32>(placed, load<u32>(row_3), 12);
    return true;
  }
  put_in_cell(row_0, hosts, id);
  put_in_cell(row_1, hosts + 4, id + 1);
  put_in_cell(row_2, hosts + 8, id + 2);
  put_in_cell(row_3, hosts + 12, id + 3);
  return true;
}

@inline
function put_in_cell(cell: usize, hosts: usize, id: u32): void {
  store<u32>(cell, load<u32>(cell) + load<u32>(hosts));
  store<u32>(cell, id + 1, 4);
}

/** Judges the cells and gives their hosts to their outcomes: 0, or what kept it from that. */
export function end_tally(): u32 {
  const end = cells + (<usize>(rows * cells_in_row) << CELL_SHIFT);
  for (let cell = cells; cell < end; cell += 1 << CELL_SHIFT) {
    const sample = load<u32>(cell, 4);
    if (sample == 0) continue;
    const judged = judge_configuration(sample - 1);
    if (judged >= TELL_LESS) return judged;
    outcome(judged).hosts += load<u32>(cell);
    store<u32>(cell, judged);
  }
  return 0;
}
