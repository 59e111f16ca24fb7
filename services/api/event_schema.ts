/** The JSON form of events and manifests for the OpenAPI document, made from the table that reads and writes it. */
import { z } from "@hono/zod-openapi";
import { ENUMS, type Field, is_enum, is_message, MESSAGES, type MessageName } from "../events/schema.js";

const U64 = z
  .union([z.string().regex(/^\d{1,20}$/), z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)])
  .describe("unsigned 64-bit integer: decimal text, or a number up to 2^53-1");

const made = new Map<MessageName, z.ZodType>();

/** Every change of a HostEvent is optional here; exactly one must be given. */
export function message_schema(name: MessageName): z.ZodType {
  const known = made.get(name);
  if (known !== undefined) return known;
  const shape = Object.fromEntries(MESSAGES[name].map((field) => [field.name, field_schema(field)]));
  const schema = z.strictObject(shape).openapi(`${name}Input`);
  made.set(name, schema);
  return schema;
}

function field_schema({ type, label }: Field): z.ZodType {
  const schema = type_schema(type);
  return label === "repeated" ? z.array(schema).optional() : schema.optional();
}

function type_schema(type: Field["type"]): z.ZodType {
  if (is_message(type)) return message_schema(type);
  if (is_enum(type)) return z.enum([...ENUMS[type].number_of.keys()] as [string, ...string[]]);
  switch (type) {
    case "string":
      return z.string();
    case "bytes":
      return z.string().regex(/^([0-9a-f]{2})*$/);
    case "bool":
      return z.boolean();
    case "uint32":
      return z.number().int().min(0).max(0xffff_ffff);
    default:
      return U64;
  }
}
