/**
 * What each event of a partition changed on its host, in the log's order: the log folded once more, behind the fold that
 * serves, by a core of its own that is asked before and after each event. It begins at the newest snapshot before the
 * first change that is wanted, and folds whole frames up to there.
 */
import { setImmediate } from "node:timers/promises";
import { type Configuration, Core, type CoreState } from "../core/core.js";
import { type CausePosition, is_after } from "../events/cause.js";
import { batch_spans, decode_event, type HostEvent } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import type { ToldChange } from "../events/state_change.js";
import type { Disk } from "../log/disk.js";
import { type LogRecord, records_of } from "../log/frame.js";
import type { LogFrame } from "../log/log.js";
import { apply_fact, type CatalogFacts } from "./catalog_feed.js";
import { type EventInLog, fold_event } from "./fold_event.js";
import { HostStory } from "./host_story.js";
import type { Partition } from "./partition.js";
import { core_options, type RegistryPlace } from "./partition_place.js";
import { restore_core } from "./snapshots.js";
import { load_completed, type StateLife, state_lives } from "./state_life.js";

export interface HostChangesOptions {
  partition: Partition;
  place: RegistryPlace;
  disk: Disk;
  /** Of the shard, which adds to them. */
  facts: CatalogFacts;
  /** Of the catalog that the facts are of. */
  catalog_next_offset(): bigint;
  /** The first change that is told is the one behind it; null: from the beginning. */
  after: CausePosition | null;
  report(message: string): void;
}

/** So many events are folded one by one before others run in the thread. */
const EVENTS_AT_ONCE = 64;
/** A story is one host's events: its core needs little. */
const STORY_MEMORY_BYTES_MAX = 256 * 1024 * 1024;

type Stack = Configuration["stack"];
/** Of the patches of a host that are in transition: whether their load had ever completed. Enabled ones had. */
type Completed = Map<string, boolean>;

export class HostChanges {
  readonly #options: HostChangesOptions;
  readonly #core: Core;
  /** By host, of those that were seen; a host without a patch in transition is not in it. */
  readonly #completed = new Map<number, Completed>();
  #story_core: Core | null = null;
  /** By the manifests' numbers. */
  readonly #states: (readonly CoreState[] | null)[] = [];
  #facts_applied = 0;
  #catalog_next_offset = 0n;
  #steps = 0;
  /** Of the record that is folded next. */
  #next_offset = 0n;

  private constructor(options: HostChangesOptions) {
    const { place, partition } = options;
    this.#options = options;
    this.#core = new Core(place.module, core_options(place, partition.partition));
  }

  static async open(options: HostChangesOptions): Promise<HostChanges> {
    const changes = new HostChanges(options);
    const { disk, place, partition, after, report } = options;
    const core = changes.#core;
    const snapshot = await restore_core(disk, place, core, partition.partition, report, ({ position }) => {
      return position.offset <= (after?.offset ?? 0n);
    });
    changes.#next_offset = snapshot?.position.offset ?? 0n;
    return changes;
  }

  /** One more than the offset of the last record that was folded whole. */
  get next_offset(): bigint {
    return this.#next_offset;
  }

  /**
   * The changes by what the log has now and had not when this was called before; a few at a time. It is to be read to
   * its end, or never again. Throws LogCorruption, and Problem where the core is full.
   */
  async *pending(): AsyncGenerator<ToldChange[]> {
    const { partition, after } = this.#options;
    for await (const frame of partition.serving_log().read(this.#next_offset)) {
      if (frame.next_offset <= (after?.offset ?? 0n) && frame.first_offset >= this.#next_offset) {
        this.#fold_whole(frame);
        continue;
      }
      for (const record of records_of(frame.bytes)) {
        if (record.offset >= this.#next_offset) yield* this.#changes_of(record);
      }
    }
  }

  #fold_whole(frame: LogFrame): void {
    if (this.#core.fold_frames(frame.bytes, false) !== "folded") throw this.#full();
    this.#next_offset = frame.next_offset;
  }

  async *#changes_of({ offset, log_time_ms, bytes }: LogRecord): AsyncGenerator<ToldChange[]> {
    let told: ToldChange[] = [];
    if (this.#core.takes_record(bytes)) {
      for (const { index, from, start, end } of batch_spans(bytes)) {
        const event = bytes.subarray(start, end);
        const in_log = { offset, index, log_time_ms, batch: bytes.subarray(from, end) };
        const change = await this.#step(in_log, event);
        if (change !== null) told.push(change);
        if (++this.#steps % EVENTS_AT_ONCE !== 0) continue;
        if (told.length > 0) yield told;
        told = [];
        await setImmediate();
      }
    }
    this.#next_offset = offset + 1n;
    if (told.length > 0) yield told;
  }

  /** Null: the event has no effect, or its change is not wanted. */
  async #step(in_log: EventInLog, bytes: Uint8Array): Promise<ToldChange | null> {
    const { partition, after } = this.#options;
    const core = this.#core;
    this.#follow_catalog();
    const event = decode_event(bytes);
    const host_id = event.host_id ?? "";
    const known = core.find_host(host_id);
    const before = known === null ? null : core.configuration(core.host(known).configuration);
    const folded = fold_event(core, in_log);
    if (folded === null) throw this.#full();
    const { effect, host, facts, anomalies, effective_time_ms } = folded;
    if (effect !== "applied") return null;
    const configuration = core.configuration(facts.configuration);
    const was_completed = this.#completed.get(host);
    this.#remember(host, before?.stack ?? [], configuration.stack, was_completed);
    const { offset, index, log_time_ms } = in_log;
    if (!is_after({ offset, index }, after)) return null;
    return {
      cause: { partition: partition.partition, offset, index },
      host_id,
      event: bytes,
      log_time_ms,
      effective_time_ms,
      before,
      after: configuration,
      anomalies,
      states: await this.#lives(in_log, event, before?.stack ?? [], configuration.stack, was_completed),
      catalog_next_offset: this.#catalog_next_offset,
    };
  }

  #follow_catalog(): void {
    const { facts, catalog_next_offset } = this.#options;
    this.#catalog_next_offset = catalog_next_offset();
    for (; this.#facts_applied < facts.all.length; this.#facts_applied++) {
      const fact = facts.all[this.#facts_applied]!;
      apply_fact(this.#core, fact);
      if (fact.fact === "published") {
        this.#states[fact.number] = fact.manifest.states_unknown ? null : fact.manifest.states;
      }
    }
  }

  #remember(host: number, before: Stack, after: Stack, was_completed: Completed | undefined): void {
    const completed: Completed = new Map();
    for (const entry of after) {
      if (entry.phase === "enabled") continue;
      const is_completed = load_completed(entry, before, (name) =>
        had_completed(before, name, was_completed),
      );
      if (is_completed !== null) completed.set(entry.name, is_completed);
    }
    if (completed.size > 0) this.#completed.set(host, completed);
    else if (was_completed !== undefined) this.#completed.delete(host);
  }

  async #lives(
    in_log: EventInLog,
    event: HostEvent,
    before: Stack,
    after: Stack,
    was_completed: Completed | undefined,
  ): Promise<StateLife[]> {
    const states_of = (manifest: number) => this.#states[manifest] ?? null;
    const disabled = event.disabled?.patch?.name ?? null;
    const completed = disabled === null ? false : had_completed(before, disabled, was_completed);
    const lives = state_lives(before, after, states_of, disabled, completed ?? true);
    if (completed !== null || !lives.some(({ change }) => change === "withdrawn")) return lives;
    const is_so = await this.#told_completed(event.host_id ?? "", disabled!, in_log);
    return state_lives(before, after, states_of, disabled, is_so);
  }

  /** Of a patch whose transition began before the first event that was folded by itself: the host's history tells. */
  async #told_completed(host_id: string, patch: string, at: EventInLog): Promise<boolean> {
    const { partition, facts } = this.#options;
    const log = partition.serving_log();
    const host = partition.core.find_host(host_id);
    const found = host === null ? null : partition.events_of(host);
    const scratch = { take: () => this.#take_story_core(), give_back: () => {} };
    const story = new HostStory({ log, found, facts, scratch, next_offset: log.next_offset }, host_id, null);
    let completed = false;
    for await (const step of story.steps()) {
      if (!is_after(at, step)) break;
      completed = step.completed.has(patch);
    }
    return completed;
  }

  #take_story_core(): Core {
    const { place, partition } = this.#options;
    const options = {
      ...core_options(place, partition.partition),
      memory_bytes_max: STORY_MEMORY_BYTES_MAX,
    };
    if (this.#story_core === null) this.#story_core = new Core(place.module, options);
    else this.#story_core.restart(options);
    return this.#story_core;
  }

  #full(): Problem {
    const { partition } = this.#options.partition;
    return new Problem(
      "unavailable",
      `partition ${partition}: the core that tells its changes is full at offset ${this.#next_offset}`,
    );
  }
}

/** Of a patch on the stack before an event; null: not known. */
function had_completed(before: Stack, name: string, known: Completed | undefined): boolean | null {
  if (before.some((entry) => entry.name === name && entry.phase === "enabled")) return true;
  return known?.get(name) ?? null;
}
