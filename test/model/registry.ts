/**
 * A partition's log folded over all of its hosts, with everything kept, so that every past answer is a look-up:
 * docs/rules.md F8 (as of, known at, uncertain) and F9 (digest). Records are taken to be valid (F7).
 */
import { createHash } from "node:crypto";
import Long from "long";
import protobuf from "protobufjs/minimal.js";
import { klpstate } from "#services/events/proto.js";
import {
  type Configuration,
  type Folded,
  fold_event,
  type HostModel,
  KNOWLEDGE,
  type Knowledge,
  min,
  type Phase,
  u64,
} from "./fold.js";

const { EventBatch, HostEvent, HostState } = klpstate.v1;

export interface LogRecord {
  /** An EventBatch. */
  bytes: Uint8Array;
  log_time_ms: bigint;
}

/** One event of a host, and what it did. */
export interface FoldedEvent extends Folded {
  event: klpstate.v1.HostEvent;
  log_time_ms: bigint;
}

export interface RegistryModel {
  hosts: Map<string, HostModel>;
  /** Each host's events in log order. */
  histories: Map<string, FoldedEvent[]>;
  /** Of the last record. */
  log_time_ms: bigint;
}

export interface PastState {
  /** Null: nothing was known of the host yet. */
  host: HostModel | null;
  uncertain: boolean;
}

export function new_registry(): RegistryModel {
  return { hosts: new Map(), histories: new Map(), log_time_ms: 0n };
}

/** EventBatch.events, length-delimited. */
const EVENTS_TAG = (1 << 3) | 2;

/** The bytes of each HostEvent in an EventBatch. */
export function events_of(batch: Uint8Array): Uint8Array[] {
  const events: Uint8Array[] = [];
  const reader = protobuf.Reader.create(batch);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === EVENTS_TAG) events.push(Uint8Array.from(reader.bytes()));
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return events;
}

/** An EventBatch of these events, each as its bytes are. */
export function batch_of(events: Uint8Array[]): Uint8Array {
  const writer = protobuf.Writer.create();
  for (const event of events) writer.uint32(EVENTS_TAG).bytes(event);
  return Uint8Array.from(writer.finish());
}

/** Applies a whole record; the answer has one entry per event, in order. */
export function apply_record(registry: RegistryModel, record: LogRecord): FoldedEvent[] {
  EventBatch.decode(record.bytes);
  if (record.log_time_ms > registry.log_time_ms) registry.log_time_ms = record.log_time_ms;
  const log_time_ms = registry.log_time_ms;
  return events_of(record.bytes).map((bytes) => {
    const event = HostEvent.decode(bytes);
    const folded = fold_event(registry.hosts.get(event.host_id), event, bytes, log_time_ms);
    const entry: FoldedEvent = { ...folded, event, log_time_ms };
    registry.hosts.set(event.host_id, folded.host);
    const history = registry.histories.get(event.host_id);
    if (history === undefined) registry.histories.set(event.host_id, [entry]);
    else history.push(entry);
    return entry;
  });
}

export function fold_log(records: Iterable<LogRecord>): RegistryModel {
  const registry = new_registry();
  for (const record of records) apply_record(registry, record);
  return registry;
}

/** F8. `known_at_ms` undefined: all that is known now. */
export function as_of(
  registry: RegistryModel,
  host_id: string,
  as_of_ms: bigint,
  known_at_ms?: bigint,
): PastState {
  const known = (registry.histories.get(host_id) ?? []).filter(
    (entry) => known_at_ms === undefined || entry.log_time_ms <= known_at_ms,
  );
  // Neither log times nor effective times decrease: these events are a prefix, and what the last one left is its fold.
  const past = known.filter((entry) => entry.effective_time_ms <= as_of_ms);
  return {
    host: past.at(-1)?.host ?? null,
    uncertain: known.some((entry) => entry.effect === "applied" && casts_doubt(entry, as_of_ms)),
  };
}

/** Whether the change, or one that was missed, may have happened on either side of the instant. */
function casts_doubt(entry: FoldedEvent, instant_ms: bigint): boolean {
  const not_before_ms = u64(entry.event.not_before_unix_ms);
  const seen_ms = min(u64(entry.event.time_unix_ms), entry.log_time_ms);
  if (not_before_ms !== 0n && not_before_ms < instant_ms && instant_ms <= seen_ms) return true;
  return (entry.event.observed?.losses ?? []).some(
    (loss) => u64(loss.from_unix_ms) <= instant_ms && instant_ms <= u64(loss.to_unix_ms),
  );
}

/** The fold of what was known at an instant, of all hosts. */
export function known_at(registry: RegistryModel, known_at_ms: bigint): Map<string, HostModel> {
  const hosts = new Map<string, HostModel>();
  for (const [host_id, history] of registry.histories) {
    const last = history.findLast((entry) => entry.log_time_ms <= known_at_ms);
    if (last !== undefined) hosts.set(host_id, last.host);
  }
  return hosts;
}

const PHASE: Record<Phase, klpstate.v1.Phase> = {
  enabling: klpstate.v1.Phase.ENABLING,
  enabled: klpstate.v1.Phase.ENABLED,
  disabling: klpstate.v1.Phase.DISABLING,
};

const KNOWLEDGE_VALUE: Record<Knowledge, klpstate.v1.Knowledge> = {
  complete: klpstate.v1.Knowledge.COMPLETE,
  gap: klpstate.v1.Knowledge.GAP,
  unreadable: klpstate.v1.Knowledge.KNOWLEDGE_UNREADABLE,
  no_baseline: klpstate.v1.Knowledge.NO_BASELINE,
  disputed: klpstate.v1.Knowledge.DISPUTED,
};

/** Drops what proto3 leaves out of the wire, which protobufjs writes where it is set. */
function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], null | false> } {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== null && value !== false && value !== ""),
  ) as { [K in keyof T]?: Exclude<T[K], null | false> };
}

function patch_of(reference: { name: string; build_id: string }): klpstate.v1.Patch.$Properties {
  const build_id = Buffer.from(reference.build_id, "hex");
  return build_id.length === 0 ? { name: reference.name } : { name: reference.name, build_id };
}

/** The canonical HostState message (F9). */
export function host_state_bytes(host: HostModel): Uint8Array {
  const policy = present(host.policy);
  const livepatching =
    host.livepatching === "supported"
      ? klpstate.v1.Livepatching.SUPPORTED
      : host.livepatching === "not_built"
        ? klpstate.v1.Livepatching.NOT_BUILT
        : null;
  const by_name = [...host.lingering.values()].sort((a, b) =>
    Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
  return HostState.encode(
    present({
      host_id: host.host_id,
      stream: long_of(host.stream),
      sequence: long_of(host.sequence),
      kernel_release: host.kernel_release,
      arch: host.arch,
      livepatching,
      policy: Object.keys(policy).length === 0 ? null : policy,
      stack: host.stack.map((entry) => ({ patch: patch_of(entry), phase: PHASE[entry.phase] })),
      lingering: by_name.map((entry) => ({ patch: patch_of(entry), ...present({ pinned: entry.pinned }) })),
      forced: host.forced,
      knowledge: KNOWLEDGE_VALUE[host.knowledge],
    }),
  ).finish();
}

export function long_of(value: bigint): Long {
  return Long.fromString(value.toString(), true);
}

const DIGEST_MODULUS = 1n << 256n;

function digest_number(host: HostModel): bigint {
  return BigInt("0x" + createHash("sha256").update(host_state_bytes(host)).digest("hex"));
}

function digest_text(sum: bigint): string {
  return (sum % DIGEST_MODULUS).toString(16).padStart(64, "0");
}

export function host_digest(host: HostModel): string {
  return digest_text(digest_number(host));
}

export function hosts_digest(hosts: Iterable<HostModel>): string {
  let sum = 0n;
  for (const host of hosts) sum += digest_number(host);
  return digest_text(sum);
}

/** The same text for two hosts if and only if they share a configuration. */
export function configuration_key(host: Configuration): string {
  return JSON.stringify([
    host.kernel_release,
    host.arch,
    host.livepatching,
    [host.policy.modules_disabled, host.policy.signature_required, host.policy.ftrace_off],
    host.stack.map((entry) => [entry.name, entry.build_id, entry.phase]),
    [...host.lingering.values()].map((entry) => [entry.name, entry.build_id, entry.pinned]).sort(),
    host.forced,
    KNOWLEDGE.indexOf(host.knowledge),
  ]);
}

/** How many hosts are of each configuration. */
export function hosts_per_configuration(hosts: Iterable<HostModel>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const host of hosts) {
    const key = configuration_key(host);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
