/** What a thread that makes partitions as they were is asked, and what it tells. Plain values: everything crosses. */
import type { CoreManifest } from "../core/core.js";
import type { ProblemCode, ProblemParts } from "../events/problem.js";
import type { FleetRow } from "./answers.js";
import type { PastQuestion } from "./past.js";
import type {
  BatchFound,
  BatchQuestion,
  CheckFound,
  CheckQuestion,
  HostsCheckQuestion,
  HostsPage,
} from "./shard_protocol.js";

export interface PastFold {
  question: PastQuestion;
  /** Of the catalog as it is to be known. */
  manifests: CoreManifest[];
}

/** The others are about what was folded last. */
export interface PastAnswers {
  fold: { asks: PastFold; tells: { next_offset: bigint; reports: string[] } };
  check: { asks: CheckQuestion; tells: CheckFound };
  check_batch: { asks: BatchQuestion; tells: BatchFound };
  check_hosts: { asks: HostsCheckQuestion; tells: HostsPage };
  fleet: { asks: null; tells: FleetRow[] };
}

export type PastOperation = keyof PastAnswers;

export interface PastRequest {
  id: number;
  operation: PastOperation;
  given: unknown;
}

export type PastResponse =
  | { id: number; answer: unknown }
  /** The log is damaged; where. */
  | { id: number; damaged: string }
  | { id: number; problem: { code: ProblemCode; message: string; parts: ProblemParts } }
  | { id: number; error: string };
