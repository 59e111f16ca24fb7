/**
 * Damages valid records: first field by field, where lengths stay right, so that what is wrong lies deep inside; then
 * byte by byte.
 */
import fc from "fast-check";
import { type Field, is_message, MESSAGES, type MessageName } from "#services/events/schema.js";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const GROUP = 3;
const GROUP_END = 4;
const FIXED32 = 5;
const WIRE_TYPES = [VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32, 6, 7];

/** A field as it stands on the wire. */
interface Node {
  number: number;
  wire: number;
  /** How many bytes more than needed the tag and the length have. */
  tag_padding: number;
  length_padding: number;
  /** Fields where it is a known message. */
  value: Uint8Array | Node[];
}

function varint(value: bigint, padding = 0): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  } while (rest > 0n);
  for (let i = 0; i < padding; i++) bytes.push(128);
  bytes[bytes.length - 1]! &= 127;
  return bytes;
}

function node(number: number, wire: number, value: Node["value"]): Node {
  return { number, wire, tag_padding: 0, length_padding: 0, value };
}

/** `fields` null: the batch itself, whose only field is its events. */
function parse(bytes: Uint8Array, fields: readonly Field[] | null): Node[] {
  const nodes: Node[] = [];
  let at = 0;
  const take_varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(take_varint());
    const [number, wire] = [tag >>> 3, tag & 7];
    const start = at;
    if (wire === VARINT) take_varint();
    else if (wire === FIXED64) at += 8;
    else if (wire === FIXED32) at += 4;
    if (wire !== BYTES) {
      nodes.push(node(number, wire, bytes.slice(start, at)));
      continue;
    }
    const length = Number(take_varint());
    const value = bytes.slice(at, at + length);
    at += length;
    const message = fields === null ? "HostEvent" : message_of(fields, number);
    nodes.push(node(number, wire, message === null ? value : parse(value, MESSAGES[message])));
  }
  return nodes;
}

function message_of(fields: readonly Field[], number: number): MessageName | null {
  const type = fields.find((field) => field.number === number)?.type;
  return type !== undefined && is_message(type) ? type : null;
}

function encode(nodes: Node[]): number[] {
  return nodes.flatMap((of) => {
    const tag = varint((BigInt(of.number) << 3n) | BigInt(of.wire), of.tag_padding);
    const value = of.value instanceof Uint8Array ? [...of.value] : encode(of.value);
    if (of.wire !== BYTES) return [...tag, ...value];
    return [...tag, ...varint(BigInt(value.length), of.length_padding), ...value];
  });
}

/** Every field with the list that it is in. */
function* places(nodes: Node[]): Generator<{ list: Node[]; index: number }> {
  for (const [index, of] of nodes.entries()) {
    yield { list: nodes, index };
    if (!(of.value instanceof Uint8Array)) yield* places(of.value);
  }
}

const TEXTS = [
  "",
  "p",
  "a\u0000b",
  "\u001f",
  "\u007f",
  "\u0085",
  "\u009f",
  "\u00a0",
  "\ufeffp",
  "\ufffd",
  "é".repeat(27),
  "é".repeat(28),
  "n".repeat(55),
  "n".repeat(56),
  "n".repeat(64),
  "n".repeat(65),
  "𝒽".repeat(64),
  "h".repeat(255),
  "h".repeat(256),
  "l".repeat(512),
  "l".repeat(513),
].map((text) => Buffer.from(text));
/** Overlong, surrogates, above U+10FFFF, cut short, continuation alone; also at the end of a longer text. */
const NO_TEXTS = [
  "c080",
  "c1bf",
  "e08080",
  "e09fbf",
  "eda080",
  "edbfbf",
  "f0808080",
  "f08fbfbf",
  "f4908080",
  "f5808080",
  "ff",
  "80",
  "c3",
  "e282",
  "f09f92",
]
  .flatMap((hex) => [hex, "61".repeat(9) + hex, "61".repeat(70) + hex, hex + "61"])
  .map((hex) => Buffer.from(hex, "hex"));
const NUMBERS = [
  0n,
  1n,
  2n,
  3n,
  4n,
  127n,
  128n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 32n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

const in_fields = [
  "double",
  "double_there",
  "drop",
  "move",
  "wire",
  "unknown",
  "group",
  "deep_group",
  "pad_tag",
  "pad_length",
  "pad_number",
  "text",
  "no_text",
  "number",
  "graft",
  "field_number",
] as const;
const in_bytes = ["flip", "set", "cut", "remove", "insert", "repeat"] as const;

const edit = fc.record({
  kind: fc.constantFrom(...in_fields, ...in_bytes),
  at: fc.nat(),
  other: fc.nat(),
  value: fc.nat({ max: 255 }),
});
export type Edit = typeof edit extends fc.Arbitrary<infer E> ? E : never;

export const random_damage: fc.Arbitrary<Edit[]> = fc.array(edit, { minLength: 1, maxLength: 4 });

/** Of any length: a group, or one that is not closed, closed by another number, or by no number. */
function group(value: number): Uint8Array {
  const inner = [[], [0x08, 0x01], [0x0a, 0x01, 0x61], [0x0b, 0x0c], [0x00], [0x0d, 1, 2, 3, 4]][value % 6]!;
  const end = [varint((99n << 3n) | 4n), varint((99n << 3n) | 4n), varint((98n << 3n) | 4n), [], [0x04]][
    value % 5
  ]!;
  return Uint8Array.from([...inner, ...end]);
}

/** About as many groups in each other as protobufjs takes. */
function deep_group(value: number): Uint8Array {
  const depth = 92 + (value % 12);
  const begin = Array.from({ length: depth }, () => 0x0b);
  return Uint8Array.from([...begin, ...begin.map(() => 0x0c), ...varint((99n << 3n) | 4n)]);
}

function edit_fields(root: Node[], { kind, at, other, value }: Edit): void {
  const all = [...places(root)];
  if (all.length === 0) return;
  const { list, index } = all[at % all.length]!;
  const there = all[other % all.length]!;
  const of = list[index]!;
  switch (kind) {
    case "double":
      list.push(structuredClone(of));
      break;
    case "double_there":
      there.list.splice(there.index, 0, structuredClone(of));
      break;
    case "drop":
      list.splice(index, 1);
      break;
    case "move":
      list.push(...list.splice(index, 1));
      break;
    case "wire":
      of.wire = WIRE_TYPES[value % WIRE_TYPES.length]!;
      break;
    case "unknown":
      list.splice(
        index,
        0,
        node(99, WIRE_TYPES[value % 8]!, Uint8Array.from(varint(BigInt(other) << 40n, value % 9))),
      );
      break;
    case "group":
      list.splice(index, 0, node(99, GROUP, group(value)));
      break;
    case "deep_group":
      list.splice(index, 0, node(99, GROUP, deep_group(value)));
      break;
    case "pad_tag":
      of.tag_padding = value % 6;
      break;
    case "pad_length":
      of.length_padding = value % 6;
      break;
    case "pad_number":
      if (of.wire === VARINT)
        of.value = Uint8Array.from(varint(NUMBERS[other % NUMBERS.length]!, value % 12));
      break;
    case "text":
      if (of.wire === BYTES) of.value = TEXTS[value % TEXTS.length]!;
      break;
    case "no_text":
      if (of.wire === BYTES) of.value = NO_TEXTS[value % NO_TEXTS.length]!;
      break;
    case "number":
      if (of.wire === VARINT) of.value = Uint8Array.from(varint(NUMBERS[value % NUMBERS.length]!));
      break;
    case "graft":
      of.value = structuredClone(there.list[there.index]!.value);
      break;
    case "field_number":
      of.number = value < 40 ? value : [1, 2, 3, 16, 22, 23, 24, 2 ** 28, 2 ** 29 - 1, 2 ** 29][value % 10]!;
      break;
    default:
  }
}

function edit_bytes(bytes: number[], { kind, at, other, value }: Edit): void {
  const place = at % (bytes.length + 1);
  switch (kind) {
    case "flip":
      if (place < bytes.length) bytes[place]! ^= 1 << (value % 8);
      break;
    case "set":
      if (place < bytes.length) bytes[place] = value;
      break;
    case "cut":
      bytes.length = place;
      break;
    case "remove":
      bytes.splice(place, 1 + (value % 16));
      break;
    case "insert":
      bytes.splice(place, 0, value);
      break;
    case "repeat":
      bytes.splice(other % (bytes.length + 1), 0, ...bytes.slice(place, place + (value % 64)));
      break;
    default:
  }
}

/** The record after the edits; a valid one goes in. */
export function damaged(record: Uint8Array, edits: Edit[]): Uint8Array {
  const root = parse(record, null);
  for (const each of edits) edit_fields(root, each);
  const bytes = encode(root);
  for (const each of edits) edit_bytes(bytes, each);
  return Uint8Array.from(bytes);
}
