/** The log as somebody read it who has no part in the product, and what the plain model makes of it. */
import { klpstate } from "#services/events/proto.js";
import { apply_catalog_record, type CatalogModel, new_catalog } from "../model/catalog.js";
import type { Configuration } from "../model/fold.js";
import {
  apply_record,
  events_of,
  type FoldedEvent,
  hosts_digest,
  new_registry,
  type RegistryModel,
} from "../model/registry.js";
import type { HistoryLine, HostText, Positions } from "./operations.js";
import { configuration_of_model, host_text_of_model } from "./texts.js";

export interface TopicRecord {
  offset: bigint;
  bytes: Uint8Array;
  log_time_ms: bigint;
}

export interface Topics {
  /** By partition, in the order of offsets. */
  host_events: readonly (readonly TopicRecord[])[];
  catalog: readonly TopicRecord[];
}

/** One event of a host, and what the host is after it. */
export interface FoldedLine extends HistoryLine {
  host: HostText;
  configuration: string;
  next_sequence: bigint;
  knowledge: string;
  applied: boolean;
}

export interface Place {
  partition: number;
  offset: bigint;
}

/** Where in an ordered list the items end that are below; binary. */
function count_below<Item>(items: readonly Item[], is_below: (item: Item) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (is_below(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Truth {
  readonly partitions: number;
  /** Each host's events, in its partition's order. */
  readonly #hosts = new Map<string, FoldedLine[]>();
  /** By text. */
  readonly #configurations = new Map<string, Configuration>();
  readonly #places = new Map<string, Place[]>();
  readonly #models: RegistryModel[];
  readonly #catalog: readonly TopicRecord[];
  readonly #catalogs = new Map<bigint, CatalogModel>();
  readonly events: number;

  constructor({ host_events, catalog }: Topics) {
    this.partitions = host_events.length;
    this.#catalog = catalog;
    this.#models = host_events.map((records, partition) => this.#fold(partition, records));
    this.events = [...this.#hosts.values()].reduce((sum, lines) => sum + lines.length, 0);
  }

  #fold(partition: number, records: readonly TopicRecord[]): RegistryModel {
    const model = new_registry();
    for (const record of records) {
      const bytes_of_events = events_of(record.bytes);
      for (const [index, folded] of apply_record(model, record).entries()) {
        const { host_id } = folded.event;
        this.#note_place(key_of(host_id, bytes_of_events[index]!), { partition, offset: record.offset });
        const configuration = configuration_of_model(folded.host);
        if (!this.#configurations.has(configuration)) this.#configurations.set(configuration, folded.host);
        const line = {
          partition,
          offset: record.offset,
          index,
          text: line_text(folded),
          host: host_text_of_model(folded.host),
          configuration,
          next_sequence: folded.host.sequence + 1n,
          knowledge: folded.host.knowledge,
          applied: folded.effect === "applied",
        };
        const lines = this.#hosts.get(host_id);
        if (lines === undefined) this.#hosts.set(host_id, [line]);
        else lines.push(line);
      }
      // Of the past only the lines are asked for, and it would fill the memory.
      model.histories.clear();
    }
    return model;
  }

  #note_place(key: string, place: Place): void {
    const places = this.#places.get(key);
    if (places === undefined) this.#places.set(key, [place]);
    else places.push(place);
  }

  /** Where an event stands, by its bytes; more than once where it was sent again. */
  places(host_id: string, bytes: Uint8Array): readonly Place[] {
    return this.#places.get(key_of(host_id, bytes)) ?? [];
  }

  /** Each event that is there, as `key_of` names it. */
  get keys(): Iterable<string> {
    return this.#places.keys();
  }

  lines(host_id: string): readonly FoldedLine[] {
    return this.#hosts.get(host_id) ?? [];
  }

  /** The host's last event below an offset; null: there was none. */
  line_at(host_id: string, next_offset: bigint): FoldedLine | null {
    const lines = this.lines(host_id);
    return lines[count_below(lines, ({ offset }) => offset < next_offset) - 1] ?? null;
  }

  /** How many hosts have each configuration, of the partitions that have a position. */
  configurations_at(positions: Positions): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [host_id, [first]] of this.#hosts) {
      const next_offset = positions.get(first!.partition);
      const line = next_offset === undefined ? null : this.line_at(host_id, next_offset);
      if (line !== null) counts.set(line.configuration, (counts.get(line.configuration) ?? 0) + 1);
    }
    return counts;
  }

  configuration(text: string): Configuration {
    return this.#configurations.get(text)!;
  }

  catalog_at(next_offset: bigint): CatalogModel {
    const known = this.#catalogs.get(next_offset);
    if (known !== undefined) return known;
    const catalog = new_catalog();
    for (const { offset, bytes } of this.#catalog) {
      if (offset < next_offset) apply_catalog_record(catalog, klpstate.v1.CatalogRecord.decode(bytes));
    }
    this.#catalogs.set(next_offset, catalog);
    return catalog;
  }

  /** Name of the manifest that the catalog's record at the offset publishes; null: it is none. */
  manifest_at(offset: bigint): string | null {
    const record = this.#catalog.find((each) => each.offset === offset);
    return (record && klpstate.v1.CatalogRecord.decode(record.bytes).published?.name) ?? null;
  }

  digest(partition: number): { digest: string; hosts: number } {
    const { hosts } = this.#models[partition]!;
    return { digest: hosts_digest(hosts.values()), hosts: hosts.size };
  }
}

export function key_of(host_id: string, event: Uint8Array): string {
  return `${host_id} ${Buffer.from(event).toString("latin1")}`;
}

function line_text({ event, effect, anomalies, host }: FoldedEvent): string {
  const stack = host.stack.map(({ name }) => name);
  const { stream, sequence, change = "unknown" } = event;
  return JSON.stringify([String(stream), String(sequence), change, effect, anomalies, stack, host.knowledge]);
}
