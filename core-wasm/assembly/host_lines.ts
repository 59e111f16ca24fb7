// After a check: a line of text for each host that is wanted. Behind the host's id a line says what its outcome says, and
// two facts of the host: all of it is given as text, since outcomes are few and hosts are many.
//
// What is given, as u32, texts by offset from here and length:
//   the opening; four endings, by stale | uncertain << 1
//   of each outcome: what is said of its hosts, and of those last heard of too long ago; length 0: these are not wanted
import { outcome_of_configuration } from "./check";
import { configuration_of, host, host_count, minute_of_host } from "./hosts";
import { is_uncertain, uncertain_count } from "./losses";

const ENDINGS_AT: u32 = 8;
const OUTCOMES_AT: u32 = 40;
const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;
/** Texts are copied by so many bytes: what is copied beyond their end is overwritten, or of no line. */
const STEP: u32 = 16;
const ID_BYTES_MAX: u32 = 255;

export let lines_written: u32 = 0;
export let lines_next: u32 = 0;

@inline
function put(from: usize, length: u32, into: usize): usize {
  for (let i: u32 = 0; i < length; i += STEP) v128.store(into + i, v128.load(from + i));
  return into + length;
}

/** A host id as the inside of a string of JSON: it has no control characters (record.ts). */
function put_escaped(id: usize, length: u32, into: usize): usize {
  for (let i: u32 = 0; i < length; i++) {
    const byte = <u32>load<u8>(id + i);
    if (byte == QUOTE || byte == BACKSLASH) store<u8>(into++, <u8>BACKSLASH);
    store<u8>(into++, <u8>byte);
  }
  return into;
}

/** As `put_escaped`, where the memory goes on behind the id. */
@inline
function put_id(id: usize, length: u32, into: usize): usize {
  for (let i: u32 = 0; i < length; i += STEP) {
    const bytes = v128.load(id + i);
    const escaped = v128.or(i8x16.eq(bytes, i8x16.splat(<i8>QUOTE)), i8x16.eq(bytes, i8x16.splat(<i8>BACKSLASH)));
    // What follows the id may be anything: then it is only slower.
    if (v128.any_true(escaped)) return put_escaped(id, length, into);
    v128.store(into + i, bytes);
  }
  return into + length;
}

// Hosts that were found, whose lines come next. Staged as the fold is: those that are wanted may lie far apart, and each
// has a record and an id to be read; these reads do not depend on each other, so their cache misses overlap.
@unmanaged
class Found {
  host: u32;
  /** Where what is said of it stands. */
  said: u32;
  ending: u32;
  id: u32;
}
const FOUND_MAX: u32 = 128;
const FOUND_SHIFT: u32 = 4;
const found: usize = memory.data(16 * 128, 8);
// What the reads of ids come to: kept, so that no compiler leaves them out.
let touched: u32 = 0;

@inline
function found_at(i: u32): Found {
  return changetype<Found>(found + (<usize>i << FOUND_SHIFT));
}

/** Finds wanted hosts from `first` on, at most `count_max`; how many. `lines_next` says where it ended. */
function find_wanted(first: u32, count_max: u32, aged_minute: u32, stale_minute: u32, given: usize): u32 {
  const has_uncertain = uncertain_count != 0;
  let count: u32 = 0;
  let i = first;
  for (; i < host_count && count < count_max; i++) {
    const minute = minute_of_host(i);
    const outcome = given + OUTCOMES_AT + (<usize>outcome_of_configuration(configuration_of(i)) << 4);
    const said = outcome + (minute < aged_minute ? 8 : 0);
    if (load<u32>(said, 4) == 0) continue;
    const facts: u32 = u32(minute < stale_minute) | (has_uncertain && is_uncertain(i) ? 2 : 0);
    const one = found_at(count++);
    one.host = i;
    one.said = <u32>said;
    one.ending = <u32>(given + ENDINGS_AT + (<usize>facts << 3));
  }
  for (let j: u32 = 0; j < count; j++) found_at(j).id = host(found_at(j).host).id;
  for (let j: u32 = 0; j < count; j++) touched += <u32>load<u8>(found_at(j).id);
  lines_next = i;
  return count;
}

/**
 * Writes lines of hosts from `first` on, at most `count_max` and as many as fit; the bytes written. `lines_written` says
 * how many, `lines_next` where to go on. After `place_outcomes`. Hosts last heard of before `aged_minute` are too old
 * for their outcome, those before `stale_minute` are stale.
 */
export function put_host_lines(
  first: u32,
  count_max: u32,
  aged_minute: u32,
  stale_minute: u32,
  given: usize,
  into: usize,
  bytes_max: u32,
): u32 {
  const memory_end = <usize>memory.size() << 16;
  const opening = given + load<u32>(given);
  const opening_bytes = load<u32>(given, 4);
  const end = into + bytes_max;
  let at = into;
  lines_written = 0;
  lines_next = first;
  while (lines_next < host_count && lines_written < count_max) {
    const count = find_wanted(lines_next, min(FOUND_MAX, count_max - lines_written), aged_minute, stale_minute, given);
    for (let j: u32 = 0; j < count; j++) {
      const one = found_at(j);
      const said: usize = one.said;
      const said_bytes = load<u32>(said, 4);
      const ending: usize = one.ending;
      const ending_bytes = load<u32>(ending, 4);
      const id: usize = one.id;
      const id_bytes = <u32>load<u8>(id);
      if (opening_bytes + 2 * id_bytes + said_bytes + ending_bytes + STEP > <u32>(end - at)) {
        lines_next = one.host;
        return <u32>(at - into);
      }
      at = put(opening, opening_bytes, at);
      at =
        id + ID_BYTES_MAX + STEP < memory_end
          ? put_id(id + 1, id_bytes, at)
          : put_escaped(id + 1, id_bytes, at);
      at = put(given + load<u32>(said), said_bytes, at);
      at = put(given + load<u32>(ending), ending_bytes, at);
      lines_written++;
    }
  }
  return <u32>(at - into);
}
