// Many candidates over the same configurations: how many hosts have which verdict, reason and warnings; who conflicts is
// what a check of one candidate tells. Up to 128 candidates are a mask, a bit each. Of every installed patch on a stack it
// is looked up once with which of them it conflicts and which have its name, so that a configuration costs a few operations
// however many candidates there are. Which verdict comes of it is judged by check.ts, on one configuration of each class
// (below); a candidate whose name the host has is judged there by itself.
//
//   row of an installed patch = v128 conflicting | v128 of the same name
//   record of a kernel        = u32 manifest of each candidate | u8 trait of each candidate
//   class                     = key: kernel, flags and marks; what of a configuration the rules look at beyond the two masks
import {
  AMBIGUOUS,
  built_for_other_kernel,
  first_of_name,
  manifest,
  MISSING,
  names,
  next_of_name,
  resolve_all,
  resolved,
} from "./catalog";
import { begin_batch, by_configuration, fit, is_meant, page_for_outcomes, verdict_of } from "./check";
import { BLOCK_SHIFT, ENTRIES, entries_of, ENTRY_SHIFT, GENERAL, heads_of, hosts_of_block, SHAPE_MASK } from "./columns";
import { first_conflict } from "./compatibility";
import { configuration_count, ENABLED, words_of } from "./configurations";
import { configuration_of, host_count, minute_of_host, NONE } from "./hosts";
import { home_slot, index_kernels, kernel_in, next_slot } from "./kernel_index";
import { limit_bytes, room_bytes, take_pages } from "./memory";
import { find_string } from "./strings";
import { find, installed_count, installed_patch, kernel_count, page_for } from "./tables";

export const BATCH_MAX: u32 = 128;

// The candidates that are asked for: their names in the fold's strings (0: on no host), and u32 name, build id and whether
// one is asked for, in the catalog's.
const own_names: usize = memory.data(4 * 128, 16);
const asked: usize = memory.data(12 * 128, 16);
let candidate_count: u32 = 0;
/** A bit for each of them. */
const all: usize = memory.data(16, 16);

// Marks of a configuration, in its class's key; the first two also of an installed patch, beside its row's address.
const NOT_TOLD: u32 = 1;
const ELSEWHERE: u32 = 2;
const BARE: u32 = 4;
const IN_TRANSITION: u32 = 8;
const MARKS: u32 = 31;

// By installed patch, then by kernel: u32 address of its row, or of its record with traits; 0: not made yet.
let places: usize = 0;
let places_pages: u32 = 0;
const ROW_SHIFT: u32 = 5;
const ROWS_PER_PAGE_SHIFT: u32 = 16 - ROW_SHIFT;
const row_pages: usize = memory.data(4 << (22 - (16 - 5)), 16);
let row_count: u32 = 0;
const RECORD_SHIFT: u32 = 10;
const RECORDS_PER_PAGE_SHIFT: u32 = 16 - RECORD_SHIFT;
/** Of more kernels candidates are checked one by one. */
const RECORDS_MAX: u32 = 1 << 14;
const record_pages: usize = memory.data(4 << (14 - (16 - 10)), 16);
const TRAITS: usize = 4 * 128;

// Traits: what of a candidate the rules look at, beyond its states.
const NOT_BUILT: u32 = 0;
const SEVERAL: u32 = 1;
const BUILT: u32 = 2;

// A class: u32 key, 0: free; u32 hosts; u32 hosts whose conflicts are in the slices; u32 record of its kernel; v128 each of
// candidates whose hosts without and with conflict have been judged; u32 hosts of each candidate that conflict, and of
// which the name is there; the slices.
const CLASS_SHIFT: u32 = 11;
const CLASSES_SHIFT: u32 = 9;
const PROBES: u32 = 4;
const HOSTS: usize = 4;
const SLICED: usize = 8;
const RECORD: usize = 12;
const SEEN_PLAIN: usize = 16;
const SEEN_CONFLICTING: usize = 32;
const CONFLICTING: usize = 64;
const NAMED: usize = CONFLICTING + 4 * 128;
const SLICES: usize = NAMED + 4 * 128;
const IN_USE: u32 = 1 << 31;
let classes: usize = 0;

// By what is left of a class's key without the kernel, trait and conflict: number + 1 of what that comes to; 0: not judged.
const JUDGED_BYTES: usize = 1 << 18;
let judged: usize = 0;
const CONFLICTS: u32 = 1;

// Verdict, reason and warnings that came up, as check.ts' `verdict_of` has them; hosts of each candidate beside each.
/** There are 19 verdicts with their reasons, and 8 sets of warnings. */
const CODES_MAX: u32 = 256;
export const codes: usize = memory.data(4 * 256, 16);
export let code_count: u32 = 0;
export let tally: usize = 0;
const TALLY_ROW_SHIFT: u32 = 9;

/** Fewer hosts of a configuration go through the slices, a bit of their number after the other. */
const SLICED_BELOW: u32 = 16;
/** Of the block that is read: where each column begins. */
const columns: usize = memory.data(4 * 8, 8);
let is_failed: bool = false;

export function start_batch(): void {
  places = 0;
  places_pages = 0;
  judged = 0;
  memory.fill(row_pages, 0, 4 << (22 - ROWS_PER_PAGE_SHIFT));
  memory.fill(record_pages, 0, 4 << (14 - RECORDS_PER_PAGE_SHIFT));
}

/** Whether a page may be taken: the last of the memory is left to the fold. */
function has_spare(): bool {
  return room_bytes() > limit_bytes() / 8;
}

function begin(): bool {
  const entries = installed_count + kernel_count;
  const wanted = (entries + 16383) >> 14;
  if ((places_pages < wanted || judged == 0) && !has_spare()) return false;
  if (places_pages < wanted) {
    const pages = max(wanted, 2 * places_pages);
    places = take_pages(pages);
    places_pages = places == 0 ? 0 : pages;
  }
  if (judged == 0) {
    judged = take_pages((<u32>JUDGED_BYTES + (CODES_MAX << TALLY_ROW_SHIFT) + (1 << (CLASSES_SHIFT + CLASS_SHIFT))) >> 16);
    tally = judged + JUDGED_BYTES;
    classes = tally + (CODES_MAX << TALLY_ROW_SHIFT);
  }
  if (places == 0 || judged == 0 || !resolve_all() || !find_manifests()) return false;
  memory.fill(places, 0, <usize>entries << 2);
  memory.fill(judged, 0, JUDGED_BYTES);
  for (let i: usize = 0; i < 1 << CLASSES_SHIFT; i++) store<u32>(classes + (i << CLASS_SHIFT), 0);
  row_count = 0;
  code_count = 0;
  is_failed = false;
  begin_batch();
  return true;
}

/** `input`: of each candidate u32 bytes of its name and of its build id; then the texts, candidate by candidate. */
function take_candidates(count: u32, input: usize): void {
  candidate_count = count;
  v128.store(all, i32x4.splat(0));
  let text = input + (<usize>count << 3);
  for (let i: u32 = 0; i < count; i++) {
    const name_bytes = load<u32>(input + (<usize>i << 3));
    const build_id_bytes = load<u32>(input + (<usize>i << 3), 4);
    store<u32>(own_names + (<usize>i << 2), find(text, name_bytes));
    const wanted = asked + <usize>i * 12;
    store<u32>(wanted, find_string(names, text, name_bytes));
    text += name_bytes;
    store<u32>(wanted, find_string(names, text, build_id_bytes), 4);
    store<u32>(wanted, u32(build_id_bytes != 0), 8);
    text += build_id_bytes;
    put_bit(all, i);
  }
}

@inline
function put_bit(mask: usize, i: u32): void {
  const byte = mask + (<usize>i >> 3);
  store<u8>(byte, load<u8>(byte) | <u8>(<u32>1 << (i & 7)));
}

@inline
function own_name(i: u32): u32 {
  return load<u32>(own_names + (<usize>i << 2));
}

@inline
function candidate_of(record: usize, i: u32): u32 {
  return load<u32>(record + (<usize>i << 2));
}

function has_page(directory: usize, id: u32, per_page_shift: u32): bool {
  return load<u32>(directory + (<usize>(id >> per_page_shift) << 2)) != 0 || (has_spare() && page_for(directory, id, per_page_shift));
}

@inline
function record_at(kernel: u32): usize {
  const page = load<u32>(record_pages + (<usize>(kernel >> RECORDS_PER_PAGE_SHIFT) << 2));
  return <usize>page + (<usize>(kernel & ((1 << RECORDS_PER_PAGE_SHIFT) - 1)) << RECORD_SHIFT);
}

/** The candidates' manifests for each kernel; false where there is no room. */
function find_manifests(): bool {
  if (kernel_count > RECORDS_MAX || !index_kernels()) return false;
  for (let id: u32 = 0; id < kernel_count; id++) {
    if (!has_page(record_pages, id, RECORDS_PER_PAGE_SHIFT)) return false;
    for (let i: u32 = 0; i < candidate_count; i++) store<u32>(record_at(id) + (<usize>i << 2), MISSING);
  }
  for (let candidate: u32 = 0; candidate < candidate_count; candidate++) {
    const wanted = asked + <usize>candidate * 12;
    for (let i = first_of_name(load<u32>(wanted)); i != NONE; i = next_of_name(i)) {
      if (!is_meant(i, load<u32>(wanted, 8) != 0, load<u32>(wanted, 4))) continue;
      const built = manifest(i);
      let slot = home_slot(built.release, built.arch);
      while ((slot = next_slot(slot, built.release, built.arch)) != NONE) {
        fit(record_at(kernel_in(slot)) + (<usize>candidate << 2), i);
        slot++;
      }
    }
  }
  return true;
}

/** Of a kernel, with the candidates' traits. */
function record_of(kernel: u32): usize {
  const place = places + (<usize>(installed_count + kernel) << 2);
  const known = load<u32>(place);
  if (known != 0) return known;
  const record = record_at(kernel);
  for (let i: u32 = 0; i < candidate_count; i++) store<u8>(record + TRAITS + i, <u8>trait_of(candidate_of(record, i)));
  store<u32>(place, <u32>record);
  return record;
}

function trait_of(candidate: u32): u32 {
  if (candidate == MISSING) return NOT_BUILT;
  if (candidate == AMBIGUOUS) return SEVERAL;
  const patch = manifest(candidate);
  return BUILT + (u32(patch.signed) | (u32(patch.states_unknown) << 1) | (u32(patch.irreversible) << 2));
}

/** An installed patch's row and marks; 0 where there is no room. */
@inline
function row_of(installed: u32): u32 {
  const place = load<u32>(places + (<usize>installed << 2));
  return place != 0 ? place : make_row(installed);
}

function make_row(installed: u32): u32 {
  const patch = installed_patch(installed);
  // Every patch on a stack is one of the configuration's kernel.
  const record = record_of(patch.kernel);
  if (!has_page(row_pages, row_count, ROWS_PER_PAGE_SHIFT)) return 0;
  const page = load<u32>(row_pages + (<usize>(row_count >> ROWS_PER_PAGE_SHIFT) << 2));
  const row = <usize>page + (<usize>(row_count & ((1 << ROWS_PER_PAGE_SHIFT) - 1)) << ROW_SHIFT);
  row_count++;
  memory.fill(row, 0, 1 << ROW_SHIFT);
  const holder = resolved(installed);
  const is_told = holder < AMBIGUOUS && !manifest(holder).states_unknown;
  for (let i: u32 = 0; i < candidate_count; i++) {
    if (own_name(i) == patch.name) put_bit(row + 16, i);
    const candidate = candidate_of(record, i);
    if (!is_told || candidate >= AMBIGUOUS || manifest(candidate).states_unknown) continue;
    if (first_conflict(manifest(holder), manifest(candidate)) >= 0) put_bit(row, i);
  }
  const place = <u32>row | (is_told ? 0 : NOT_TOLD) | (built_for_other_kernel(installed) ? ELSEWHERE : 0);
  store<u32>(places + (<usize>installed << 2), place);
  return place;
}

/**
 * Counts the hosts of up to BATCH_MAX candidates in the input, by what is said of them; with a minute only those last heard
 * of before it. The number of codes; NONE where memory has no room for it.
 */
export function check_batch(count: u32, input: usize, before_minute: u32): u32 {
  take_candidates(count, input);
  if (!begin() || (before_minute != 0 && !count_before(before_minute))) return NONE;
  const blocks = (configuration_count + (1 << BLOCK_SHIFT) - 1) >> BLOCK_SHIFT;
  for (let block: u32 = 0; block < blocks && !is_failed; block++) {
    count_block(block, before_minute == 0 ? hosts_of_block(block) : load<u32>(by_configuration + (<usize>block << 2)));
  }
  if (is_failed) return NONE;
  for (let i: usize = 0; i < 1 << CLASSES_SHIFT; i++) {
    if (load<u32>(classes + (i << CLASS_SHIFT)) != 0) give_hosts(classes + (i << CLASS_SHIFT));
  }
  return code_count;
}

/** Puts beside each configuration how many of its hosts were last heard of before the minute. */
function count_before(minute: u32): bool {
  for (let from: u32 = 0; from < configuration_count; from += 1 << BLOCK_SHIFT) {
    if (!page_for_outcomes(from)) return false;
    memory.fill(load<u32>(by_configuration + (<usize>(from >> BLOCK_SHIFT) << 2)), 0, 4 << BLOCK_SHIFT);
  }
  for (let i: u32 = 0; i < host_count; i++) {
    if (minute_of_host(i) >= minute) continue;
    const id = configuration_of(i);
    const page = load<u32>(by_configuration + (<usize>(id >> BLOCK_SHIFT) << 2));
    const at = <usize>page + (<usize>(id & ((1 << BLOCK_SHIFT) - 1)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  return true;
}

function count_block(block: u32, hosts: usize): void {
  const from = block << BLOCK_SHIFT;
  const end = <usize>(min(configuration_count, from + (1 << BLOCK_SHIFT)) - from) << 2;
  const heads = heads_of(block);
  for (let k: u32 = 0; k < ENTRIES; k++) store<u32>(columns + (<usize>k << 2), <u32>entries_of(block, k));
  for (let at: usize = 0; at < end; at += 4) {
    const head = load<u32>(heads + at);
    const hosts_here = load<u32>(hosts + at);
    if (head == 0 || hosts_here == 0) continue;
    const id = from + <u32>(at >> 2);
    const shape = head & SHAPE_MASK;
    if (shape == GENERAL) {
      count_general(id, head, hosts_here);
      continue;
    }
    let conflicting = i32x4.splat(0);
    let named = i32x4.splat(0);
    let marks = shape == 1 ? BARE : 0;
    const depth = <usize>(shape - 1) << 2;
    for (let k: usize = 0; k < depth; k += 4) {
      const row = row_of((load<u32>(<usize>load<u32>(columns + k) + at) >> ENTRY_SHIFT) - 1);
      marks |= row;
      is_failed = is_failed || row == 0;
      conflicting = v128.or(conflicting, v128.load(row & ~MARKS));
      named = v128.or(named, v128.load(row & ~MARKS, 16));
    }
    if (is_failed) return;
    count_hosts(id, head, marks & MARKS, conflicting, named, hosts_here);
  }
}

/** As it is in the fold: phases, and what lingers. */
function count_general(id: u32, head: u32, hosts_here: u32): void {
  const words = words_of(id);
  const counts = load<u32>(words, 8);
  const stack_count = counts & 0xffff;
  const stack = words + 12;
  const lingering = stack + (<usize>stack_count << 2);
  let conflicting = i32x4.splat(0);
  let named = i32x4.splat(0);
  let marks = stack_count == 0 ? BARE : 0;
  for (let at = stack; at < lingering; at += 4) {
    const word = load<u32>(at);
    if ((word & 3) != ENABLED) marks |= IN_TRANSITION;
    const row = row_of(word >> 2);
    marks |= row & MARKS;
    is_failed = is_failed || row == 0;
    conflicting = v128.or(conflicting, v128.load(row & ~MARKS));
    named = v128.or(named, v128.load(row & ~MARKS, 16));
  }
  const end = lingering + (<usize>(counts >> 16) << 2);
  for (let at = lingering; at < end; at += 4) {
    const row = row_of(load<u32>(at) >> 1);
    is_failed = is_failed || row == 0;
    named = v128.or(named, v128.load(row & ~MARKS, 16));
  }
  if (!is_failed) count_hosts(id, head, marks, conflicting, named, hosts_here);
}

/** The hosts of one configuration to its class. */
@inline
function count_hosts(id: u32, head: u32, marks: u32, conflicting: v128, named: v128, hosts_here: u32): void {
  const key = IN_USE | ((head >> 5) << 4) | marks;
  let at = classes + (<usize>((key * 0x9e3779b1) >> (32 - CLASSES_SHIFT)) << CLASS_SHIFT);
  if (load<u32>(at) != key) at = meet(key);
  store<u32>(at, load<u32>(at, HOSTS) + hosts_here, HOSTS);
  if (v128.any_true(named)) {
    conflicting = v128.andnot(conflicting, named);
    count_named(at, id, named, hosts_here);
  }
  const plain = v128.andnot(v128.load(all), v128.or(conflicting, named));
  const is_new = v128.or(
    v128.andnot(plain, v128.load(at, SEEN_PLAIN)),
    v128.andnot(conflicting, v128.load(at, SEEN_CONFLICTING)),
  );
  if (v128.any_true(is_new)) learn(at, id, plain, conflicting);
  if (hosts_here >= SLICED_BELOW) add(at + CONFLICTING, conflicting, hosts_here);
  else for (let level: u32 = 0; hosts_here >> level != 0; level++) if ((hosts_here >> level) & 1) slice(at, conflicting, level);
}

/** A class that is not where it is looked for first; the one that is there gives up its place. */
function meet(key: u32): usize {
  const home = (key * 0x9e3779b1) >> (32 - CLASSES_SHIFT);
  let at: usize = 0;
  for (let i: u32 = 0; i < PROBES; i++) {
    at = classes + (<usize>((home + i) & ((1 << CLASSES_SHIFT) - 1)) << CLASS_SHIFT);
    if (load<u32>(at) == key) return at;
    if (load<u32>(at) == 0) break;
  }
  const record = record_of((key & ~IN_USE) >> 13);
  if (load<u32>(at) != 0) give_hosts(at);
  memory.fill(at, 0, 1 << CLASS_SHIFT);
  store<u32>(at, key);
  store<u32>(at, <u32>record, RECORD);
  return at;
}

/** Candidates whose name is on the stack, or lingers, one by one. */
function count_named(at: usize, id: u32, named: v128, hosts_here: u32): void {
  const record: usize = load<u32>(at, RECORD);
  for (let half: u32 = 0; half < 2; half++) {
    let bits = half == 0 ? i64x2.extract_lane(named, 0) : i64x2.extract_lane(named, 1);
    for (; bits != 0; bits &= bits - 1) {
      const i = half * 64 + <u32>ctz(bits);
      add_hosts(number_of(verdict_of(id, own_name(i), candidate_of(record, i))), i, hosts_here);
      const count = at + NAMED + (<usize>i << 2);
      store<u32>(count, load<u32>(count) + hosts_here);
    }
  }
}

@inline
function judged_at(key: u32, trait: u32): usize {
  return judged + (<usize>(key & 0x1fff) << 5) + (<usize>trait << 1);
}

/** Candidates that the class has not met yet, without or with a conflict: what it comes to is judged on this configuration. */
function learn(at: usize, id: u32, plain: v128, conflicting: v128): void {
  const unseen_plain = v128.andnot(plain, v128.load(at, SEEN_PLAIN));
  const unseen_conflicting = v128.andnot(conflicting, v128.load(at, SEEN_CONFLICTING));
  v128.store(at, v128.or(plain, v128.load(at, SEEN_PLAIN)), SEEN_PLAIN);
  v128.store(at, v128.or(conflicting, v128.load(at, SEEN_CONFLICTING)), SEEN_CONFLICTING);
  learn_half(at, id, i64x2.extract_lane(unseen_plain, 0), 0, 0);
  learn_half(at, id, i64x2.extract_lane(unseen_plain, 1), 64, 0);
  learn_half(at, id, i64x2.extract_lane(unseen_conflicting, 0), 0, CONFLICTS);
  learn_half(at, id, i64x2.extract_lane(unseen_conflicting, 1), 64, CONFLICTS);
}

function learn_half(at: usize, id: u32, unseen: u64, first: u32, conflicts: u32): void {
  const record: usize = load<u32>(at, RECORD);
  const key = load<u32>(at);
  for (let bits = unseen; bits != 0; bits &= bits - 1) {
    const i = first + <u32>ctz(bits);
    const known = judged_at(key, load<u8>(record + TRAITS + i)) + conflicts;
    if (load<u8>(known) != 0) continue;
    // Its name is not there: one that no host has takes the judge past looking for it.
    store<u8>(known, <u8>(number_of(verdict_of(id, 0, candidate_of(record, i))) + 1));
  }
}

function number_of(code: u32): u32 {
  let i: u32 = 0;
  while (i < code_count && load<u32>(codes + (<usize>i << 2)) != code) i++;
  if (i < code_count) return i;
  store<u32>(codes + (<usize>i << 2), code);
  memory.fill(tally + (<usize>i << TALLY_ROW_SHIFT), 0, 1 << TALLY_ROW_SHIFT);
  code_count++;
  return i;
}

@inline
function add_hosts(number: u32, i: u32, hosts_here: u32): void {
  const at = tally + (<usize>number << TALLY_ROW_SHIFT) + (<usize>i << 2);
  store<u32>(at, load<u32>(at) + hosts_here);
}

/**
 * Adds 2^level to the counts of the candidates in the mask, which are kept as slices: of each level a bit of all counts, and
 * beside it a mask of the same weight that is yet to be added, where the number of hosts has that bit. So two masks become
 * one of the next level by a carry-save adder, and half of all additions are a store.
 */
@inline
function slice(at: usize, mask: v128, level: u32): void {
  let sliced = load<u32>(at, SLICED);
  let of_level = at + SLICES + (<usize>level << 5);
  for (; sliced & (1 << level); level++, of_level += 32) {
    const bits = v128.load(of_level);
    const waiting = v128.load(of_level, 16);
    const odd = v128.xor(bits, waiting);
    v128.store(of_level, v128.xor(odd, mask));
    mask = v128.or(v128.and(bits, waiting), v128.and(odd, mask));
    sliced ^= 1 << level;
  }
  v128.store(of_level, mask, 16);
  store<u32>(at, sliced | (1 << level), SLICED);
}

/** Adds to the u32 counts of the candidates in the mask. */
function add(counts: usize, mask: v128, hosts_here: u32): void {
  const hosts = i32x4.splat(hosts_here);
  const bits = i32x4(1, 2, 4, 8);
  for (let word = 0; word < 4; word++) {
    const own = i32x4.splat(i32x4.extract_lane(mask, 0));
    mask = i8x16.shuffle(mask, mask, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3);
    for (let four = 0; four < 32; four += 4, counts += 16) {
      const is_in = i32x4.ne(v128.and(own, i32x4.shl(bits, four)), i32x4.splat(0));
      v128.store(counts, i32x4.add(v128.load(counts), v128.and(hosts, is_in)));
    }
  }
}

/** The class's hosts to what each candidate's come to. */
function give_hosts(at: usize): void {
  const highest: u32 = 32 - clz<u32>(load<u32>(at, HOSTS));
  const sliced = load<u32>(at, SLICED);
  for (let level: u32 = 0; sliced != 0 && level < highest; level++) {
    const of_level = at + SLICES + (<usize>level << 5);
    add(at + CONFLICTING, v128.load(of_level), 1 << level);
    if ((sliced >> level) & 1) add(at + CONFLICTING, v128.load(of_level, 16), 1 << level);
  }
  const key = load<u32>(at);
  const hosts = load<u32>(at, HOSTS);
  const record: usize = load<u32>(at, RECORD);
  for (let i: u32 = 0; i < candidate_count; i++) {
    const known = judged_at(key, load<u8>(record + TRAITS + i));
    const conflicting = load<u32>(at + CONFLICTING + (<usize>i << 2));
    const plain = hosts - conflicting - load<u32>(at + NAMED + (<usize>i << 2));
    if (conflicting != 0) add_hosts(<u32>load<u8>(known + CONFLICTS) - 1, i, conflicting);
    if (plain != 0) add_hosts(<u32>load<u8>(known) - 1, i, plain);
  }
  store<u32>(at, 0);
}
