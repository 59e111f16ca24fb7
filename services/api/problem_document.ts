/**
 * Problems as RFC 9457 documents, and back: the server writes them, the CLI reads them, so that a person sees the same
 * message whichever way the question went.
 */
import { z } from "@hono/zod-openapi";
import { Problem, type ProblemCode, type ProblemParts } from "../events/problem.js";

export const PROBLEM_MEDIA_TYPE = "application/problem+json";

export const ProblemDocument = z
  .object({
    type: z.string().describe("urn:klpstate:problem:CODE, or about:blank"),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    field: z.string().optional().describe("where in the document"),
    line: z.number().int().optional().describe("line of an NDJSON text, from 1"),
    value: z.string().optional().describe("the offending value, shortened"),
    limit: z.string().optional().describe("the limit that it does not keep"),
    partitions: z
      .record(z.string(), z.enum(["stored", "unknown", "refused"]))
      .optional()
      .describe(
        "of a batch that was not stored whole, what became of its events: unknown ones may be stored; sending the whole batch again is safe",
      ),
  })
  .openapi("Problem");

export type ProblemDocument = z.infer<typeof ProblemDocument>;

const TYPE_PREFIX = "urn:klpstate:problem:";

const KINDS: Record<ProblemCode, { status: number; title: string }> = {
  bad_input: { status: 400, title: "Bad input" },
  unauthorized: { status: 401, title: "Not without the token" },
  too_large: { status: 413, title: "Over a limit of size" },
  not_found: { status: 404, title: "Not known" },
  contradiction: { status: 409, title: "Contradicts a stored fact" },
  unsupported_media_type: { status: 415, title: "Unsupported media type" },
  busy: { status: 429, title: "Too much at once" },
  partition_full: { status: 507, title: "No room for another host" },
  disk_full: { status: 507, title: "No room on the disk" },
  not_caught_up: { status: 503, title: "Not caught up" },
  unavailable: { status: 503, title: "Not available now" },
};

/** For those problems of which a repeat a moment later may well be rid. */
const RETRY_AFTER_S: Partial<Record<ProblemCode, number>> = { busy: 1, not_caught_up: 1 };

/** What is no Problem is a fault of the server: its message may say more than a stranger should read. */
export function document_of(error: unknown): ProblemDocument {
  if (!(error instanceof Problem)) {
    return plain_document(500, "Internal error", "the server failed; its log says more");
  }
  const kind = KINDS[error.code];
  return {
    type: TYPE_PREFIX + error.code,
    title: kind.title,
    status: kind.status,
    detail: error.message,
    ...given_parts(error.parts),
  };
}

/** For what HTTP itself has a word for. */
export function plain_document(status: number, title: string, detail: string): ProblemDocument {
  return { type: "about:blank", title, status, detail };
}

export function problem_response(
  document: ProblemDocument,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const retry_after_s = RETRY_AFTER_S[code_of(document) ?? "bad_input"];
  return new Response(`${JSON.stringify(document)}\n`, {
    status: document.status,
    headers: {
      "content-type": PROBLEM_MEDIA_TYPE,
      "cache-control": "no-store",
      ...(retry_after_s !== undefined && { "retry-after": String(retry_after_s) }),
      ...headers,
    },
  });
}

/** The Problem that a document tells of; a type that this version does not know counts by its status. */
export function problem_of(document: ProblemDocument): Problem {
  const code = code_of(document) ?? (document.status >= 500 ? "unavailable" : "bad_input");
  return new Problem(code, document.detail, given_parts(document));
}

/** Null: of no problem that this version knows. */
function code_of({ type }: ProblemDocument): ProblemCode | null {
  const code = type.startsWith(TYPE_PREFIX) ? type.slice(TYPE_PREFIX.length) : "";
  return Object.hasOwn(KINDS, code) ? (code as ProblemCode) : null;
}

function given_parts(parts: { [Part in keyof ProblemParts]: ProblemParts[Part] | undefined }): ProblemParts {
  return {
    ...(parts.field !== undefined && { field: parts.field }),
    ...(parts.line !== undefined && { line: parts.line }),
    ...(parts.value !== undefined && { value: parts.value }),
    ...(parts.limit !== undefined && { limit: parts.limit }),
    ...(parts.partitions !== undefined && { partitions: parts.partitions }),
  };
}
