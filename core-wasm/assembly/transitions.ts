// What changes made of configurations lately: a fleet goes through few different steps, each many times. A cache: what
// is forgotten is found again by making the change. Direct-mapped, by the configuration and the change's patch.
import { serial_of } from "./configurations";
import { Event, LOADING, REMOVED, REVERSED } from "./record";
import { same_bytes, take_pages } from "./memory";

/** 4,096 of 128 bytes; those in use by a few hundred configurations stay in the second-level cache. */
const ENTRIES: u32 = 4096;
const ENTRY_SHIFT: u32 = 7;
const BODY_BYTES_MAX: u32 = 104;

/** Behind it, the bytes of the change's message. Serials, because a configuration's number is used again. */
@unmanaged
export class Transition {
  before: u32;
  before_serial: u32;
  after: u32;
  after_serial: u32;
  anomalies: u32;
  change: u16;
  body_bytes: u16;
}

let table: usize = 0;

export function start_transitions(): bool {
  table = take_pages((ENTRIES << ENTRY_SHIFT) / 65536);
  return table != 0;
}

@inline
function body_of(entry: Transition): usize {
  return changetype<usize>(entry) + offsetof<Transition>();
}

/** Whether a configuration and the change's bytes alone decide what comes of it. */
@inline
export function is_transition(event: Event): bool {
  const change = event.change;
  return ((change >= LOADING && change <= REVERSED) || change == REMOVED) && event.body_bytes <= BODY_BYTES_MAX;
}

/** Where the transition is if it is known, and is to be kept if it is not. */
@inline
export function transition_of(before: u32, event: Event): Transition {
  const name: usize = event.name;
  const length = event.name_bytes;
  let hash: u64;
  if (length < 8) hash = load<u64>(name) & ~(u64.MAX_VALUE << (length << 3));
  else hash = (load<u64>(name) * 0xc2b2ae3d27d4eb4f) ^ load<u64>(name + length - 8);
  hash = (hash ^ ((<u64>before << 32) | event.change)) * 0x9e3779b97f4a7c15;
  return changetype<Transition>(table + ((<usize>(hash >> 52) & (ENTRIES - 1)) << ENTRY_SHIFT));
}

@inline
export function is_known(entry: Transition, before: u32, event: Event): bool {
  return (
    entry.before == before &&
    entry.change == <u16>event.change &&
    entry.body_bytes == <u16>event.body_bytes &&
    entry.before_serial == serial_of(before) &&
    entry.after_serial == serial_of(entry.after) &&
    same_bytes(body_of(entry), event.body, event.body_bytes)
  );
}

/** `before_serial` is from before the change: the configuration may be gone by now. */
export function keep_transition(
  entry: Transition,
  before: u32,
  before_serial: u32,
  event: Event,
  after: u32,
  anomalies: u32,
): void {
  const after_serial = serial_of(after);
  if (before_serial == 0 || after_serial == 0) return;
  entry.before = before;
  entry.before_serial = before_serial;
  entry.after = after;
  entry.after_serial = after_serial;
  entry.anomalies = anomalies;
  entry.change = <u16>event.change;
  entry.body_bytes = <u16>event.body_bytes;
  memory.copy(body_of(entry), event.body, event.body_bytes);
}
