/**
 * What clients asked and what came of it. Every operation is written down when it is invoked and when it ends, so that
 * a run that breaks off leaves what was under way; the checker reads the ended ones.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import type { FleetRow } from "#services/registry/answers.js";

/** Partition → next offset. */
export type Positions = ReadonlyMap<number, bigint>;

/** `fail`: it had no effect, for certain. `unknown`: nobody can say. */
export type Outcome = "ok" | "fail" | "unknown";

interface Common {
  id: number;
  client: string;
  /** Name of the node that was asked. */
  node: string;
  /** On the run's monotonic clock. */
  invoked_ms: number;
  ended_ms: number;
  outcome: Outcome;
  /** Why it is not ok; empty where it is. */
  says: string;
}

export interface SentEvent {
  host_id: string;
  /** Of the HostEvent. */
  bytes: Uint8Array;
}

export interface HostFacts {
  host_id: string;
  next_sequence: string;
  knowledge: string;
}

export interface Publish extends Common {
  kind: "publish";
  events: readonly SentEvent[];
  /** Of the acknowledgement. */
  positions: Positions;
  /** Those that the acknowledgement tells of. */
  hosts: readonly HostFacts[];
}

export interface Asked extends Common {
  /** What the client had seen of each partition that the answer depends on, and asked for; null: it asked for nothing. */
  min_position: Positions | null;
  /** What the answer says that it has seen; null: it does not say, or there is none. */
  position: Positions | null;
  /** It was asked of a node that stood still, and was answered when the node went on. */
  waited: boolean;
}

/** A host as answers and the model say it, so that equal hosts are equal texts. */
export type HostText = string;

export interface AskHost extends Asked {
  kind: "host";
  host_id: string;
  /** Null: not known there. */
  host: HostText | null;
}

export interface EventPlace {
  partition: number;
  offset: bigint;
  index: number;
}

export interface HistoryLine extends EventPlace {
  /** What it says, so that equal lines are equal texts. */
  text: string;
}

export interface AskHistory extends Asked {
  kind: "history";
  host_id: string;
  /** Only what stands behind it was asked for. */
  after: EventPlace | null;
  lines: readonly HistoryLine[];
  /** The page is full: more may follow. */
  more: boolean;
}

export interface AskCheck extends Asked {
  kind: "check";
  candidate: string;
  catalog: bigint;
  complete: boolean;
  missing_partitions: readonly number[];
  /** Verdict → hosts, and `total`. */
  hosts: Readonly<Record<string, number>>;
}

export interface AskFleet extends Asked {
  kind: "fleet";
  complete: boolean;
  missing_partitions: readonly number[];
  rows: readonly FleetRow[];
}

export interface PublishManifest extends Common {
  kind: "manifest";
  name: string;
  offset: bigint | null;
}

export type Operation = Publish | AskHost | AskHistory | AskCheck | AskFleet | PublishManifest;

type Invoked = Pick<Common, "id" | "client" | "node" | "invoked_ms"> & { kind: Operation["kind"] };

export class Operations {
  readonly ended: Operation[] = [];
  readonly #file: WriteStream;
  #next_id = 0;

  constructor(
    path: string,
    readonly now_ms: () => number,
  ) {
    this.#file = createWriteStream(path);
  }

  begin(kind: Operation["kind"], client: string, node: string): Invoked {
    const invoked = { id: this.#next_id++, kind, client, node, invoked_ms: this.now_ms() };
    this.#write({ what: "invoke", ...invoked });
    return invoked;
  }

  end(operation: Operation): void {
    this.ended.push(operation);
    const { kind, invoked_ms: _, outcome, ...rest } = operation;
    this.#write({ what: outcome, ...rest, ...(kind === "publish" && { events: operation.events.length }) });
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#file.end(resolve));
  }

  #write(document: object): void {
    this.#file.write(`${JSON.stringify(document, as_json)}\n`);
  }
}

function as_json(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Map ? Object.fromEntries(value) : value;
}

export function positions_of(document: Readonly<Record<string, string>>): Positions {
  return new Map(Object.entries(document).map(([partition, offset]) => [Number(partition), BigInt(offset)]));
}

/** As `min_position` is written; empty where there is none. */
export function position_text(positions: Positions): string {
  return [...positions].map(([partition, offset]) => `${partition}:${offset}`).join(",");
}

/** Takes over what is further. */
export function advance(seen: Map<number, bigint>, positions: Positions): void {
  for (const [partition, offset] of positions) {
    if (offset > (seen.get(partition) ?? 0n)) seen.set(partition, offset);
  }
}
