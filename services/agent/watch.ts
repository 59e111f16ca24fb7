/**
 * One look at a host after the other: the log's new lines, a stable snapshot, what `derive` makes of them, into the
 * spool as numbered events. Clock, chance, files and disk are the caller's; nothing here waits.
 */
import { decode_event, encode_event, type HostEvent } from "../events/codec.js";
import { LINGERING_ENTRIES_MAX, STACK_ENTRIES_MAX } from "../events/limits.js";
import { klpstate } from "../events/proto.js";
import { parse_u64, u64_from_bigint } from "../events/u64.js";
import {
  type Change,
  type Derived,
  derive,
  type Known,
  type Line,
  observe,
  type Snapshot,
} from "./derive.js";
import { EventTimes } from "./event_times.js";
import type { HostReader } from "./host_files.js";
import type { Inbox } from "./inbox.js";
import { read_line } from "./kernel_lines.js";
import type { Kmsg } from "./kmsg.js";
import { DAY_MS, next_daily_ms, type Random } from "./pace.js";
import { HeldModules } from "./pinned.js";
import { transition_on } from "./snapshot.js";
import { SPOOL_BYTES_MAX, type Spool, type SpooledEvent, type SpoolState } from "./spool.js";
import { stable_snapshot } from "./stable_snapshot.js";

const { Source, Reason } = klpstate.v1;

/** How often a look that makes no sense is repeated before it is believed: what was torn is whole by then. */
export const DOUBTS_MAX = 3;
/** So many looks in a row that are torn are said to be: a load or two does not make as many. */
export const TORN_MAX = 5;
/** While the log cannot be read, so often a Loss says so. */
export const BLIND_REPORT_MS = 3_600_000;
/** A span that changed nothing is written down so often: after a crash no more than that is uncertain. */
const PERSIST_MS = 300_000;
/** Lines that a full disk keeps from being told; beyond them a hole stands for the oldest. */
const LINES_MAX = 262_144;

export interface HostClock {
  /** Unix milliseconds; may step. */
  wall_ms(): number;
  /** Never steps. */
  monotonic_ms(): number;
}

export interface WatchParts {
  host_id: string;
  reader: HostReader;
  kmsg: Kmsg;
  spool: Spool;
  inbox: Inbox | null;
  clock: HostClock;
  random: Random;
  /** Random, 64 bits, not 0. */
  new_stream: () => bigint;
  /** For the agent's own log. */
  report: (message: string) => void;
  spool_bytes_max?: number;
}

/** Why a new stream begins though no boot did, and since when events are not in the registry's log for sure. */
interface Restart {
  why: string;
  from_unix_ms: number;
}

type Loss = klpstate.v1.Loss.$Properties;

/** A change with the instant behind which it happened; 0 for what is only observed. */
interface TimedChange {
  change: Change;
  not_before_unix_ms: number;
}

/** One instant on both clocks: the one may step, the other stands still while the host is suspended. */
interface Instant {
  unix_ms: number;
  monotonic_ms: number;
}

export type LookResult = "done" | "again";

export class HostWatch {
  private known: Known | null;
  private lines: Line[] = [];
  private readonly held = new HeldModules();
  private readonly times: EventTimes;
  private doubts = 0;
  private restart: Restart | null = null;
  private wants_observed = false;
  private blind_errno: string | null = null;
  /** Since when nothing was read of the log and no Loss tells of it. */
  private blind_from_ms: number | null;
  /** Null: not in this process. */
  private looked: Instant | null = null;
  private read_log_at: Instant | null = null;
  private lines_from: Instant | null = null;
  private persisted_ms = Number.NEGATIVE_INFINITY;
  private last_glance = "";
  private disk_failed = false;
  /** Looks in a row of which no two readings were equal. */
  private torn = 0;
  private is_over_limits = false;

  constructor(private readonly parts: WatchParts) {
    const { spool, inbox, host_id } = parts;
    this.times = new EventTimes(parts.clock);
    this.known = spool.state?.known ?? null;
    this.blind_from_ms = spool.state?.blind_since_unix_ms ?? null;
    if (spool.state) {
      inbox?.remove(spool.state.taken);
      if (spool.state.host_id !== host_id)
        this.new_stream(`the host was called ${spool.state.host_id}`, this.now_ms());
    }
  }

  /** Nothing of the stream so far is to be sent any more. */
  get is_restarting(): boolean {
    return this.restart !== null;
  }

  get transition() {
    return this.known && transition_on(this.known.stack);
  }

  /** Reads what the log has and looks at the directory's inodes: whether there is something to look at. */
  stirred(): boolean {
    const said = this.read_log();
    const glance = this.parts.reader.glance();
    const moved = glance !== this.last_glance;
    this.last_glance = glance;
    return moved || said;
  }

  /** The next look begins a new stream: what the registry has is not what was sent. Unsent events are given up. */
  new_stream(why: string, from_unix_ms: number): void {
    this.restart = { why, from_unix_ms };
  }

  /** The next look tells everything in full. */
  observe_soon(): void {
    this.wants_observed = true;
  }

  /** `again`: the look made no sense yet, and nothing was told; another one should follow soon. */
  look(): LookResult {
    this.read_log();
    const { parts } = this;
    const stable = stable_snapshot(
      () => parts.reader.read(),
      () => this.now_ms(),
    );
    if (stable === null) {
      if (++this.torn === TORN_MAX)
        parts.report("the host's livepatches change faster than they can be read: nothing is told meanwhile");
      return "again";
    }
    this.torn = 0;
    const monotonic_ms = parts.clock.monotonic_ms();
    if (this.looked === null && this.known?.boot_id === stable.boot_id)
      this.held.trust(this.known.lingering.flatMap(({ name, pinned }) => (pinned ? [name] : [])));
    const snapshot = this.within_limits(this.held.settle(stable, monotonic_ms));
    const log_was_read = this.blind_errno === null && this.blind_from_ms === null;
    const derived = derive(this.known, snapshot, this.lines, log_was_read);
    if (this.is_doubtful(derived) && this.doubts++ < DOUBTS_MAX) return "again";
    this.doubts = 0;
    if (derived.baseline && derived.baseline.cause !== "first")
      parts.report(`observed (${derived.baseline.cause}): ${derived.baseline.detail}`);
    if (!this.tell_look(derived, snapshot)) return "again";
    this.known = derived.next;
    this.lines = [];
    this.looked = { unix_ms: snapshot.taken_unix_ms!, monotonic_ms };
    return "done";
  }

  /**
   * Tells a change that no look shows and no state depends on. Not told if the disk fails or the spool is full: who has
   * it tells it again.
   */
  tell(change: Change): void {
    const { spool, spool_bytes_max = SPOOL_BYTES_MAX } = this.parts;
    const { state } = spool;
    if (state === null || this.restart !== null || spool.unsent_bytes >= spool_bytes_max) return;
    this.commit(state, [{ change, not_before_unix_ms: 0 }], false, state.known);
  }

  /** Writes down what is known, at a clean end. */
  persist(): void {
    const { state } = this.parts.spool;
    if (state !== null) this.commit(state, [], false, this.known);
  }

  /** Whether there is something about patches in it. */
  private read_log(): boolean {
    // Before it is read: what is written while it is was not there then.
    const begun: Instant = { unix_ms: this.now_ms(), monotonic_ms: this.parts.clock.monotonic_ms() };
    const { lines, errno } = this.parts.kmsg.read();
    if (this.lines.length === 0) this.lines_from = this.read_log_at;
    if (errno === null) this.read_log_at = begun;
    if (errno !== this.blind_errno)
      this.parts.report(
        errno === null ? "the kernel's log can be read" : `the kernel's log cannot be read: ${errno}`,
      );
    this.blind_errno = errno;
    // Not pushed one argument each: a long ring has more lines than a call may have arguments.
    if (lines.length > 0) this.lines = [...this.lines, ...lines].slice(-LINES_MAX);
    return lines.some(({ text }) => read_line(text) !== null);
  }

  /** Torn by what happened meanwhile, or a file that cannot be read for a moment. */
  private is_doubtful({ baseline, next }: Derived): boolean {
    // A boot without an id is one whose file could not be read.
    if (baseline?.cause === "another_boot") return next.boot_id === "";
    return baseline?.cause === "unexplained" || baseline?.cause === "livepatching";
  }

  /** A host beyond what an event can say is one that cannot be read, and not one with less. */
  private within_limits(snapshot: Snapshot): Snapshot {
    const { patches, modules } = snapshot;
    const was_over_limits = this.is_over_limits;
    this.is_over_limits = patches.length > STACK_ENTRIES_MAX || modules.length > LINGERING_ENTRIES_MAX;
    if (!this.is_over_limits) return snapshot;
    if (!was_over_limits)
      this.parts.report(
        `${patches.length} patches and ${modules.length} livepatch modules are over the limits`,
      );
    return { ...snapshot, patches: [], modules: [], livepatching: "unreadable" };
  }

  /** No event gets a time before the last one that was acknowledged: it would be taken for an old one. */
  private now_ms(): number {
    return this.times.now_ms(this.parts.spool.state?.floor_unix_ms ?? 0);
  }

  /** False where the disk did not take it. */
  private tell_look(derived: Derived, snapshot: Snapshot): boolean {
    const { spool, inbox } = this.parts;
    const now_ms = snapshot.taken_unix_ms!;
    const refusals = spool.state === null ? [] : (inbox?.refusals() ?? []);
    const told = [...this.timed(derived, snapshot), ...refusals.map(({ refusal }) => timed_refusal(refusal))];
    const begins = this.known === null || derived.baseline?.cause === "another_boot" || this.restart !== null;
    const blind_since = this.blind_from_ms ?? (this.blind_errno === null ? null : this.blind_from(snapshot));
    const losses: Loss[] = [];
    if (this.known === null)
      // Whoever told of this host before, or nobody: between boot and now it was not this spool.
      losses.push({ source: Source.SPOOL, from_unix_ms: snapshot.boot_time * 1_000, to_unix_ms: now_ms });
    if (blind_since !== null)
      losses.push({ source: Source.KERNEL_LOG, from_unix_ms: blind_since, to_unix_ms: now_ms });

    const is_blind_due =
      blind_since !== null &&
      (this.blind_errno === null || this.blind_from_ms === null || now_ms - blind_since >= BLIND_REPORT_MS);
    const observes =
      begins || this.is_daily() || is_blind_due || this.wants_observed || this.pins_differ(derived.next);
    let changes = observes ? this.with_observed(told, derived.next, snapshot, losses, begins) : told;
    const has_observed = changes.some(({ change }) => "observed" in change);
    if (has_observed && !observes) changes = this.with_observed(told, derived.next, snapshot, losses, false);
    if (changes.length === 0) {
      this.persist_now_and_then(derived.next);
      return true;
    }

    const state: SpoolState = {
      host_id: this.parts.host_id,
      stream: spool.state?.stream ?? "",
      next_sequence: spool.state?.next_sequence ?? 1,
      known: derived.next,
      floor_unix_ms: spool.state?.floor_unix_ms ?? 0,
      daily_unix_ms: has_observed
        ? next_daily_ms(this.parts.clock.wall_ms(), this.known === null, this.parts.random)
        : (spool.state?.daily_unix_ms ?? now_ms),
      blind_since_unix_ms: !has_observed ? blind_since : this.blind_errno === null ? null : now_ms,
      taken: refusals.map(({ file }) => file),
    };
    let told_all: boolean;
    if (this.restart !== null) {
      const { why, from_unix_ms } = this.restart;
      told_all = this.collapse(state, told, snapshot, losses, from_unix_ms, why);
    } else {
      told_all = this.commit(begins ? this.in_new_stream(state) : state, changes, false, derived.next, () =>
        this.collapse(state, told, snapshot, losses, this.oldest_unsent_ms(now_ms), "the spool is full"),
      );
    }
    if (!told_all) return false;
    inbox?.remove(state.taken);
    this.blind_from_ms = state.blind_since_unix_ms;
    this.restart = null;
    if (has_observed) this.wants_observed = false;
    return true;
  }

  /** By the clock as it is: times of events may stand still for as long as it has fallen back. */
  private is_daily(): boolean {
    const { spool, clock } = this.parts;
    if (spool.state === null) return false;
    const left_ms = spool.state.daily_unix_ms - clock.wall_ms();
    // Further away than a day it was set before the clock fell back.
    return left_ms <= 0 || left_ms > DAY_MS;
  }

  /** Gives up what was not acknowledged for one Observed in a new stream, with the Loss of it. */
  private collapse(
    state: SpoolState,
    told: TimedChange[],
    snapshot: Snapshot,
    losses: Loss[],
    from_unix_ms: number,
    why: string,
  ): boolean {
    const { spool, report } = this.parts;
    const now_ms = snapshot.taken_unix_ms!;
    report(`a new stream begins: ${why}; ${spool.unsent.length} events are given up`);
    const from = Math.min(from_unix_ms, this.oldest_unsent_ms(now_ms));
    const all_losses = [...losses, { source: Source.SPOOL, from_unix_ms: from, to_unix_ms: now_ms }];
    // Those of a stream before are another boot's, whose forcing ended with it.
    const is_of_this_boot = ({ stream }: SpooledEvent) =>
      this.known?.boot_id === snapshot.boot_id && stream === spool.state?.stream;
    const forced = spool.unsent
      .filter((event) => event.forced && is_of_this_boot(event))
      .map(({ bytes }) => changes_of_forced(bytes));
    const [first, ...rest] = this.with_observed(told, state.known!, snapshot, all_losses, true);
    return this.commit(this.in_new_stream(state), [first!, ...forced.slice(-1), ...rest], true, state.known);
  }

  private oldest_unsent_ms(now_ms: number): number {
    return this.parts.spool.unsent[0]?.time_unix_ms ?? now_ms;
  }

  private in_new_stream(state: SpoolState): SpoolState {
    return { ...state, stream: this.parts.new_stream().toString(), next_sequence: 1 };
  }

  /** `overflow` is what to do instead where the events do not fit beside those that were not sent. */
  private commit(
    state: SpoolState,
    changes: readonly TimedChange[],
    drop_unsent: boolean,
    known: Known | null,
    overflow?: () => boolean,
  ): boolean {
    const { spool, report, spool_bytes_max = SPOOL_BYTES_MAX } = this.parts;
    const events = changes.map((timed, index) => this.event(state, state.next_sequence + index, timed));
    const bytes = events.reduce((sum, event) => sum + event.bytes.length, 0);
    if (overflow && spool.unsent.length > 0 && spool.unsent_bytes + bytes > spool_bytes_max)
      return overflow();
    try {
      const next_sequence = state.next_sequence + events.length;
      spool.commit({ ...state, known, next_sequence }, events, drop_unsent);
      this.persisted_ms = this.parts.clock.monotonic_ms();
      if (this.disk_failed) report("the spool is written again");
      this.disk_failed = false;
      return true;
    } catch (error) {
      if (!this.disk_failed) report(`the spool cannot be written: ${(error as Error).message}`);
      this.disk_failed = true;
      return false;
    }
  }

  private event(
    state: SpoolState,
    sequence: number,
    { change, not_before_unix_ms }: TimedChange,
  ): SpooledEvent {
    const time_unix_ms = this.now_ms();
    const event: HostEvent = {
      host_id: state.host_id,
      stream: u64_from_bigint(parse_u64(state.stream, "stream")),
      sequence,
      time_unix_ms,
      // A clock that stepped back: that it lay before is all that can be said.
      not_before_unix_ms:
        not_before_unix_ms === 0 ? 0 : Math.max(1, Math.min(not_before_unix_ms, time_unix_ms - 1)),
      ...change,
    };
    const forced = "forced" in change;
    return { stream: state.stream, sequence, time_unix_ms, forced, bytes: encode_event(event) };
  }

  private persist_now_and_then(known: Known): void {
    const { spool, clock } = this.parts;
    if (spool.state === null || clock.monotonic_ms() - this.persisted_ms < PERSIST_MS) return;
    this.commit({ ...spool.state, taken: [] }, [], false, known);
  }

  /** When the log was read last. */
  private blind_from(snapshot: Snapshot): number {
    return this.known === null ? snapshot.boot_time * 1_000 : this.instant_of(this.read_log_at, snapshot);
  }

  /**
   * With one Observed that has all losses: the one that is there, else a new one at the end, or at the beginning of a
   * stream, where changes of the stack before it would mean nothing.
   */
  private with_observed(
    told: readonly TimedChange[],
    next: Known,
    snapshot: Snapshot,
    losses: readonly Loss[],
    begins: boolean,
  ): TimedChange[] {
    const given = told.flatMap(({ change }) => ("observed" in change ? (change.observed.losses ?? []) : []));
    const observed = observe(
      next,
      snapshot,
      [...given, ...losses].map((loss) => ordered(loss, this.times.behind_ms, this.earliest_ms(snapshot))),
    );
    const timed: TimedChange = { change: { observed }, not_before_unix_ms: 0 };
    if (begins) return [timed, ...told.filter(({ change }) => is_of_no_stack(change))];
    const at = told.findIndex(({ change }) => "observed" in change);
    return at < 0 ? [...told, timed] : told.map((other, index) => (index === at ? timed : other));
  }

  /** Before what a look of an earlier process saw, whatever the clock said then. */
  private earliest_ms({ boot_id, boot_time }: Snapshot): number {
    const boot_ms = boot_time * 1_000;
    if (this.known === null || this.known.boot_id === boot_id) return boot_ms;
    // That was before this boot, and behind what the registry has acknowledged.
    return Math.min(boot_ms, this.parts.spool.state?.floor_unix_ms || boot_ms);
  }

  private pins_differ(next: Known): boolean {
    const before = new Map(this.known?.lingering.map(({ name, pinned }) => [name, pinned]));
    return next.lingering.some(({ name, pinned }) => pinned !== (before.get(name) ?? false));
  }

  private timed(derived: Derived, snapshot: Snapshot): TimedChange[] {
    const { behind_ms } = this.times;
    const by_snapshot = this.instant_of(this.looked, snapshot) - behind_ms;
    const is_late = this.lines_from === null && this.blind_from_ms !== null;
    // The process before did not read them either, and not since when it did.
    const lines_from_ms = is_late ? snapshot.boot_time * 1_000 : this.instant_of(this.lines_from, snapshot);
    const by_line = lines_from_ms - behind_ms;
    return derived.changes.map((change, index) => {
      if ("observed" in change) return { change, not_before_unix_ms: 0 };
      // 0 would say that it was seen as it happened.
      return {
        change,
        not_before_unix_ms: Math.max(1, derived.records[index] === null ? by_snapshot : by_line),
      };
    });
  }

  /**
   * An instant of this process in Unix milliseconds, as early as one of its clocks says; null: the last look of the
   * process before.
   */
  private instant_of(instant: Instant | null, snapshot: Snapshot): number {
    const now_ms = snapshot.taken_unix_ms!;
    if (instant !== null) {
      const ago_ms = Math.max(0, this.parts.clock.monotonic_ms() - instant.monotonic_ms);
      return Math.min(instant.unix_ms, Math.floor(now_ms - ago_ms));
    }
    const boot_ms = snapshot.boot_time * 1_000;
    const taken = this.known?.boot_id === snapshot.boot_id ? this.known.taken_unix_ms : null;
    // A clock that stepped back meanwhile: since boot is all that is known.
    return taken === null || taken >= now_ms ? boot_ms : taken;
  }
}

function timed_refusal({ name, errno, time_unix_ms }: { name: string; errno: string; time_unix_ms: number }) {
  const change: Change = { refused: { patch: { name }, reason: Reason.OTHER, errno } };
  return { change, not_before_unix_ms: time_unix_ms };
}

function changes_of_forced(bytes: Uint8Array): TimedChange {
  const { forced } = decode_event(bytes);
  return { change: { forced: forced! }, not_before_unix_ms: 0 };
}

/** A loss that ends before it begins is one of a clock that stepped back while nobody looked: all that it can be. */
function ordered({ source, from_unix_ms, to_unix_ms }: Loss, behind_ms: number, earliest_ms: number): Loss {
  const [from, to] = [Math.max(0, Number(from_unix_ms ?? 0) - behind_ms), Number(to_unix_ms ?? 0)];
  if (from <= to) return { source: source!, from_unix_ms: from, to_unix_ms: to };
  return { source: source!, from_unix_ms: Math.min(earliest_ms, to), to_unix_ms: from };
}

function is_of_no_stack(change: Change): boolean {
  return "refused" in change || "forced" in change || "object_changed" in change;
}
