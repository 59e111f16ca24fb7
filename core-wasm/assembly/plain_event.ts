// The short way through an event as every common writer encodes it: fields in their order, each once, lengths below
// 128, printable ASCII, and a change of one patch. What it takes, record.ts would take to the same end; everything
// else is left to record.ts.
import {
  BUILD_ID_BYTES_MAX,
  DISABLED,
  DISABLING_CHANGE,
  Event,
  LOADED,
  LOADING,
  NAME_BYTES_MAX,
  REMOVED,
} from "./record";

// Tags, of field numbers below 16 in one byte.
const FIELD_1_BYTES: u32 = 0x0a;
const FIELD_2_BYTES: u32 = 0x12;
const FIELD_2_FIXED64: u32 = 0x11;
const FIELD_2_VARINT: u32 = 0x10;
const FIELD_3_VARINT: u32 = 0x18;
const FIELD_4_VARINT: u32 = 0x20;
const FIELD_5_VARINT: u32 = 0x28;
// The tag of a change, fields 16 to 31, is 1ffff010 00000001 as the varint's two bytes.
const CHANGE_TAG_MASK: u32 = 0xff87;
const CHANGE_TAG: u32 = 0x0182;

const HIGH_BITS: u64 = 0x8080808080808080;
const SPACES: u64 = 0x2020202020202020;
const ONES: u64 = 0x0101010101010101;

/** The changes of one patch and nothing else but whether it replaces. */
@inline
function is_plain_change(change: u32): bool {
  const plain = (1 << LOADING) | (1 << LOADED) | (1 << DISABLING_CHANGE) | (1 << DISABLED) | (1 << REMOVED);
  return ((1 << change) & plain) != 0;
}

/** Eight bytes of 0x20 to 0x7e: a lower one borrows, a higher one has or gets its high bit. */
@inline
function is_plain_word(word: u64): bool {
  return ((word | (word - SPACES) | (word + ONES)) & HIGH_BITS) == 0;
}

@inline
function is_plain(from: usize, length: u32): bool {
  if (length < 8) {
    const beyond = u64.MAX_VALUE << (length << 3);
    return is_plain_word((load<u64>(from) & ~beyond) | (SPACES & beyond));
  }
  const last = from + length - 8;
  for (; from < last; from += 8) if (!is_plain_word(load<u64>(from))) return false;
  return is_plain_word(load<u64>(last));
}

/** How many bytes the varint has whose first eight bytes are the word; 9: more than these. */
@inline
function varint_bytes(word: u64): u32 {
  return (<u32>ctz(~word & HIGH_BITS) >> 3) + 1;
}

/** The varint's value, of at most eight bytes: sevens of bits are moved together, two by two. */
@inline
function varint_value(word: u64, bytes: u32): u64 {
  word &= u64.MAX_VALUE >> (64 - (bytes << 3));
  word = (word & 0x007f007f007f007f) | ((word & 0x7f007f007f007f00) >> 1);
  word = (word & 0x00003fff00003fff) | ((word & 0x3fff00003fff0000) >> 2);
  return (word & 0x000000000fffffff) | ((word & 0x0fffffff00000000) >> 4);
}

/**
 * Reads the event at `event.bytes`; false where the long way has to. What is read on the way may lie up to 1 KiB behind
 * the event, which is still memory: the output lies behind the input. Nothing but the event's own bytes is taken, since
 * the cursor never goes back and has to end where the event does.
 */
export function read_plain_event(event: Event): bool {
  let at: usize = event.bytes;
  const end = at + event.length;
  if (load<u8>(at) != FIELD_1_BYTES) return false;
  const id_bytes = <u32>load<u8>(at, 1);
  const id = at + 2;
  if (id_bytes == 0 || id_bytes > 127 || !is_plain(id, id_bytes)) return false;
  at = id + id_bytes;

  const stream = load<u64>(at, 1);
  if (load<u8>(at) != FIELD_2_FIXED64 || stream == 0 || load<u8>(at, 9) != FIELD_3_VARINT) return false;
  at += 10;
  let word = load<u64>(at);
  let bytes = varint_bytes(word);
  if (bytes > 8) return false;
  const sequence = varint_value(word, bytes);
  if (sequence == 0 || sequence > 0xffffffff) return false;
  at += bytes;

  if (load<u8>(at) != FIELD_4_VARINT) return false;
  word = load<u64>(at, 1);
  bytes = varint_bytes(word);
  if (bytes > 8) return false;
  const time_ms = varint_value(word, bytes);
  at += 1 + bytes;
  let not_before_ms: u64 = 0;
  if (load<u8>(at) == FIELD_5_VARINT) {
    word = load<u64>(at, 1);
    bytes = varint_bytes(word);
    if (bytes > 8) return false;
    not_before_ms = varint_value(word, bytes);
    at += 1 + bytes;
  }

  const change_tag = <u32>load<u16>(at);
  const change = 16 + ((change_tag >> 3) & 15);
  if ((change_tag & CHANGE_TAG_MASK) != CHANGE_TAG || !is_plain_change(change)) return false;
  const body = at + 3;
  const body_bytes = <u32>load<u8>(at, 2);
  if (body_bytes > 127 || body + body_bytes != end) return false;

  if (load<u8>(body) != FIELD_1_BYTES || load<u8>(body, 2) != FIELD_1_BYTES) return false;
  const patch_end = body + 2 + load<u8>(body, 1);
  const name_bytes = <u32>load<u8>(body, 3);
  const name = body + 4;
  if (name_bytes == 0 || name_bytes > NAME_BYTES_MAX || !is_plain(name, name_bytes)) return false;
  at = name + name_bytes;
  let build_id_bytes: u32 = 0;
  if (at != patch_end) {
    build_id_bytes = load<u8>(at, 1);
    if (load<u8>(at) != FIELD_2_BYTES || build_id_bytes > BUILD_ID_BYTES_MAX) return false;
    event.build_id = <u32>(at + 2);
    at += 2 + build_id_bytes;
    if (at != patch_end) return false;
  }
  if (at != end) {
    if (change != LOADING && change != LOADED) return false;
    if (load<u8>(at) != FIELD_2_VARINT || load<u8>(at, 1) > 127 || at + 2 != end) return false;
  }

  event.host_id = <u32>id;
  event.host_id_bytes = id_bytes;
  event.stream = stream;
  event.sequence = <u32>sequence;
  event.time_ms = time_ms;
  event.not_before_ms = not_before_ms;
  event.change = change;
  event.body = <u32>body;
  event.body_bytes = body_bytes;
  event.name = <u32>name;
  event.name_bytes = name_bytes;
  event.build_id_bytes = build_id_bytes;
  event.phase = 0;
  return true;
}
