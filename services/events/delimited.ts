/** Messages of a stream of bytes, each behind its length as a varint: protobuf's own way to write several to a file. */
import { RECORD_BYTES_MAX } from "./limits.js";
import { item_at } from "./place.js";
import { Problem } from "./problem.js";

/** Lengths are below 2^31, as protobuf's own. */
const LENGTH_BYTES_MAX = 5;
const LENGTH_MAX = 0x7fff_ffff;

/** Each message's bytes, in order. Throws Problem for a message over the limit, and for a stream that ends inside one. */
export async function* delimited_messages(
  source: AsyncIterable<Uint8Array>,
  message_bytes_max = RECORD_BYTES_MAX,
): AsyncGenerator<Uint8Array> {
  let index = 0;
  let length = 0;
  let length_bytes = 0;
  /** Null while the length is read. */
  let message: Uint8Array | null = null;
  let filled = 0;

  for await (const chunk of source) {
    let at = 0;
    while (at < chunk.length) {
      if (message === null) {
        const byte = chunk[at++]!;
        length += (byte & 0x7f) * 2 ** (7 * length_bytes);
        length_bytes++;
        if (byte >= 0x80) {
          if (length_bytes === LENGTH_BYTES_MAX) throw bad_length(index);
          continue;
        }
        if (length > LENGTH_MAX) throw bad_length(index);
        if (length > message_bytes_max) throw too_large(index, length, message_bytes_max);
        message = new Uint8Array(length);
      } else {
        const part = chunk.subarray(at, at + length - filled);
        message.set(part, filled);
        filled += part.length;
        at += part.length;
      }
      if (filled < length) continue;
      yield message;
      index++;
      message = null;
      length = 0;
      length_bytes = 0;
      filled = 0;
    }
  }
  if (length_bytes > 0) throw cut_off(index);
}

function bad_length(index: number): Problem {
  const field = item_at("messages", index);
  const limit = "a varint below 2^31";
  return new Problem("bad_input", `${field}: what stands there is no length; ${limit}`, { field, limit });
}

function too_large(index: number, length: number, message_bytes_max: number): Problem {
  const field = item_at("messages", index);
  const limit = `at most ${message_bytes_max} bytes`;
  return new Problem("too_large", `${field}: ${length} bytes are too many; ${limit}`, {
    field,
    value: String(length),
    limit,
  });
}

function cut_off(index: number): Problem {
  const field = item_at("messages", index);
  return new Problem("bad_input", `${field}: the stream ends inside it`, { field, limit: "whole messages" });
}
