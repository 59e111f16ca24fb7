// The protobuf wire format, judged exactly as protobufjs 8 does (RULES F7): what it takes is taken, what it throws on
// is malformed. One cursor; no read passes `end`; after an error everything reads as zero and `malformed` stays set.

export let at: usize = 0;
export let end: usize = 0;
export let malformed: bool = false;

/** protobufjs's Reader.recursionLimit: messages and groups deeper than this throw there. */
const DEPTH_MAX: u32 = 100;

export const VARINT: u32 = 0;
export const FIXED64: u32 = 1;
export const BYTES: u32 = 2;
const GROUP: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

export function start_reading(from: usize, to: usize): void {
  at = from;
  end = to;
  malformed = false;
}

export function fail(): void {
  malformed = true;
  at = end;
}

/** Enters a length-delimited message that begins here; returns the end to give back to `leave`. */
@inline
export function enter(length: u32): usize {
  const outer = end;
  end = at + length;
  return outer;
}

@inline
export function leave(outer: usize): void {
  if (malformed) at = outer;
  end = outer;
}

/** A field's tag: at most 32 bits in at most five bytes. 0 on error. */
export function read_tag(): u32 {
  if (at < end) {
    const first = <u32>load<u8>(at);
    if (first < 128) {
      at++;
      return first;
    }
  }
  let value: u32 = 0;
  for (let shift: u32 = 0; shift < 35; shift += 7) {
    if (at >= end) break;
    const byte = <u32>load<u8>(at++);
    if (shift == 28) {
      if (byte > 15) break;
      return value | (byte << 28);
    }
    value |= (byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail();
  return 0;
}

/** A length: below 2^31 in at most five bytes, and no more than what is left; 0 on error. */
export function read_size(): u32 {
  if (at < end) {
    const first = <u32>load<u8>(at);
    if (first < 128) {
      at++;
      if (first <= <u32>(end - at)) return first;
      fail();
      return 0;
    }
  }
  let value: u32 = 0;
  for (let shift: u32 = 0; shift < 35; shift += 7) {
    if (at >= end) break;
    const byte = <u32>load<u8>(at++);
    if (shift == 28) {
      if (byte > 7) break;
      value |= byte << 28;
    } else {
      value |= (byte & 127) << shift;
      if (byte >= 128) continue;
    }
    if (value > <u32>(end - at)) break;
    return value;
  }
  fail();
  return 0;
}

/** Up to ten bytes; bits beyond the 64th are dropped. uint32 and enums take the low half, bool any bit below. */
export function read_varint(): u64 {
  if (at < end) {
    const first = <u32>load<u8>(at);
    if (first < 128) {
      at++;
      return first;
    }
  }
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 70; shift += 7) {
    if (at >= end) break;
    const byte = <u64>load<u8>(at++);
    value |= (byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail();
  return 0;
}

/** protobufjs looks at every payload bit of the ten bytes, also at those beyond the 64th. */
export function read_bool(): bool {
  let any: u32 = 0;
  for (let i = 0; i < 10; i++) {
    if (at >= end) break;
    const byte = <u32>load<u8>(at++);
    any |= byte & 127;
    if (byte < 128) return any != 0;
  }
  fail();
  return false;
}

export function read_fixed64(): u64 {
  if (<u32>(end - at) < 8) {
    fail();
    return 0;
  }
  const value = load<u64>(at);
  at += 8;
  return value;
}

/** Passes over bytes; what is left is looked at first. */
export function skip_bytes(bytes: u32): void {
  if (<u32>(end - at) < bytes) fail();
  else at += bytes;
}

/** Passes over a field that the schema does not have, or has with another wire type. */
export function skip_field(tag: u32, depth: u32): void {
  if (depth > DEPTH_MAX || tag >> 3 == 0) {
    fail();
    return;
  }
  const type = tag & 7;
  if (type == VARINT) {
    // Of any length: protobufjs skips until a byte without the continuation bit.
    while (at < end) if (load<u8>(at++) < 128) return;
    fail();
  } else if (type == FIXED64) skip_bytes(8);
  else if (type == BYTES) skip_bytes(read_size());
  else if (type == FIXED32) skip_bytes(4);
  else if (type == GROUP) {
    while (!malformed) {
      const inner = read_tag();
      if (malformed) return;
      if (inner >> 3 == 0) fail();
      else if ((inner & 7) == GROUP_END) {
        if (inner >> 3 != tag >> 3) fail();
        return;
      } else skip_field(inner, depth + 1);
    }
  } else fail();
}
