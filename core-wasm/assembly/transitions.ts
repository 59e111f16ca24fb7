// What changes made of configurations lately: a fleet goes through few different steps, each many times. A cache: what
// is forgotten is found again by making the change. In sets of two, by the configuration and the change's bytes.
import { configuration_count, serial_of } from "./configurations";
import { BODY_BYTES_MAX, number_of_body, start_bodies } from "./bodies";
import { Event, LOADING, REMOVED, REVERSED } from "./record";
import { limit_bytes, take_pages } from "./memory";

/** Serials, because a configuration's number is used again. */
@unmanaged
export class Transition {
  before: u32;
  before_serial: u32;
  after: u32;
  after_serial: u32;
  /** Of the change's bytes; 0: none. */
  body: u32;
  change: u32;
  anomalies: u32;
  reserved: u32;
}
const ENTRY_SHIFT: u32 = 5;
const SET_SHIFT: u32 = 6;
const SETS_MIN: u32 = 1 << 11;
const SETS_MAX: u32 = 1 << 18;
/** Of all memory, at most. */
const SHARE: u64 = 256;

let table: usize = 0;
/** So many there may be, and so many are in use by now: a table no larger than it must be stays nearer. */
let sets_max: u32 = 0;
let sets: u32 = 0;

/** What is never reached is never touched, and takes no memory of the machine. */
export function start_transitions(): bool {
  const used = sets;
  sets_max = SETS_MIN;
  while (sets_max < SETS_MAX && (<u64>sets_max << (SET_SHIFT + 1)) * SHARE <= limit_bytes()) sets_max <<= 1;
  sets = SETS_MIN;
  // Of one size come first: what an earlier start left behind lies in the same place.
  if (!start_bodies()) return false;
  table = take_pages((sets_max << SET_SHIFT) / 65536);
  if (table == 0) return false;
  memory.fill(table, 0, <usize>min(used, sets_max) << SET_SHIFT);
  return true;
}

/** Of the pages taken. */
export function untouched_bytes(): u64 {
  return <u64>(sets_max - sets) << SET_SHIFT;
}

/** More configurations go through more different steps. What was kept is where it is not looked for, and is forgotten. */
function grow(): void {
  while (sets < sets_max && sets < 2 * configuration_count) sets <<= 1;
}

/** The number of the change's bytes where they and a configuration alone decide what comes of it; else 0. */
@inline
export function number_of_step(event: Event): u32 {
  const change = event.change;
  const is_step = (change >= LOADING && change <= REVERSED) || change == REMOVED;
  return is_step && event.body_bytes <= BODY_BYTES_MAX ? number_of_body(event) : 0;
}

/** Of an event that is a step: the two transitions that may be its. */
@inline
export function set_of(before: u32, event: Event): usize {
  const hash = ((<u64>before << 32) | event.step) * 0x9e3779b97f4a7c15;
  const mixed = (hash ^ (hash >> 29) ^ event.change) * 0xbf58476d1ce4e5b9;
  return table + (<usize>(<u32>(mixed >> 40) & (sets - 1)) << SET_SHIFT);
}

@inline
function is_of(entry: Transition, before: u32, event: Event): bool {
  return (
    entry.before == before &&
    entry.body == event.step &&
    entry.change == event.change &&
    entry.before_serial == serial_of(before) &&
    entry.after_serial == serial_of(entry.after)
  );
}

/** The transition if it is known. */
@inline
export function transition_in(set: usize, before: u32, event: Event): Transition | null {
  const entry = changetype<Transition>(set);
  if (is_of(entry, before, event)) return entry;
  const other = changetype<Transition>(set + (1 << ENTRY_SHIFT));
  return is_of(other, before, event) ? other : null;
}

/** Where a transition of the set leads, for reading ahead: it may be one of a configuration that is gone; null: none is known. */
@inline
export function likely_transition(set: usize, before: u32, event: Event): Transition | null {
  const entry = changetype<Transition>(set);
  if (entry.before == before && entry.body == event.step) return entry;
  const other = changetype<Transition>(set + (1 << ENTRY_SHIFT));
  return other.before == before && other.body == event.step ? other : null;
}

/** `before_serial` is from before the change: the configuration may be gone by now. */
export function keep_transition(
  before: u32,
  before_serial: u32,
  event: Event,
  after: u32,
  anomalies: u32,
): void {
  const after_serial = serial_of(after);
  if (before_serial == 0 || after_serial == 0) return;
  grow();
  const set = set_of(before, event);
  // The newer of the two moves on.
  memory.copy(set + (1 << ENTRY_SHIFT), set, 1 << ENTRY_SHIFT);
  const entry = changetype<Transition>(set);
  entry.before = before;
  entry.before_serial = before_serial;
  entry.after = after;
  entry.after_serial = after_serial;
  entry.body = event.step;
  entry.change = event.change;
  entry.anomalies = anomalies;
}
