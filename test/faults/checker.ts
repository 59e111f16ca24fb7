/**
 * Whether everything that clients were told is so: their operations beside the log that the nodes had, as the plain
 * model folds it. Pure: the same operations and the same log, the same findings.
 */
import { partition_of } from "#services/events/partition.js";
import { verdict } from "../model/check.js";
import type {
  AskCheck,
  Asked,
  AskFleet,
  AskHistory,
  AskHost,
  Operation,
  Positions,
  Publish,
  PublishManifest,
  SentEvent,
} from "./operations.js";
import { configuration_text } from "./texts.js";
import { type FoldedLine, key_of, type Truth } from "./truth.js";

export const PROMISES = {
  stored: "what was acknowledged is in the log, below the acknowledged position",
  refused: "what was refused for certain is not in the log",
  nothing_else: "nothing is in the log that nobody sent",
  facts: "an acknowledgement tells of a host what its partition had then",
  min_position: "no answer is older than its min_position",
  truth: "an answer is what the log says at the answer's position",
  no_way_back:
    "no answer without min_position, of a node that stood still or of a registry of one node, goes back",
} as const;

export type Promised = keyof typeof PROMISES;

export interface Violation {
  promise: Promised;
  /** Operation and what is wrong with it, on one line. */
  says: string;
}

export interface Findings {
  /** How often each promise was looked at. */
  looked_at: Record<Promised, number>;
  violations: Violation[];
}

/** Which answers may not be older than those that had come before they were asked for, whoever gave them. */
export interface OrderRule {
  /** Only of nodes that stood still: they must not answer as what they were before. */
  only_waited: boolean;
  /** By so much a replica may be behind. */
  slack_ms: number;
  /** Then it may be behind by more. */
  disturbed: readonly { from_ms: number; to_ms: number }[];
}

export function check(operations: readonly Operation[], truth: Truth, order: OrderRule): Findings {
  return new Checker(truth, order).check(operations);
}

class Checker {
  readonly #truth: Truth;
  readonly #order: OrderRule;
  readonly #findings: Findings = {
    looked_at: {
      stored: 0,
      refused: 0,
      nothing_else: 0,
      facts: 0,
      min_position: 0,
      truth: 0,
      no_way_back: 0,
    },
    violations: [],
  };

  constructor(truth: Truth, order: OrderRule) {
    this.#truth = truth;
    this.#order = order;
  }

  check(operations: readonly Operation[]): Findings {
    const published = operations.filter((operation) => operation.kind === "publish");
    this.#sent(published);
    for (const operation of operations) {
      if (operation.outcome !== "ok") continue;
      switch (operation.kind) {
        case "publish":
          this.#published(operation);
          break;
        case "host":
          this.#host(operation);
          break;
        case "history":
          this.#history(operation);
          break;
        case "check":
          this.#counts(operation);
          break;
        case "fleet":
          this.#rows(operation);
          break;
        case "manifest":
          this.#manifest(operation);
          break;
      }
    }
    this.#no_way_back(
      operations.filter((operation) => operation.kind !== "publish" && operation.kind !== "manifest"),
    );
    return this.#findings;
  }

  #look(promise: Promised, operation: Operation | null, says: () => string | null): void {
    this.#findings.looked_at[promise] += 1;
    const wrong = says();
    if (wrong === null) return;
    const what =
      operation === null
        ? ""
        : `operation ${operation.id}, ${operation.kind} by ${operation.client} of ${operation.node} ` +
          `at ${seconds(operation.invoked_ms)} to ${seconds(operation.ended_ms)}: `;
    this.#findings.violations.push({ promise, says: what + wrong });
  }

  #sent(published: readonly Publish[]): void {
    const may_be_there = new Map<string, boolean>();
    for (const { outcome, events } of published) {
      for (const { host_id, bytes } of events) {
        const key = key_of(host_id, bytes);
        may_be_there.set(key, outcome !== "fail" || may_be_there.get(key) === true);
      }
    }
    for (const key of this.#truth.keys) {
      const may = may_be_there.get(key);
      this.#look("nothing_else", null, () =>
        may === undefined ? `an event of ${host_of(key)} is in the log that nobody sent` : null,
      );
      if (may === false) {
        this.#look(
          "refused",
          null,
          () => `an event of ${host_of(key)} is in the log that was always refused`,
        );
      }
    }
    this.#findings.looked_at.refused += [...may_be_there.values()].filter((may) => !may).length;
  }

  #published(operation: Publish): void {
    for (const event of operation.events) this.#stored(operation, event);
    for (const facts of operation.hosts) {
      const { host_id } = facts;
      const acknowledged = operation.positions.get(this.#partition(host_id)) ?? 0n;
      const now = this.#truth.line_at(host_id, acknowledged);
      this.#look("facts", operation, () => {
        const lines = this.#truth.lines(host_id);
        const from = now === null ? 0 : lines.indexOf(now);
        const is_told = (line: FoldedLine) =>
          String(line.next_sequence) === facts.next_sequence && line.knowledge === facts.knowledge;
        return lines.slice(from).some(is_told)
          ? null
          : `${host_id} is acknowledged with ${facts.next_sequence} ${facts.knowledge}; ` +
              `at ${acknowledged} the log has ${now?.next_sequence} ${now?.knowledge}, and never that behind it`;
      });
    }
  }

  #stored(operation: Publish, { host_id, bytes }: SentEvent): void {
    const partition = this.#partition(host_id);
    const acknowledged = operation.positions.get(partition);
    this.#look("stored", operation, () => {
      if (acknowledged === undefined) return `acknowledged without a position of partition ${partition}`;
      const places = this.#truth.places(host_id, bytes);
      if (places.some((place) => place.partition === partition && place.offset < acknowledged)) return null;
      const found =
        places.length === 0
          ? "it is not in the log"
          : `it is only at ${places.map((place) => `${place.partition}:${place.offset}`).join(", ")}`;
      return `an event of ${host_id} is acknowledged below ${partition}:${acknowledged}; ${found}`;
    });
  }

  #manifest(operation: PublishManifest): void {
    const { name, offset } = operation;
    this.#look("stored", operation, () =>
      offset !== null && this.#truth.manifest_at(offset) === name
        ? null
        : `${name} is acknowledged at ${offset} of the catalog, and is not there`,
    );
  }

  #host(operation: AskHost): void {
    const { host_id, host, min_position } = operation;
    const partition = this.#partition(host_id);
    const at = operation.position?.get(partition);
    this.#seen(operation, [partition], []);
    if (host === null) {
      // That a host is not known is said without a position: what was asked for holds.
      const wanted = min_position?.get(partition) ?? 0n;
      this.#look("truth", operation, () =>
        this.#truth.line_at(host_id, wanted) === null
          ? null
          : `${host_id} is said to be unknown, asked at ${partition}:${wanted}`,
      );
      return;
    }
    this.#look("truth", operation, () => {
      if (at === undefined) return `${host_id} is answered without a position of its partition ${partition}`;
      const expected = this.#truth.line_at(host_id, at)?.host ?? "unknown";
      return expected === host ? null : `${host_id} at ${partition}:${at} is ${expected}; answered ${host}`;
    });
  }

  #history(operation: AskHistory): void {
    const { host_id, after, lines, more, min_position } = operation;
    const wanted = min_position?.get(this.#partition(host_id)) ?? 0n;
    const behind = this.#truth
      .lines(host_id)
      .filter(
        ({ offset, index }) =>
          after === null || offset > after.offset || (offset === after.offset && index > after.index),
      );
    this.#look("truth", operation, () => {
      const wrong = lines.findIndex((line, at) => !is_same_line(line, behind[at]));
      if (wrong < 0) return null;
      return `line ${wrong} of ${host_id}: ${describe(lines[wrong])}, the log has ${describe(behind[wrong])}`;
    });
    if (min_position === null) return;
    this.#look("min_position", operation, () => {
      const next = behind[lines.length];
      if (more || next === undefined || next.offset >= wanted) return null;
      return `the history of ${host_id} ends before ${describe(next)}, asked at ${wanted}`;
    });
  }

  #counts(operation: AskCheck): void {
    const { position, missing_partitions, candidate, catalog, hosts } = operation;
    if (position === null) return;
    this.#seen(operation, this.#all_partitions(), missing_partitions);
    this.#look("truth", operation, () => {
      const expected: Record<string, number> = { total: 0 };
      for (const [text, count] of this.#truth.configurations_at(position)) {
        const { verdict: name } = verdict(this.#truth.configuration(text), this.#truth.catalog_at(catalog), {
          name: candidate,
        });
        expected.total! += count;
        expected[name] = (expected[name] ?? 0) + count;
      }
      const wrong = Object.keys(hosts).filter(
        (name) => name !== "stale" && name !== "uncertain" && hosts[name] !== (expected[name] ?? 0),
      );
      const said = wrong.map((name) => `${name} ${hosts[name]}, not ${expected[name] ?? 0}`).join(", ");
      return wrong.length === 0 ? null : `${candidate} at ${text_of(position)}: ${said}`;
    });
  }

  #rows(operation: AskFleet): void {
    const { position, missing_partitions, rows } = operation;
    if (position === null) return;
    this.#seen(operation, this.#all_partitions(), missing_partitions);
    this.#look("truth", operation, () => {
      const left = this.#truth.configurations_at(position);
      for (const row of rows) {
        const text = configuration_text(row);
        const expected = left.get(text) ?? 0;
        if (expected !== row.hosts) {
          return `at ${text_of(position)} ${expected} hosts have ${text}; answered ${row.hosts}`;
        }
        left.delete(text);
      }
      const [missing] = left;
      return missing === undefined ? null : `at ${text_of(position)} no host has ${missing[0]}`;
    });
  }

  /** The answer's positions are not before those that were asked for. */
  #seen(operation: Asked & Operation, partitions: readonly number[], missing: readonly number[]): void {
    const { min_position, position } = operation;
    if (min_position === null || position === null) return;
    for (const partition of partitions) {
      if (missing.includes(partition)) continue;
      const wanted = min_position.get(partition) ?? 0n;
      const has = position.get(partition);
      this.#look("min_position", operation, () => {
        if (has === undefined) return `partition ${partition} is neither in the answer nor missing in it`;
        return has >= wanted ? null : `partition ${partition} is answered at ${has}, asked at ${wanted}`;
      });
    }
  }

  /** Over all clients, and whether they carry a position or not. */
  #no_way_back(asked: readonly (Asked & Operation)[]): void {
    const { only_waited, slack_ms, disturbed } = this.#order;
    const answers = asked.filter(({ outcome, position }) => outcome === "ok" && position !== null);
    const by_end = [...answers].sort((a, b) => a.ended_ms - b.ended_ms);
    const by_invocation = [...answers].sort((a, b) => a.invoked_ms - b.invoked_ms);
    const latest = new Map<number, { offset: bigint; operation: Asked & Operation }>();
    let ended = 0;
    for (const operation of by_invocation) {
      for (; by_end[ended]!.ended_ms + slack_ms < operation.invoked_ms; ended++) {
        const earlier = by_end[ended]!;
        for (const [partition, offset] of earlier.position!) {
          if (offset > (latest.get(partition)?.offset ?? -1n)) {
            latest.set(partition, { offset, operation: earlier });
          }
        }
      }
      if (only_waited && !operation.waited) continue;
      if (disturbed.some((span) => span.from_ms < operation.ended_ms && operation.invoked_ms < span.to_ms))
        continue;
      for (const [partition, offset] of operation.position!) {
        const before = latest.get(partition);
        this.#look("no_way_back", operation, () =>
          before === undefined || before.offset <= offset
            ? null
            : `partition ${partition} is answered at ${offset}; operation ${before.operation.id} of ` +
              `${before.operation.node} had it at ${before.offset} at ${seconds(before.operation.ended_ms)}`,
        );
      }
    }
  }

  #partition(host_id: string): number {
    return partition_of(new TextEncoder().encode(host_id), this.#truth.partitions);
  }

  #all_partitions(): number[] {
    return Array.from({ length: this.#truth.partitions }, (_, partition) => partition);
  }
}

function is_same_line(
  a: { offset: bigint; index: number; text: string },
  b: FoldedLine | undefined,
): boolean {
  return b !== undefined && a.offset === b.offset && a.index === b.index && a.text === b.text;
}

function describe(line: { offset: bigint; index: number; text: string } | undefined): string {
  return line === undefined ? "nothing" : `${line.offset}:${line.index} ${line.text}`;
}

function host_of(key: string): string {
  return key.slice(0, key.indexOf(" "));
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`;
}

function text_of(positions: Positions): string {
  return [...positions].map(([partition, offset]) => `${partition}:${offset}`).join(",");
}
