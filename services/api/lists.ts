/**
 * Lists as answers: a page with the cursor of the next one, or all of it as NDJSON.
 *
 * Items are pulled one by one as the reader takes them, so that an answer of ten million lines needs no more memory
 * than one of ten, and a reader who goes away ends the question.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { At } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import { media_type_of } from "./body.js";

export const NDJSON_MEDIA_TYPE = "application/x-ndjson";
export const PAGE_ITEMS_DEFAULT = 1_000;
export const PAGE_ITEMS_MAX = 10_000;
/** Large enough to spare the system calls, small enough to be on its way at once. */
const CHUNK_BYTES = 64 * 1024;
/** Says in an NDJSON answer what `missing_partitions` says in a document. */
export const MISSING_PARTITIONS_HEADER = "klpstate-missing-partitions";

/** Says in an NDJSON answer what `at` says in a document, as JSON. */
export const AT_HEADER = "klpstate-at";

/** What an answer is in each media type. With open keys, as the handler answers with a Response of its own making. */
export type AnswerContent = Record<string, { schema: z.ZodType }>;

/** A list in the OpenAPI document: a page of it, or every line. */
export function list_content(name: string, item: z.ZodType): AnswerContent {
  const page = z.object({
    [name]: z.array(item),
    next: z.string().nullable().describe("`cursor` of the next page; null: this is the last"),
    complete: z.boolean(),
    missing_partitions: z.array(z.number().int()),
    at: At.optional().describe("where the whole list is of one instant"),
  });
  return { "application/json": { schema: page }, [NDJSON_MEDIA_TYPE]: { schema: item } };
}

/** `limit` and `cursor` of a list, as query parameters. */
export const PAGE_PARAMETERS = {
  limit: z
    .string()
    .optional()
    .describe(`items of a page, 1 to ${PAGE_ITEMS_MAX}; by default ${PAGE_ITEMS_DEFAULT}; of NDJSON, all`),
  cursor: z.string().optional().describe("`next` of the page before"),
};

export interface ListAnswer<Item> {
  /** The list's name in the document. */
  name: string;
  items: AsyncIterable<Item>;
  /** Of NDJSON, `limit` of the items at most as lines, many at once: the same, ready-made. */
  lines?: AsyncIterable<Uint8Array>;
  /** Where the page after this item begins. */
  cursor_of: (item: Item) => string;
  /** Undefined: PAGE_ITEMS_DEFAULT of a page, everything of NDJSON. */
  limit: number | undefined;
  /** Asked before and after the items are read: what broke in between is missing as well. */
  missing_partitions: () => Promise<number[]>;
  /** What the whole list is a function of, where it is one. */
  at?: At;
}

/** Throws Problem unless it is a whole number from 1 to PAGE_ITEMS_MAX. */
export function parse_limit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const limit = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= PAGE_ITEMS_MAX) return limit;
  const range = `1 to ${PAGE_ITEMS_MAX}`;
  const value = shorten(text);
  throw new Problem("bad_input", `limit: ${value} is no whole number from ${range}`, {
    field: "limit",
    value,
    limit: range,
  });
}

export function bad_cursor(text: string): Problem {
  const value = shorten(text);
  return new Problem("bad_input", `cursor: ${value} is not the \`next\` of a page of this list`, {
    field: "cursor",
    value,
  });
}

/** Who brings an answer to its reader, as a server's `env` of a request. */
export interface Carrier {
  /** Ends the connection so that nobody can take what has been sent for the whole answer. */
  break_off(error: unknown): void;
}

/** For lists over all partitions. */
export async function broken_partitions(registry: RegistryService): Promise<number[]> {
  const status = await registry.status();
  return status.filter(({ broken }) => broken !== null).map(({ partition }) => partition);
}

/** For lists that no broken partition can shorten. */
export async function nothing_missing(): Promise<number[]> {
  return [];
}

export async function answer_list<Item>(c: Context, list: ListAnswer<Item>): Promise<Response> {
  const missing = await list.missing_partitions();
  if (accepts_ndjson(c)) {
    const headers = {
      ...(missing.length > 0 && { [MISSING_PARTITIONS_HEADER]: missing.join(",") }),
      ...(list.at !== undefined && { [AT_HEADER]: JSON.stringify(list.at) }),
    };
    const whole = <Each>(source: AsyncIterable<Each>) =>
      complete_or_broken_off(source, missing, list.missing_partitions);
    if (list.lines !== undefined) return lines_response(c, whole(list.lines), headers);
    return ndjson_response(c, whole(first_items(list.items, list.limit)), headers);
  }
  const { items, more } = await read_page(list.items, list.limit ?? PAGE_ITEMS_DEFAULT);
  const missing_partitions = [...new Set([...missing, ...(await list.missing_partitions())])].sort(
    (a, b) => a - b,
  );
  return c.json({
    [list.name]: items,
    next: more ? list.cursor_of(items.at(-1)!) : null,
    complete: missing_partitions.length === 0,
    missing_partitions,
    ...(list.at !== undefined && { at: list.at }),
  });
}

export function accepts_ndjson(c: Context): boolean {
  return (c.req.header("accept") ?? "").split(",").some((type) => media_type_of(type) === NDJSON_MEDIA_TYPE);
}

/**
 * The first item is awaited before the answer begins, so that a question that cannot be answered still gets its status.
 * What fails later breaks the connection off: a client must not take the rest for the whole.
 */
export async function ndjson_response(
  c: Context,
  items: AsyncIterable<unknown>,
  headers: Record<string, string> = {},
): Promise<Response> {
  const iterator = items[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let result = await iterator.next();
  return chunked_response(c, headers, iterator, async () => {
    let text = "";
    while (!result.done && text.length < CHUNK_BYTES) {
      text += `${JSON.stringify(result.value)}\n`;
      result = await iterator.next();
    }
    return { chunk: encoder.encode(text), done: result.done === true };
  });
}

/** As `ndjson_response`, of lines that are ready-made. */
async function lines_response(
  c: Context,
  lines: AsyncIterable<Uint8Array>,
  headers: Record<string, string>,
): Promise<Response> {
  const iterator = lines[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | null = await iterator.next();
  return chunked_response(c, headers, iterator, async () => {
    const result: IteratorResult<Uint8Array> = first ?? (await iterator.next());
    first = null;
    return result.done ? { chunk: new Uint8Array(), done: true } : { chunk: result.value, done: false };
  });
}

/** Chunks are asked for as the reader takes them; a reader who goes away ends what is being read. */
async function chunked_response(
  c: Context,
  headers: Record<string, string>,
  reading: AsyncIterator<unknown>,
  next: () => Promise<{ chunk: Uint8Array; done: boolean }>,
): Promise<Response> {
  const { break_off } = (c.env ?? {}) as Partial<Carrier>;
  const head = { "content-type": NDJSON_MEDIA_TYPE, "cache-control": "no-store", ...headers };
  if (c.req.method === "HEAD") {
    // Nobody would read the lines, nor say that they are not wanted.
    await reading.return?.();
    return new Response(null, { headers: head });
  }
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { chunk, done } = await next();
          if (chunk.length > 0) controller.enqueue(chunk);
          if (done) controller.close();
        } catch (error) {
          // @hono/node-server ends the answer of a stream that fails properly, with the error's text as its last line.
          if (break_off === undefined) throw error;
          break_off(error);
        }
      },
      async cancel() {
        await reading.return?.();
      },
    },
    { highWaterMark: 1 },
  );
  return new Response(body, { headers: head });
}

async function read_page<Item>(
  source: AsyncIterable<Item>,
  limit: number,
): Promise<{ items: Item[]; more: boolean }> {
  const items: Item[] = [];
  for await (const item of source) {
    if (items.length === limit) return { items, more: true };
    items.push(item);
  }
  return { items, more: false };
}

async function* first_items<Item>(
  source: AsyncIterable<Item>,
  limit: number | undefined,
): AsyncGenerator<Item> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  for await (const item of source) {
    yield item;
    left -= 1;
    if (left === 0) return;
  }
}

/** A partition that breaks while it is read is not in the headers: end with an error, not as if all were said. */
async function* complete_or_broken_off<Item>(
  source: AsyncIterable<Item>,
  announced: number[],
  missing_partitions: () => Promise<number[]>,
): AsyncGenerator<Item> {
  yield* source;
  const broken = (await missing_partitions()).filter((partition) => !announced.includes(partition));
  if (broken.length > 0)
    throw new Problem("unavailable", `partitions ${broken.join(", ")} broke while they were read`);
}
