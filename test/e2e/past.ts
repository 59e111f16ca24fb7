/**
 * A log with log times of the test's choosing, written as the product writes it, and what the plain model says of
 * every instant in it: what was asked as of when, known at when.
 */
import type { HistoryEntry, HostAnswer, StateAnswer } from "#services/registry/answers.js";
import {
  apply_catalog_record,
  type CatalogModel,
  is_built_for_other_kernel,
  manifests_named,
  new_catalog,
  resolve,
} from "../model/catalog.js";
import { verdict } from "../model/check.js";
import type { HostModel, StackEntry } from "../model/fold.js";
import { first_version, minimum_version, previous_holder, type StatesArray } from "../model/kernel.js";
import { as_of, type FoldedEvent, hosts_per_configuration, type RegistryModel } from "../model/registry.js";
import { type View, view_of_model } from "./views.js";

type CatalogRecord = Parameters<typeof apply_catalog_record>[1];

export interface TimedCatalogRecord {
  record: CatalogRecord;
  log_time_ms: number;
}

/** What a person can write as a time ends with the year 9999. */
export const INSTANT_MAX_MS = 253_402_300_799_999n;
const STALE_AFTER_MINUTES = 26n * 60n;

export interface Instants {
  /** Undefined: now. */
  as_of_ms?: bigint | undefined;
  /** Undefined: all that is known. */
  known_at_ms?: bigint | undefined;
}

export interface Question extends Instants {
  host_id: string;
}

export interface HostVerdictFacts {
  host_id: string;
  verdict: string;
  reason: string | null;
  replaces: string[];
  warnings: string[];
  stale: boolean;
  uncertain: boolean;
}

export interface HostFacts {
  view: View;
  boot_id: string | null;
  last_event: string;
  stale: boolean;
  uncertain: boolean;
  warnings: string[];
  /** Of the stack, oldest first. */
  since: string[];
  manifests: string[];
  states: ({ id: string; version: number }[] | null)[];
}

export interface HistoryFacts {
  log_time: string;
  effective_time: string;
  stream: string;
  sequence: string;
  effect: string;
  anomalies: string[];
  stack: string[];
  knowledge: string;
}

export class PastModel {
  constructor(
    private readonly registry: RegistryModel,
    private readonly catalog: readonly TimedCatalogRecord[],
    /** The clock when it is asked. */
    private readonly now_ms: bigint,
  ) {}

  get hosts(): string[] {
    return [...this.registry.hosts.keys()];
  }

  /** Null: not known then. */
  host({ host_id, as_of_ms, known_at_ms }: Question): HostFacts | null {
    const instant_ms = as_of_ms ?? this.now_ms;
    const { host, uncertain } = as_of(this.registry, host_id, instant_ms, known_at_ms);
    if (host === null) return null;
    const catalog = this.catalog_at(known_at_ms);
    const manifests = host.stack.map((entry) => resolve(catalog, entry, host));
    const warnings = host.stack.some((entry) => is_built_for_other_kernel(catalog, entry, host))
      ? ["built_for_other_kernel"]
      : [];
    return {
      view: view_of_model(host),
      boot_id: host.boot_id,
      last_event: time_text(host.effective_time_ms),
      stale: instant_ms / 60_000n - host.effective_time_ms / 60_000n > STALE_AFTER_MINUTES,
      uncertain,
      warnings: [...(host.forced ? ["forced"] : []), ...warnings],
      since: this.arrivals({ host_id, as_of_ms, known_at_ms }),
      manifests: manifests.map((manifest) => (typeof manifest === "string" ? manifest : "known")),
      states: manifests.map((manifest) =>
        typeof manifest === "string" || manifest.states_unknown ? null : state_texts(manifest.states),
      ),
    };
  }

  /** Names of all patches that the catalog ever had. */
  get patches(): string[] {
    return [...new Set(this.catalog.flatMap(({ record }) => record.published?.name ?? []))];
  }

  /** Whether the catalog had a manifest of the name. */
  knows(name: string, known_at_ms: bigint | undefined): boolean {
    return manifests_named(this.catalog_at(known_at_ms), name).length > 0;
  }

  /** What a check says of each host that was known, by host id. */
  verdicts(name: string, { as_of_ms, known_at_ms }: Instants): Map<string, HostVerdictFacts> {
    const catalog = this.catalog_at(known_at_ms);
    const said = new Map<string, HostVerdictFacts>();
    for (const host_id of this.hosts) {
      const facts = this.host({ host_id, as_of_ms, known_at_ms });
      const { host } = as_of(this.registry, host_id, as_of_ms ?? this.now_ms, known_at_ms);
      if (facts === null || host === null) continue;
      const { stale, uncertain } = facts;
      const { verdict: is, reason, replaces, warnings } = verdict(host, catalog, { name });
      said.set(host_id, { host_id, verdict: is, reason, replaces, warnings, stale, uncertain });
    }
    return said;
  }

  /** Hosts of each configuration, under the model's keys. */
  fleet({ as_of_ms, known_at_ms }: Instants): Map<string, number> {
    const hosts = this.hosts.map(
      (host_id) => as_of(this.registry, host_id, as_of_ms ?? this.now_ms, known_at_ms).host,
    );
    return hosts_per_configuration(hosts.filter((host) => host !== null));
  }

  history(question: Question): HistoryFacts[] {
    return this.entries(question).map((entry) => ({
      log_time: time_text(entry.log_time_ms),
      effective_time: time_text(entry.effective_time_ms),
      stream: String(BigInt.asUintN(64, BigInt(entry.event.stream.toString()))),
      sequence: entry.event.sequence.toString(),
      effect: entry.effect,
      anomalies: entry.anomalies,
      stack: entry.host.stack.map(({ name }) => name),
      knowledge: entry.host.knowledge,
    }));
  }

  /** Null: the host was not known then. */
  state(
    question: Question,
    id: bigint,
    lookup: { kind: "of" | "prev_of"; patch: string } | null,
  ): Omit<StateAnswer, "at"> | null {
    const { host } = as_of(
      this.registry,
      question.host_id,
      question.as_of_ms ?? this.now_ms,
      question.known_at_ms,
    );
    if (host === null) return null;
    const stack = this.stack_states(host, question.known_at_ms);
    const arrays = stack.map(({ states }) => states ?? []);
    const holders = stack.flatMap(({ entry, states }) => {
      const versions = (states ?? []).filter((state) => state.id === id).map(({ version }) => version);
      const { name, build_id, phase } = entry;
      return versions.length === 0
        ? []
        : [{ patch: name, build_id: build_id === "" ? null : build_id, phase, versions }];
    });
    const place = lookup === null ? -1 : host.stack.findIndex(({ name }) => name === lookup.patch);
    const found_at =
      lookup === null || place < 0
        ? -1
        : lookup.kind === "of"
          ? place
          : previous_holder(arrays.slice(0, place), id);
    const version = found_at < 0 ? null : first_version(arrays[found_at]!, id);
    return {
      host_id: question.host_id,
      state: String(id),
      holders,
      minimum_version: minimum_version(arrays, id),
      lookup: lookup && {
        ...lookup,
        found: version === null ? null : { patch: host.stack[found_at]!.name, version },
      },
      unresolved: stack.flatMap(({ entry, states }) => (states === null ? [entry.name] : [])),
    };
  }

  /** After each event of the host the version in effect of every state that a known patch on its stack has. */
  states_in_effect(host_id: string): Map<string, number>[] {
    return (this.registry.histories.get(host_id) ?? []).map(({ host }) => {
      const versions = new Map<string, number>();
      for (const { states } of this.stack_states(host, undefined)) {
        for (const { id } of states ?? []) versions.set(String(id), first_version(states!, id)!);
      }
      return versions;
    });
  }

  private stack_states(
    host: HostModel,
    known_at_ms: bigint | undefined,
  ): { entry: StackEntry; states: StatesArray | null }[] {
    const catalog = this.catalog_at(known_at_ms);
    return host.stack.map((entry) => {
      const manifest = resolve(catalog, entry, host);
      const unknown = typeof manifest === "string" || manifest.states_unknown;
      return { entry, states: unknown ? null : manifest.states };
    });
  }

  private entries({ host_id, as_of_ms, known_at_ms }: Question): FoldedEvent[] {
    return (this.registry.histories.get(host_id) ?? []).filter(
      (entry) =>
        (known_at_ms === undefined || entry.log_time_ms <= known_at_ms) &&
        (as_of_ms === undefined || entry.effective_time_ms <= as_of_ms),
    );
  }

  private catalog_at(known_at_ms: bigint | undefined): CatalogModel {
    const catalog = new_catalog();
    for (const { record, log_time_ms } of this.catalog) {
      if (known_at_ms === undefined || BigInt(log_time_ms) <= known_at_ms)
        apply_catalog_record(catalog, record);
    }
    return catalog;
  }

  /** When each patch of the stack came to it: since then no event has left it out. */
  private arrivals(question: Question): string[] {
    let since = new Map<string, string>();
    for (const { host, effective_time_ms } of this.entries(question)) {
      const names = host.stack.map(({ name }) => name);
      since = new Map(names.map((name) => [name, since.get(name) ?? time_text(effective_time_ms)]));
    }
    return [...since.values()];
  }
}

export function host_facts(answer: HostAnswer, view: View): HostFacts {
  const { boot_id, last_event, stale, uncertain, warnings, stack } = answer;
  return {
    view,
    boot_id,
    last_event,
    stale,
    uncertain,
    warnings,
    since: stack.map((entry) => entry.since),
    manifests: stack.map((entry) => entry.manifest),
    states: stack.map((entry) => entry.states),
  };
}

export function history_facts(entry: HistoryEntry): HistoryFacts {
  const { log_time, effective_time, stream, sequence, effect, anomalies, stack, knowledge } = entry;
  return { log_time, effective_time, stream, sequence, effect, anomalies, stack, knowledge };
}

function state_texts(states: StatesArray): { id: string; version: number }[] {
  return states.map(({ id, version }) => ({ id: String(id), version }));
}

export function time_text(time_ms: bigint): string {
  return new Date(Number(time_ms > INSTANT_MAX_MS ? INSTANT_MAX_MS : time_ms)).toISOString();
}

/** Catalog records come in between the records of the log, spread evenly. */
export function catalog_times(
  records: readonly CatalogRecord[],
  log_times_ms: bigint[],
): TimedCatalogRecord[] {
  return records.map((record, index) => ({
    record,
    log_time_ms: Number(log_times_ms[Math.floor((index * log_times_ms.length) / records.length)]!),
  }));
}
