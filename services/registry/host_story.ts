/**
 * One host's history: its events read from the partition's log and folded one at a time in a core of their own, so
 * that what stood after each of them can be told. The same core, the same rules, the same log as the live state.
 */
import type { Anomaly, Effect } from "../core/codes.js";
import type { Configuration, Core, CoreState, StackEntry } from "../core/core.js";
import type { HostEvent } from "../events/codec.js";
import { change_of } from "../events/schema.js";
import { u64_to_bigint } from "../events/u64.js";
import type { Log } from "../log/log.js";
import type { CatalogFacts } from "./catalog_feed.js";
import { fold_event } from "./fold_event.js";
import { host_events } from "./host_events.js";
import type { FoundEvent } from "./partition.js";
import { load_completed, type StateLife, state_lives } from "./state_life.js";

/** Of a patch on the stack. */
export interface Arrival {
  effective_time_ms: number;
  offset: bigint;
  index: number;
}

/** An event of the host, and what stands after it. */
export interface StoryStep {
  offset: bigint;
  index: number;
  log_time_ms: number;
  event: HostEvent;
  effect: Effect;
  anomalies: Anomaly[];
  effective_time_ms: number;
  /** Afterwards. */
  configuration: Configuration;
  stream: bigint;
  sequence: number;
  boot_id: string | null;
  boot_time_unix_s: bigint | null;
  /** The event that put each patch on the stack, by name. */
  arrivals: ReadonlyMap<string, Arrival>;
  /** Patches on the stack whose load has ever completed. */
  completed: ReadonlySet<string>;
  states: StateLife[];
}

/** A core that is free to be used for a story, and its way back. */
export interface ScratchCores {
  take(): Core;
  give_back(core: Core): void;
}

export interface StorySource {
  log: Log;
  /** Where the chain finds the host's events; null: it does not. */
  found: FoundEvent[] | null;
  facts: CatalogFacts;
  scratch: ScratchCores;
  /** Of the log, as far as it is known at the instant. */
  next_offset: bigint;
}

export class HostStory {
  readonly #source: StorySource;
  readonly #core: Core;
  readonly #host_id: string;
  /** Null: all that is known now. */
  readonly #known_at_ms: number | null;
  // The manifests given to the core so far: their names, and their states by the core's number.
  #names = new Set<string>();
  #states: (CoreState[] | null)[] = [];
  #folded: { batch: Uint8Array; offset: bigint; index: number; log_time_ms: number }[] = [];
  constructor(source: StorySource, host_id: string, known_at_ms: number | null) {
    this.#source = source;
    this.#core = source.scratch.take();
    this.#host_id = host_id;
    this.#known_at_ms = known_at_ms;
  }

  /** To be called once the story is told. */
  close(): void {
    this.#source.scratch.give_back(this.#core);
  }

  /** In the log's order. Throws LogCorruption. */
  async *steps(): AsyncGenerator<StoryStep> {
    const core = this.#core;
    const { log, found } = this.#source;
    let stack: Configuration["stack"] = [];
    let stream = 0n;
    let boot_id: string | null = null;
    let boot_time_unix_s: bigint | null = null;
    let arrivals = new Map<string, Arrival>();
    let completed = new Set<string>();
    for await (const told of host_events(log, this.#host_id, found, this.#known_at_ms, core)) {
      const { offset, index, log_time_ms, event, batch } = told;
      this.#folded.push({ batch, offset, index, log_time_ms });
      const folded = fold_event(core, told);
      if (folded === null) throw new Error("one host's history does not fit into a core");
      const { effect, anomalies, effective_time_ms, facts } = folded;
      const configuration = this.#configuration(facts.configuration);
      const change = change_of(event);
      if (effect === "applied") {
        if (event.observed) {
          boot_id = event.observed.boot_id?.length
            ? Buffer.from(event.observed.boot_id).toString("hex")
            : null;
          boot_time_unix_s = u64_to_bigint(event.observed.boot_time_unix_s) || null;
        } else if (facts.stream !== stream) {
          boot_id = null;
          boot_time_unix_s = null;
        }
      }
      stream = facts.stream;
      const disabled = change === "disabled" ? (event.disabled?.patch?.name ?? null) : null;
      const states = state_lives(
        stack,
        configuration.stack,
        (manifest) => this.#states[manifest] ?? null,
        disabled,
        disabled !== null && completed.has(disabled),
      );
      const arrival = { effective_time_ms, offset, index };
      arrivals = new Map(
        configuration.stack.map(({ name }) => [name, arrivals.get(name) ?? arrival] as const),
      );
      const is_completed = (entry: StackEntry) => load_completed(entry, stack, (name) => completed.has(name));
      completed = new Set(configuration.stack.filter(is_completed).map(({ name }) => name));
      stack = configuration.stack;
      yield {
        offset,
        index,
        log_time_ms,
        event,
        effect,
        anomalies,
        effective_time_ms,
        configuration,
        stream,
        sequence: facts.sequence,
        boot_id,
        boot_time_unix_s,
        arrivals,
        completed,
        states,
      };
    }
  }

  /** Of what was read. */
  get next_offset(): bigint {
    return this.#source.next_offset;
  }

  /** Folds the first `count` steps anew, so that the core stands where it stood after them; the host's number. */
  stand_after(count: number): number {
    if (count !== this.#folded.length) {
      this.#source.scratch.give_back(this.#core);
      if (this.#source.scratch.take() !== this.#core) throw new Error("a scratch core was lent twice");
      this.#names.clear();
      this.#states = [];
      for (const { batch, offset, index, log_time_ms } of this.#folded.slice(0, count)) {
        this.#core.fold_record(batch, { offset, index }, log_time_ms);
      }
    }
    const host = this.#core.find_host(this.#host_id)!;
    this.#configuration(this.#core.host(host).configuration);
    return host;
  }

  get core(): Core {
    return this.#core;
  }

  /** The manifest's states array, as the kernel sees it; null: it does not say. */
  states_of(manifest: number): readonly CoreState[] | null {
    return this.#states[manifest] ?? null;
  }

  /** The catalog's word on a name; whether the core did not have it. */
  know(name: string): boolean {
    if (this.#names.has(name)) return false;
    this.#names.add(name);
    const manifests = this.#source.facts.of_name(name, this.#known_at_ms);
    for (const { manifest } of manifests) {
      this.#states[this.#core.put_manifest(manifest)] = manifest.states_unknown ? null : manifest.states;
    }
    return manifests.length > 0;
  }

  /** The configuration, with the catalog's word on every name in it. */
  #configuration(configuration: number): Configuration {
    const seen = this.#core.configuration(configuration);
    const fresh = seen.stack.filter(({ name }) => this.know(name)).length > 0;
    return fresh ? this.#core.configuration(configuration) : seen;
  }
}
