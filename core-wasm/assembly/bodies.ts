// The bytes of changes that came lately, each under a number that no others ever had: a fleet goes through the same few
// changes on many hosts, and who knows the number need not compare the bytes again. A cache: what is forgotten gets
// another number when it comes again.
import { Event } from "./record";
import { same_bytes, take_pages } from "./memory";

/** 4,096 of 128 bytes in sets of two; those of a few hundred patches stay in the second-level cache. */
const ENTRIES: u32 = 4096;
const ENTRY_SHIFT: u32 = 7;
export const BODY_BYTES_MAX: u32 = 120;

/** Behind it, the bytes. */
@unmanaged
class Body {
  /** 0: none. */
  number: u32;
  bytes: u32;
}

let table: usize = 0;
let last_number: u32 = 0;

export function start_bodies(): bool {
  table = take_pages((ENTRIES << ENTRY_SHIFT) / 65536);
  if (table == 0) return false;
  memory.fill(table, 0, ENTRIES << ENTRY_SHIFT);
  last_number = 0;
  return true;
}

@inline
function bytes_of(body: Body): usize {
  return changetype<usize>(body) + offsetof<Body>();
}

@inline
function has(body: Body, event: Event): bool {
  return body.bytes == event.body_bytes && body.number != 0 && same_bytes(bytes_of(body), event.body, body.bytes);
}

/** The number of the bytes of the event's change, of at most BODY_BYTES_MAX; 0 where there are no more numbers. */
export function number_of_body(event: Event): u32 {
  const from: usize = event.body;
  const length = event.body_bytes;
  let hash = load<u64>(from);
  if (length < 8) hash &= ~(u64.MAX_VALUE << (length << 3));
  else hash = (hash * 0xc2b2ae3d27d4eb4f) ^ load<u64>(from + length - 8);
  const place = ((hash * 0x9e3779b97f4a7c15) >> 52) & ~1;
  const body = changetype<Body>(table + (<usize>place << ENTRY_SHIFT));
  if (has(body, event)) return body.number;
  const other = changetype<Body>(changetype<usize>(body) + (1 << ENTRY_SHIFT));
  if (has(other, event)) return other.number;
  if (last_number == u32.MAX_VALUE) return 0;
  const older = other.number < body.number ? other : body;
  older.number = ++last_number;
  older.bytes = length;
  memory.copy(bytes_of(older), from, length);
  return older.number;
}
