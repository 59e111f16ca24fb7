// Reads a record, an EventBatch, and judges it whole (RULES F7): either every event of it is good and stands in the
// block of decoded events, or the record's error says what is not.
import {
  at,
  BYTES,
  end,
  enter,
  fail,
  FIXED64,
  leave,
  malformed,
  read_bool,
  read_fixed64,
  read_size,
  read_tag,
  read_varint,
  skip_bytes,
  skip_field,
  start_reading,
  VARINT,
} from "./wire";
import { has_control, is_utf8 } from "./utf8";
import { murmur64, partition_of, tag_of } from "./hash";
import { LINGERING_MAX, STACK_MAX } from "./configurations";
import { same_bytes } from "./memory";
import { read_plain_event } from "./plain_event";

// What may be wrong with a record; services/events/validate.ts has the same list with names.
export const OK: u32 = 0;
export const MALFORMED: u32 = 1;
const GIVEN_TWICE: u32 = 2;
const HOST_ID: u32 = 3;
const STREAM: u32 = 4;
const SEQUENCE: u32 = 5;
const PATCH_NAME: u32 = 6;
const BUILD_ID: u32 = 7;
const PHASE: u32 = 8;
const KERNEL_RELEASE: u32 = 9;
const ARCH: u32 = 10;
const BOOT_ID: u32 = 11;
const DUPLICATE_NAME: u32 = 12;
const TOO_MANY_STACK: u32 = 13;
const TOO_MANY_LINGERING: u32 = 14;
const LINE: u32 = 15;
export const TOO_MANY_EVENTS: u32 = 16;
export const RECORD_TOO_LARGE: u32 = 17;
export const WRONG_PARTITION: u32 = 18;
export const EMPTY: u32 = 19;

export const EVENTS_MAX: u32 = 10000;
export const RECORD_BYTES_MAX: u32 = 900 * 1024;
const HOST_ID_BYTES_MAX: u32 = 255;
export const NAME_BYTES_MAX: u32 = 55;
export const BUILD_ID_BYTES_MAX: u32 = 64;
const KERNEL_BYTES_MAX: u32 = 64;
const LINE_BYTES_MAX: u32 = 512;

// The changes, by their field numbers; 0: none that this version knows.
export const OBSERVED: u32 = 16;
export const LOADING: u32 = 17;
export const LOADED: u32 = 18;
export const REPLACED: u32 = 19;
export const DISABLING_CHANGE: u32 = 20;
export const DISABLED: u32 = 21;
export const REVERSED: u32 = 22;
export const FORCED_CHANGE: u32 = 23;
const REFUSED: u32 = 24;
export const REMOVED: u32 = 25;
const STALLED: u32 = 26;
const OBJECT_CHANGED: u32 = 27;

/** An event that was found good. Pointers are into the input. */
@unmanaged
export class Event {
  stream: u64;
  time_ms: u64;
  not_before_ms: u64;
  hash: u64;
  /** Of the record; the fold fills it in. */
  log_time_ms: u64;
  position: u64;
  sequence: u32;
  change: u32;
  host_id: u32;
  host_id_bytes: u32;
  /** The change's message. */
  body: u32;
  body_bytes: u32;
  /** The change's own patch. */
  name: u32;
  name_bytes: u32;
  build_id: u32;
  build_id_bytes: u32;
  /** Reversed: the phase that it leads to. */
  phase: u32;
  /** Hash of the host id for the index of hosts. */
  tag: u32;
  /** Where the look-up of the host begins. */
  slot: u32;
  partition: u32;
  /** The event's bytes, for who copies it. */
  bytes: u32;
  length: u32;
  /** HAS_LOSSES, and what the fold adds. */
  flags: u32;
  // Of the call that folds it: its frame, and its entry of the chain.
  frame: u32;
  entry: u32;
  /** Of the fold: the number of the change's bytes (bodies.ts), 0: none. */
  step: u32;
}
/** An Observed that says that something was lost. */
export const HAS_LOSSES: u32 = 1;
/** An Observed that says that what is on the stack cannot be read. */
export const SAYS_UNREADABLE: u32 = 8;
/** Livepatching in the schema. */
const UNREADABLE: u32 = 3;
export const EVENT_STRIDE: usize = 128;

/** Of the record that was read last: its error, and the index of the event that has it. */
export let record_error: u32 = OK;
export let error_index: u32 = 0;
// Of the event being read: the lowest code found. The order of codes is the order of precedence.
let event_error: u32 = OK;

@inline
function found(error: u32): void {
  if (event_error == OK || error < event_error) event_error = error;
}

// Names of one Observed: hash, address, length.
const NAMES_MAX: u32 = 512;
const names: usize = memory.data(16 * 512, 8);
let name_count: u32 = 0;

/** The patch that was read last. */
let patch_name: usize = 0;
let patch_name_bytes: u32 = 0;
let patch_build_id: usize = 0;
let patch_build_id_bytes: u32 = 0;

@inline
function once(seen: u32, field: u32): u32 {
  if (seen & (1 << field)) found(GIVEN_TWICE);
  return seen | (1 << field);
}

@inline
function read_text(): u32 {
  const length = read_size();
  if (!is_utf8(at, length)) fail();
  return length;
}

function no_patch(): void {
  patch_name = 0;
  patch_name_bytes = 0;
  patch_build_id = 0;
  patch_build_id_bytes = 0;
}

function read_patch(depth: u32): void {
  const outer = enter(read_size());
  no_patch();
  let seen: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    if (tag == ((1 << 3) | BYTES)) {
      seen = once(seen, 1);
      patch_name_bytes = read_text();
      patch_name = at;
      skip_bytes(patch_name_bytes);
    } else if (tag == ((2 << 3) | BYTES)) {
      seen = once(seen, 2);
      patch_build_id_bytes = read_size();
      patch_build_id = at;
      skip_bytes(patch_build_id_bytes);
    } else skip_field(tag, depth);
  }
  leave(outer);
  if (patch_name_bytes > NAME_BYTES_MAX) found(PATCH_NAME);
  if (patch_build_id_bytes > BUILD_ID_BYTES_MAX) found(BUILD_ID);
}

/** Looks whether the name stood in stack or lingering before. Names beyond the limits' are too many anyway. */
function remember_name(): void {
  if (patch_name_bytes == 0 || name_count >= NAMES_MAX) return;
  const hash = murmur64(patch_name, patch_name_bytes, 0);
  for (let i: u32 = 0; i < name_count; i++) {
    const entry = names + (<usize>i << 4);
    if (load<u64>(entry) != hash || load<u32>(entry, 12) != patch_name_bytes) continue;
    if (same_bytes(load<u32>(entry, 8), patch_name, patch_name_bytes)) found(DUPLICATE_NAME);
  }
  const fresh = names + (<usize>name_count << 4);
  store<u64>(fresh, hash);
  store<u32>(fresh, <u32>patch_name, 8);
  store<u32>(fresh, patch_name_bytes, 12);
  name_count++;
}

/** The entry of a stack (phase in field 2, replace in 3) or of the lingering set (pinned in 2). */
function read_entry(is_stack: bool): void {
  const outer = enter(read_size());
  no_patch();
  let seen: u32 = 0;
  let phase: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    if (tag == ((1 << 3) | BYTES)) {
      seen = once(seen, 1);
      read_patch(4);
    } else if (tag == ((2 << 3) | VARINT)) {
      seen = once(seen, 2);
      if (is_stack) phase = <u32>read_varint();
      else read_bool();
    } else if (is_stack && tag == ((3 << 3) | VARINT)) {
      seen = once(seen, 3);
      read_bool();
    } else skip_field(tag, 3);
  }
  leave(outer);
  if (malformed) return;
  if (patch_name_bytes == 0) found(PATCH_NAME);
  if (is_stack && (phase < 1 || phase > 3)) found(PHASE);
  remember_name();
}

function read_policy(): void {
  const outer = enter(read_size());
  let seen: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    const field = tag >> 3;
    if ((tag & 7) == VARINT && field >= 1 && field <= 3) {
      seen = once(seen, field);
      read_bool();
    } else skip_field(tag, 3);
  }
  leave(outer);
}

function read_loss(): void {
  const outer = enter(read_size());
  let seen: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    const field = tag >> 3;
    if ((tag & 7) == VARINT && field >= 1 && field <= 3) {
      seen = once(seen, field);
      read_varint();
    } else skip_field(tag, 3);
  }
  leave(outer);
}

function read_task(): void {
  const outer = enter(read_size());
  let seen: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    if (tag == ((1 << 3) | VARINT)) {
      seen = once(seen, 1);
      read_varint();
    } else if (tag == ((2 << 3) | BYTES)) {
      seen = once(seen, 2);
      skip_bytes(read_text());
    } else if (tag == ((3 << 3) | VARINT)) {
      seen = once(seen, 3);
      read_bool();
    } else skip_field(tag, 3);
  }
  leave(outer);
}

function read_observed(event: Event): void {
  let seen: u32 = 0;
  let stacked: u32 = 0;
  let lingers: u32 = 0;
  let release_bytes: u32 = 0;
  let arch_bytes: u32 = 0;
  name_count = 0;
  while (at < end) {
    const tag = read_tag();
    switch (tag) {
      case (1 << 3) | BYTES: {
        seen = once(seen, 1);
        release_bytes = read_text();
        skip_bytes(release_bytes);
        break;
      }
      case (2 << 3) | BYTES: {
        seen = once(seen, 2);
        arch_bytes = read_text();
        skip_bytes(arch_bytes);
        break;
      }
      case (3 << 3) | BYTES: {
        seen = once(seen, 3);
        const length = read_size();
        skip_bytes(length);
        if (length != 0 && length != 16) found(BOOT_ID);
        break;
      }
      case (4 << 3) | VARINT: {
        seen = once(seen, 4);
        read_varint();
        break;
      }
      case (5 << 3) | VARINT: {
        seen = once(seen, 5);
        if (<u32>read_varint() == UNREADABLE) event.flags |= SAYS_UNREADABLE;
        break;
      }
      case (6 << 3) | BYTES: {
        stacked++;
        read_entry(true);
        break;
      }
      case (7 << 3) | BYTES: {
        lingers++;
        read_entry(false);
        break;
      }
      case (8 << 3) | BYTES: {
        seen = once(seen, 8);
        read_policy();
        break;
      }
      case (9 << 3) | BYTES: {
        event.flags |= HAS_LOSSES;
        read_loss();
        break;
      }
      default:
        skip_field(tag, 2);
    }
  }
  if (release_bytes == 0 || release_bytes > KERNEL_BYTES_MAX) found(KERNEL_RELEASE);
  if (arch_bytes == 0 || arch_bytes > KERNEL_BYTES_MAX) found(ARCH);
  if (stacked > STACK_MAX) found(TOO_MANY_STACK);
  if (lingers > LINGERING_MAX) found(TOO_MANY_LINGERING);
}

/** Every other change: a patch in field 1 and a few fields that are looked at for their form. */
function read_change(change: u32, event: Event): void {
  let seen: u32 = 0;
  let phase: u32 = 0;
  let line_bytes: u32 = 0;
  let name: usize = 0;
  let name_bytes: u32 = 0;
  let build_id: usize = 0;
  let build_id_bytes: u32 = 0;
  while (at < end) {
    const tag = read_tag();
    const field = tag >> 3;
    const type = tag & 7;
    if (tag == ((1 << 3) | BYTES)) {
      seen = once(seen, 1);
      read_patch(3);
      name = patch_name;
      name_bytes = patch_name_bytes;
      build_id = patch_build_id;
      build_id_bytes = patch_build_id_bytes;
    } else if (change == REPLACED && tag == ((2 << 3) | BYTES)) {
      read_patch(3);
      if (patch_name_bytes == 0) found(PATCH_NAME);
    } else if ((change == LOADING || change == LOADED) && tag == ((2 << 3) | VARINT)) {
      seen = once(seen, 2);
      read_bool();
    } else if ((change == REVERSED || change == FORCED_CHANGE) && tag == ((2 << 3) | VARINT)) {
      seen = once(seen, 2);
      phase = <u32>read_varint();
    } else if (change == REFUSED && tag == ((2 << 3) | VARINT)) {
      seen = once(seen, 2);
      read_varint();
    } else if (change == REFUSED && type == BYTES && (field == 3 || field == 4)) {
      seen = once(seen, field);
      const length = read_text();
      if (field == 4) line_bytes = length;
      skip_bytes(length);
    } else if (change == STALLED && tag == ((2 << 3) | BYTES)) read_task();
    else if (change == STALLED && tag == ((3 << 3) | VARINT)) {
      seen = once(seen, 3);
      read_varint();
    } else if (change == OBJECT_CHANGED && tag == ((2 << 3) | BYTES)) {
      seen = once(seen, 2);
      skip_bytes(read_text());
    } else if (change == OBJECT_CHANGED && tag == ((3 << 3) | VARINT)) {
      seen = once(seen, 3);
      read_varint();
    } else skip_field(tag, 2);
  }
  if (name_bytes == 0 && change != REFUSED) found(PATCH_NAME);
  if (line_bytes > LINE_BYTES_MAX) found(LINE);
  if (change == REVERSED && phase != 1 && phase != 3) found(PHASE);
  if (change == FORCED_CHANGE && (phase < 1 || phase > 3)) found(PHASE);
  event.name = <u32>name;
  event.name_bytes = name_bytes;
  event.build_id = <u32>build_id;
  event.build_id_bytes = build_id_bytes;
  event.phase = phase;
}

function read_event(event: Event): void {
  let seen: u32 = 0;
  let sequence: u64 = 0;
  event_error = OK;
  event.stream = 0;
  event.time_ms = 0;
  event.not_before_ms = 0;
  event.change = 0;
  event.host_id_bytes = 0;
  event.name_bytes = 0;
  event.build_id_bytes = 0;
  while (at < end) {
    const tag = read_tag();
    switch (tag) {
      case (1 << 3) | BYTES: {
        seen = once(seen, 1);
        event.host_id_bytes = read_text();
        event.host_id = <u32>at;
        skip_bytes(event.host_id_bytes);
        break;
      }
      case (2 << 3) | FIXED64: {
        seen = once(seen, 2);
        event.stream = read_fixed64();
        break;
      }
      case (3 << 3) | VARINT: {
        seen = once(seen, 3);
        sequence = read_varint();
        break;
      }
      case (4 << 3) | VARINT: {
        seen = once(seen, 4);
        event.time_ms = read_varint();
        break;
      }
      case (5 << 3) | VARINT: {
        seen = once(seen, 5);
        event.not_before_ms = read_varint();
        break;
      }
      default: {
        const field = tag >> 3;
        if ((tag & 7) == BYTES && field >= OBSERVED && field <= OBJECT_CHANGED) {
          // All changes are one oneof: any second one is the change given twice.
          seen = once(seen, 6);
          const length = read_size();
          event.change = field;
          event.body = <u32>at;
          event.body_bytes = length;
          const outer = enter(length);
          if (field == OBSERVED) read_observed(event);
          else read_change(field, event);
          leave(outer);
        } else skip_field(tag, 1);
      }
    }
  }
  const id_bytes = event.host_id_bytes;
  if (id_bytes == 0 || id_bytes > HOST_ID_BYTES_MAX || (!malformed && has_control(event.host_id, id_bytes))) {
    found(HOST_ID);
  }
  if (event.stream == 0) found(STREAM);
  if (sequence == 0 || sequence > 0xffffffff) found(SEQUENCE);
  event.sequence = <u32>sequence;
}

/**
 * Reads the record at `from` into `events`, which has room for EVENTS_MAX. Returns how many it has, 0 with
 * `record_error` where it is not good. Hosts must belong to `partition` unless it is NONE.
 */
export function read_record(
  from: usize,
  length: u32,
  events: usize,
  partition: u32,
  partitions: u32,
  seed: u64,
): u32 {
  record_error = OK;
  error_index = 0;
  if (length > RECORD_BYTES_MAX) {
    record_error = RECORD_TOO_LARGE;
    return 0;
  }
  start_reading(from, from + length);
  let count: u32 = 0;
  while (at < end) {
    // Most events have a tag and a length of a byte each. A byte behind the record is still memory, and not looked at.
    const head = <u32>load<u16>(at);
    let bytes = head >> 8;
    if ((head & 0x80ff) == ((1 << 3) | BYTES) && bytes + 2 <= <u32>(end - at)) at += 2;
    else {
      const tag = read_tag();
      if (tag != ((1 << 3) | BYTES)) {
        skip_field(tag, 0);
        continue;
      }
      bytes = read_size();
    }
    if (count == EVENTS_MAX) {
      if (record_error == OK) {
        record_error = TOO_MANY_EVENTS;
        error_index = count;
      }
      // What is malformed behind it is malformed all the same: go on reading into the last place.
      count--;
    }
    const event = changetype<Event>(events + <usize>count * EVENT_STRIDE);
    event.bytes = <u32>at;
    event.length = bytes;
    event.flags = 0;
    event.step = 0;
    if (read_plain_event(event)) {
      event_error = OK;
      at += bytes;
    } else {
      const outer = enter(bytes);
      read_event(event);
      leave(outer);
      if (malformed) break;
    }
    event.hash = murmur64(event.bytes, event.length, 0);
    event.tag = tag_of(event.host_id, event.host_id_bytes, seed);
    event.partition = partition_of(event.host_id, event.host_id_bytes, partitions);
    if (event_error == OK && partition != u32.MAX_VALUE && event.partition != partition) event_error = WRONG_PARTITION;
    if (event_error != OK && record_error == OK) {
      record_error = event_error;
      error_index = count;
    }
    count++;
  }
  if (malformed) {
    record_error = MALFORMED;
    error_index = count;
  } else if (count == 0) record_error = EMPTY;
  return record_error == OK ? count : 0;
}
