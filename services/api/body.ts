/** Reads a request's body whole, up to a limit, and tells its media type. */
import type { Context } from "hono";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { Held } from "./body_room.js";

/** Without parameters, lower case; "" if there is none. */
export function media_type_of(header: string | undefined): string {
  return (header ?? "").split(";", 1)[0]!.trim().toLowerCase();
}

/** Throws Problem `unsupported_media_type` unless the body is one of `accepted`. */
export function require_media_type<Type extends string>(c: Context, accepted: readonly Type[]): Type {
  const given = media_type_of(c.req.header("content-type"));
  const found = accepted.find((type) => type === given);
  if (found !== undefined) return found;
  const limit = accepted.join(", ");
  const value = given === "" ? "no content-type" : shorten(given);
  throw new Problem("unsupported_media_type", `content-type: ${value} is not taken here, only ${limit}`, {
    field: "content-type",
    value,
    limit,
  });
}

/**
 * Throws Problem `too_large`; what lies beyond the limit is not kept. With `held`, the body is held from before its
 * first byte is read, and `busy` is thrown where there is no room for it.
 */
export async function read_body(c: Context, bytes_max: number, held?: Held): Promise<Uint8Array> {
  const declared = c.req.header("content-length");
  if (declared !== undefined && Number(declared) > bytes_max) throw too_large(`${declared} bytes`, bytes_max);
  held?.grow_to(Number(declared ?? 0) || 0);
  // Node holds a client to the length that it declares, so this is bounded; it does without a stream's detours.
  if (declared !== undefined) return new Uint8Array(await c.req.arrayBuffer().catch(broken_off));
  const body = c.req.raw.body;
  if (body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of unbroken(body)) {
    bytes += chunk.byteLength;
    if (bytes > bytes_max) throw too_large(`over ${bytes_max} bytes`, bytes_max);
    held?.grow_to(bytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes);
}

/** A client that goes away is no failure of the server. */
async function* unbroken(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch {
    broken_off();
  }
}

function broken_off(): never {
  throw new Problem("bad_input", "the body broke off before its end", { field: "body" });
}

/** Throws Problem where the bytes are no UTF-8. */
export function text_of(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new Problem("bad_input", "the body is not UTF-8", { field: "body" });
  }
}

function too_large(value: string, bytes_max: number): Problem {
  const limit = `${bytes_max} bytes`;
  return new Problem("too_large", `the body has ${value}; the limit is ${limit}`, {
    field: "body",
    value,
    limit,
  });
}
