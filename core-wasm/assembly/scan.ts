// Which configurations a check judges: one of each class. A class is what the rules look at (check.ts' `judge`): kernel and
// flags, how many patches there are, the first of them that conflicts, else the first that the catalog does not tell of,
// whether one of those stands before the conflict, and whether one was built for another kernel. What the candidate is to
// an installed patch is looked up once; then four stacks at a time are read as columns (columns.ts). Where configurations
// are very many, most of them are but counted by their first conflict (tally.ts), and only what is left goes by classes.
import { AMBIGUOUS, built_for_other_kernel, manifest, resolved } from "./catalog";
import {
  by_configuration,
  candidate_name,
  candidates,
  conflict_with,
  judge_configuration,
  outcome,
  page_for_outcomes,
  paged,
  REPLACES,
  TELL_LESS,
  tells_replaced,
} from "./check";
import { BLOCK_SHIFT, ENTRIES, entries_of, ENTRY_SHIFT, GENERAL, heads_of, hosts_of_block, SHAPE_MASK } from "./columns";
import { configuration_count, configurations_live, hosts_of, words_of } from "./configurations";
import { gather } from "./gather";
import { NONE } from "./hosts";
import { take_pages } from "./memory";
import { begin_tally, end_tally, put_key, start_tally, tally_eight } from "./tally";
import { installed_count, installed_patch, kernel_count } from "./tables";

// What the candidate is to an installed patch.
const CONFLICTS: i32 = 1;
const NOT_TOLD: i32 = 2;
const ELSEWHERE: i32 = 4;
const SAME_NAME: i32 = 8;
// By installed patch + 1; 0 is none. Read four bytes at a time.
let marks: usize = 0;
let marks_pages: u32 = 0;

/** A class that was judged: u32 head, u32 the rest of it, u32 outcome, u32 hosts that the outcome does not have yet. */
const CLASS_SHIFT: u32 = 4;
const CLASSES: u32 = 4096;
/** One that is not found in so many places takes the last of them. */
const PROBES: u32 = 4;
let classes: usize = 0;
/** Those in use, by number. */
const met: usize = memory.data(4 * 4096, 8);
let met_count: u32 = 0;
// Of the block that is read: where each column begins.
const columns: usize = memory.data(4 * 8, 8);
/** Marks are worth making where there are not many more installed patches than configurations. */
let is_marked: bool = false;
/** From so many configurations on, a cell for every installed patch pays. */
const TALLY_MIN: u32 = 1 << 14;
/** There are keys for it; and this scan goes by them. */
let has_keys: bool = false;
let is_tallied: bool = false;
/** Some manifest of the candidate replaces what is on the stack: then its names are told, which no cell has. */
let may_replace: bool = false;

export function start_scan(): bool {
  start_tally();
  marks = 0;
  marks_pages = 0;
  classes = take_pages((CLASSES << CLASS_SHIFT) / 65536);
  if (classes == 0) return false;
  memory.fill(classes, 0, <usize>CLASSES << CLASS_SHIFT);
  met_count = 0;
  return true;
}

/** For the candidate that check.ts has; false where there is no room. */
export function begin_scan(): bool {
  is_marked = installed_count < 2 * configurations_live + 1024;
  has_keys = is_marked && configurations_live >= TALLY_MIN && begin_tally();
  may_replace = false;
  for (let id: u32 = 0; id < kernel_count; id++) {
    const candidate = load<u32>(paged(candidates, id));
    if (candidate < AMBIGUOUS && manifest(candidate).replace) may_replace = true;
  }
  return !is_marked || mark_installed();
}

function mark_installed(): bool {
  const wanted = (installed_count + 4 + 65535) >> 16;
  if (marks_pages < wanted) {
    const pages = max(wanted, 2 * marks_pages);
    marks = take_pages(pages);
    marks_pages = marks == 0 ? 0 : pages;
    if (marks == 0) return false;
  }
  for (let i: u32 = 0; i < installed_count; i++) {
    const patch = installed_patch(i);
    let mark = built_for_other_kernel(i) ? ELSEWHERE : 0;
    if (candidate_name != 0 && patch.name == candidate_name) mark |= SAME_NAME;
    // Every patch on a stack is one of the configuration's kernel.
    const candidate = load<u32>(paged(candidates, patch.kernel));
    if (candidate < AMBIGUOUS) {
      const holder = resolved(i);
      if (holder >= AMBIGUOUS || manifest(holder).states_unknown) mark |= NOT_TOLD;
      else if (!manifest(candidate).states_unknown && conflict_with(candidate, holder) >= 0) mark |= CONFLICTS;
    }
    store<u8>(marks + 1 + i, <u8>mark);
    if (has_keys) put_key(i, mark == CONFLICTS, (mark & ~CONFLICTS) != 0);
  }
  return true;
}

@inline
function marks_of(entries: v128): v128 {
  return v128.and(gather(marks, i32x4.shr_u(entries, ENTRY_SHIFT)), i32x4.splat(255));
}

/** All bits of a lane that has the mark. */
@inline
function having(found: v128, shift: i32): v128 {
  return i32x4.shr_s(i32x4.shl(found, 31 - shift), 31);
}

@inline
function class_met(i: u32): usize {
  return classes + (<usize>load<u32>(met + (<usize>i << 2)) << CLASS_SHIFT);
}

/** The class's hosts to its outcome. */
function give_hosts(slot: usize): void {
  outcome(load<u32>(slot, 8)).hosts += load<u32>(slot, 12);
  store<u32>(slot, 0, 12);
}

/**
 * Counts the hosts of all outcomes; or, to place them, stores each configuration's outcome beside it. 0, NONE or
 * TELL_LESS.
 */
export function scan(places: bool): u32 {
  if (!places) {
    for (let i: u32 = 0; i < met_count; i++) memory.fill(class_met(i), 0, 1 << CLASS_SHIFT);
    met_count = 0;
    is_tallied = has_keys && !(tells_replaced && may_replace);
  }
  const blocks = (configuration_count + (1 << BLOCK_SHIFT) - 1) >> BLOCK_SHIFT;
  for (let block: u32 = 0; block < blocks; block++) {
    const failed = scan_block(block, places);
    if (failed != 0) return failed;
  }
  if (places) return 0;
  if (is_tallied) {
    const failed = end_tally();
    if (failed != 0) return failed;
  }
  for (let i: u32 = 0; i < met_count; i++) give_hosts(class_met(i));
  return 0;
}

function scan_block(block: u32, places: bool): u32 {
  const from = block << BLOCK_SHIFT;
  const to = min(configuration_count, from + (1 << BLOCK_SHIFT));
  if (places && !page_for_outcomes(from)) return NONE;
  const placed = places ? paged(by_configuration, from) : 0;
  if (!is_marked) return judge_each(from, to, placed);
  const heads = heads_of(block);
  const hosts = hosts_of_block(block);
  let depth: usize = 0;
  while (depth < ENTRIES && entries_of(block, <u32>depth) != 0) {
    store<u32>(columns + (depth << 2), <u32>entries_of(block, <u32>depth));
    depth++;
  }
  const end = <usize>(to - from) << 2;
  for (let at: usize = 0; at < end; at += 32) {
    const id = from + <u32>(at >> 2);
    const left = is_tallied ? tally_eight(id, heads + at, hosts + at, columns, depth, at, placed != 0 ? placed + at : 0) : 3;
    if (left == 0) continue;
    let failed: u32 = 0;
    if (left & 1) failed = count_four(id, heads + at, hosts + at, depth, at, placed);
    if (left & 2) failed |= count_four(id + 4, heads + at + 16, hosts + at + 16, depth, at + 16, placed);
    if (failed != 0) return failed;
  }
  return 0;
}

/** Four configurations of a block to their classes. 0, NONE or TELL_LESS. */
function count_four(id: u32, heads: usize, hosts: usize, depth: usize, at: usize, placed: usize): u32 {
  let any = i32x4.splat(0);
  let conflicting = i32x4.splat(0);
  let not_told = i32x4.splat(0);
  let before = i32x4.splat(0);
  // From the top of the stacks down: the lowest is the first.
  for (let k = depth; k > 0; ) {
    k--;
    const installed = v128.load(<usize>load<u32>(columns + (k << 2)) + at);
    const found = marks_of(installed);
    const conflicts = having(found, 0);
    const untold = having(found, 1);
    any = v128.or(any, found);
    conflicting = v128.bitselect(installed, conflicting, conflicts);
    before = v128.andnot(v128.or(before, untold), conflicts);
    not_told = v128.bitselect(installed, not_told, untold);
  }
  const first = v128.bitselect(conflicting, not_told, i32x4.ne(conflicting, i32x4.splat(0)));
  const elsewhere = v128.and(i32x4.shr_u(any, 1), i32x4.splat(2));
  const rest = v128.or(first, v128.or(elsewhere, v128.and(before, i32x4.splat(1))));
  const general = having(any, 3);
  let failed = count(id, heads, hosts, placed, i32x4.extract_lane(rest, 0), i32x4.extract_lane(general, 0));
  failed |= count(id + 1, heads + 4, hosts + 4, placed, i32x4.extract_lane(rest, 1), i32x4.extract_lane(general, 1));
  failed |= count(id + 2, heads + 8, hosts + 8, placed, i32x4.extract_lane(rest, 2), i32x4.extract_lane(general, 2));
  failed |= count(id + 3, heads + 12, hosts + 12, placed, i32x4.extract_lane(rest, 3), i32x4.extract_lane(general, 3));
  return failed;
}

/** One configuration of a block to its class; a head of 0 is none. 0, NONE or TELL_LESS. */
@inline
function count(id: u32, head_at: usize, hosts_at: usize, placed: usize, rest: u32, is_named: i32): u32 {
  const head = load<u32>(head_at);
  if (head == 0) return 0;
  const home = ((head ^ (rest * 0x9e3779b1)) * 0x85ebca6b) >> 20;
  const slot = classes + (<usize>home << CLASS_SHIFT);
  const is_class = (head & SHAPE_MASK) != GENERAL && is_named == 0;
  if (is_class && load<u32>(slot) == head && load<u32>(slot, 4) == rest) {
    if (placed != 0) store<u32>(placed + (<usize>(id & ((1 << BLOCK_SHIFT) - 1)) << 2), load<u32>(slot, 8));
    else store<u32>(slot, load<u32>(slot, 12) + load<u32>(hosts_at), 12);
    return 0;
  }
  if (is_class) return meet(id, home, head, rest, placed);
  const found = judge_configuration(id);
  return found >= TELL_LESS ? found : take(found, id, placed);
}

/** A class that is not where it is looked for first: near by, or new, and judged. */
function meet(id: u32, home: u32, head: u32, rest: u32, placed: usize): u32 {
  let slot: usize = 0;
  for (let i: u32 = 0; i < PROBES; i++) {
    slot = classes + (<usize>((home + i) & (CLASSES - 1)) << CLASS_SHIFT);
    if (load<u32>(slot) == 0) break;
    if (load<u32>(slot) == head && load<u32>(slot, 4) == rest) return take(load<u32>(slot, 8), id, placed);
  }
  const found = judge_configuration(id);
  if (found >= TELL_LESS) return found;
  // What is replaced is told by the names of the whole stack, which no class has.
  if ((outcome(found).bits & REPLACES) == 0) {
    if (load<u32>(slot) != 0) give_hosts(slot);
    else store<u32>(met + (<usize>(met_count++) << 2), <u32>((slot - classes) >> CLASS_SHIFT));
    store<u32>(slot, head);
    store<u32>(slot, rest, 4);
    store<u32>(slot, found, 8);
  }
  return take(found, id, placed);
}

/** The hosts of one configuration to its outcome, or that beside the configuration. */
function take(found: u32, id: u32, placed: usize): u32 {
  if (placed != 0) store<u32>(placed + (<usize>(id & ((1 << BLOCK_SHIFT) - 1)) << 2), found);
  else outcome(found).hosts += hosts_of(id);
  return 0;
}

function judge_each(from: u32, to: u32, placed: usize): u32 {
  for (let id = from; id < to; id++) {
    if (words_of(id) == 0) continue;
    const found = judge_configuration(id);
    if (found >= TELL_LESS) return found;
    take(found, id, placed);
  }
  return 0;
}
