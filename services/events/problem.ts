/**
 * Input that cannot be taken. One message for a person, and its parts for a program: the CLI exits with 2 on it,
 * the API answers with a problem document (RFC 9457) that has the same fields.
 */
export interface ProblemParts {
  /** Where in the document: `events[3].loaded.patch.name`. */
  field?: string;
  /** Line of an NDJSON text, from 1. */
  line?: number;
  /** The offending value, shortened. */
  value?: string;
  /** The limit that it does not keep, as a person would write it. */
  limit?: string;
  /** Of a batch that was not stored whole: what became of its events, by partition. */
  partitions?: Readonly<Record<string, PartFate>>;
}

/**
 * `stored`: durable. `unknown`: handed on, and no answer came; they may be stored. `refused`: not stored. Whichever it
 * is, sending the whole batch again is safe: a repeat takes effect once.
 */
export type PartFate = "stored" | "unknown" | "refused";

export type ProblemCode =
  | "bad_input" // it does not say what it should: 400
  | "unauthorized" // the server wants its token: 401
  | "too_large" // over a limit of size: 413
  | "not_found" // the question is about something unknown: 404
  | "contradiction" // a stored fact says otherwise: 409
  | "unsupported_media_type" // 415
  | "busy" // too much waits already, nothing was stored: 429
  | "partition_full" // no room for another host: 507
  | "disk_full" // no room on the disk, nothing was stored: 507
  | "not_caught_up" // not folded as far as the question wants: 503
  | "unavailable"; // not now: 503

export class Problem extends Error {
  override readonly name = "Problem";
  constructor(
    readonly code: ProblemCode,
    message: string,
    readonly parts: ProblemParts = {},
  ) {
    super(message);
  }
}
