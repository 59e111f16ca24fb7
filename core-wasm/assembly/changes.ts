// What a change does to a configuration (RULES F4 and F5). Works on the configuration that stands open in
// configurations.ts; says what is odd as anomalies, which never stop the fold.
import {
  add_lingering,
  DISABLING,
  ENABLED,
  ENABLING,
  COMPLETE,
  DISPUTED,
  find_lingering,
  find_on_stack,
  flags,
  FORCED,
  FTRACE_OFF,
  GAP,
  kernel_id,
  knowledge,
  lingering_count,
  LINGERING_MAX,
  lingering_word,
  LIVEPATCHING_MASK,
  MODULES_DISABLED,
  POLICY_MASK,
  push_stack,
  put_lingering,
  put_stack,
  set_flags,
  set_kernel,
  set_knowledge,
  set_lingering_count,
  set_stack_count,
  SIGNATURE_REQUIRED,
  stack,
  stack_count,
  STACK_MAX,
  stack_word,
  take_from_lingering,
  take_from_stack,
  UNREADABLE,
  worsen_knowledge,
} from "./configurations";
import { murmur64 } from "./hash";
import {
  DISABLED,
  DISABLING_CHANGE,
  Event,
  FORCED_CHANGE,
  LOADED,
  LOADING,
  OBSERVED,
  REMOVED,
  REPLACED,
  REVERSED,
} from "./record";
import { find, installed_patch, intern, intern_installed, intern_kernel } from "./tables";
import {
  at,
  BYTES,
  end,
  enter,
  leave,
  read_bool,
  read_size,
  read_tag,
  read_varint,
  skip_bytes,
  skip_field,
  start_reading,
  VARINT,
} from "./wire";

// Anomalies (RULES F6), one bit each; services/core/codes.ts has their names in this order.
export const SEQUENCE_REUSED: u32 = 1 << 0;
export const GAP_SEEN: u32 = 1 << 1;
export const TWO_WRITERS: u32 = 1 << 2;
export const STALE: u32 = 1 << 3;
const LOADED_TWICE: u32 = 1 << 4;
const NOT_ON_STACK: u32 = 1 << 5;
const NOT_IN_TRANSITION: u32 = 1 << 6;
const NOT_ALLOWED: u32 = 1 << 7;
const MISSED_REVERSAL: u32 = 1 << 8;
const MISSED_REMOVAL: u32 = 1 << 9;
const NOT_KNOWN: u32 = 1 << 10;
const REMOVED_ON_STACK: u32 = 1 << 11;
const LEFT_NOT_ON_STACK: u32 = 1 << 12;
const REPLACE_LEFT_SOME: u32 = 1 << 13;
const BUILD_DIFFERS: u32 = 1 << 14;
const DIVERGED: u32 = 1 << 15;
const UNKNOWN_CHANGE: u32 = 1 << 16;
/** The change was not made. */
export const OVER_LIMIT: u32 = 1 << 17;

/** What the change being made has that is odd. */
let odd: u32 = 0;
/** MurmurHash64A of the boot id that the last Observed carried, 0: not known. */
export let observed_boot_hash: u64 = 0;

const BOOT_HASH_SEED: u64 = 0;

/** A patch leaves the stack with the reference that the stack has, and its module stays loaded. */
function leave_stack(i: u32): void {
  const installed = stack_word(i) >> 2;
  take_from_stack(i);
  add_lingering(installed, 0);
}

/** A patch comes to the tail of the stack with what the event says of it, and of nothing else. */
function enter_stack(event: Event, phase: u32): void {
  const name = intern(event.name, event.name_bytes);
  const known = find_lingering(name);
  if (known >= 0) {
    take_from_lingering(known);
    odd |= MISSED_REMOVAL;
  }
  push_stack(intern_installed(name, intern(event.build_id, event.build_id_bytes), kernel_id), phase);
}

/** The event's build id fills in one that the stack does not know, and wins over another. */
function take_build_id(i: u32, event: Event): void {
  if (event.build_id_bytes == 0) return;
  const word = stack_word(i);
  const before = installed_patch(word >> 2);
  const build_id = intern(event.build_id, event.build_id_bytes);
  if (before.build_id == build_id) return;
  if (before.build_id != 0) odd |= BUILD_DIFFERS;
  put_stack(i, (intern_installed(before.name, build_id, before.kernel) << 2) | (word & 3));
}

@inline
function set_phase(i: u32, phase: u32): void {
  put_stack(i, (stack_word(i) & ~3) | phase);
}

/** Replaced: exactly the named ones leave; only patches below the replacing one can. */
function leave_replaced(event: Event): void {
  const replacing = find(event.name, event.name_bytes);
  start_reading(event.body, event.body + event.body_bytes);
  while (at < end) {
    const tag = read_tag();
    if (tag != ((2 << 3) | BYTES)) {
      skip_field(tag, 2);
      continue;
    }
    const outer = enter(read_size());
    let name: u32 = 0;
    while (at < end) {
      const inner = read_tag();
      if (inner == ((1 << 3) | BYTES)) {
        const length = read_size();
        name = find(at, length);
        skip_bytes(length);
      } else skip_field(inner, 3);
    }
    leave(outer);
    const i = name == 0 ? -1 : find_on_stack(name);
    if (i < 0 || i >= find_on_stack(replacing)) odd |= LEFT_NOT_ON_STACK;
    else leave_stack(i);
  }
  if (find_on_stack(replacing) > 0) odd |= REPLACE_LEFT_SOME;
}

/** RULES F4's table, a row a branch. */
function change_stack(event: Event): void {
  const change = event.change;
  const name = find(event.name, event.name_bytes);
  const i = name == 0 ? -1 : find_on_stack(name);
  if (i < 0) {
    if (change == LOADING) enter_stack(event, ENABLING);
    else if (change == LOADED || change == REPLACED) enter_stack(event, ENABLED);
    else if (change == REMOVED) {
      const lingers = name == 0 ? -1 : find_lingering(name);
      if (lingers < 0) odd |= NOT_KNOWN;
      else take_from_lingering(lingers);
    } else odd |= NOT_ON_STACK;
  } else {
    take_build_id(i, event);
    const phase = stack_word(i) & 3;
    if (change == REMOVED) {
      // A module that is gone cannot be on the stack: its leaving was missed.
      take_from_stack(i);
      odd |= REMOVED_ON_STACK;
    } else if (change == LOADING) odd |= LOADED_TWICE;
    else if (change == LOADED || change == REPLACED) {
      if (phase == ENABLED) odd |= LOADED_TWICE;
      if (phase == DISABLING) odd |= MISSED_REVERSAL;
      set_phase(i, ENABLED);
    } else if (change == DISABLING_CHANGE) {
      if (phase == ENABLING) odd |= NOT_ALLOWED;
      set_phase(i, DISABLING);
    } else if (change == DISABLED) {
      if (phase == ENABLING) odd |= MISSED_REVERSAL;
      leave_stack(i);
    } else if (phase == ENABLED) odd |= NOT_IN_TRANSITION;
    else {
      // Reversed names the phase that it leads to; the one that the patch is in is not another.
      if (event.phase == phase) odd |= NOT_ALLOWED;
      set_phase(i, event.phase);
    }
  }
  if (change == REPLACED) leave_replaced(event);
}

// What an Observed carries, as found before it is compared and taken over.
let observed_kernel: u32 = 0;
let observed_livepatching: u32 = 0;
let observed_policy: u32 = 0;
let observed_stack: u32 = 0;
let observed_lingering: u32 = 0;
// Words as in configurations.ts.
const new_stack: usize = memory.data(4 * 64, 8);
const new_lingering: usize = memory.data(4 * 256, 8);

function read_observed_entry(is_stack: bool): void {
  const outer = enter(read_size());
  let name: u32 = 0;
  let build_id: u32 = 0;
  let value: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    if (tag == ((1 << 3) | BYTES)) {
      const patch = enter(read_size());
      while (at < end) {
        const inner = read_tag();
        if (inner == ((1 << 3) | BYTES)) {
          const length = read_size();
          name = intern(at, length);
          skip_bytes(length);
        } else if (inner == ((2 << 3) | BYTES)) {
          const length = read_size();
          build_id = intern(at, length);
          skip_bytes(length);
        } else skip_field(inner, 4);
      }
      leave(patch);
    } else if (tag == ((2 << 3) | VARINT)) value = is_stack ? <u32>read_varint() : <u32>read_bool();
    else skip_field(tag, 3);
  }
  leave(outer);
  const installed = intern_installed(name, build_id, observed_kernel);
  if (is_stack) store<u32>(new_stack + (<usize>(observed_stack++) << 2), (installed << 2) | value);
  else store<u32>(new_lingering + (<usize>(observed_lingering++) << 2), (installed << 1) | value);
}

/** Release, arch, boot, livepatching and policy: needed before the entries, which may stand before them. */
function read_observed_facts(event: Event): void {
  let release: u32 = 0;
  let arch: u32 = 0;
  observed_boot_hash = 0;
  observed_livepatching = 0;
  observed_policy = 0;
  observed_stack = 0;
  observed_lingering = 0;
  start_reading(event.body, event.body + event.body_bytes);
  while (at < end) {
    const tag = read_tag();
    if (tag == ((1 << 3) | BYTES)) {
      const length = read_size();
      release = intern(at, length);
      skip_bytes(length);
    } else if (tag == ((2 << 3) | BYTES)) {
      const length = read_size();
      arch = intern(at, length);
      skip_bytes(length);
    } else if (tag == ((3 << 3) | BYTES)) {
      const length = read_size();
      // 0 stands for a boot that is not known.
      if (length != 0) observed_boot_hash = murmur64(at, length, BOOT_HASH_SEED) | 1;
      skip_bytes(length);
    } else if (tag == ((5 << 3) | VARINT)) observed_livepatching = <u32>read_varint();
    else if (tag == ((8 << 3) | BYTES)) {
      const outer = enter(read_size());
      while (at < end) {
        const inner = read_tag();
        const field = inner >> 3;
        if ((inner & 7) == VARINT && field >= 1 && field <= 3) {
          const bit = field == 1 ? MODULES_DISABLED : field == 2 ? SIGNATURE_REQUIRED : FTRACE_OFF;
          if (read_bool()) observed_policy |= bit;
        } else skip_field(inner, 3);
      }
      leave(outer);
    } else skip_field(tag, 2);
  }
  observed_kernel = intern_kernel(release, arch);
}

function read_observed_entries(event: Event): void {
  start_reading(event.body, event.body + event.body_bytes);
  while (at < end) {
    const tag = read_tag();
    if (tag == ((6 << 3) | BYTES)) read_observed_entry(true);
    else if (tag == ((7 << 3) | BYTES)) read_observed_entry(false);
    else skip_field(tag, 2);
  }
}

/** Whether the fold so far says otherwise: names, phases and order of the stack, names of the lingering set. */
function diverges(): bool {
  if (observed_stack != stack_count || observed_lingering != lingering_count) return true;
  for (let i: u32 = 0; i < stack_count; i++) {
    const seen = load<u32>(new_stack + (<usize>i << 2));
    const folded = stack_word(i);
    if ((seen & 3) != (folded & 3) || installed_patch(seen >> 2).name != installed_patch(folded >> 2).name) return true;
  }
  for (let i: u32 = 0; i < observed_lingering; i++) {
    if (find_lingering(installed_patch(load<u32>(new_lingering + (<usize>i << 2)) >> 1).name) < 0) return true;
  }
  return false;
}

/** The old stack goes on under another kernel: what is installed is known by its kernel too. */
function move_to_kernel(id: u32): void {
  if (id == kernel_id) return;
  set_kernel(id);
  for (let i: u32 = 0; i < stack_count; i++) {
    const word = stack_word(i);
    const before = installed_patch(word >> 2);
    put_stack(i, (intern_installed(before.name, before.build_id, id) << 2) | (word & 3));
  }
  for (let i: u32 = 0; i < lingering_count; i++) {
    const word = lingering_word(i);
    const before = installed_patch(word >> 1);
    put_lingering(i, (intern_installed(before.name, before.build_id, id) << 1) | (word & 1));
  }
}

/** RULES F5. `boot_hash` is the host's before the event. */
function observe(event: Event, boot_hash: u64, first_of_stream: bool): void {
  read_observed_facts(event);
  let fresh = (flags & ~POLICY_MASK) | observed_policy;
  if (boot_hash != 0 && observed_boot_hash != 0 && boot_hash != observed_boot_hash) fresh &= ~FORCED;
  set_flags(fresh);
  if (observed_livepatching == UNREADABLE_LIVEPATCHING) {
    move_to_kernel(observed_kernel);
    if (knowledge() != DISPUTED) set_knowledge(UNREADABLE);
    return;
  }
  read_observed_entries(event);
  if (knowledge() == COMPLETE && !first_of_stream && diverges()) odd |= DIVERGED;
  set_kernel(observed_kernel);
  // Values that this version does not know are as good as none.
  set_flags((flags & ~LIVEPATCHING_MASK) | (observed_livepatching <= 2 ? observed_livepatching : 0));
  memory.copy(stack, new_stack, <usize>observed_stack << 2);
  set_stack_count(observed_stack);
  set_lingering_count(0);
  for (let i: u32 = 0; i < observed_lingering; i++) {
    const word = load<u32>(new_lingering + (<usize>i << 2));
    add_lingering(word >> 1, word & 1);
  }
  if (knowledge() != DISPUTED) set_knowledge(COMPLETE);
}

/** The schema's Livepatching.UNREADABLE. */
const UNREADABLE_LIVEPATCHING: u32 = 3;

/**
 * Makes the event's change on the open configuration; `boot_hash` is the host's. Returns the anomalies, OVER_LIMIT
 * where the change was not made: then nothing but knowledge differs.
 */
export function apply_change(event: Event, boot_hash: u64, first_of_stream: bool): u32 {
  odd = 0;
  const change = event.change;
  if (change == OBSERVED) observe(event, boot_hash, first_of_stream);
  else if (change == 0) {
    odd = UNKNOWN_CHANGE;
    worsen_knowledge(GAP);
  } else if (change == FORCED_CHANGE) {
    const name = find(event.name, event.name_bytes);
    if (name == 0 || find_on_stack(name) < 0) odd |= NOT_ON_STACK;
    set_flags(flags | FORCED);
  } else if ((change >= LOADING && change <= REVERSED) || change == REMOVED) {
    change_stack(event);
    if (stack_count > STACK_MAX || lingering_count > LINGERING_MAX) return OVER_LIMIT;
  }
  return odd;
}
