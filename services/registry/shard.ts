/** A shard: some partitions, and the answers about them. Runs in a worker thread; shard_serving.ts is its door. */
import type { Verdict } from "../core/codes.js";
import { type CheckOutcome, Core } from "../core/core.js";
import { host_hashes, host_state } from "../core/host_hashes.js";
import { Problem } from "../events/problem.js";
import type { Disk } from "../log/disk.js";
import type { FleetRow, HistoryEntry } from "./answers.js";
import { CatalogFacts } from "./catalog_feed.js";
import {
  first_fresh_minute,
  type HostQuestion,
  history_entry,
  host_answer,
  host_warnings,
  is_stale,
  state_answer,
} from "./host_answers.js";
import { HostStory, type ScratchCores } from "./host_story.js";
import { Partition } from "./partition.js";
import { core_options } from "./partition_place.js";
import type { Instant } from "./service.js";
import type {
  Answer,
  Arguments,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  HostsPage,
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
  readonly #partitions: ReadonlyMap<number, Partition>;
  readonly #facts: CatalogFacts;
  readonly #scratch = new Map<number, Core[]>();
  readonly #lists = new Map<number, OpenList>();
  #next_list = 1;

  private constructor(
    start: ShardStart,
    partitions: Partition[],
    facts: CatalogFacts,
    /** Snapshots that the start did not use, and why. */
    readonly refused_snapshots: readonly string[],
  ) {
    this.#start = start;
    this.#partitions = new Map(partitions.map((partition) => [partition.partition, partition]));
    this.#facts = facts;
  }

  static async open(start: ShardStart, disk: Disk, now: () => number): Promise<Shard> {
    const partitions: Partition[] = [];
    const refused: string[] = [];
    const report = (message: string) => void refused.push(message);
    for (const partition of start.partitions) {
      partitions.push(await Partition.open({ disk, place: start.place, partition, report, now }));
    }
    const shard = new Shard(start, partitions, new CatalogFacts(), refused);
    for (const fact of start.catalog) shard.catalog(fact);
    return shard;
  }

  status() {
    return [...this.#partitions.values()].map((partition) => partition.status());
  }

  append(partition: number, records: Uint8Array[], hosts: string[]) {
    return this.#partition(partition).append(records, hosts);
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

  snapshot_made(partition: number, log_time_ms: number): void {
    this.#partition(partition).snapshot_made(log_time_ms);
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

  check(question: CheckQuestion): PartitionCheck[] {
    return [...this.#partitions.values()].map((partition) => {
      const { core } = partition;
      const next_offset = partition.log?.next_offset ?? 0n;
      if (!partition.serves) {
        return { partition: partition.partition, next_offset, outcomes: null, hosts: 0, stale: 0 };
      }
      const outcomes = this.#outcomes(partition, question);
      const fresh = first_fresh_minute(question.at_ms, this.#start.stale_after_ms);
      return {
        partition: partition.partition,
        next_offset,
        outcomes,
        hosts: core.host_count,
        stale: core.hosts_before_minute(fresh),
      };
    });
  }

  check_hosts(question: HostsCheckQuestion): HostsPage {
    const partition = this.#partition(question.partition);
    if (!partition.serves) return { hosts: [], next: null };
    const { core } = partition;
    const outcomes = this.#outcomes(partition, question);
    const { host_id, after, verdicts, max_age_ms, at_ms } = question;
    const tell = (host: number, outcome: CheckOutcome): HostOutcome | null => {
      const facts = core.host(host);
      const aged = max_age_ms !== null && is_stale(facts.effective_time_ms, at_ms, max_age_ms);
      const said = aged ? stale_outcome(outcome) : outcome;
      if (verdicts !== null && !verdicts.includes(said.verdict)) return null;
      const { verdict, reason, conflict, unresolved, replaces, warnings } = said;
      const stale = is_stale(facts.effective_time_ms, at_ms, this.#start.stale_after_ms);
      return { host_id: facts.host_id, verdict, reason, conflict, unresolved, replaces, warnings, stale };
    };
    if (host_id !== null) {
      const host = core.find_host(host_id);
      const one = host === null ? null : tell(host, outcomes[core.outcome_of_host(host)]!);
      return { hosts: one ? [one] : [], next: null };
    }
    // With max_age any host may become `unknown`: all are looked at.
    const wanted = outcomes.map(
      ({ verdict }) => verdicts === null || max_age_ms !== null || verdicts.includes(verdict as Verdict),
    );
    const last = after === null ? null : core.find_host(after);
    if (after !== null && last === null) {
      throw new Problem("bad_input", `there is no host ${after} to go on behind`, {
        field: "cursor",
        value: after,
      });
    }
    const first = last === null ? question.first : Math.max(question.first, last + 1);
    const page = core.hosts_page(first, wanted, question.count_max);
    const hosts = page.hosts
      .map(([host, outcome]) => tell(host, outcomes[outcome]!))
      .filter((one) => one !== null);
    return { hosts, next: page.next < core.host_count ? page.next : null };
  }

  fleet(): PartitionFleet[] {
    return [...this.#partitions.values()].map((partition) => ({
      partition: partition.partition,
      rows: partition.serves ? fleet_rows(partition.core) : null,
    }));
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

  #partition(partition: number): Partition {
    const owned = this.#partitions.get(partition);
    if (owned === undefined) throw new Error(`partition ${partition} is not of this shard`);
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

  #outcomes(partition: Partition, { candidate, at_ms, max_age_ms }: CheckQuestion): CheckOutcome[] {
    const outcomes = partition.core.check(candidate.name, Buffer.from(candidate.build_id ?? "", "hex"));
    return max_age_ms === null ? outcomes : partition.core.age_check(first_fresh_minute(at_ms, max_age_ms));
  }
}

function stale_outcome(outcome: CheckOutcome): CheckOutcome {
  const { warnings } = outcome;
  return {
    ...outcome,
    verdict: "unknown",
    reason: "stale",
    conflict: null,
    unresolved: null,
    replaces: [],
    // `forced` and `irreversible` warn who may load; this one is about what is there.
    warnings: warnings.filter((warning) => warning === "built_for_other_kernel"),
  };
}

function fleet_rows(core: Core): FleetRow[] {
  return Array.from(core.configurations(), (id) => {
    const configuration = core.configuration(id);
    const { kernel_release, arch, livepatching, policy, lingering, knowledge, forced, hosts } = configuration;
    return {
      kernel_release,
      arch,
      livepatching,
      policy,
      stack: configuration.stack.map(({ name, build_id, phase }) => ({ name, build_id, phase })),
      lingering,
      knowledge,
      forced,
      warnings: host_warnings(configuration),
      hosts,
    };
  });
}
