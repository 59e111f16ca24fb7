/**
 * Who asks. A client carries what it has seen, of its own answers and of the publisher's that it goes with, and asks
 * for no less; now and then it asks for nothing, as most people do.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { At, CheckAnswer, FleetRow, HistoryEntry, HostAnswer } from "#services/registry/answers.js";
import type { Dice } from "../disk/dice.js";
import type { Door, DoorAnswer } from "./http.js";
import { PATCHES } from "./manifests.js";
import {
  type AskHistory,
  advance,
  type EventPlace,
  type HistoryLine,
  type Operations,
  type Positions,
  position_text,
  positions_of,
} from "./operations.js";
import { host_text } from "./texts.js";

const WAIT_MS = 2_000;
const REQUEST_MS_MAX = 10_000;
const HISTORY_LINES = 20;

export interface Question {
  door: Door;
  /** Whether to ask for all that the client has seen. */
  carries: boolean;
  ms_max: number;
  /** Whether the node stands still. */
  waits?: boolean;
}

export class Asker {
  readonly seen = new Map<number, bigint>();
  /** Host → the last line of its history that was read. */
  readonly #read = new Map<string, EventPlace>();

  constructor(
    readonly name: string,
    readonly host_ids: readonly string[],
    readonly dice: Dice,
    readonly doors: readonly Door[],
    readonly operations: Operations,
    /** What the publisher that it goes with was acknowledged. */
    readonly acknowledged: Positions,
  ) {}

  async run(ended: AbortSignal, pause_ms: number): Promise<void> {
    while (!ended.aborted) {
      const { dice } = this;
      const question = {
        door: dice.pick(this.doors),
        carries: dice.chance(0.7),
        ms_max: REQUEST_MS_MAX,
      };
      const ask = dice.weighted(
        [5, () => this.host(dice.pick(this.host_ids), question)],
        [3, () => this.history(dice.pick(this.host_ids), question)],
        [2, () => this.check(dice.pick(PATCHES).name, question)],
        [1, () => this.fleet(question)],
      );
      await ask();
      await sleep(dice.below(2 * pause_ms));
    }
  }

  async host(host_id: string, question: Question): Promise<void> {
    const invoked = this.operations.begin("host", this.name, question.door.node);
    const { min_position, answer } = await this.#ask("GET", host_path(host_id), question);
    const host = answer.status === 200 ? (answer.document as HostAnswer) : null;
    this.operations.end({
      ...invoked,
      ...this.#ended(answer, min_position, host?.at, question),
      kind: "host",
      host_id,
      host: host && host_text(host),
    });
  }

  async history(host_id: string, question: Question): Promise<void> {
    const invoked = this.operations.begin("history", this.name, question.door.node);
    const after = this.#read.get(host_id) ?? null;
    const cursor = after === null ? "" : `&cursor=${after.partition}:${after.offset}:${after.index}`;
    const path = `${host_path(host_id)}/history?limit=${HISTORY_LINES}${cursor}`;
    const { min_position, answer } = await this.#ask("GET", path, question);
    const page =
      answer.status === 200 ? (answer.document as { history: HistoryEntry[]; next: string | null }) : null;
    const lines = page?.history.map(history_line) ?? [];
    const last = lines.at(-1);
    if (last !== undefined) this.#read.set(host_id, last);
    const operation: AskHistory = {
      ...invoked,
      ...this.#ended(answer, min_position, undefined, question),
      kind: "history",
      host_id,
      after,
      lines,
      more: page !== null && page.next !== null,
    };
    this.operations.end(operation);
  }

  async check(candidate: string, question: Question): Promise<void> {
    const invoked = this.operations.begin("check", this.name, question.door.node);
    const { min_position, answer } = await this.#ask("POST", "/v1/checks", question, { patch: candidate });
    const check = answer.status === 200 ? (answer.document as CheckAnswer) : null;
    this.operations.end({
      ...invoked,
      ...this.#ended(answer, min_position, check?.at, question),
      kind: "check",
      candidate,
      catalog: BigInt(check?.at.catalog ?? 0),
      complete: check?.complete ?? false,
      missing_partitions: check?.missing_partitions ?? [],
      hosts: check?.hosts ?? {},
    });
  }

  async fleet(question: Question): Promise<void> {
    const invoked = this.operations.begin("fleet", this.name, question.door.node);
    const { min_position, answer } = await this.#ask("GET", "/v1/fleet?limit=10000", question);
    const fleet = answer.status === 200 ? (answer.document as FleetPage) : null;
    this.operations.end({
      ...invoked,
      ...this.#ended(answer, min_position, fleet?.at, question),
      kind: "fleet",
      complete: fleet?.complete ?? false,
      missing_partitions: fleet?.missing_partitions ?? [],
      rows: fleet?.fleet ?? [],
    });
  }

  async #ask(method: string, path: string, { door, carries, ms_max }: Question, document?: object) {
    const min_position = carries ? this.#carried() : null;
    const question =
      min_position === null || min_position.size === 0
        ? path
        : `${path}${path.includes("?") ? "&" : "?"}min_position=${position_text(min_position)}&wait=${WAIT_MS}ms`;
    const answer = await door.ask(method, question, {
      ...(document !== undefined && { type: "application/json", body: JSON.stringify(document) }),
      ms_max,
    });
    return { min_position, answer };
  }

  #carried(): Positions {
    advance(this.seen, this.acknowledged);
    return new Map(this.seen);
  }

  #ended(
    answer: DoorAnswer,
    min_position: Positions | null,
    at: At | undefined,
    { waits = false }: Question,
  ) {
    const position = at === undefined ? null : positions_of(at.position);
    if (position !== null) advance(this.seen, position);
    const known = answer.status === 200 || is_unknown_host(answer);
    const outcome = known ? ("ok" as const) : ("fail" as const);
    return {
      ended_ms: this.operations.now_ms(),
      outcome,
      says: answer.status === 200 ? "" : answer.says,
      min_position,
      position,
      waited: waits,
    };
  }
}

interface FleetPage {
  fleet: FleetRow[];
  complete: boolean;
  missing_partitions: number[];
  at: At;
}

/** That nothing was ever stored of a host is an answer as well, and may be too old. */
function is_unknown_host({ status, document }: DoorAnswer): boolean {
  return (
    status === 404 && (document as { type?: string } | undefined)?.type === "urn:klpstate:problem:not_found"
  );
}

function host_path(host_id: string): string {
  return `/v1/hosts/${encodeURIComponent(host_id)}`;
}

export function history_line(entry: HistoryEntry): HistoryLine {
  const { position, stream, sequence, change, effect, anomalies, stack, knowledge } = entry;
  return {
    partition: position.partition,
    offset: BigInt(position.offset),
    index: position.index,
    text: JSON.stringify([stream, sequence, change, effect, anomalies, stack, knowledge]),
  };
}
