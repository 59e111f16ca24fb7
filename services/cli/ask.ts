/** A question's answer as a document or as lines; what the server refuses is thrown as the Problem that it tells of. */
import { setTimeout as sleep } from "node:timers/promises";
import { media_type_of } from "../api/body.js";
import { AT_HEADER, MISSING_PARTITIONS_HEADER, NDJSON_MEDIA_TYPE } from "../api/lists.js";
import { PROBLEM_MEDIA_TYPE, type ProblemDocument, problem_of } from "../api/problem_document.js";
import { ndjson_lines } from "../events/ndjson.js";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { At } from "../registry/answers.js";
import type { Door, Question, Reply } from "./door.js";

/** A history line of an Observed with full lists is the longest that the API writes. */
const ANSWER_LINE_BYTES_MAX = 16 * 1024 * 1024;

export interface Lines<Item> {
  /** Partitions whose lines are not among them. */
  missing_partitions: number[];
  /** What the whole list is a function of, where it is one. */
  at: At | null;
  items: AsyncIterable<Item>;
}

/** How often a server that has too much to do is sent the same again; at its usual second between them, a minute. */
const BUSY_TRIES_MAX = 60;
const RETRY_AFTER_S_MAX = 30;

export async function ask_document<Document>(door: Door, question: Question): Promise<Document> {
  return document_of<Document>(await door.ask(question));
}

/** As `ask_document`; a server that has too much to do is sent the same again when its Retry-After says. */
export async function ask_until_taken<Document>(door: Door, question: Question): Promise<Document> {
  for (let tries = 1; ; tries++) {
    const reply = await door.ask(question);
    if (reply.status !== 429 || tries === BUSY_TRIES_MAX) return document_of<Document>(reply);
    // Read to its end, so that the connection is free for the next try.
    await text_of(reply);
    await sleep(retry_after_ms(reply));
  }
}

/** A date, or nothing, is taken for a second. */
function retry_after_ms(reply: Reply): number {
  const text = reply.header("retry-after") ?? "";
  return 1_000 * (/^[0-9]{1,9}$/.test(text) ? Math.min(Number(text), RETRY_AFTER_S_MAX) : 1);
}

async function document_of<Document>(reply: Reply): Promise<Document> {
  const text = await text_of(reply);
  await refuse_problem(reply, () => text);
  if (media_type_of(reply.header("content-type")) !== "application/json") throw no_klpstate(reply);
  return JSON.parse(text) as Document;
}

export async function ask_lines<Item>(door: Door, question: Question): Promise<Lines<Item>> {
  const reply = await door.ask({ ...question, accept: NDJSON_MEDIA_TYPE });
  await refuse_problem(reply, () => text_of(reply));
  if (media_type_of(reply.header("content-type")) !== NDJSON_MEDIA_TYPE) throw no_klpstate(reply);
  const missing = reply.header(MISSING_PARTITIONS_HEADER);
  const at = reply.header(AT_HEADER);
  return {
    missing_partitions: missing === undefined ? [] : missing.split(",").map(Number),
    at: at === undefined ? null : (JSON.parse(at) as At),
    items: parsed_lines(reply),
  };
}

async function* parsed_lines<Item>(reply: Reply): AsyncGenerator<Item> {
  for await (const { text } of ndjson_lines(reply.body, ANSWER_LINE_BYTES_MAX))
    yield JSON.parse(text) as Item;
}

async function text_of(reply: Reply): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reply.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function refuse_problem(reply: Reply, text: () => string | Promise<string>): Promise<void> {
  if (reply.status >= 200 && reply.status < 300) return;
  const is_problem = media_type_of(reply.header("content-type")) === PROBLEM_MEDIA_TYPE;
  if (is_problem) throw problem_of(JSON.parse(await text()) as ProblemDocument);
  throw no_klpstate(reply);
}

function no_klpstate(reply: Reply): Problem {
  const type = shorten(reply.header("content-type") ?? "no content-type");
  return new Problem(
    "unavailable",
    `the server's answer (status ${reply.status}, ${type}) is not klpstate's; is --server right?`,
  );
}
