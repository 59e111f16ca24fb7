/** The topic of state changes beside what the plain model says that each applied event changed. */
import { isDeepStrictEqual } from "node:util";
import { decode_state_change } from "#services/events/state_change.js";
import { type ExpectedChange, expected_changes } from "../model/changes.js";
import type { Fact } from "./ending.js";
import type { ReadRecord } from "./topic_reader.js";
import type { TopicRecord, Truth } from "./truth.js";

/** Of changes told twice each is looked at, and the first one counts. */
export function changes_agree(
  told: readonly (readonly ReadRecord[])[],
  host_events: readonly (readonly TopicRecord[])[],
  truth: Truth,
): Fact {
  const name = "state changes, without repeats, are what the plain model says: all of them, in order";
  const wrong: string[] = [];
  let count = 0;
  for (const [partition, records] of host_events.entries()) {
    const expected = new ExpectedChanges(records, partition, truth);
    let next = 0;
    for (const { offset, key, headers, bytes } of told[partition] ?? []) {
      // A mark: where telling begins.
      if (key === null) continue;
      count += 1;
      const where = `partition ${partition} at ${offset}`;
      const change = decode_state_change(bytes);
      const { cause, host_id } = change;
      const id = `${cause.partition}:${cause.offset}:${cause.index}`;
      if (headers.ce_id !== id || String(key) !== host_id) {
        wrong.push(`${where}: ${id} of ${host_id} has the key ${key} and the id ${headers.ce_id}`);
        continue;
      }
      const at = expected.index_of(id);
      const due = at === undefined ? null : expected.of_catalog(change.catalog_next_offset)[at]!;
      if (at === undefined || due === null) {
        wrong.push(`${where}: ${id} of ${host_id} changed nothing`);
        continue;
      }
      if (at > next) {
        wrong.push(`${where}: ${id} comes before ${expected.ids[next]}`);
        next = at;
      }
      if (at === next) next += 1;
      const { event, change: _, stream, sequence, states_left_out, catalog_next_offset, ...rest } = change;
      if (!isDeepStrictEqual(rest, due)) {
        wrong.push(`${where}: ${id} is ${text_of(due)}; told ${text_of(rest)}`);
      }
    }
    if (next < expected.ids.length) {
      wrong.push(
        `partition ${partition}: ${expected.ids[next]} and ${expected.ids.length - next - 1} more are not told`,
      );
    }
  }
  return { name, count, wrong };
}

/** By the catalog that they were told with. */
class ExpectedChanges {
  /** Causes, in order. */
  readonly ids: readonly string[];
  readonly #places: Map<string, number>;
  readonly #of_catalog = new Map<bigint, ExpectedChange[]>();

  constructor(
    readonly records: readonly TopicRecord[],
    readonly partition: number,
    readonly truth: Truth,
  ) {
    this.ids = this.of_catalog(0n).map(({ cause }) => `${cause.partition}:${cause.offset}:${cause.index}`);
    this.#places = new Map(this.ids.map((id, at) => [id, at]));
  }

  index_of(id: string): number | undefined {
    return this.#places.get(id);
  }

  of_catalog(next_offset: bigint): ExpectedChange[] {
    const known = this.#of_catalog.get(next_offset);
    if (known !== undefined) return known;
    const changes = expected_changes(this.records, this.partition, this.truth.catalog_at(next_offset));
    this.#of_catalog.set(next_offset, changes);
    return changes;
  }
}

function text_of(value: unknown): string {
  return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? String(each) : each));
}
