/**
 * Finds a singular field or a oneof that protobuf bytes give twice. Decoders keep the last of them, and merge
 * messages, without a word; for a registry two different claims in one event are no claim (RULES F7).
 */
import protobuf from "protobufjs/minimal.js";
import { field_at, item_at } from "./place.js";
import { type Field, is_enum, is_message, MESSAGES, type MessageName, type Scalar } from "./schema.js";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;

const WIRE_TYPES: Record<Scalar, number> = {
  string: LENGTH_DELIMITED,
  bytes: LENGTH_DELIMITED,
  bool: VARINT,
  uint32: VARINT,
  uint64: VARINT,
  fixed64: FIXED64,
};

function wire_type_of(type: Field["type"]): number {
  if (is_message(type)) return LENGTH_DELIMITED;
  return is_enum(type) ? VARINT : WIRE_TYPES[type];
}

/** A known field with another wire type is an unknown field, so both are the key: the tag as it is on the wire. */
const FIELDS_BY_TAG = new Map(
  Object.entries(MESSAGES).map(([message, fields]) => [
    message as MessageName,
    new Map(fields.map((field) => [((field.number << 3) | wire_type_of(field.type)) >>> 0, field])),
  ]),
);

/**
 * The place of the first second occurrence in the order of the bytes, or null. The bytes must be a message that
 * protobufjs decodes.
 */
export function given_twice_at(message: MessageName, bytes: Uint8Array): string | null {
  return scan(message, protobuf.Reader.create(bytes), bytes.length, "");
}

function scan(message: MessageName, reader: protobuf.Reader, end: number, place: string): string | null {
  const fields = FIELDS_BY_TAG.get(message)!;
  const outer_end = reader.len;
  // Not only a bound: protobufjs refuses a varint that would need bytes beyond its message.
  reader.len = end;
  const given = new Set<string>();
  const count_of = new Map<string, number>();
  while (reader.pos < end) {
    const tag = reader.tag();
    const field = fields.get(tag);
    if (field === undefined) {
      reader.skipType(tag & 7, 0, tag >>> 3);
      continue;
    }
    let field_place = field_at(place, field.name);
    if (field.label === "repeated") {
      const index = count_of.get(field.name) ?? 0;
      count_of.set(field.name, index + 1);
      field_place = item_at(field_place, index);
    } else {
      const claim = field.label === "change" ? "change" : field.name;
      if (given.has(claim)) return field_place;
      given.add(claim);
    }
    if (is_message(field.type)) {
      const size = reader.size();
      const found = scan(field.type, reader, reader.pos + size, field_place);
      if (found !== null) return found;
    } else {
      reader.skipType(tag & 7);
    }
  }
  reader.len = outer_end;
  return null;
}
