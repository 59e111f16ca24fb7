/**
 * The JSON form of events and manifests, strict on its way in: an unknown key, another type, a value that does not
 * fit are refused with their place. Both ways follow the one table of schema.ts.
 */
import type { HostEvent, Manifest } from "./codec.js";
import { U32_MAX } from "./limits.js";
import { check_manifest } from "./manifest.js";
import { kernel_form } from "./patch_name.js";
import { field_at, item_at, key_at, shorten } from "./place.js";
import { Problem } from "./problem.js";
import { klpstate } from "./proto.js";
import { fault_problem, fault_within } from "./record_error.js";
import {
  CHANGES,
  ENUMS,
  type EnumName,
  type Field,
  is_enum,
  is_message,
  MESSAGES,
  type MessageName,
  type Scalar,
} from "./schema.js";
import type { JsonObject, JsonValue } from "./strict_json.js";
import { parse_u64, type U64Field, u64_from_bigint, u64_to_decimal } from "./u64.js";
import { field_fault } from "./validate.js";

/**
 * Strict: all of RULES F7 that concerns one event, and one change that this version knows. `value` is parsed JSON,
 * best by parse_json. Throws Problem; `place` is that of the event in its document.
 */
export function event_from_json(value: unknown, place = ""): HostEvent {
  const event = message_from_json("HostEvent", value, place) as HostEvent;
  const given = CHANGES.filter((name) => event[name]);
  if (given.length !== 1) {
    const field = field_at(place, given[1] ?? "change");
    const limit = `exactly one of ${CHANGES.join(", ")}`;
    const says = given.length === 0 ? "is missing" : `is a second change beside ${given[0]}`;
    throw new Problem("bad_input", `${field}: ${says}; ${limit}`, { field, limit });
  }
  const found = field_fault(event);
  if (found !== null) throw fault_problem(fault_within(found, place));
  return event;
}

/** Defaults are left out, except of the fields that every event has. A change that this version does not know is not shown. */
export function event_to_json(event: HostEvent): JsonObject {
  return message_to_json("HostEvent", event);
}

/** `-` in the name becomes `_`. Throws Problem; `place` is that of the manifest in its document. */
export function manifest_from_json(value: unknown, place = ""): Manifest {
  const manifest = message_from_json("Manifest", value, place) as Manifest;
  if (says_replace_in_code(manifest) && (value as JsonObject).replace === undefined) {
    const field = field_at(place, "replace");
    const limit = "true or false: modules of its builder say it in their code only";
    throw new Problem("bad_input", `${field}: is missing; ${limit}`, { field, limit });
  }
  if (manifest.name) manifest.name = kernel_form(manifest.name);
  check_manifest(manifest, place);
  return manifest;
}

/**
 * Defaults are left out, except of a manifest's name, release, arch, a state's version, whether there is a signature, and
 * `replace` of a builder that does not tell it.
 */
export function manifest_to_json(manifest: Manifest): JsonObject {
  const json = message_to_json("Manifest", manifest);
  return says_replace_in_code(manifest) && !manifest.replace ? { ...json, replace: false } : json;
}

/** Of such a module's manifest an absent `replace` is one that nobody told, which must not be taken for a no. */
function says_replace_in_code({ builder }: Manifest): boolean {
  const { KPATCH_BUILD, KLP_BUILD } = klpstate.v1.Builder;
  return builder === KPATCH_BUILD || builder === KLP_BUILD;
}

/** Written also where they are the default: a reader should not have to know that absent is 0. */
const ALWAYS_WRITTEN: Partial<Record<MessageName, readonly string[]>> = {
  HostEvent: ["host_id", "stream", "sequence", "time_unix_ms"],
  Manifest: ["name", "kernel_release", "arch"],
  State: ["id", "version"],
  Signature: ["present"],
};

type Message = Record<string, unknown>;

function message_from_json(message: MessageName, value: unknown, place: string): Message {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong_type(place, value, "an object");
  const properties: Message = {};
  for (const [key, member] of Object.entries(value)) {
    const field = MESSAGES[message].find(({ name }) => name === key);
    if (field === undefined) throw unknown_key(message, key_at(place, key));
    const member_value = field_from_json(field, member, field_at(place, key));
    // As protobufjs decodes: a field has no value of its own where it has the default.
    if (field.label !== undefined || !is_default(member_value)) properties[key] = member_value;
  }
  const type = klpstate.v1[message] as unknown as { create(properties: Message): Message };
  return type.create(properties);
}

function field_from_json(field: Field, value: unknown, place: string): unknown {
  if (field.label !== "repeated") return one_from_json(field.type, value, place);
  if (!Array.isArray(value)) throw wrong_type(place, value, "a list");
  return value.map((item, index) => one_from_json(field.type, item, item_at(place, index)));
}

function one_from_json(type: Field["type"], value: unknown, place: string): unknown {
  if (is_message(type)) return message_from_json(type, value, place);
  return is_enum(type) ? enum_from_json(type, value, place) : scalar_from_json(type, value, place);
}

function scalar_from_json(type: Scalar, value: unknown, place: string): unknown {
  switch (type) {
    case "string":
      if (typeof value !== "string") throw wrong_type(place, value, "text");
      // Half of a surrogate pair has no UTF-8.
      if (/\p{Surrogate}/u.test(value)) throw wrong_type(place, value, "Unicode text");
      return value;
    case "bytes":
      if (typeof value !== "string" || value.length % 2 !== 0 || /[^0-9a-fA-F]/.test(value)) {
        throw wrong_type(place, value, "hex of whole bytes");
      }
      return Uint8Array.from(Buffer.from(value, "hex"));
    case "bool":
      if (typeof value !== "boolean") throw wrong_type(place, value, "true or false");
      return value;
    case "uint32":
      if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > U32_MAX) {
        throw wrong_type(place, value, `a whole number from 0 to ${U32_MAX} (2^32-1)`);
      }
      return value;
    case "uint64":
    case "fixed64":
      return u64_from_bigint(parse_u64(value, place));
  }
}

/** An open enum's value that has no name in this version is its number, as event_to_json writes it. */
function enum_from_json(type: EnumName, value: unknown, place: string): number {
  const { number_of, closed } = ENUMS[type];
  const number = typeof value === "string" ? number_of.get(value) : undefined;
  if (number !== undefined) return number;
  if (!closed && typeof value === "number" && (value | 0) === value) return value;
  throw wrong_type(place, value, `one of ${[...number_of.keys()].join(", ")}`);
}

function message_to_json(message: MessageName, object: object): JsonObject {
  const json: JsonObject = {};
  for (const field of MESSAGES[message]) {
    const value = (object as Message)[field.name];
    const has_own = Object.hasOwn(object, field.name) && value !== null && value !== undefined;
    const always = ALWAYS_WRITTEN[message]?.includes(field.name) ?? false;
    if (field.label === "repeated") {
      const items = (value as unknown[] | null | undefined) ?? [];
      if (items.length > 0) json[field.name] = items.map((item) => one_to_json(field.type, item));
    } else if (always || (has_own && (field.label !== undefined || !is_default(value)))) {
      json[field.name] = one_to_json(field.type, value);
    }
  }
  return json;
}

function one_to_json(type: Field["type"], value: unknown): JsonValue {
  if (is_message(type)) return message_to_json(type, value as object);
  if (is_enum(type)) return ENUMS[type].name_of.get(value as number) ?? (value as number);
  switch (type) {
    case "uint64":
    case "fixed64":
      return u64_to_decimal(value as U64Field);
    case "bytes":
      return Buffer.from(value as Uint8Array).toString("hex");
    case "string":
      return (value as string | null | undefined) ?? "";
    case "uint32":
      return (value as number | null | undefined) ?? 0;
    case "bool":
      return value === true;
  }
}

/** Proto3's default of a scalar; a message has none: an empty one is present. */
function is_default(value: unknown): boolean {
  if (typeof value !== "object") return value === 0 || value === "" || value === false;
  if (value instanceof Uint8Array) return value.length === 0;
  return value !== null && "low" in value && "high" in value && u64_to_decimal(value as U64Field) === "0";
}

function wrong_type(place: string, value: unknown, expected: string): Problem {
  const shown = shorten(value);
  const message = `${place === "" ? "the document" : place}: ${shown} is not ${expected}`;
  return new Problem("bad_input", message, {
    ...(place !== "" && { field: place }),
    value: shown,
    limit: expected,
  });
}

function unknown_key(message: MessageName, place: string): Problem {
  const limit = `one of ${MESSAGES[message].map(({ name }) => name).join(", ")}`;
  return new Problem("bad_input", `${place}: an unknown key; ${limit}`, { field: place, limit });
}
