// Four look-ups at once: WebAssembly has no instruction for it.

/** The four bytes at each of four places of a table; it has three more behind its last place. */
@inline
export function gather(table: usize, places: v128): v128 {
  let found = i32x4.splat(0);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 0), found, 0);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 1), found, 1);
  found = v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 2), found, 2);
  return v128.load_lane<u32>(table + <u32>i32x4.extract_lane(places, 3), found, 3);
}

/** The words of a table of words at the four places that stand at `places`. */
@inline
export function gather_words(table: usize, places: usize): v128 {
  let found = v128.load32_zero(table + (<usize>load<u32>(places) << 2));
  found = v128.load_lane<u32>(table + (<usize>load<u32>(places, 4) << 2), found, 1);
  found = v128.load_lane<u32>(table + (<usize>load<u32>(places, 8) << 2), found, 2);
  return v128.load_lane<u32>(table + (<usize>load<u32>(places, 12) << 2), found, 3);
}
