/** DER as far as a signature needs it: values with a tag and a definite length. ITU-T X.690. */

export const SEQUENCE = 0x30;
export const SET = 0x31;
export const OBJECT_IDENTIFIER = 0x06;
export const INTEGER = 0x02;
/** [N], constructed and primitive. */
export const context = (number: number) => 0xa0 | number;
export const context_primitive = (number: number) => 0x80 | number;

export interface Value {
  tag: number;
  content: Buffer;
}

/** The values that stand one behind the other; null: the bytes are no such list. */
export function values_of(bytes: Buffer): Value[] | null {
  const values: Value[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at]!;
    let length = bytes[at + 1];
    // Tags of more than one byte and lengths that are not stated are in no signature.
    if (length === undefined || (tag & 0x1f) === 0x1f || length === 0x80) return null;
    at += 2;
    if (length > 0x80) {
      const length_bytes = length & 0x7f;
      if (length_bytes > 4 || at + length_bytes > bytes.length) return null;
      length = bytes.readUIntBE(at, length_bytes);
      at += length_bytes;
    }
    if (at + length > bytes.length) return null;
    values.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return values;
}

/** What is inside a value of that tag; null: it is another one. */
export function inside(value: Value | undefined, tag: number): Value[] | null {
  return value?.tag === tag ? values_of(value.content) : null;
}

/** `1.2.840.113549.1.7.2`; null: no identifier. */
export function identifier(value: Value | undefined): string | null {
  if (value?.tag !== OBJECT_IDENTIFIER || value.content.length === 0 || value.content.length > 64)
    return null;
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of value.content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first = 0, ...rest] = arcs;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...rest].join(".");
}
