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
  let count: u32 = 0;
  let i = first;
  for (; i < host_count && count < count_max; i++) {
    const minute = minute_of_host(i);
    const said = given + OUTCOMES_AT + (<usize>outcome_of_configuration(configuration_of(i)) << 4) + (minute < aged_minute ? 8 : 0);
    const said_bytes = load<u32>(said, 4);
    if (said_bytes == 0) continue;
    const facts: u32 = u32(minute < stale_minute) | (uncertain_count != 0 && is_uncertain(i) ? 2 : 0);
    const ending = given + ENDINGS_AT + (<usize>facts << 3);
    const ending_bytes = load<u32>(ending, 4);
    const id: usize = host(i).id;
    const id_bytes = <u32>load<u8>(id);
    if (opening_bytes + 2 * id_bytes + said_bytes + ending_bytes + STEP > <u32>(end - at)) break;
    at = put(opening, opening_bytes, at);
    at =
      id + ID_BYTES_MAX + STEP < memory_end
        ? put_id(id + 1, id_bytes, at)
        : put_escaped(id + 1, id_bytes, at);
    at = put(given + load<u32>(said), said_bytes, at);
    at = put(given + load<u32>(ending), ending_bytes, at);
    count++;
  }
  lines_written = count;
  lines_next = i;
  return <u32>(at - into);
}
