/** A file of recordings: JSON lines, plain or gzipped, each line as it is meant to be or named by its number. */
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { z } from "zod";
import { ndjson_lines } from "../events/ndjson.js";
import { item_at, key_at } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_u64 } from "../events/u64.js";

/** A long scenario is a line of many steps, each with all that a kernel showed. */
const LINE_BYTES_MAX = 64 * 1024 * 1024;

export interface RecordedLine<Value> {
  /** From 1. */
  line: number;
  value: Value;
}

/** A state's id or another unsigned 64-bit integer, as decimal text or as an exact number. */
export const U64 = z.unknown().transform((value, context) => {
  try {
    return parse_u64(value, "it");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    context.addIssue({ code: "custom", message: error.message.replace(/^it: /, "") });
    return z.NEVER;
  }
});

/** Throws Problem: the file cannot be read, has no line, or one that is not what `schema` says. */
export async function read_recorded<Schema extends z.ZodType>(
  file: string,
  schema: Schema,
): Promise<RecordedLine<z.output<Schema>>[]> {
  const bytes = await read_bytes(file);
  const lines: RecordedLine<z.output<Schema>>[] = [];
  try {
    for await (const { line, text } of ndjson_lines(one(bytes), LINE_BYTES_MAX)) {
      lines.push({ line, value: at_recorded_line(file, line, () => parsed(schema, text)) });
    }
  } catch (error) {
    if (!(error instanceof Problem) || error.message.startsWith(`${file}:`)) throw error;
    throw new Problem(error.code, `${file}: ${error.message}`, error.parts);
  }
  // Nothing to compare is not the same as nothing that differs.
  if (lines.length === 0) throw new Problem("bad_input", `${file} has no line: there is nothing to compare`);
  return lines;
}

/** Runs `work`; a Problem in it names file and line. */
export function at_recorded_line<Value>(file: string, line: number, work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, `${file}:${line}: ${error.message}`, { ...error.parts, line });
  }
}

async function read_bytes(file: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(file);
    // RFC 1952: what a gzip file begins with, whatever its name is.
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? await promisify(gunzip)(bytes) : bytes;
  } catch (error) {
    throw new Problem("bad_input", `${file} cannot be read: ${(error as Error).message}`, { value: file });
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Recorders write fractions, which the formats' own parser refuses; what has to be exact is text or checked. */
function json_of(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem("bad_input", `is not JSON (${(error as Error).message})`);
  }
}

function parsed<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  const { data, error } = schema.safeParse(json_of(text));
  if (error === undefined) return data;
  const issue = error.issues[0]!;
  const field = issue.path.reduce<string>(
    (place, part) => (typeof part === "number" ? item_at(place, part) : key_at(place, String(part))),
    "",
  );
  const where = field === "" ? "" : `${field}: `;
  throw new Problem("bad_input", `${where}${issue.message}`, { field });
}
