/** Lines of a stream of bytes, with their numbers, for NDJSON: bounded, valid UTF-8, blank ones left out. */
import { NDJSON_LINE_BYTES_MAX } from "./limits.js";
import { Problem } from "./problem.js";

const LINE_FEED = 0x0a;

export interface Line {
  /** From 1, blank lines counted. */
  line: number;
  text: string;
}

/** Ends with the stream; a last line needs no line feed. Throws Problem with `line`. */
export async function* ndjson_lines(
  source: AsyncIterable<Uint8Array>,
  line_bytes_max = NDJSON_LINE_BYTES_MAX,
): AsyncGenerator<Line> {
  let line = 1;
  let parts: Uint8Array[] = [];
  let parts_bytes = 0;

  function add(part: Uint8Array): void {
    parts_bytes += part.length;
    if (parts_bytes > line_bytes_max) {
      const limit = `at most ${line_bytes_max} bytes a line`;
      throw new Problem("too_large", `line ${line}: too long; ${limit}`, { line, limit });
    }
    parts.push(part);
  }

  function take_text(): string {
    const text = utf8_text(Buffer.concat(parts, parts_bytes), line);
    parts = [];
    parts_bytes = 0;
    return text;
  }

  for await (const chunk of source) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      add(chunk.subarray(start, end));
      const text = take_text();
      if (text.trim() !== "") yield { line, text };
      line++;
      start = end + 1;
    }
    // A copy: the source may use its buffer again for the next chunk.
    if (start < chunk.length) add(new Uint8Array(chunk.subarray(start)));
  }
  const text = take_text();
  if (text.trim() !== "") yield { line, text };
}

/** Runs `read`; a Problem in it names the line. */
export function at_line<Value>(line: number, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, `line ${line}: ${error.message}`, { ...error.parts, line });
  }
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8_text(bytes: Uint8Array, line: number): string {
  try {
    return DECODER.decode(bytes);
  } catch {
    throw new Problem("bad_input", `line ${line}: not valid UTF-8`, { line, limit: "UTF-8" });
  }
}
