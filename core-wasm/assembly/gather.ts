// Look-ups of four or eight at once: WebAssembly has no instruction for it.

/** The four bytes at each of four places of a table; it has three more behind its last place. */
@inline
export function gather(table: usize, places: v128): v128 {
  let found = i32x4.splat(0);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 0), found, 0);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 1), found, 1);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 2), found, 2);
  return v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 3), found, 3);
}

/** The bytes of a table of bytes at the eight places that stand at `places`, in the lower lanes. */
@inline
export function gather_bytes(table: usize, places: usize): v128 {
  let found = i64x2.splat(0);
  found = v128.load_lane<u8>(table + load<u32>(places), found, 0);
  found = v128.load_lane<u8>(table + load<u32>(places, 4), found, 1);
  found = v128.load_lane<u8>(table + load<u32>(places, 8), found, 2);
  found = v128.load_lane<u8>(table + load<u32>(places, 12), found, 3);
  found = v128.load_lane<u8>(table + load<u32>(places, 16), found, 4);
  found = v128.load_lane<u8>(table + load<u32>(places, 20), found, 5);
  found = v128.load_lane<u8>(table + load<u32>(places, 24), found, 6);
  return v128.load_lane<u8>(table + load<u32>(places, 28), found, 7);
}
