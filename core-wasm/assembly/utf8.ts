// UTF-8 as the WHATWG decoder with `fatal` takes it, which protobufjs uses: no overlong forms, no surrogates,
// nothing above U+10FFFF.

/** Whether the bytes are UTF-8. */
export function is_utf8(at: usize, length: u32): bool {
  const end = at + length;
  while (at + 8 <= end && (load<u64>(at) & 0x8080808080808080) == 0) at += 8;
  while (at < end) {
    const lead = <u32>load<u8>(at);
    if (lead < 0x80) {
      at++;
      continue;
    }
    let more: u32;
    let lowest: u32 = 0x80;
    let highest: u32 = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) lowest = 0xa0;
      if (lead == 0xed) highest = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) lowest = 0x90;
      if (lead == 0xf4) highest = 0x8f;
    } else return false;
    if (<u32>(end - at) <= more) return false;
    const second = <u32>load<u8>(at, 1);
    if (second < lowest || second > highest) return false;
    for (let i: u32 = 2; i <= more; i++) if ((load<u8>(at + i) & 0xc0) != 0x80) return false;
    at += more + 1;
  }
  return true;
}

/** Whether valid UTF-8 has a character of category Cc: U+0000 to U+001F, U+007F to U+009F. */
export function has_control(at: usize, length: u32): bool {
  const end = at + length;
  for (; at < end; at++) {
    const byte = <u32>load<u8>(at);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && <u32>load<u8>(at, 1) < 0xa0) return true;
  }
  return false;
}
