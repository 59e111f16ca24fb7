import { Core } from "../core/core.js";
import { host_hashes, host_state } from "../core/host_hashes.js";
import { Problem } from "../events/problem.js";
import type { Disk } from "../log/disk.js";
import type { HistoryEntry } from "./answers.js";
import { CatalogFacts } from "./catalog_feed.js";
import { check_batch_of_core, check_core, check_hosts_of_core, fleet_rows } from "./core_answers.js";
import { type HostQuestion, history_entry, host_answer, host_check, state_answer } from "./host_answers.js";
import { HostLines } from "./host_lines.js";
import { HostStory, type ScratchCores } from "./host_story.js";
import { SharedWords } from "./outcome_words.js";
import { Partition } from "./partition.js";
import { core_options } from "./partition_place.js";
import type { Instant } from "./service.js";
import type {
  Answer,
  Arguments,
  BatchQuestion,
  CheckQuestion,
  HostsCheckQuestion,
  HostsPage,
  LinesPage,
  PartitionBatch,
  PartitionCheck,
  PartitionDigest,
  PartitionFleet,
  PartitionHashes,
  PartitionHostState,
  ShardOperations,
  ShardStart,
} from "./shard_protocol.js";

/** The operations, as the shard does them: some take their time. */
export type ShardWork = {
  [Op in keyof ShardOperations]: (...args: Arguments<Op>) => Answer<Op> | Promise<Answer<Op>>;
};

/** Entries of a list that cross the thread at once. */
const PAGE_ENTRIES = 256;
/** Lists that are open at once: each holds a core. */
const LISTS_MAX = 32;
/** A story is one host's events: its core needs little. */
const STORY_MEMORY_BYTES_MAX = 256 * 1024 * 1024;

interface OpenList {
  entries: AsyncGenerator<HistoryEntry>;
  close(): void;
}

export class Shard implements ShardWork {
  readonly #start: ShardStart;
  readonly #partitions = new Map<number, Partition>();
  readonly #disk: Disk;
  readonly #now: () => number;
  readonly #facts: CatalogFacts;
  readonly #scratch = new Map<number, Core[]>();
  readonly #lists = new Map<number, OpenList>();
  readonly #host_lines = new WeakMap<Core, HostLines>();
  #next_list = 1;

  /** Snapshots that the start did not use, and why. */
  readonly refused_snapshots: string[] = [];

  private constructor(start: ShardStart, disk: Disk, now: () => number) {
    this.#start = start;
    this.#disk = disk;
    this.#now = now;
    this.#facts = new CatalogFacts();
  }

  get facts(): CatalogFacts {
    return this.#facts;
  }

  static async open(start: ShardStart, disk: Disk, now: () => number): Promise<Shard> {
    const shard = new Shard(start, disk, now);
    for (const fact of start.catalog) shard.catalog(fact);
    const report = (message: string) => void shard.refused_snapshots.push(message);
    for (const partition of start.open) await shard.open_partition(partition, report);
    return shard;
  }

  /** Opens one that is not open; `report` is told of snapshots that are not used. Throws as Partition.open. */
  async open_partition(partition: number, report: (message: string) => void): Promise<Partition> {
    const { place } = this.#start;
    const opened = await Partition.open({ disk: this.#disk, place, partition, report, now: this.#now });
    for (const fact of this.#facts.all) opened.apply_fact(fact);
    this.#partitions.set(partition, opened);
    return opened;
  }

  /** From now on nobody is answered for it; resolves when its files are closed. */
  async close_partition(partition: number): Promise<void> {
    const closed = this.#partitions.get(partition);
    this.#partitions.delete(partition);
    this.#scratch.delete(partition);
    await closed?.close();
  }

  status() {
    return [...this.#partitions.values()].map((partition) => partition.status());
  }

  append(...[partition, records, hosts, wants_facts, demand]: Arguments<"append">) {
    return this.#partition(partition).append(records, hosts, wants_facts, demand);
  }

  catalog(fact: Arguments<"catalog">[0]): void {
    this.#facts.add(fact);
    for (const partition of this.#partitions.values()) partition.apply_fact(fact);
  }

  async wait_for(positions: Arguments<"wait_for">[0], wait_ms: number) {
    const wanted = positions.map(([partition, next]) => ({ owned: this.#partition(partition), next }));
    const all = wanted.map(async ({ owned, next }) => {
      if (!(await owned.folded(next, wait_ms))) throw new Error("behind");
    });
    // One that is broken is told at once: what the others wait for would not help.
    await Promise.all(all).catch(() => {});
    return wanted.map(({ owned, next }) => owned.behind(next)).filter((behind) => behind !== null);
  }

  async host_facts(...[partition, hosts, next_offset, wait_ms]: Arguments<"host_facts">) {
    const owned = this.#partition(partition);
    return (await owned.folded(next_offset, wait_ms)) ? owned.core.host_facts(hosts) : null;
  }

  host(partition: number, host_id: string, instant: Instant, at_ms: number) {
    const question = this.#question(partition, host_id, instant, at_ms);
    return this.#tell(question, (story) => host_answer(question, story));
  }

  state(...[partition, host_id, state, instant, lookup, at_ms]: Arguments<"state">) {
    const question = this.#question(partition, host_id, instant, at_ms);
    return this.#tell(question, (story) => state_answer(question, story, state, lookup));
  }

  /** Where the log ends, with its chain in its files up to there. */
  chained_position(partition: number, durable: boolean) {
    return this.#partition(partition).chained_position(durable);
  }

  chain_gaps() {
    return [...this.#partitions.values()].flatMap((partition) => partition.chain_gaps());
  }

  chain_made(partition: number, segment: bigint): void {
    this.#partition(partition).chain_made(segment);
  }

  snapshot_made(...[partition, position]: Arguments<"snapshot_made">): void {
    this.#partition(partition).snapshot_made(position);
  }

  async history(partition: number, host_id: string, instant: Instant): Promise<number | null> {
    if (this.#lists.size >= LISTS_MAX) {
      throw new Problem("busy", `${this.#lists.size} histories are being read; ask again later`, {
        limit: `${LISTS_MAX} histories at once`,
      });
    }
    const story = await this.#story(partition, host_id, instant);
    if (story === null) return null;
    const { as_of_ms } = instant;
    async function* entries(told: HostStory): AsyncGenerator<HistoryEntry> {
      for await (const step of told.steps()) {
        if (as_of_ms === undefined || step.effective_time_ms <= as_of_ms)
          yield history_entry(partition, step);
      }
    }
    const list = this.#next_list++;
    this.#lists.set(list, { entries: entries(story), close: () => story.close() });
    return list;
  }

  async pull(list: number) {
    const open = this.#lists.get(list);
    const items: HistoryEntry[] = [];
    if (open === undefined) return { items, done: true };
    try {
      while (items.length < PAGE_ENTRIES) {
        const { value, done } = await open.entries.next();
        if (done) {
          this.cancel(list);
          return { items, done: true };
        }
        items.push(value);
      }
      return { items, done: false };
    } catch (error) {
      this.cancel(list);
      throw error;
    }
  }

  cancel(list: number): void {
    this.#lists.get(list)?.close();
    this.#lists.delete(list);
  }

  check(question: CheckQuestion, partitions: number[]): PartitionCheck[] {
    const { stale_after_ms } = this.#start;
    const shared = new SharedWords();
    return this.#in_cores(partitions, question.at_ms, (core) =>
      check_core(core, question, stale_after_ms, shared),
    );
  }

  check_batch(question: BatchQuestion, partitions: number[]): PartitionBatch[] {
    const { stale_after_ms } = this.#start;
    return this.#in_cores(partitions, question.at_ms, (core) =>
      check_batch_of_core(core, question, stale_after_ms),
    );
  }

  check_hosts(question: HostsCheckQuestion): HostsPage {
    const { core, serves } = this.#partition(question.partition);
    if (!serves) return { hosts: [], next: null };
    core.mark_doubt(question.at_ms);
    return check_hosts_of_core(core, question, this.#start.stale_after_ms);
  }

  check_lines(question: HostsCheckQuestion): LinesPage {
    const { core, serves } = this.#partition(question.partition);
    if (!serves) return { lines: new Uint8Array(), hosts: 0, next: null };
    core.mark_doubt(question.at_ms);
    const lines = this.#host_lines.get(core) ?? new HostLines(core);
    this.#host_lines.set(core, lines);
    return lines.page(question, this.#start.stale_after_ms);
  }

  /** As of an instant; null: nothing of the host was known then. */
  check_host(...[partition, host_id, candidate, instant, at_ms, max_age_ms]: Arguments<"check_host">) {
    const question = this.#question(partition, host_id, instant, at_ms);
    const check: CheckQuestion = { candidate, at_ms, max_age_ms };
    return this.#tell(question, (story) => host_check(question, story, check));
  }

  fleet(partitions: number[]): PartitionFleet[] {
    return partitions.map((partition) => {
      const open = this.#partitions.get(partition);
      const next_offset = open?.log?.next_offset ?? 0n;
      return { partition, next_offset, rows: open?.serves ? fleet_rows(open.core) : null };
    });
  }

  // The three that a replay asks for return at once, so that each is true of one position.

  digest(partition: number): PartitionDigest {
    const owned = this.#partition(partition);
    return { next_offset: owned.serving_log().next_offset, digest: owned.digest() };
  }

  host_hashes(partition: number): PartitionHashes {
    const owned = this.#partition(partition);
    return { next_offset: owned.serving_log().next_offset, hashes: host_hashes(owned.core) };
  }

  host_state(partition: number, host: number): PartitionHostState {
    const owned = this.#partition(partition);
    return { next_offset: owned.serving_log().next_offset, state: host_state(owned.core, host) };
  }

  async close(): Promise<void> {
    for (const list of [...this.#lists.keys()]) this.cancel(list);
    await Promise.all([...this.#partitions.values()].map((partition) => partition.close()));
  }

  /** Of each partition; null where it is not served. Hosts in doubt at the instant are marked. */
  #in_cores<Found>(
    partitions: number[],
    at_ms: number,
    find: (core: Core) => Found,
  ): { partition: number; next_offset: bigint; found: Found | null }[] {
    return partitions.map((partition) => {
      const open = this.#partitions.get(partition);
      const next_offset = open?.log?.next_offset ?? 0n;
      if (open === undefined || !open.serves) return { partition, next_offset, found: null };
      open.core.mark_doubt(at_ms);
      return { partition, next_offset, found: find(open.core) };
    });
  }

  #partition(partition: number): Partition {
    const owned = this.#partitions.get(partition);
    if (owned === undefined) {
      throw new Problem("unavailable", `partition ${partition} is not kept here at the moment`);
    }
    return owned;
  }

  #question(partition: number, host_id: string, instant: Instant, at_ms: number): HostQuestion {
    return { host_id, partition, instant, at_ms, stale_after_ms: this.#start.stale_after_ms };
  }

  /** Null: the host is not known at all, which costs no reading. */
  async #story(partition: number, host_id: string, instant: Instant): Promise<HostStory | null> {
    const owned = this.#partition(partition);
    const log = owned.serving_log();
    const host = owned.core.find_host(host_id);
    if (host === null) return null;
    const { known_at_ms = null } = instant;
    const found = owned.events_of(host);
    const next_offset = known_at_ms === null ? log.next_offset : await owned.next_offset_at(known_at_ms);
    const scratch = this.#scratch_of(partition);
    return new HostStory({ log, found, facts: this.#facts, scratch, next_offset }, host_id, known_at_ms);
  }

  async #tell<Told>(
    question: HostQuestion,
    tell: (story: HostStory) => Promise<Told | null>,
  ): Promise<Told | null> {
    const story = await this.#story(question.partition, question.host_id, question.instant);
    if (story === null) return null;
    try {
      return await tell(story);
    } finally {
      story.close();
    }
  }

  /** Cores are kept for the next story: each holds address space until the garbage collector comes by. */
  #scratch_of(partition: number): ScratchCores {
    const { place } = this.#start;
    const options = { ...core_options(place, partition), memory_bytes_max: STORY_MEMORY_BYTES_MAX };
    const free = this.#scratch.get(partition) ?? [];
    this.#scratch.set(partition, free);
    return {
      take() {
        const core = free.pop();
        if (core === undefined) return new Core(place.module, options);
        core.restart(options);
        return core;
      },
      give_back: (core) => void free.push(core),
    };
  }
}
