// The fold (RULES F): frames of the log, in the log's order, into hosts and configurations.
//
// Staged, because a fleet does not fit into a cache: a block of events is decoded, then its index slots are read, then
// its host records, then their ids, then it is applied. The reads of a stage do not depend on each other, so their cache
// misses overlap (block_ahead.ts).
import {
  apply_change,
  GAP_SEEN,
  observed_boot_hash,
  OVER_LIMIT,
  SEQUENCE_REUSED,
  STALE,
  TWO_WRITERS,
} from "./changes";
import { BLOCK, read_block_ahead } from "./block_ahead";
import { casts_doubt, mark_uncertain, take_losses } from "./losses";
import { pages_to_come } from "./columns";
import {
  close_configuration,
  configuration_count,
  DISPUTED,
  GAP,
  join_configuration,
  leave_configuration,
  LINGERING_MAX,
  NO_BASELINE,
  open_configuration,
  open_unknown,
  serial_of,
  set_knowledge,
  set_lingering_count,
  set_stack_count,
  STACK_MAX,
  worsen_knowledge,
} from "./configurations";
import {
  add_host,
  advance_effective_time,
  configuration_of,
  effective_time,
  find_host_from,
  Host,
  host,
  host_count,
  HOSTS_MAX,
  host_slot,
  NO_POSITION,
  NONE,
  set_configuration,
  set_stream_start,
  stream_start,
} from "./hosts";
import { installed_count, INSTALLED_MAX, kernel_count, KERNELS_MAX, NO_ROOM, strings } from "./tables";
import { STRINGS_MAX } from "./strings";
import { keep_transition, set_of, transition_in } from "./transitions";
import { limit_bytes, PAGE_BYTES, room_bytes, take_pages } from "./memory";
import { MINUTES_PAGE_BYTES } from "./minutes";
import { kept } from "./kept";
import {
  APPLIED,
  begin_chain,
  chain_entry,
  chain_event,
  chain_frame,
  chain_has_room,
  chain_lowest,
  chain_record,
  EFFECT_SHIFT,
  FOREIGN,
  REPEATED,
  STALE_EFFECT,
  start_chain,
  TIME_MAX,
} from "./chain";
import {
  error_index,
  Event,
  EVENT_STRIDE,
  EVENTS_MAX,
  HAS_LOSSES,
  OBSERVED,
  read_record,
  record_error,
  SAYS_UNREADABLE,
} from "./record";

/** Records are gathered until this many events wait. */
const GATHER: u32 = 256;
/** The index in its record takes the low bits of a position. */
const INDEX_BITS: u64 = 14;
/**
 * What became of an event. `previous` is the position of the host's event before it, also of one without effect;
 * NO_POSITION for a host's first.
 */
@unmanaged
class Outcome {
  position: u64;
  previous: u64;
  effective_ms: u64;
  host: u32;
  anomalies: u32;
  effect: u32;
  configuration: u32;
}
export const OUTCOME_BYTES: u32 = 40;
/** A frame has no more: one record of EVENTS_MAX, or about 16 KiB of smaller ones. */
export const OUTCOMES_MAX: u32 = 13107;

/** A record that was not applied. */
@unmanaged
class Quarantined {
  offset: u64;
  error: u32;
  index: u32;
}
const QUARANTINED_MAX: u32 = 4096;

// What fold answers.
export const FOLDED: u32 = 0;
/** A table or the memory is at its limit: nothing of the record at `stopped_at` was applied. */
export const PARTITION_FULL: u32 = 1;
/** The frame is not one: lengths that do not fit. The log has checked its sum, so this is a defect. */
export const NOT_A_FRAME: u32 = 2;

let events: usize = 0;
// The events that wait, how many of them are Observed, and how long their records are.
let gathered: u32 = 0;
let gathered_observed: u32 = 0;
let gathered_bytes: u32 = 0;
let partition: u32 = NONE;
let partitions: u32 = 1;

export let outcomes: usize = 0;
export let outcome_count: u32 = 0;
export let quarantined: usize = 0;
export let quarantined_count: u32 = 0;

// What a call of the fold is for.
/** The state alone. */
export const PLAIN: u32 = 0;
/** Also what became of each event; one frame a call. */
export const WITH_OUTCOMES: u32 = 1;
/** Also the chain (chain.ts). */
export const WITH_CHAIN: u32 = 2;
/** The state as of an instant: the chain's entries are given, and say which events count (RULES F8). */
export const AS_OF: u32 = 3;
let mode: u32 = PLAIN;
let as_of_ms: u64 = 0;
let doubt_ms: u64 = 0;
// Flags of an event in a fold as of an instant, beside HAS_LOSSES.
const COUNTS: u32 = 2;
const IN_DOUBT: u32 = 4;
/** There was no room for a mark of doubt. */
export let marks_full: bool = false;
/** Where the last call ended: it stops early where the chain's tables are full. */
export let folded_to: usize = 0;

/** Where the log goes on. */
export let next_offset: u64 = 0;
/** Running maximum over the partition (RULES F8). */
export let log_time_ms: u64 = 0;
export let stopped_at: u64 = NO_POSITION;
// Totals since the core began.
export let events_folded: u64 = 0;
export let records_quarantined: u64 = 0;
const anomaly_counts: usize = memory.data(8 * 32, 8);

export function start_fold(own_partition: u32, partition_count: u32): bool {
  partition = own_partition;
  partitions = partition_count;
  gathered = 0;
  gathered_observed = 0;
  gathered_bytes = 0;
  outcome_count = 0;
  quarantined_count = 0;
  next_offset = 0;
  log_time_ms = 0;
  stopped_at = NO_POSITION;
  marks_full = false;
  events_folded = 0;
  records_quarantined = 0;
  memory.fill(anomaly_counts, 0, 8 * 32);
  events = take_pages((<u32>EVENT_STRIDE * (EVENTS_MAX + GATHER + 1)) / 65536 + 1);
  outcomes = take_pages((OUTCOME_BYTES * OUTCOMES_MAX) / 65536 + 1);
  quarantined = take_pages(1);
  return events != 0 && outcomes != 0 && quarantined != 0 && start_chain();
}

export function keep_fold(): void {
  next_offset = kept(next_offset);
  log_time_ms = kept(log_time_ms);
  events_folded = kept(events_folded);
  records_quarantined = kept(records_quarantined);
}

export function anomaly_count(bit: u32): u64 {
  return load<u64>(anomaly_counts + (<usize>bit << 3));
}

function count_anomalies(anomalies: u32): void {
  while (anomalies != 0) {
    const at = anomaly_counts + (<usize>ctz(anomalies) << 3);
    store<u64>(at, load<u64>(at) + 1);
    anomalies &= anomalies - 1;
  }
}

/** A new slot of an index, with its part of a segment that splits. */
const SLOT_BYTES: u64 = 128;
/** The worst that an event can need: a new host, a new configuration, a new minute. */
const EVENT_BYTES: u64 = 64 + 4 + 4 + 256 + SLOT_BYTES + 16 + 4 * 324 + 40 + SLOT_BYTES + MINUTES_PAGE_BYTES;
/** One that says UNREADABLE puts all that is installed on another kernel. */
const ENTRIES_MAX: u64 = STACK_MAX + LINGERING_MAX;
const UNREADABLE_BYTES: u64 = ENTRIES_MAX * (16 + SLOT_BYTES);
/** A name takes ten bytes of its record, and here two slots, a string and an installed patch. */
const BYTES_PER_RECORD_BYTE: u64 = 32;
/** For tables that take whole pages. */
const RESERVE_BYTES: u64 = 4 << 20;

/** Whether `count` events surely fit; what a check needs of memory stays free too. */
function has_room(count: u64, unreadable: u64, record_bytes: u64, kept_bytes: u64 = 0): bool {
  const check_pages: u64 =
    (configuration_count >> 14) + (configuration_count >> 15) + (installed_count >> 12) + (installed_count >> 15) + (kernel_count >> 14);
  const bytes =
    count * EVENT_BYTES +
    unreadable * UNREADABLE_BYTES +
    record_bytes * BYTES_PER_RECORD_BYTE +
    (check_pages + pages_to_come) * PAGE_BYTES +
    RESERVE_BYTES;
  return (
    room_bytes() > bytes + kept_bytes &&
    <u64>host_count + count < HOSTS_MAX &&
    <u64>strings.count + record_bytes / 3 < STRINGS_MAX &&
    <u64>installed_count + record_bytes / 3 + count + unreadable * ENTRIES_MAX < INSTALLED_MAX &&
    <u64>kernel_count + count < KERNELS_MAX
  );
}

/** How many of the events are Observed and say UNREADABLE: looked at only where room is short. */
function count_unreadable(from: usize, count: u32): u32 {
  let found: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const event = changetype<Event>(from + <usize>i * EVENT_STRIDE);
    if (event.flags & SAYS_UNREADABLE) found++;
  }
  return found;
}

/**
 * Whether what is to be written will fit when it is folded, record by record: the reserve is there once more, for what
 * the tables of those before it take. From new hosts a part of the memory is kept for the events of those that are there.
 */
export function room_for(count: u32, unreadable: u32, record_bytes: u32, new_hosts: bool): bool {
  return has_room(count, unreadable, record_bytes, RESERVE_BYTES + (new_hosts ? limit_bytes() / 32 : 0));
}

export let measured_unreadable: u32 = 0;

/** How many events the record has, 0 where it is not good, and how many of them say UNREADABLE. Changes nothing. */
export function measure_record(from: usize, length: u32): u32 {
  const count = read_record(from, length, events, partition, partitions, strings.seed);
  measured_unreadable = count_unreadable(events, count);
  return count;
}

function write_outcome(event: Event, i: u32, previous: u64, effective_ms: u64, anomalies: u32, effect: u32): void {
  count_anomalies(anomalies);
  if (mode == WITH_CHAIN) chain_event(event.entry, event.frame, previous, effective_ms, effect);
  if (mode != WITH_OUTCOMES || outcome_count == OUTCOMES_MAX) return;
  const outcome = changetype<Outcome>(outcomes + <usize>(outcome_count++) * OUTCOME_BYTES);
  outcome.position = event.position;
  outcome.previous = previous;
  outcome.effective_ms = effective_ms;
  outcome.host = i;
  outcome.anomalies = anomalies;
  outcome.effect = effect;
  outcome.configuration = configuration_of(i);
}

/** Knowledge of a host changes, and nothing else. */
function dispute(i: u32): void {
  const before = configuration_of(i);
  open_configuration(before);
  set_knowledge(DISPUTED);
  set_configuration(i, close_configuration());
  leave_configuration(before);
}

@inline
function took_effect(i: u32, record: Host, event: Event, time_ms: u64): void {
  record.sequence = event.sequence;
  record.event_hash = event.hash;
  advance_effective_time(i, record, time_ms);
}

/** One event, RULES F1 to F3 in their order. */
function apply(event: Event): void {
  events_folded++;
  const clamped = min(min(event.time_ms, event.log_time_ms), TIME_MAX);
  let i = find_host_from(event.slot, event.tag, event.host_id, event.host_id_bytes);
  const is_new = i == NONE;
  if (is_new) {
    i = add_host(event.tag, event.host_id, event.host_id_bytes, clamped);
    open_unknown();
    set_configuration(i, close_configuration());
  }
  const record: Host = host(i);
  const previous = record.position;
  record.position = event.position;
  let anomalies: u32 = 0;
  let begins_stream = false;

  if (record.stream == event.stream) {
    if (event.sequence <= record.sequence) {
      if (event.sequence == record.sequence && event.hash != record.event_hash) {
        anomalies = SEQUENCE_REUSED;
        dispute(i);
      }
      write_outcome(event, i, previous, effective_time(record), anomalies, REPEATED);
      return;
    }
  } else if (record.previous_stream == event.stream) {
    if (event.sequence <= record.previous_sequence) {
      write_outcome(event, i, previous, effective_time(record), 0, REPEATED);
      return;
    }
    dispute(i);
    write_outcome(event, i, previous, effective_time(record), TWO_WRITERS, FOREIGN);
    return;
  } else if (!is_new && clamped < stream_start(record)) {
    // A full observation from an old stream means that the host's clock fell back, not that a file came twice.
    if (event.change == OBSERVED) dispute(i);
    write_outcome(event, i, previous, effective_time(record), STALE, STALE_EFFECT);
    return;
  } else begins_stream = true;

  const before = configuration_of(i);
  const is_next = !begins_stream && event.sequence == record.sequence + 1;
  const is_step = is_next && event.step != 0;
  const transition = is_step ? transition_in(set_of(before, event), before, event) : null;
  if (transition !== null) {
    took_effect(i, record, event, clamped);
    join_configuration(transition.after);
    set_configuration(i, transition.after);
    leave_configuration(before);
    write_outcome(event, i, previous, effective_time(record), transition.anomalies, APPLIED);
    return;
  }

  const before_serial = serial_of(before);
  open_configuration(before);
  if (begins_stream) {
    record.previous_stream = record.stream;
    record.previous_sequence = record.sequence;
    record.stream = event.stream;
    set_stream_start(record, clamped);
    set_knowledge(NO_BASELINE);
    if (event.change != OBSERVED) {
      set_stack_count(0);
      set_lingering_count(0);
      record.boot_hash = 0;
    }
  } else if (!is_next) {
    anomalies = GAP_SEEN;
    worsen_knowledge(GAP);
  }
  const odd = apply_change(event, record.boot_hash, begins_stream);
  if (odd == OVER_LIMIT) {
    anomalies = OVER_LIMIT;
    open_configuration(before);
    worsen_knowledge(GAP);
  } else anomalies |= odd;
  if (event.change == OBSERVED) record.boot_hash = observed_boot_hash;
  if (event.flags & HAS_LOSSES) {
    const lowest = take_losses(event, i);
    if (mode == WITH_CHAIN) chain_lowest(event.frame, lowest);
  }
  took_effect(i, record, event, clamped);
  const after = close_configuration();
  set_configuration(i, after);
  leave_configuration(before);
  if (is_step && odd != OVER_LIMIT) keep_transition(before, before_serial, event, after, odd);
  write_outcome(event, i, previous, effective_time(record), anomalies, APPLIED);
}

/** A host of which nothing counts is in no answer, and needs no mark. */
function doubt(event: Event): void {
  const i = find_host_from(host_slot(event.tag), event.tag, event.host_id, event.host_id_bytes);
  if (i != NONE && !mark_uncertain(i)) marks_full = true;
}

/** Keeps of the events of a record those that count, or cast doubt; the number of them. */
function keep_as_of(into: usize, count: u32): u32 {
  let left: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const event = changetype<Event>(into + <usize>i * EVENT_STRIDE);
    const told = chain_entry();
    let flags: u32 = (told & TIME_MAX) <= as_of_ms ? COUNTS : 0;
    if (<u32>(told >> EFFECT_SHIFT) == APPLIED && casts_doubt(event, doubt_ms)) flags |= IN_DOUBT;
    if (flags == 0) continue;
    event.flags |= flags;
    if (left != i) memory.copy(into + <usize>left * EVENT_STRIDE, changetype<usize>(event), EVENT_STRIDE);
    left++;
  }
  return left;
}

function apply_gathered(): void {
  for (let from: u32 = 0; from < gathered; from += BLOCK) {
    const to = min(from + BLOCK, gathered);
    const hosts_before = host_count;
    read_block_ahead(events + <usize>from * EVENT_STRIDE, to - from);
    for (let i = from; i < to; i++) {
      const event = changetype<Event>(events + <usize>i * EVENT_STRIDE);
      // A host that came in this block may have split the segment that the slot was in.
      if (host_count != hosts_before) event.slot = <u32>host_slot(event.tag);
      if (mode != AS_OF || event.flags & COUNTS) apply(event);
      if (mode == AS_OF && event.flags & IN_DOUBT) doubt(event);
    }
  }
  gathered = 0;
  gathered_observed = 0;
  gathered_bytes = 0;
}

/** Decodes a record and lets its events wait; one that is not good is noted. */
function gather(from: usize, length: u32, offset: u64, first_index: u32): bool {
  const into = events + <usize>gathered * EVENT_STRIDE;
  let count = read_record(from, length, into, partition, partitions, strings.seed);
  if (count == 0) {
    records_quarantined++;
    if (quarantined_count < QUARANTINED_MAX) {
      const entry = changetype<Quarantined>(quarantined + <usize>(quarantined_count++) * 16);
      entry.offset = offset;
      entry.error = record_error;
      entry.index = error_index;
    }
  }
  let observed: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const event = changetype<Event>(into + <usize>i * EVENT_STRIDE);
    event.log_time_ms = log_time_ms;
    event.position = (offset << INDEX_BITS) | (first_index + i);
    if (event.change == OBSERVED) observed++;
  }
  if (mode == WITH_CHAIN) chain_record(into, count, offset);
  else if (mode == AS_OF) count = keep_as_of(into, count);
  if (count != 0 && !has_room(gathered + count, gathered_observed + observed, gathered_bytes + length)) {
    // Those that wait have been promised their room; what is left of it may do for this record.
    apply_gathered();
    if (!has_room(count, count_unreadable(into, count), length)) {
      stopped_at = offset;
      return false;
    }
    memory.copy(events, into, <usize>count * EVENT_STRIDE);
  }
  gathered += count;
  gathered_observed += observed;
  gathered_bytes += length;
  if (gathered >= GATHER) apply_gathered();
  next_offset = offset + 1;
  return true;
}

/** Whether the record would be applied: OK, or what is wrong with it (record.ts). Changes nothing. */
export function judge_record(from: usize, length: u32): u32 {
  read_record(from, length, events, partition, partitions, strings.seed);
  return record_error;
}

function begin(wanted: u32): void {
  mode = wanted;
  outcome_count = 0;
  quarantined_count = 0;
}

@inline
function pass_log_time(time_ms: u64): void {
  log_time_ms = max(log_time_ms, min(time_ms, TIME_MAX));
}

/**
 * Folds whole frames (services/log/frame.ts has the layout), as `wanted` says: PLAIN, WITH_OUTCOMES, WITH_CHAIN or
 * AS_OF `up_to_ms`, with marks for who is in doubt at `instant_ms`. Records below `next_offset` were folded before and
 * are passed over.
 */
export function fold_frames(from: usize, length: u32, wanted: u32, up_to_ms: u64, instant_ms: u64): u32 {
  begin(wanted);
  as_of_ms = up_to_ms;
  doubt_ms = instant_ms;
  begin_chain();
  const end = from + length;
  let frame = from;
  while (frame + 40 <= end) {
    const frame_end = frame + load<u32>(frame, 4);
    const count = load<u32>(frame, 12);
    const first_offset = load<u64>(frame, 24);
    if (frame_end > end || frame_end < frame + 40) return NOT_A_FRAME;
    if (wanted == WITH_CHAIN) {
      if (!chain_has_room(count, <u32>(frame_end - frame))) break;
      chain_frame(frame, from);
    }
    pass_log_time(load<u64>(frame, 32));
    let record = frame + 40;
    for (let i: u32 = 0; i < count; i++) {
      if (record + 8 > frame_end) return NOT_A_FRAME;
      const offset = first_offset + load<u32>(record);
      const bytes = load<u32>(record, 4);
      record += 8;
      if (bytes > <u32>(frame_end - record)) return NOT_A_FRAME;
      if (offset >= next_offset && !gather(record, bytes, offset, 0)) {
        folded_to = frame;
        return PARTITION_FULL;
      }
      record += bytes;
    }
    frame = frame_end;
    // Instants differ from frame to frame, positions go on: what waits may wait.
    next_offset = max(next_offset, first_offset);
  }
  apply_gathered();
  folded_to = frame;
  return frame == end || (wanted == WITH_CHAIN && frame != from) ? FOLDED : NOT_A_FRAME;
}

/** Folds one record as if it stood at (offset, index): how one host's history is told event by event. */
export function fold_record(from: usize, length: u32, offset: u64, index: u32, time_ms: u64): u32 {
  begin(WITH_OUTCOMES);
  pass_log_time(time_ms);
  if (!gather(from, length, offset, index)) return PARTITION_FULL;
  apply_gathered();
  return FOLDED;
}
