import type { Catalog } from "../catalog/catalog.js";
import type { Published } from "../catalog/manifests.js";
import type { BatchPart, WayIn } from "../core/way_in.js";
import type { Manifest } from "../events/codec.js";
import { partition_of } from "../events/partition.js";
import { Problem } from "../events/problem.js";
import { fault_problem } from "../events/record_error.js";
import { format_time } from "../events/time.js";
import { validate_batch } from "../events/validate.js";
import type { Claim } from "../log/claim.js";
import { type Acknowledgement, acknowledge } from "./acknowledgement.js";
import type {
  At,
  BatchAnswer,
  CheckAnswer,
  FleetRow,
  HistoryEntry,
  HostAnswer,
  HostVerdict,
  SnapshotsAnswer,
  StateAnswer,
} from "./answers.js";
import { batch_answer, check_answer, host_verdict } from "./check_answers.js";
import { HOSTS_PAGE, lines_of } from "./host_lines.js";
import type { Keeper } from "./keeper.js";
import type { Asker, Intake, Partitions } from "./partitions.js";
import type { PastInstants } from "./past.js";
import { standing } from "./past_questions.js";
import type { PastThreads } from "./past_threads.js";
import { type Behind, type MinPosition, not_caught_up } from "./positions.js";
import type {
  Candidate,
  CatalogEntry,
  CheckOptions,
  FleetFound,
  HostCheckOptions,
  Identity,
  IngestOptions,
  Instant,
  PublishOutcome,
  RegistryService,
  ReplayedPartition,
  StateLookup,
} from "./service.js";
import type {
  Answer,
  Arguments,
  HostOutcome,
  HostsCheckQuestion,
  HostsPage,
  LinesPage,
  Operation,
  PartitionDigest,
  PartitionFleet,
  PartitionHashes,
  PartitionHostState,
  PartitionStatus,
} from "./shard_protocol.js";

/** Lists of hosts' verdicts that are read at once: a page of each may wait for a shard. */
const HOST_LISTS_MAX = 256;

/** What a registry is put together from. */
export interface RegistryParts {
  claim: Claim;
  catalog: Catalog;
  /** How many there are. */
  partition_count: number;
  /** Their logs are replicas. */
  replica: boolean;
  partitions: Partitions;
  intake: Intake;
  now(): number;
  /** Null: no snapshots are made. */
  keeper: Keeper | null;
  past: PastThreads;
  start: RegistryStart;
  /** Resolves if it can answer no more. */
  lost: Promise<Error>;
  /** Why it should not be asked yet; null: it may be. Default: it may. */
  starting?(): string | null;
  /** See RegistryService.reset_partition; only where logs are replicas. */
  reset?(partition: number): Promise<string>;
  /** See RegistryService.silent. Default: none. */
  silent?(): { partition: number; reason: string }[];
}

/** What a start found, and had to read. */
export interface RegistryStart {
  /** Partitions that went on from a snapshot. */
  snapshots: number;
  /** Of the partitions' logs; what was behind the snapshots. */
  log_bytes_read: number;
}

export class Registry implements RegistryService {
  readonly partitions: number;
  readonly #parts: RegistryParts;
  readonly #way_in: WayIn;
  #host_lists = 0;

  constructor(parts: RegistryParts, way_in: WayIn) {
    this.partitions = parts.partition_count;
    this.#parts = parts;
    this.#way_in = way_in;
  }

  get replica(): boolean {
    return this.#parts.replica;
  }

  get starting(): string | null {
    return this.#parts.starting?.() ?? null;
  }

  get silent(): { partition: number; reason: string }[] {
    return this.#parts.silent?.() ?? [];
  }

  /** The registry's directory. */
  get data(): string {
    return this.#parts.claim.directory;
  }

  get start(): RegistryStart {
    return this.#parts.start;
  }

  /** Resolves if a part of it ends and was not asked to: then it can answer no more. */
  get lost(): Promise<Error> {
    return this.#parts.lost;
  }

  /** Where the owner listens for commands on its directory. */
  get door_path(): string {
    return this.#parts.claim.door.path;
  }

  async ingest(batch: Uint8Array, { hosts = true }: IngestOptions = {}): Promise<Acknowledgement> {
    return acknowledge(await this.#parts.intake.store(this.#cut(batch), hosts));
  }

  #cut(batch: Uint8Array): BatchPart[] {
    const cut = this.#way_in.cut(batch, this.partitions);
    if (!("error" in cut)) return cut.parts;
    // The slow path says which field it is.
    const fault = validate_batch(batch);
    if (fault === null)
      throw new Error(`the core refuses what is good: error ${cut.error} of event ${cut.index}`);
    throw fault_problem(fault);
  }

  async wait_for(positions: MinPosition, wait_ms: number): Promise<void> {
    const parts = this.#behind(positions, wait_ms).map(async (part) => {
      const behind = await part;
      if (behind.length > 0) throw not_caught_up(behind);
    });
    try {
      await Promise.all(parts);
    } catch {
      // The first that was behind has ended the wait; the message names what all of them lack.
      const missing = (await Promise.all(this.#behind(positions, 0))).flat();
      if (missing.length > 0) throw not_caught_up(missing);
    }
  }

  async host(host_id: string, instant: Instant): Promise<HostAnswer | null> {
    const partition = this.partition_of(host_id);
    const catalog = this.#catalog_at(instant);
    const answer = await this.#ask(partition, "host", [partition, host_id, instant, this.#parts.now()]);
    return answer && { ...answer, at: { ...answer.at, catalog } };
  }

  async state(
    host_id: string,
    state: bigint,
    instant: Instant,
    lookup?: StateLookup,
  ): Promise<StateAnswer | null> {
    const partition = this.partition_of(host_id);
    const question = [partition, host_id, state, instant, lookup ?? null, this.#parts.now()] as const;
    const catalog = this.#catalog_at(instant);
    const answer = await this.#ask(partition, "state", [...question]);
    return answer && { ...answer, at: { ...answer.at, catalog } };
  }

  async history(host_id: string, instant: Instant): Promise<AsyncIterable<HistoryEntry> | null> {
    const partition = this.partition_of(host_id);
    const { answer, by } = await this.#parts.partitions.ask_whom(partition, "history", [
      partition,
      host_id,
      instant,
    ]);
    return answer === null ? null : pull_list(by, answer);
  }

  async check(candidate: Candidate, options: CheckOptions): Promise<CheckAnswer> {
    const { instant = {}, max_age_ms = null } = options;
    this.#known_candidate(candidate, instant, "patch");
    const { at_ms, past } = this.#instants(instant);
    const catalog = this.#catalog_at(instant);
    const question = { candidate, at_ms, max_age_ms };
    const partitions = await this.#parts.partitions.check(question, past);
    const answered = partitions.filter(({ found }) => found !== null);
    return { ...check_answer(candidate, partitions), at: at_of(at_ms, instant, catalog, answered) };
  }

  async check_batch(candidates: readonly Candidate[], options: CheckOptions): Promise<BatchAnswer> {
    const { instant = {}, max_age_ms = null } = options;
    for (const [i, candidate] of candidates.entries())
      this.#known_candidate(candidate, instant, `patches[${i}]`);
    const { at_ms, past } = this.#instants(instant);
    const catalog = this.#catalog_at(instant);
    const question = { candidates: [...candidates], at_ms, max_age_ms };
    const partitions = await this.#parts.partitions.check_batch(question, past);
    const answered = partitions.filter(({ found }) => found !== null);
    return { ...batch_answer(candidates, partitions), at: at_of(at_ms, instant, catalog, answered) };
  }

  check_hosts(candidate: Candidate, options: HostCheckOptions): AsyncGenerator<HostVerdict> {
    return this.#as_host_list(candidate, options, this.#verdicts(candidate, options));
  }

  check_lines(
    candidate: Candidate,
    options: HostCheckOptions,
    limit = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<Uint8Array> {
    return this.#as_host_list(candidate, options, this.#lines(candidate, options, limit));
  }

  async *#as_host_list<Item>(
    candidate: Candidate,
    options: HostCheckOptions,
    items: AsyncIterable<Item>,
  ): AsyncGenerator<Item> {
    this.#known_candidate(candidate, options.instant ?? {}, "patch");
    if (this.#host_lists >= HOST_LISTS_MAX) {
      throw new Problem("busy", `${this.#host_lists} lists of hosts are being read; ask again later`, {
        limit: `${HOST_LISTS_MAX} lists at once`,
      });
    }
    this.#host_lists += 1;
    try {
      yield* items;
    } finally {
      this.#host_lists -= 1;
    }
  }

  async *#verdicts(candidate: Candidate, options: HostCheckOptions): AsyncGenerator<HostVerdict> {
    const { host_id = null, verdicts = null, max_age_ms = null, instant = {} } = options;
    const { at_ms, past } = this.#instants(instant);
    const { partitions } = this.#parts;
    if (host_id !== null) {
      const partition = this.partition_of(host_id);
      const question = [partition, host_id, candidate, instant, at_ms, max_age_ms] as const;
      const host = await this.#ask(partition, "check_host", [...question]);
      if (host === null || !(verdicts?.includes(host.verdict) ?? true)) return;
      yield await this.#with_event(host_verdict(host, candidate), instant);
      return;
    }
    const hosts = this.#in_order(candidate, options, at_ms, (question) =>
      past === null ? this.#hosts_now(question) : partitions.past_hosts(past, question),
    );
    for await (const host of hosts) yield host_verdict(host, candidate);
  }

  async *#lines(candidate: Candidate, options: HostCheckOptions, limit: number): AsyncGenerator<Uint8Array> {
    const { host_id, instant = {} } = options;
    const { at_ms, past } = this.#instants(instant);
    if (host_id !== undefined || past !== null) {
      yield* lines_of(this.#verdicts(candidate, options), limit);
      return;
    }
    let left = limit;
    const pages = this.#in_order(candidate, options, at_ms, (question) =>
      this.#lines_now(question, () => left),
    );
    for await (const { lines, hosts } of pages) {
      left -= hosts;
      yield lines;
      if (left === 0) return;
    }
  }

  /** Of partition after partition what `items_of` tells; one that cannot tell is missing, if nothing of it was told. */
  async *#in_order<Item>(
    candidate: Candidate,
    options: HostCheckOptions,
    at_ms: number,
    items_of: (question: HostsCheckQuestion) => AsyncIterable<Item>,
  ): AsyncGenerator<Item> {
    const { verdicts = null, max_age_ms = null } = options;
    const begin = options.after === undefined ? 0 : this.partition_of(options.after);
    for (let partition = begin; partition < this.partitions; partition++) {
      const after = partition === begin ? (options.after ?? null) : null;
      const question: HostsCheckQuestion = {
        candidate,
        at_ms,
        max_age_ms,
        partition,
        verdicts,
        after,
        first: 0,
        count_max: HOSTS_PAGE,
      };
      let is_begun = false;
      try {
        for await (const item of items_of(question)) {
          is_begun = true;
          yield item;
        }
      } catch (error) {
        // A part of a partition would look like all of it.
        if (is_begun || !(error instanceof Problem) || error.code !== "unavailable") throw error;
        options.missing?.add(partition);
      }
    }
  }

  async *#hosts_now(question: HostsCheckQuestion): AsyncGenerator<HostOutcome> {
    for (let first: number | null = 0; first !== null; ) {
      const page: HostsPage = await this.#ask(question.partition, "check_hosts", [{ ...question, first }]);
      yield* page.hosts;
      first = page.next;
    }
  }

  async *#lines_now(question: HostsCheckQuestion, left: () => number): AsyncGenerator<LinesPage> {
    for (let first: number | null = 0; first !== null; ) {
      const page = await this.#parts.partitions.check_lines({ ...question, first, count_max: left() });
      if (page.hosts > 0) yield page;
      first = page.next;
    }
  }

  async fleet(instant: Instant): Promise<FleetFound> {
    const { at_ms, past } = this.#instants(instant);
    const catalog = this.#catalog_at(instant);
    const partitions = await this.#parts.partitions.fleet(past);
    const missing = partitions.filter(({ rows }) => rows === null).map(({ partition }) => partition);
    const answered = partitions.filter(({ rows }) => rows !== null);
    return {
      rows: merged_rows(partitions),
      missing_partitions: missing.sort((a, b) => a - b),
      at: at_of(at_ms, instant, catalog, answered),
    };
  }

  digest(partition: number): Promise<PartitionDigest> {
    return this.#ask(partition, "digest", [partition]);
  }

  host_hashes(partition: number): Promise<PartitionHashes> {
    return this.#ask(partition, "host_hashes", [partition]);
  }

  host_state(partition: number, host: number): Promise<PartitionHostState> {
    return this.#ask(partition, "host_state", [partition, host]);
  }

  status(): Promise<PartitionStatus[]> {
    return this.#parts.partitions.status();
  }

  own_status(): Promise<PartitionStatus[]> {
    return this.#parts.partitions.own_status();
  }

  own_partitions(): number[] {
    return this.#parts.partitions.own();
  }

  replay_elsewhere(partitions: number[], to: bigint | null): Promise<ReplayedPartition[]> {
    return this.#parts.partitions.replay_elsewhere(partitions, to);
  }

  reset_partition(partition: number): Promise<string> {
    const { reset } = this.#parts;
    if (reset !== undefined) return reset(partition);
    const says = "this registry's log is its own and not a replica: there is nothing to begin it again from";
    throw new Problem("contradiction", says, { field: "partition", value: String(partition) });
  }

  async snapshot(): Promise<SnapshotsAnswer> {
    const { keeper } = this.#parts;
    if (keeper === null) throw new Problem("unavailable", "this registry makes no snapshots");
    return await keeper.run(true);
  }

  async publish(manifest: Manifest): Promise<PublishOutcome> {
    const { published, outcome } = await this.#parts.catalog.publish(manifest);
    const {
      name = "",
      kernel_release = "",
      arch = "",
      build_id = new Uint8Array(),
    } = published.manifest as Required<Identity>;
    return { identity: { name, kernel_release, arch, build_id }, outcome, offset: published.offset };
  }

  async withdraw(identity: Identity, reason: string, by: string): Promise<{ offset: bigint }> {
    const published = await this.#parts.catalog.withdraw(identity, reason, by);
    return { offset: published.withdrawn!.offset };
  }

  patches(filter: { name?: string; withdrawn?: boolean }): CatalogEntry[] {
    const { manifests } = this.#parts.catalog;
    const found = filter.name === undefined ? manifests.all : manifests.of_name(filter.name);
    return found.filter((entry) => filter.withdrawn || entry.withdrawn === null).map(catalog_entry);
  }

  async close(): Promise<void> {
    const { partitions, catalog, claim, keeper, past } = this.#parts;
    await Promise.all([keeper?.close(), past.close()]);
    await partitions.close();
    await catalog.close();
    claim.release();
  }

  /** Throws Problem for an id that no host can have. */
  partition_of(host_id: string): number {
    return partition_of(new TextEncoder().encode(host_id), this.partitions);
  }

  /** The verdict with the event that put the conflict's holder on the host's stack. */
  async #with_event(said: HostVerdict, instant: Instant): Promise<HostVerdict> {
    if (said.conflict === null) return said;
    const { holder } = said.conflict;
    const held = (await this.host(said.host_id, instant))?.stack.find((entry) => entry.name === holder);
    // What happened between the two questions may have taken the holder away.
    if (held === undefined) return said;
    return { ...said, conflict: { ...said.conflict, since: held.since, event: held.event } };
  }

  #ask<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<Awaited<Answer<Op>>> {
    return this.#parts.partitions.ask(partition, operation, given);
  }

  /** Of partitions, and of the catalog. */
  #behind({ partitions, catalog }: MinPosition, wait_ms: number): Promise<Behind[]>[] {
    const { partitions: all, catalog: own } = this.#parts;
    const of_partitions = all.behind(partitions, wait_ms);
    if (catalog === null) return of_partitions;
    const of_catalog = own.folded(catalog, wait_ms).then((folded): Behind[] => {
      return folded ? [] : [{ partition: "catalog", wanted: catalog, has: own.next_offset, broken: null }];
    });
    return [...of_partitions, of_catalog];
  }

  /** Of a question now, `past` is null. */
  #instants({ as_of_ms, known_at_ms }: Instant): { at_ms: number; past: PastInstants | null } {
    const at_ms = as_of_ms ?? this.#parts.now();
    if (as_of_ms === undefined && known_at_ms === undefined) return { at_ms, past: null };
    return { at_ms, past: { as_of_ms: as_of_ms ?? null, known_at_ms: known_at_ms ?? null, doubt_ms: at_ms } };
  }

  #known_candidate({ name, build_id }: Candidate, { known_at_ms }: Instant, field: string): void {
    const { manifests } = this.#parts.catalog;
    const builds = manifests.of_name(name).filter((entry) => standing(entry, known_at_ms ?? null));
    const hex = (published: Published) => Buffer.from(published.manifest.build_id ?? []).toString("hex");
    if (builds.some((published) => build_id === undefined || hex(published) === build_id)) return;
    const asked = build_id === undefined ? name : `${name}@${build_id}`;
    const hint =
      builds.length === 0
        ? "add its manifest with `klpstate patch add`"
        : "`klpstate patch list` shows its builds";
    const when = known_at_ms === undefined ? "has" : `had, at ${format_time(known_at_ms)},`;
    throw new Problem("not_found", `the catalog ${when} no patch ${asked}; ${hint}`, {
      field,
      value: asked,
    });
  }

  /** To be asked before the partitions are: they know of no less when they answer. */
  #catalog_at({ known_at_ms }: Instant): string {
    return String(this.#parts.catalog.position_at(known_at_ms));
  }
}

/** `answered`: the partitions that did, and how far of their logs they know. */
function at_of(
  at_ms: number,
  { known_at_ms }: Instant,
  catalog: string,
  answered: { partition: number; next_offset: bigint }[],
): At {
  const position = Object.fromEntries(
    answered
      .toSorted((a, b) => a.partition - b.partition)
      .map(({ partition, next_offset }) => [partition, String(next_offset)]),
  );
  return {
    as_of: format_time(at_ms),
    known_at: known_at_ms === undefined ? null : format_time(known_at_ms),
    position,
    catalog,
  };
}

/** The most hosts first; equal numbers by what they say. */
function merged_rows(partitions: PartitionFleet[]): FleetRow[] {
  const rows = new Map<string, FleetRow>();
  for (const { rows: found } of partitions) {
    for (const row of found ?? []) {
      const { hosts, ...what } = row;
      const key = JSON.stringify(what);
      const known = rows.get(key);
      if (known) known.hosts += hosts;
      else rows.set(key, row);
    }
  }
  return [...rows.entries()]
    .sort(([a_key, a], [b_key, b]) => b.hosts - a.hosts || (a_key < b_key ? -1 : 1))
    .map(([, row]) => row);
}

function catalog_entry({ offset, log_time_ms, manifest, withdrawn, refused }: Published): CatalogEntry {
  return { offset, log_time_ms, manifest, ...(withdrawn && { withdrawn }), refused };
}

async function* pull_list(by: Asker, list: number): AsyncGenerator<HistoryEntry> {
  let done = false;
  try {
    while (!done) {
      const page = await by.ask("pull", [list]);
      done = page.done;
      yield* page.items;
    }
  } finally {
    if (!done) await by.ask("cancel", [list]);
  }
}
