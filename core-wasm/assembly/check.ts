// Checks (RULES C): configurations, not hosts, are judged; hosts are counted by their configuration. Configurations
// with the same outcome share it, so that an answer is as long as there are different outcomes. Of those that differ in
// nothing that the rules look at, scan.ts has one judged for all.
import {
  AMBIGUOUS,
  built_for_other_kernel,
  catalog_name,
  first_of_name,
  get_state,
  manifest,
  manifest_count,
  MISSING,
  names,
  next_of_name,
  resolve_all,
  resolved,
  state_of,
} from "./catalog";
import { first_conflict } from "./compatibility";
import {
  DISABLING,
  DISPUTED,
  ENABLED,
  ENABLING,
  FORCED,
  FTRACE_OFF,
  GAP,
  KNOWLEDGE_SHIFT,
  LIVEPATCHING_MASK,
  MODULES_DISABLED,
  NO_BASELINE,
  NOT_BUILT,
  SIGNATURE_REQUIRED,
  UNREADABLE,
  words_of,
} from "./configurations";
import { NONE } from "./hosts";
import { murmur64 } from "./hash";
import { find_string } from "./strings";
import { home_slot, index_kernels, kernel_in, next_slot, start_kernel_index } from "./kernel_index";
import { take_directory, take_pages } from "./memory";
import { begin_scan, scan, start_scan } from "./scan";
import { find, installed_patch, kernel_count, page_for } from "./tables";

// Verdicts in their order of precedence within a reason's group; services/core/codes.ts has the names.
export const UNKNOWN: u32 = 0;
const UNSUPPORTED: u32 = 1;
const OTHER_KERNEL: u32 = 2;
const BLOCKED: u32 = 3;
const DONE: u32 = 4;
const NAME_TAKEN: u32 = 5;
const INCOMPATIBLE: u32 = 6;
const BUSY: u32 = 7;
const OK: u32 = 8;

// Reasons.
const NO_REASON: u32 = 0;
const BY_NO_BASELINE: u32 = 1;
const BY_DISPUTED: u32 = 2;
const BY_UNREADABLE: u32 = 3;
const BY_GAP: u32 = 4;
const BY_AMBIGUOUS: u32 = 5;
const BY_MANIFEST: u32 = 6;
// 7 is `stale`, by who asks with max_age.
const BY_MODULES_DISABLED: u32 = 8;
const BY_UNSIGNED: u32 = 9;
const BY_FTRACE_OFF: u32 = 10;
const BY_IN_TRANSITION: u32 = 11;
const BY_OTHER_BUILD: u32 = 12;
const BY_LINGERING: u32 = 13;
const BY_PINNED: u32 = 14;

// Warnings, bits.
const WARN_FORCED: u32 = 1;
const WARN_IRREVERSIBLE: u32 = 2;
const WARN_BUILT_FOR_OTHER_KERNEL: u32 = 4;

// Outcome bits.
const HAS_CONFLICT: u32 = 1;
const OFFERED: u32 = 2;
const TRANSIENT: u32 = 4;
const FIRST: u32 = 8;
/** `subject` is the installed patch that the catalog does not tell of. */
const UNRESOLVED: u32 = 16;
/** The candidate itself is what the catalog does not tell of. */
const CANDIDATE_UNKNOWN: u32 = 32;
/** Whoever fits here would replace what is on the stack of `sample`. */
export const REPLACES: u32 = 64;
/** Of several outcomes: what they differ in is left out. */
const MERGED: u32 = 128;
/** Of one that is judged: its outcome, or that there is no memory; or that what is replaced is too much to tell apart. */
export const TELL_LESS: u32 = NONE - 1;
/** In what these tell of, outcomes may differ without end. */
const DIFFERING: u32 = HAS_CONFLICT | UNRESOLVED | REPLACES;

/** What a check says of hosts that it says the same of. */
@unmanaged
export class Outcome {
  verdict: u8;
  reason: u8;
  warnings: u8;
  bits: u8;
  /** The conflict's holder, or the patch without manifest: an installed patch; NONE without. */
  subject: u32;
  state: u64;
  held: u32;
  offered: u32;
  /** Hash of the names that would be replaced. */
  replaces: u32;
  /** A configuration that has this outcome; NONE for a merged one. */
  sample: u32;
  hosts: u32;
  /** Of these hosts, how many `max_age` moves to `unknown: stale`. */
  aged: u32;
  /** Where it stands in the index. */
  slot: u32;
}
const OUTCOME_SHIFT: u32 = 6;
export const OUTCOMES_MAX: u32 = 1 << 14;
/** Kept for outcomes that differ in verdict, reason and warnings only, merged ones too: there are fewer. */
const PLAIN_OUTCOMES: u32 = 1024;

export let outcomes: usize = 0;
export let outcome_count: u32 = 0;
// Open addressing over outcomes: number + 1.
let outcome_index: usize = 0;
const INDEX_MASK: u32 = (1 << 16) - 1;
// By configuration: its outcome.
export let by_configuration: usize = 0;
const BY_CONFIGURATION_PER_PAGE_SHIFT: u32 = 14;
/** It is filled in: only who asks for hosts needs it. */
let is_placed: bool = false;
/** Outcomes tell what would be replaced. */
export let tells_replaced: bool = true;

// By kernel: the candidate's manifest there, or one of these.
const NOT_BUILT_FOR: u32 = MISSING;
const SEVERAL: u32 = AMBIGUOUS;
export let candidates: usize = 0;
const CANDIDATES_PER_PAGE_SHIFT: u32 = 14;

// First conflicts of (candidate, installed manifest) pairs, + 2; 0: not looked at yet. Rows by the candidate's order
// of appearance; beyond the room, or without memory for it, a conflict is looked for again each time.
const PAIRS_MAX: u32 = 1 << 20;
let pairs: usize = 0;
let rows: u32 = 0;

const draft: Outcome = changetype<Outcome>(memory.data(64, 8));

export function start_check(): bool {
  pairs = 0;
  outcome_count = 0;
  start_kernel_index();
  outcomes = take_pages(((OUTCOMES_MAX + 1) << OUTCOME_SHIFT) / 65536 + 1);
  outcome_index = take_pages(4);
  by_configuration = take_directory((1 << 26) >> BY_CONFIGURATION_PER_PAGE_SHIFT);
  candidates = take_directory((1 << 18) >> CANDIDATES_PER_PAGE_SHIFT);
  if (outcome_index != 0) memory.fill(outcome_index, 0, <usize>(INDEX_MASK + 1) << 2);
  return outcomes != 0 && outcome_index != 0 && by_configuration != 0 && candidates != 0 && start_scan();
}

@inline
export function outcome(i: u32): Outcome {
  return changetype<Outcome>(outcomes + (<usize>i << OUTCOME_SHIFT));
}

@inline
export function paged(directory: usize, i: u32): usize {
  return <usize>load<u32>(directory + (<usize>(i >> 14) << 2)) + (<usize>(i & 16383) << 2);
}

/** After `place_outcomes`. */
@inline
export function outcome_of_configuration(id: u32): u32 {
  return load<u32>(paged(by_configuration, id));
}

// The candidate: its name in the fold's strings (0: on no host), and the build asked for in the catalog's.
export let candidate_name: u32 = 0;
let candidate_build_id: u32 = 0;

/** For each kernel, the manifest of the candidate that fits it. */
function find_candidates(name: u32, build_asked: bool): bool {
  if (!index_kernels()) return false;
  for (let id: u32 = 0; id < kernel_count; id++) {
    if (!page_for(candidates, id, CANDIDATES_PER_PAGE_SHIFT)) return false;
    store<u32>(paged(candidates, id), NOT_BUILT_FOR);
  }
  for (let i = first_of_name(name); i != NONE; i = next_of_name(i)) {
    if (!is_meant(i, build_asked, candidate_build_id)) continue;
    const built = manifest(i);
    let slot = home_slot(built.release, built.arch);
    while ((slot = next_slot(slot, built.release, built.arch)) != NONE) {
      fit(paged(candidates, kernel_in(slot)), i);
      slot++;
    }
  }
  return true;
}

/** Whether a candidate means the manifest of its name. */
export function is_meant(i: u32, build_asked: bool, build_id: u32): bool {
  const built = manifest(i);
  // A build id that the catalog never saw is none of its manifests', also not of one without a build id.
  return !built.withdrawn && (!build_asked || (build_id != 0 && built.build_id == build_id));
}

/** Puts the manifest beside a kernel that it is built for. */
@inline
export function fit(at: usize, i: u32): void {
  store<u32>(at, load<u32>(at) == NOT_BUILT_FOR ? i : SEVERAL);
}

// Row of each candidate manifest in `pairs`, found again by a short list: a candidate has few manifests.
const row_manifests: usize = memory.data(4 * 256, 8);
const ROWS_MAX: u32 = 256;

/** The first conflict with an installed manifest; -1: none. */
export function conflict_with(candidate: u32, installed: u32): i32 {
  let row: u32 = 0;
  while (row < rows && load<u32>(row_manifests + (<usize>row << 2)) != candidate) row++;
  if (pairs == 0 || row == ROWS_MAX || (row + 1) * <u64>manifest_count > PAIRS_MAX) {
    return first_conflict(manifest(installed), manifest(candidate));
  }
  if (row == rows) {
    store<u32>(row_manifests + (<usize>row << 2), candidate);
    rows++;
    memory.fill(pairs + ((<usize>row * manifest_count) << 2), 0, <usize>manifest_count << 2);
  }
  const at = pairs + (<usize>(row * manifest_count + installed) << 2);
  if (load<u32>(at) == 0) store<i32>(at, first_conflict(manifest(installed), manifest(candidate)) + 2);
  return load<i32>(at) - 2;
}

@inline
function say(verdict: u32, reason: u32): void {
  draft.verdict = <u8>verdict;
  draft.reason = <u8>reason;
}

/** Whether the holder at `i` is leaving: disabled now, or below a replacing patch whose transition runs. */
function is_leaving(stack: usize, stack_count: u32, i: u32): bool {
  if ((load<u32>(stack + (<usize>i << 2)) & 3) == DISABLING) return true;
  for (let above = i + 1; above < stack_count; above++) {
    const word = load<u32>(stack + (<usize>above << 2));
    const patch = resolved(word >> 2);
    if ((word & 3) == ENABLING && patch < AMBIGUOUS && manifest(patch).replace) return true;
  }
  return false;
}

/** One configuration, RULES C's table from above, for what `candidates` has of its kernel; the draft has the answer. */
function judge(words: usize, candidate: u32): void {
  memory.fill(changetype<usize>(draft), 0, 1 << OUTCOME_SHIFT);
  draft.subject = NONE;
  const flags = load<u32>(words, 4);
  const counts = load<u32>(words, 8);
  const stack_count = counts & 0xffff;
  const lingering_count = counts >> 16;
  const stack = words + 12;
  const lingering = stack + (<usize>stack_count << 2);
  const knowledge = flags >> KNOWLEDGE_SHIFT;

  let in_transition = false;
  for (let i: u32 = 0; i < stack_count; i++) {
    const word = load<u32>(stack + (<usize>i << 2));
    if ((word & 3) != ENABLED) in_transition = true;
    if (built_for_other_kernel(word >> 2)) draft.warnings = <u8>WARN_BUILT_FOR_OTHER_KERNEL;
  }

  if (knowledge == NO_BASELINE) return say(UNKNOWN, BY_NO_BASELINE);
  if (knowledge == DISPUTED) return say(UNKNOWN, BY_DISPUTED);
  if (knowledge == UNREADABLE) return say(UNKNOWN, BY_UNREADABLE);
  if ((flags & LIVEPATCHING_MASK) == NOT_BUILT) return say(UNSUPPORTED, NO_REASON);
  if (candidate == NOT_BUILT_FOR) return say(OTHER_KERNEL, NO_REASON);
  if (knowledge == GAP) return say(UNKNOWN, BY_GAP);
  if (candidate == SEVERAL) return say(UNKNOWN, BY_AMBIGUOUS);
  if (flags & MODULES_DISABLED) return say(BLOCKED, BY_MODULES_DISABLED);
  const patch = manifest(candidate);
  // Whether the kernel has the key of a signature that is there is nothing a registry can foresee.
  if ((flags & SIGNATURE_REQUIRED) != 0 && !patch.signed) return say(BLOCKED, BY_UNSIGNED);

  for (let i: u32 = 0; candidate_name != 0 && i < stack_count; i++) {
    const word = load<u32>(stack + (<usize>i << 2));
    const reference = installed_patch(word >> 2);
    if (reference.name != candidate_name) continue;
    if ((word & 3) != ENABLED) return say(NAME_TAKEN, BY_IN_TRANSITION);
    const same = reference.build_id == 0 || patch.build_id == 0 || catalog_name(reference.build_id) == patch.build_id;
    return same ? say(DONE, NO_REASON) : say(NAME_TAKEN, BY_OTHER_BUILD);
  }
  for (let i: u32 = 0; candidate_name != 0 && i < lingering_count; i++) {
    const word = load<u32>(lingering + (<usize>i << 2));
    if (installed_patch(word >> 1).name == candidate_name) return say(NAME_TAKEN, word & 1 ? BY_PINNED : BY_LINGERING);
  }

  // The kernel reports the first conflict in the order of the stack, then of the array (RULES K4).
  for (let i: u32 = 0; i < stack_count; i++) {
    const installed = load<u32>(stack + (<usize>i << 2)) >> 2;
    const holder = resolved(installed);
    if (holder >= AMBIGUOUS || manifest(holder).states_unknown) {
      if (draft.subject == NONE) draft.subject = installed;
      continue;
    }
    if (patch.states_unknown) continue;
    const conflict = conflict_with(candidate, holder);
    if (conflict < 0) continue;
    const held = state_of(manifest(holder).states, conflict);
    const offered = get_state(patch, held.id);
    say(INCOMPATIBLE, NO_REASON);
    draft.bits = <u8>(HAS_CONFLICT | (draft.subject == NONE ? FIRST : 0));
    if (is_leaving(stack, stack_count, i)) draft.bits |= <u8>TRANSIENT;
    draft.subject = installed;
    draft.state = held.id;
    draft.held = held.version;
    if (offered !== null) {
      draft.bits |= <u8>OFFERED;
      draft.offered = offered.version;
    }
    return;
  }
  if (patch.states_unknown) {
    draft.subject = NONE;
    draft.bits = <u8>CANDIDATE_UNKNOWN;
    return say(UNKNOWN, BY_MANIFEST);
  }
  if (draft.subject != NONE) {
    draft.bits = <u8>UNRESOLVED;
    return say(UNKNOWN, BY_MANIFEST);
  }
  if (in_transition) return say(BUSY, NO_REASON);
  if ((flags & FTRACE_OFF) != 0 && stack_count == 0) return say(BLOCKED, BY_FTRACE_OFF);
  say(OK, NO_REASON);
  if (flags & FORCED) draft.warnings |= <u8>WARN_FORCED;
  if (patch.irreversible) draft.warnings |= <u8>WARN_IRREVERSIBLE;
  if (!patch.replace || stack_count == 0) return;
  if (!tells_replaced) {
    draft.bits = <u8>MERGED;
    return;
  }
  draft.bits = <u8>REPLACES;
  let hash: u32 = stack_count;
  for (let i: u32 = 0; i < stack_count; i++) {
    hash = (hash ^ installed_patch(load<u32>(stack + (<usize>i << 2)) >> 2).name) * 0x9e3779b1;
    hash ^= hash >> 15;
  }
  draft.replaces = hash;
}

/** Whether the same names are on both stacks. */
function same_stacks(a: u32, b: u32): bool {
  const of_a = words_of(a);
  const of_b = words_of(b);
  const count = load<u32>(of_a, 8) & 0xffff;
  if (count != (load<u32>(of_b, 8) & 0xffff)) return false;
  for (let i: u32 = 0; i < count; i++) {
    const word_a = load<u32>(of_a + 12 + (<usize>i << 2));
    const word_b = load<u32>(of_b + 12 + (<usize>i << 2));
    if (word_a != word_b && installed_patch(word_a >> 2).name != installed_patch(word_b >> 2).name) return false;
  }
  return true;
}

/** The draft's outcome among those that there are. */
function intern_draft(configuration: u32): u32 {
  while (true) {
    const at = changetype<usize>(draft);
    let slot = <u32>murmur64(at, 28, 0) & INDEX_MASK;
    for (let value = load<u32>(outcome_index + (<usize>slot << 2)); value != 0; ) {
      const known = changetype<usize>(outcome(value - 1));
      if (
        load<u64>(known) == load<u64>(at) &&
        load<u64>(known, 8) == load<u64>(at, 8) &&
        load<u64>(known, 16) == load<u64>(at, 16) &&
        load<u32>(known, 24) == load<u32>(at, 24) &&
        ((draft.bits & REPLACES) == 0 || same_stacks(changetype<Outcome>(known).sample, configuration))
      ) {
        return value - 1;
      }
      slot = (slot + 1) & INDEX_MASK;
      value = load<u32>(outcome_index + (<usize>slot << 2));
    }
    const is_plain = (draft.bits & DIFFERING) == 0;
    if (outcome_count < OUTCOMES_MAX - PLAIN_OUTCOMES || (is_plain && outcome_count < OUTCOMES_MAX)) {
      const fresh = outcome(outcome_count);
      memory.copy(changetype<usize>(fresh), at, 28);
      fresh.sample = draft.bits & MERGED ? NONE : configuration;
      fresh.hosts = 0;
      fresh.aged = 0;
      fresh.slot = slot;
      store<u32>(outcome_index + (<usize>slot << 2), ++outcome_count);
      return outcome_count - 1;
    }
    if (is_plain) return NONE;
    if (draft.bits & REPLACES) return TELL_LESS;
    // Too many different ones: who holds what, and what is missing, is no longer told apart.
    draft.bits = <u8>MERGED;
    draft.subject = NONE;
    draft.state = 0;
    draft.held = 0;
    draft.offered = 0;
  }
}

/** The outcome of one configuration; NONE or TELL_LESS. */
export function judge_configuration(id: u32): u32 {
  const words = words_of(id);
  judge(words, load<u32>(paged(candidates, load<u32>(words))));
  return intern_draft(id);
}

/** Before `verdict_of`: the last check's outcomes are no longer there. After `resolve_all`. */
export function begin_batch(): void {
  forget_outcomes();
  rows = 0;
  is_placed = false;
  tells_replaced = false;
}

/** As judge_configuration, for one candidate of a batch: verdict | reason << 8 | warnings << 16. */
export function verdict_of(id: u32, name: u32, candidate: u32): u32 {
  candidate_name = name;
  judge(words_of(id), candidate);
  return load<u32>(changetype<usize>(draft)) & 0xffffff;
}

/** There are few of them, and the index is made for many. */
function forget_outcomes(): void {
  for (let i: u32 = 0; i < outcome_count; i++) store<u32>(outcome_index + (<usize>outcome(i).slot << 2), 0);
  outcome_count = 0;
}

function judge_all(): u32 {
  forget_outcomes();
  return scan(false);
}

/**
 * Judges every configuration for the candidate. `name` and `build_id` are in the input; a build id of no bytes asks
 * for whatever manifest fits the host. Returns the number of outcomes; NONE where memory has no room for the answer.
 */
export function check(name: usize, name_bytes: u32, build_id: usize, build_id_bytes: u32): u32 {
  forget_outcomes();
  rows = 0;
  is_placed = false;
  tells_replaced = true;
  if (pairs == 0) pairs = take_pages(PAIRS_MAX / 16384);
  candidate_name = find(name, name_bytes);
  candidate_build_id = find_string(names, build_id, build_id_bytes);
  const known = find_string(names, name, name_bytes);
  if (!resolve_all() || !find_candidates(known, build_id_bytes != 0) || !begin_scan()) return NONE;
  let judged = judge_all();
  if (judged == TELL_LESS) {
    // Some of what is replaced would be told of some of its hosts only.
    tells_replaced = false;
    judged = judge_all();
  }
  return judged == NONE ? NONE : outcome_count;
}

/** Puts beside each configuration its outcome of the last check; false where memory has no room for it. */
export function place_outcomes(): bool {
  if (!is_placed) is_placed = scan(true) != NONE;
  return is_placed;
}

/** Makes room for the outcomes of a block of configurations. */
export function page_for_outcomes(id: u32): bool {
  return page_for(by_configuration, id, BY_CONFIGURATION_PER_PAGE_SHIFT);
}
