/**
 * One partition's core: the only code beside way_in.ts that sees pointers. Everything returned is a copy or a plain
 * value, except `input()`, which is to be filled at once.
 */
import {
  BATCH_CANDIDATES,
  type CodeCounts,
  check_counts,
  counts_of,
  read_code_counts,
  write_candidates,
} from "./candidate_batch.js";
import { ANOMALIES, type Anomaly, EFFECTS, names_of_bits } from "./codes.js";
import type { CoreExports } from "./exports.js";
import type {
  AgedHosts,
  ChainPiece,
  CheckCount,
  CheckOutcome,
  Configuration,
  CoreCandidate,
  CoreImage,
  CoreManifest,
  CoreOptions,
  Demand,
  HostFacts,
  Outcome,
  PageRun,
  Position,
  Quarantined,
} from "./facts.js";
import { HOST_FACTS_BYTES, type HostList } from "./host_list.js";
import { write_manifest } from "./manifest_bytes.js";
import { address, CoreMemory } from "./module.js";
import { CoreView, position_of } from "./view.js";

export type * from "./facts.js";

const NONE = 0xffffffff;
const NO_POSITION = 0xffffffffffffffffn;
const OUTCOME_BYTES = 40;
/** Of a bitmap: 16,384 hosts. */
const BITMAP_BLOCK_BYTES = 2048;
/** No minute is before the first. */
const NO_AGE: AgedHosts = { minute: 0, wanted: false };
const PAGE_BYTES = 65536;
const ZERO_PAGE = new Uint8Array(PAGE_BYTES);
/** 2^32 less a reserve, so that no address wraps. */
export const MEMORY_BYTES_MAX = (65536 - 16) * PAGE_BYTES;

const to_utf8 = new TextEncoder();

export type FoldStatus = "folded" | "partition_full";

// What a call of the fold is for: core-wasm/assembly/fold.ts.
const PLAIN = 0;
const WITH_OUTCOMES = 1;
const WITH_CHAIN = 2;
const AS_OF = 3;
// Of one entry of each table of the chain: core-wasm/assembly/chain.ts.
const CHAIN_FRAME_BYTES = 40;
const CHAIN_RECORD_BYTES = 8;
const CHAIN_ENTRY_BYTES = 16;

export class Core {
  #core: CoreExports;
  #memory: CoreMemory;
  #revision = 0;
  readonly #view: CoreView;

  constructor(module: WebAssembly.Module, options: CoreOptions) {
    this.#core = new WebAssembly.Instance(module).exports as unknown as CoreExports;
    this.#memory = new CoreMemory(this.#core.memory);
    this.#view = new CoreView(this.#core, this.#memory);
    this.restart(options);
  }

  /** Forgets everything, for another history. */
  restart(options: CoreOptions): void {
    this.#revision++;
    this.#view.clear();
    const pages = Math.floor((options.memory_bytes_max ?? MEMORY_BYTES_MAX) / PAGE_BYTES);
    const { partition, partitions, seed } = options;
    if (!this.#core.start(partition ?? NONE, partitions, pages, seed ?? 0n)) {
      throw new Error(`the core does not start in ${pages * PAGE_BYTES} bytes of memory`);
    }
  }

  /** Of RULES F as this core knows them: digests of different versions cannot be compared. */
  get fold_version(): number {
    return this.#core.fold_version();
  }

  /** Another one after each call that the outcomes of the check before it do not outlast. */
  get revision(): number {
    return this.#revision;
  }

  // The fold.

  /** Where frames are put before `fold_frames`: at most this many bytes at once. */
  get input_bytes_max(): number {
    return this.#core.input_bytes();
  }

  /** The first `length` bytes of the input; good until the core is called. */
  input(length: number): Uint8Array {
    if (length > this.#core.input_bytes())
      throw new RangeError(`${length} bytes do not fit into the core's input`);
    return this.#memory.bytes(address(this.#core.input()), length);
  }

  /**
   * Folds whole, checked frames; those that stand in `input()` already are not copied. `outcomes`: keep what became of
   * each event, one frame a call. `partition_full`: nothing from the record at `stopped_at` on was applied.
   */
  fold_frames(frames: Uint8Array, outcomes: boolean): FoldStatus {
    const at = this.#frames_at(frames);
    return folded(this.#core.fold_frames(at, frames.length, outcomes ? WITH_OUTCOMES : PLAIN, 0n, 0n));
  }

  /** As `fold_frames`, and tells the chain of the frames piece by piece, each good until `tell` returns. */
  fold_chained(frames: Uint8Array, tell: (piece: ChainPiece) => void): FoldStatus {
    const core = this.#core;
    const begin = this.#frames_at(frames);
    const end = begin + frames.length;
    let at = begin;
    do {
      const status = folded(core.fold_frames(at, end - at, WITH_CHAIN, 0n, 0n));
      if (status !== "folded") return status;
      const to = address(core.folded_to());
      tell({
        folded: this.#memory.bytes(at, to - at),
        bytes: to - at,
        frames: this.#memory.bytes(
          address(core.chain_frames()),
          core.chain_frame_count() * CHAIN_FRAME_BYTES,
        ),
        records: this.#memory.bytes(
          address(core.chain_records()),
          core.chain_record_count() * CHAIN_RECORD_BYTES,
        ),
        entries: this.#memory.bytes(
          address(core.chain_entries()),
          core.chain_entry_count() * CHAIN_ENTRY_BYTES,
        ),
      });
      at = to;
    } while (at < end);
    return "folded";
  }

  /**
   * Folds of the frames the events that took effect by `up_to_ms`, and marks the hosts that any of them puts in doubt at
   * `doubt_ms` (RULES F8). `entries`: the chain's, of all events of the frames. "no_chain": they are not of these frames,
   * and the core is spoilt.
   */
  fold_as_of(
    frames: Uint8Array,
    entries: Uint8Array,
    up_to_ms: number,
    doubt_ms: number,
  ): FoldStatus | "no_chain" {
    const core = this.#core;
    const at = this.#frames_at(frames);
    this.#memory.bytes(address(core.chain_entries()), entries.length).set(entries);
    const status = folded(core.fold_frames(at, frames.length, AS_OF, BigInt(up_to_ms), BigInt(doubt_ms)));
    if (core.marks_full() !== 0) return "partition_full";
    return core.chain_entry_count() * CHAIN_ENTRY_BYTES === entries.length ? status : "no_chain";
  }

  #frames_at(frames: Uint8Array): number {
    this.#revision++;
    const input = this.input(this.#core.input_bytes());
    if (frames.buffer === input.buffer) return frames.byteOffset;
    input.set(frames);
    return address(this.#core.input());
  }

  /** Folds one record as if it stood at the position. */
  fold_record(record: Uint8Array, position: Position, log_time_ms: number): FoldStatus {
    this.#revision++;
    this.input(record.length).set(record);
    const { offset, index } = position;
    return folded(this.#core.fold_record(record.length, offset, index, BigInt(log_time_ms)));
  }

  /** Whether the fold would apply the record; changes nothing. */
  takes_record(record: Uint8Array): boolean {
    this.input(record.length).set(record);
    return this.#core.judge_record(record.length) === 0;
  }

  /** How many events the last fold looked at. */
  get outcome_count(): number {
    return this.#core.outcome_count();
  }

  /** Of the last fold with outcomes, by the order of events. */
  outcome(i: number): Outcome {
    const at = address(this.#core.outcomes()) + i * OUTCOME_BYTES;
    const view = this.#memory.view;
    return {
      position: position_of(view.getBigUint64(at, true))!,
      previous: position_of(view.getBigUint64(at + 8, true)),
      effective_time_ms: Number(view.getBigUint64(at + 16, true)),
      host: view.getUint32(at + 24, true),
      anomalies: names_of_bits(view.getUint32(at + 28, true), ANOMALIES),
      effect: EFFECTS[view.getUint32(at + 32, true)]!,
    };
  }

  /** Of the last fold; at most the first 4,096. */
  quarantined(): Quarantined[] {
    const at = address(this.#core.quarantined());
    const view = this.#memory.view;
    return Array.from({ length: this.#core.quarantined_count() }, (_, i) => ({
      offset: view.getBigUint64(at + i * 16, true),
      error: view.getUint32(at + i * 16 + 8, true),
      index: view.getUint32(at + i * 16 + 12, true),
    }));
  }

  /** Where the log goes on. */
  get next_offset(): bigint {
    return this.#core.next_offset();
  }

  get log_time_ms(): number {
    return Number(this.#core.log_time_ms());
  }

  /** The record that did not fit; null where all did. */
  get stopped_at(): bigint | null {
    // A u64 comes out of WebAssembly signed.
    const offset = BigInt.asUintN(64, this.#core.stopped_at());
    return offset === NO_POSITION ? null : offset;
  }

  get events_folded(): number {
    return Number(this.#core.events_folded());
  }

  get records_quarantined(): number {
    return Number(this.#core.records_quarantined());
  }

  anomalies_seen(): Record<Anomaly, number> {
    const entries = ANOMALIES.map((name, bit) => [name, Number(this.#core.anomalies_seen(bit))]);
    return Object.fromEntries(entries) as Record<Anomaly, number>;
  }

  /** Nothing but its bytes for a record that the fold would not apply. */
  demand_of(record: Uint8Array): Demand {
    this.input(record.length).set(record);
    const events = this.#core.measure_record(record.length);
    return { events, unreadable: this.#core.measured_unreadable(), bytes: record.length };
  }

  /** Whether it surely fits; with new hosts, beside what is kept for the events of those that are there. */
  has_room({ events, unreadable, bytes }: Demand, new_hosts: boolean): boolean {
    return this.#core.room_for(events, unreadable, bytes, new_hosts ? 1 : 0) !== 0;
  }

  get memory_used_bytes(): number {
    return Number(this.#core.memory_used());
  }

  /** Also what was taken ahead of need. */
  get memory_bytes(): number {
    return this.#core.memory.buffer.byteLength;
  }

  // Doubt (RULES F8).

  /**
   * Marks the hosts that an earlier loss puts in doubt at the instant, and no others. False: not all such losses are
   * known to a core that began at an image.
   */
  mark_doubt(instant_ms: number): boolean {
    return this.#core.mark_doubt(BigInt(instant_ms)) !== 0;
  }

  /** Hosts that are marked. */
  get uncertain_count(): number {
    return this.#core.uncertain_count();
  }

  is_uncertain(host: number): boolean {
    return this.#core.is_uncertain(host) !== 0;
  }

  // Images: what the fold knows, to go on from in another core of the same binary, seed and partition.

  /** Of a core that was given no manifest: what comes of the catalog is in no image. */
  image(): CoreImage {
    const core = this.#core;
    const counters = this.#memory.bytes(address(core.output()), core.image_counters(0)).slice();
    const runs: PageRun[] = [{ page: 0, pages: core.image_static_pages() }];
    const to_page = core.image_to_page();
    for (let page = core.image_from_page(); page < to_page; page++) {
      if (this.page_bytes({ page, pages: 1 }).equals(ZERO_PAGE)) continue;
      const last = runs.at(-1)!;
      if (last.page + last.pages === page) last.pages++;
      else runs.push({ page, pages: 1 });
    }
    return { counters, to_page, runs };
  }

  /** Good until the core is called; the caller may fill pages that `take_image` has made room for. */
  page_bytes({ page, pages }: PageRun): Buffer {
    const bytes = this.#memory.bytes(page * PAGE_BYTES, pages * PAGE_BYTES);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /**
   * Makes a core that was just started ready for an image: false where its memory is too small, or the image is none
   * of this core's. `fill` brings the bytes of each run.
   */
  take_image(image: CoreImage, fill: (run: PageRun) => void): boolean {
    this.#revision++;
    const core = this.#core;
    const [statics, ...runs] = image.runs;
    const first = core.image_from_page();
    if (statics?.page !== 0 || statics.pages !== core.image_static_pages()) return false;
    if (runs.some(({ page, pages }) => page < first || page + pages > image.to_page)) return false;
    if (image.counters.length !== core.image_counters(0) || core.image_room(image.to_page) === 0)
      return false;
    for (const run of image.runs) fill(run);
    this.#memory.bytes(address(core.output()), image.counters.length).set(image.counters);
    core.image_counters(1);
    return true;
  }

  // Look-ups.

  get host_count(): number {
    return this.#core.host_count();
  }

  /** Number of the host, or null. */
  find_host(host_id: string): number | null {
    const bytes = to_utf8.encode(host_id);
    if (bytes.length === 0 || bytes.length > 255) return null;
    this.input(bytes.length).set(bytes);
    const host = this.#core.find_host(bytes.length) >>> 0;
    return host === NONE ? null : host;
  }

  /** Rows for HostFactRows, one of each host of the list in its order; they are a copy. */
  host_facts({ count, bytes }: HostList): Uint8Array {
    if (count * HOST_FACTS_BYTES > this.#core.output_bytes()) throw new RangeError(`${count} hosts at once`);
    this.input(bytes.length).set(bytes);
    this.#core.host_facts(count);
    return this.#memory.bytes(address(this.#core.output()), count * HOST_FACTS_BYTES).slice();
  }

  host(host: number): HostFacts {
    return this.#view.host(host);
  }

  get configuration_count(): number {
    return this.#core.configurations_live();
  }

  /** Numbers of the configurations that have hosts. */
  *configurations(): Generator<number> {
    for (let i = 0; i < this.#core.configuration_count(); i++) if (this.#core.is_live(i)) yield i;
  }

  configuration(configuration: number): Configuration {
    return this.#view.configuration(configuration);
  }

  /** Hosts last heard of before the minute (since 1970). */
  hosts_before_minute(minute: number): number {
    return this.#core.hosts_before_minute(Math.max(0, minute));
  }

  /** klp_get_state for the patch at a position of the host's stack: its version, or null. */
  version_at(host: number, position: number, state: bigint): number | null {
    const version = this.#core.version_at(host, position, state);
    return version < 0n ? null : Number(version);
  }

  /** klp_get_prev_state as if the patch at a position were in transition: the earlier holder's position, or null. */
  previous_holder(host: number, position: number, state: bigint): number | null {
    const holder = this.#core.previous_holder(host, position, state);
    return holder < 0 ? null : holder;
  }

  /** Canonical HostState messages (RULES F9) from host `first` on, each good until the next is asked for. */
  *host_states(first = 0): Generator<Uint8Array> {
    for (let host = first; host < this.host_count; ) {
      const end = this.#core.put_host_states(host);
      host += this.#core.states_written();
      const output = address(this.#core.output());
      for (let at = 0; at < end; ) {
        const length = this.#memory.view.getUint32(output + at, true);
        yield this.#memory.bytes(output + at + 4, length);
        at += 4 + length;
      }
    }
  }

  // The catalog.

  /** The manifest's number: they count up from 0. */
  put_manifest(manifest: CoreManifest): number {
    this.#revision++;
    write_manifest(manifest, (length) => this.input(length));
    const id = this.#core.put_manifest() >>> 0;
    if (id === NONE) throw new RangeError("the catalog has no room for another manifest");
    return id;
  }

  withdraw_manifest(manifest: number): void {
    this.#revision++;
    this.#core.withdraw(manifest);
  }

  // Checks.

  /**
   * Judges every configuration (RULES C). `build_id` empty: for each host the manifest of its release and arch.
   * What it finds stays for `outcome_of_host`, `hosts_page` and `host_lines` until the next fold, catalog change or check.
   */
  check(name: string, build_id: Uint8Array): CheckOutcome[] {
    this.#revision++;
    const name_bytes = to_utf8.encode(name);
    const input = this.input(name_bytes.length + build_id.length);
    input.set(name_bytes);
    input.set(build_id, name_bytes.length);
    const count = this.#core.check(name_bytes.length, build_id.length) >>> 0;
    if (count === NONE) throw new Error("no memory for the check");
    return this.#view.check_outcomes(count);
  }

  /**
   * As `check` of each candidate, without what outcomes of the same verdict, reason and warnings differ in; nothing of
   * it stays. `aged`: hosts last heard of before the minute; null: none.
   */
  check_batch(candidates: readonly CoreCandidate[], before_minute: number | null): CheckCount[][] {
    const told: CheckCount[][] = [];
    for (let from = 0; from < candidates.length; from += BATCH_CANDIDATES) {
      const some = candidates.slice(from, from + BATCH_CANDIDATES);
      const counts = this.#code_counts(some, 0);
      const aged = before_minute === null || before_minute <= 0 ? [] : this.#code_counts(some, before_minute);
      if (counts === null || aged === null)
        told.push(...some.map((one) => this.#check_one(one, before_minute)));
      else told.push(...counts.map((each, i) => check_counts(each, aged[i] ?? new Map())));
    }
    return told;
  }

  /** With a minute above 0 only hosts last heard of before it. Null: memory has no room for so many at once. */
  #code_counts(candidates: readonly CoreCandidate[], before_minute: number): CodeCounts | null {
    write_candidates(candidates, (length) => this.input(length));
    const code_count = this.#core.check_batch(candidates.length, before_minute) >>> 0;
    if (code_count === NONE) return null;
    const codes = address(this.#core.batch_codes());
    const tally = address(this.#core.batch_tally());
    return read_code_counts(this.#memory.view, codes, tally, code_count, candidates.length);
  }

  #check_one({ name, build_id }: CoreCandidate, before_minute: number | null): CheckCount[] {
    const outcomes = this.check(name, build_id);
    return counts_of(before_minute === null ? outcomes : this.age_check(before_minute));
  }

  /** Counts `aged` beside each outcome of the last check, which is returned anew. */
  age_check(minute: number): CheckOutcome[] {
    this.#place_outcomes();
    this.#core.check_age(as_minute(minute));
    return this.#view.check_outcomes(this.#core.check_outcome_count());
  }

  /** What is found of hosts is by their configurations, which a check alone only counts. */
  #place_outcomes(): void {
    if (!this.#core.place_outcomes()) throw new Error("no memory for the check");
  }

  outcome_of_host(host: number): number {
    this.#place_outcomes();
    return this.#core.outcome_of_host(host);
  }

  /** Hosts from `first` on whose outcome of the last check is wanted, and where the next page begins. */
  hosts_page(
    first: number,
    wanted: boolean[],
    count_max: number,
    aged: AgedHosts = NO_AGE,
  ): { hosts: [number, number][]; next: number } {
    this.#place_outcomes();
    this.input(wanted.length).set(wanted.map(Number));
    const room = Math.min(count_max, this.#core.output_bytes() / 8);
    const count = this.#core.hosts_page(first, room, as_minute(aged.minute), Number(aged.wanted));
    const output = address(this.#core.output());
    const view = this.#memory.view;
    const hosts = Array.from({ length: count }, (_, i): [number, number] => [
      view.getUint32(output + i * 8, true),
      view.getUint32(output + i * 8 + 4, true),
    ]);
    return { hosts, next: this.#core.hosts_page_next() };
  }

  /**
   * Lines of hosts from `first` on, as `texts` has them (host_texts.ts, at most `input_bytes_max`), and where the next
   * page begins; they are a copy. Hosts last heard of before `aged_minute` are too old for their outcome.
   */
  host_lines(
    first: number,
    texts: Uint8Array,
    count_max: number,
    aged_minute: number,
    stale_minute: number,
  ): { lines: Uint8Array<ArrayBuffer>; hosts: number; next: number } {
    this.#place_outcomes();
    this.input(texts.length).set(texts);
    const count = Math.min(count_max, NONE);
    const bytes = this.#core.host_lines(first, count, as_minute(aged_minute), as_minute(stale_minute));
    const next = this.#core.host_lines_next();
    if (bytes === 0 && next < this.host_count && count > 0) throw new Error("a line that is too long");
    // All of it is written at once.
    const lines = Buffer.allocUnsafeSlow(bytes);
    lines.set(this.#memory.bytes(address(this.#core.output()), bytes));
    return { lines, hosts: this.#core.host_line_count(), next };
  }

  /** A bit for each host, the lowest of a byte first: whether its outcome of the last check is wanted. */
  hosts_bitmap(wanted: boolean[], aged: AgedHosts = NO_AGE): Uint8Array {
    this.#place_outcomes();
    this.input(wanted.length).set(wanted.map(Number));
    if (!this.#core.want_outcomes()) throw new Error("no memory for the hosts of a check");
    const bits = new Uint8Array(Math.ceil(this.host_count / 8));
    const blocks = Math.floor(this.#core.output_bytes() / BITMAP_BLOCK_BYTES);
    const minute = as_minute(aged.minute);
    for (let at = 0; at < bits.length; at += blocks * BITMAP_BLOCK_BYTES) {
      const block = at / BITMAP_BLOCK_BYTES;
      const bytes = this.#core.hosts_bitmap(block, blocks, minute, Number(aged.wanted));
      bits.set(this.#memory.bytes(address(this.#core.output()), bytes), at);
    }
    return bits;
  }
}

/** As the core has the minutes of hosts. */
function as_minute(minute: number): number {
  return Math.min(Math.max(0, minute), NONE);
}

function folded(status: number): FoldStatus {
  if (status === 2) throw new Error("the core was given bytes that are no frame");
  return status === 0 ? "folded" : "partition_full";
}
