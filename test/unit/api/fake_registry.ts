/** A registry that answers from fixed tables: for the shape of HTTP and CLI answers only, nothing is folded. */
import { decode_batch, type Manifest } from "#services/events/codec.js";
import { Problem } from "#services/events/problem.js";
import { Acknowledgement } from "#services/registry/acknowledgement.js";
import type {
  Ack,
  At,
  BatchAnswer,
  CheckAnswer,
  FleetRow,
  HistoryEntry,
  HostAnswer,
  HostState,
  HostVerdict,
  ReplayAnswer,
  SnapshotsAnswer,
  StateAnswer,
} from "#services/registry/answers.js";
import { lines_of } from "#services/registry/host_lines.js";
import { type MinPosition, not_caught_up } from "#services/registry/positions.js";
import type {
  Candidate,
  CatalogEntry,
  CheckOptions,
  FleetFound,
  HostCheckOptions,
  IngestOptions,
  Instant,
  PublishOutcome,
  RegistryService,
  StateLookup,
} from "#services/registry/service.js";

export const AT: At = {
  as_of: "2026-03-01T12:00:00.000Z",
  known_at: null,
  position: { 0: "7" },
  catalog: "2",
};
/** Hosts are known from this instant on. */
export const KNOWN_FROM_MS = Date.UTC(2026, 0, 1);

export class FakeRegistry implements RegistryService {
  readonly partitions = 2;
  batches: Uint8Array[] = [];
  /** Thrown by the next ingest, once. */
  refusals: Problem[] = [];
  /** Whether an acknowledgement tells of its hosts; else they are null in it. */
  tells_of_hosts = true;
  hosts = new Map<string, HostAnswer>();
  histories = new Map<string, HistoryEntry[]>();
  verdicts: HostVerdict[] = [];
  rows: FleetRow[] = [];
  catalog: CatalogEntry[] = [];
  readonly data = "/nowhere";
  readonly replica = false;
  starting: string | null = null;
  readonly silent = [];
  broken_partitions: { partition: number; reason: string }[] = [];
  snapshot_log_times_ms: (number | null)[] = [];
  checks: { candidate: Candidate; options: CheckOptions }[] = [];
  lookups: (StateLookup | undefined)[] = [];
  fleets_asked: Instant[] = [];
  /** Verdicts that were read, also those that nobody wanted. */
  verdicts_read = 0;
  closed = false;

  async ingest(batch: Uint8Array, { hosts = true }: IngestOptions = {}): Promise<Acknowledgement> {
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw refusal;
    const events = decode_batch(batch);
    this.batches.push(batch);
    const last = new Map(events.map(({ event }) => [event.host_id ?? "", event]));
    const named = hosts ? [...last] : [];
    const ack: Ack = {
      positions: { 0: String(this.batches.length) },
      hosts: named.map(([host_id, event]) => ({
        host_id,
        next_sequence: this.tells_of_hosts ? String(Number(event.sequence) + 1) : null,
        knowledge: this.tells_of_hosts ? "complete" : null,
        effective_time: this.tells_of_hosts ? AT.as_of : null,
      })),
    };
    return new Acknowledgement(Buffer.from(JSON.stringify(ack)));
  }

  /** Host ids and sequences of all that was stored, in order. */
  stored(): string[] {
    return this.batches.flatMap((batch) =>
      decode_batch(batch).map(({ event }) => `${event.host_id}#${event.sequence}`),
    );
  }

  /** By partition; what a question may want. */
  folded = new Map<number, bigint>();
  waits: number[] = [];

  async wait_for({ partitions }: MinPosition, wait_ms: number): Promise<void> {
    this.waits.push(wait_ms);
    const behind = [...partitions].flatMap(([partition, wanted]) => {
      const has = this.folded.get(partition) ?? 0n;
      return has >= wanted ? [] : [{ partition, wanted, has, broken: null }];
    });
    if (behind.length > 0) throw not_caught_up(behind);
  }

  async host(host_id: string, instant: Instant): Promise<HostAnswer | null> {
    if ((instant.as_of_ms ?? KNOWN_FROM_MS) < KNOWN_FROM_MS) return null;
    return this.hosts.get(host_id) ?? null;
  }

  async history(host_id: string): Promise<AsyncIterable<HistoryEntry> | null> {
    const history = this.histories.get(host_id);
    return history === undefined ? null : each(history);
  }

  async state(
    host_id: string,
    state: bigint,
    _instant: Instant,
    lookup?: StateLookup,
  ): Promise<StateAnswer | null> {
    this.lookups.push(lookup);
    if (!this.hosts.has(host_id)) return null;
    return {
      host_id,
      state: state.toString(),
      holders: [{ patch: "kp_1", build_id: null, phase: "enabled", versions: [2, 1] }],
      minimum_version: 2,
      lookup:
        lookup === undefined
          ? null
          : "of" in lookup
            ? { kind: "of", patch: lookup.of, found: { patch: lookup.of, version: 2 } }
            : { kind: "prev_of", patch: lookup.prev_of, found: null },
      unresolved: [],
      at: AT,
    };
  }

  async check(candidate: Candidate, options: CheckOptions): Promise<CheckAnswer> {
    this.checks.push({ candidate, options });
    const count = (verdict: string) => this.verdicts.filter((host) => host.verdict === verdict).length;
    const conflicts = this.verdicts.flatMap(({ conflict }) => (conflict === null ? [] : [conflict]));
    return {
      candidate: { name: candidate.name, build_id: candidate.build_id ?? null },
      hosts: {
        total: this.verdicts.length,
        ok: count("ok"),
        done: count("done"),
        busy: count("busy"),
        incompatible: count("incompatible"),
        name_taken: count("name_taken"),
        blocked: count("blocked"),
        other_kernel: count("other_kernel"),
        unsupported: count("unsupported"),
        unknown: count("unknown"),
        stale: 0,
        uncertain: 0,
      },
      reasons: count("unknown") > 0 ? { unknown: { gap: count("unknown") } } : {},
      conflicts: conflicts.slice(0, 1).map((conflict) => ({ ...conflict, hosts: conflicts.length })),
      replaces: [],
      unresolved: [],
      warnings: { forced: 0, irreversible: 0, built_for_other_kernel: 0 },
      complete: this.broken_partitions.length === 0,
      missing_partitions: this.broken_partitions.map(({ partition }) => partition),
      at: AT,
    };
  }

  async check_batch(candidates: readonly Candidate[], options: CheckOptions): Promise<BatchAnswer> {
    const answers = await Promise.all(candidates.map((candidate) => this.check(candidate, options)));
    const checks = answers.map(({ candidate, hosts, reasons, warnings }) => ({
      ...{ candidate, hosts, reasons, warnings },
    }));
    const { complete, missing_partitions, at } = answers[0]!;
    return { checks, complete, missing_partitions, at };
  }

  async *check_hosts(candidate: Candidate, options: HostCheckOptions): AsyncGenerator<HostVerdict> {
    this.checks.push({ candidate, options });
    const last = this.verdicts.findIndex((host) => host.host_id === options.after);
    for (const host of this.verdicts.slice(last + 1)) {
      this.verdicts_read++;
      if (options.verdicts !== undefined && !options.verdicts.includes(host.verdict)) continue;
      if (options.host_id !== undefined && options.host_id !== host.host_id) continue;
      yield host;
    }
  }

  check_lines(candidate: Candidate, options: HostCheckOptions, limit = Number.POSITIVE_INFINITY) {
    return lines_of(this.check_hosts(candidate, options), limit);
  }

  async fleet(instant: Instant): Promise<FleetFound> {
    this.fleets_asked.push(instant);
    const status = await this.status();
    const missing_partitions = status
      .filter(({ broken }) => broken !== null)
      .map(({ partition }) => partition);
    return { rows: this.rows, missing_partitions, at: AT };
  }

  async publish(manifest: Manifest): Promise<PublishOutcome> {
    const { name, kernel_release, arch, build_id } = manifest;
    const same = this.catalog.find((entry) => entry.manifest.name === name);
    if (same !== undefined && same.manifest.replace !== manifest.replace) {
      throw new Problem("contradiction", `${name}: another manifest has this identity`, { field: "replace" });
    }
    const offset = same?.offset ?? BigInt(this.catalog.length);
    if (same === undefined) this.catalog.push({ offset, log_time_ms: KNOWN_FROM_MS, manifest, refused: [] });
    return {
      identity: {
        ...(name && { name }),
        ...(kernel_release && { kernel_release }),
        ...(arch && { arch }),
        ...(build_id && { build_id }),
      },
      outcome: same === undefined ? "published" : "known",
      offset,
    };
  }

  async withdraw(
    identity: { name?: string | null },
    reason: string,
    by: string,
  ): Promise<{ offset: bigint }> {
    const entry = this.catalog.find(({ manifest }) => manifest.name === identity.name);
    if (entry === undefined) throw new Problem("not_found", `${identity.name} is not in the catalog`);
    const offset = BigInt(this.catalog.length);
    entry.withdrawn = { offset, log_time_ms: KNOWN_FROM_MS, reason, by };
    return { offset };
  }

  patches(filter: { name?: string; withdrawn?: boolean }): CatalogEntry[] {
    return this.catalog.filter(
      ({ manifest, withdrawn }) =>
        (filter.name === undefined || manifest.name === filter.name) &&
        (filter.withdrawn || withdrawn === undefined),
    );
  }

  async digest() {
    return { next_offset: 7n, digest: 0n };
  }

  async host_hashes() {
    return { next_offset: 7n, hashes: new BigUint64Array(0) };
  }

  async host_state(): Promise<never> {
    throw new Problem("not_found", "no such host");
  }

  own_partitions() {
    return [0, 1];
  }

  async replay_elsewhere() {
    return [];
  }

  async reset_partition(partition: number) {
    if (this.broken_partitions.some((broken) => broken.partition === partition))
      return `/nowhere/aside/${partition}`;
    throw new Problem("contradiction", `partition ${partition} is not broken here`);
  }

  own_status() {
    return this.status();
  }

  async status() {
    return Array.from({ length: this.partitions }, (_, partition) => ({
      partition,
      next_offset: 7n,
      broken: this.broken_partitions.find((broken) => broken.partition === partition)?.reason ?? null,
      torn: null,
      hosts: 3,
      configurations: 1,
      events: 5,
      log_bytes: 100,
      unsnapshotted_bytes: 100,
      snapshot_log_time_ms: this.snapshot_log_times_ms[partition] ?? null,
      memory_bytes: 1_000,
      records_quarantined: 0,
      anomalies: { gap: 2 },
    }));
  }

  async snapshot(): Promise<SnapshotsAnswer> {
    return {
      snapshots: 1,
      partitions: [{ partition: 0, next: "7", log_time: AT.as_of }],
      failed: this.broken_partitions,
    };
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

async function* each<Item>(items: Item[]): AsyncGenerator<Item> {
  yield* items;
}

export const HOST_STATE: HostState = {
  host_id: "web-17",
  stream: "8812774410021",
  sequence: "5",
  kernel_release: "6.12.1",
  arch: "x86_64",
  livepatching: "supported",
  policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
  stack: [{ name: "kp_1", build_id: "ab12", phase: "enabled" }],
  lingering: [],
  forced: false,
  knowledge: "complete",
};

export const REPLAYED: ReplayAnswer = {
  digest: "ab".repeat(32),
  fold_version: 1,
  partitions: [
    {
      partition: 0,
      first: "0",
      next: "7",
      hosts: 2,
      digest: "ab".repeat(32),
      events: 9,
      matches: true,
      damaged: null,
      broken: null,
      difference: null,
    },
  ],
  matches: true,
};

export function host_answer(host_id: string): HostAnswer {
  return {
    host_id,
    partition: 0,
    kernel_release: "6.12.1",
    arch: "x86_64",
    boot_id: null,
    boot_time: null,
    stream: "8812774410021",
    sequence: "5",
    livepatching: "supported",
    knowledge: "gap",
    forced: true,
    policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
    stack: [
      {
        name: "kp_1",
        build_id: "ab12",
        phase: "enabled",
        since: AT.as_of,
        event: { partition: 3, offset: "12", index: 0 },
        manifest: "known",
        states: [{ id: "18446744073709551615", version: 4294967295 }],
      },
      {
        name: "kp_2",
        build_id: null,
        phase: "enabling",
        since: AT.as_of,
        event: { partition: 3, offset: "13", index: 1 },
        manifest: "missing",
        states: null,
      },
    ],
    lingering: [{ name: "kp_0", build_id: null, pinned: true }],
    warnings: [],
    last_event: AT.as_of,
    stale: false,
    uncertain: false,
    at: AT,
  };
}

export function history_entry(index: number): HistoryEntry {
  return {
    position: { partition: 0, offset: "12", index },
    log_time: AT.as_of,
    time: AT.as_of,
    effective_time: AT.as_of,
    stream: "8812774410021",
    sequence: String(index + 1),
    change: "replaced",
    patch: { name: "kp_2", build_id: "ab12" },
    left: [{ name: "kp_1" }],
    effect: "applied",
    anomalies: index === 1 ? ["gap"] : [],
    stack: ["kp_2"],
    knowledge: index === 1 ? "gap" : "complete",
    states: [{ id: "1", change: "updated", from: 1, to: 2, patch: "kp_2" }],
  };
}

export function host_verdict(host_id: string, verdict: HostVerdict["verdict"]): HostVerdict {
  return {
    host_id,
    verdict,
    reason: verdict === "unknown" ? "gap" : null,
    conflict:
      verdict === "incompatible"
        ? { state: "1", holder: "kp_3", held: 2, offered: 1, transient: false, first: true }
        : null,
    unresolved: null,
    replaces: verdict === "ok" ? ["kp_3"] : [],
    warnings: [],
    stale: false,
    uncertain: false,
  };
}

export function fleet_row(kernel_release: string, hosts: number): FleetRow {
  return {
    kernel_release,
    arch: "x86_64",
    livepatching: "supported",
    policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
    stack: [{ name: "kp_1", build_id: null, phase: "enabled" }],
    lingering: [],
    knowledge: "complete",
    forced: false,
    warnings: [],
    hosts,
  };
}
