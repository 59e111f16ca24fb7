/** A short way to write down events and what is known of a host, for tables made by hand. */
import { klpstate } from "#services/events/proto.js";
import { long_of } from "../model/registry.js";

const { HostEvent, Livepatching, Phase } = klpstate.v1;
type Change = Partial<klpstate.v1.HostEvent.$Properties>;

export const HOST = "h";
/** Later than every event's own time, unless a case says otherwise. */
export const LOG_TIME_MS = 1_000_000n;
export const BOOT_A = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
export const BOOT_B = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

/** One HostEvent as it stands in its record. */
export interface TableEvent {
  bytes: Uint8Array;
  log_time_ms: bigint;
}

export interface When {
  stream?: bigint;
  time_ms?: bigint;
  log_time_ms?: bigint;
  not_before_ms?: bigint;
}

/** An event of stream 1; its own time is its sequence in seconds. */
export function event(sequence: number, change: Change, when: When = {}): TableEvent {
  const bytes = HostEvent.encode({
    host_id: HOST,
    stream: long_of(when.stream ?? 1n),
    sequence,
    time_unix_ms: long_of(when.time_ms ?? BigInt(sequence) * 1000n),
    ...(when.not_before_ms === undefined ? {} : { not_before_unix_ms: long_of(when.not_before_ms) }),
    ...change,
  }).finish();
  return { bytes, log_time_ms: when.log_time_ms ?? LOG_TIME_MS };
}

/** `name` or `name@0a`, a build id in hex. */
export function patch(text: string): klpstate.v1.Patch.$Properties {
  const [name, build_id] = text.split("@");
  return build_id === undefined ? { name: name! } : { name: name!, build_id: Buffer.from(build_id, "hex") };
}

export function phase(name: string): klpstate.v1.Phase {
  return Phase[name.toUpperCase() as "ENABLING" | "ENABLED" | "DISABLING"];
}

export interface Seen {
  kernel_release?: string;
  arch?: string;
  /** Null: absent. */
  boot?: string | null;
  livepatching?: "SUPPORTED" | "NOT_BUILT" | "UNREADABLE" | null;
  /** Names of what is set. */
  policy?: string[];
  /** `p@0a enabling` */
  stack?: string[];
  /** `p@0a` or `p@0a pinned` */
  lingering?: string[];
  /** From and to, ms. */
  losses?: [from_ms: bigint, to_ms: bigint][];
}

export function observed(seen: Seen = {}): Change {
  const boot = seen.boot === undefined ? BOOT_A : seen.boot;
  const livepatching = seen.livepatching === undefined ? "SUPPORTED" : seen.livepatching;
  return {
    observed: {
      kernel_release: seen.kernel_release ?? "6.12.1",
      arch: seen.arch ?? "x86_64",
      ...(boot === null ? {} : { boot_id: Buffer.from(boot, "hex") }),
      ...(livepatching === null ? {} : { livepatching: Livepatching[livepatching] }),
      ...(seen.policy === undefined
        ? {}
        : { policy: Object.fromEntries(seen.policy.map((name) => [name, true])) }),
      stack: (seen.stack ?? []).map((text) => {
        const [reference, name] = text.split(" ");
        return { patch: patch(reference!), phase: phase(name!) };
      }),
      lingering: (seen.lingering ?? []).map((text) => {
        const [reference, pinned] = text.split(" ");
        return { patch: patch(reference!), ...(pinned === undefined ? {} : { pinned: true }) };
      }),
      losses: (seen.losses ?? []).map(([from_ms, to_ms]) => ({
        source: klpstate.v1.Source.KERNEL_LOG,
        from_unix_ms: long_of(from_ms),
        to_unix_ms: long_of(to_ms),
      })),
    },
  };
}

export const loading = (p: string): Change => ({ loading: { patch: patch(p) } });
export const loaded = (p: string): Change => ({ loaded: { patch: patch(p) } });
export const replaced = (p: string, left: string[] = []): Change => ({
  replaced: { patch: patch(p), left: left.map(patch) },
});
export const disabling = (p: string): Change => ({ disabling: { patch: patch(p) } });
export const disabled = (p: string): Change => ({ disabled: { patch: patch(p) } });
export const removed = (p: string): Change => ({ removed: { patch: patch(p) } });
export const reversed = (p: string, to: string): Change => ({ reversed: { patch: patch(p), to: phase(to) } });
export const forced = (p: string, name = "enabling"): Change => ({
  forced: { patch: patch(p), phase: phase(name) },
});
export const refused = (p?: string): Change => ({ refused: p === undefined ? {} : { patch: patch(p) } });
export const stalled = (p: string): Change => ({ stalled: { patch: patch(p), tasks_total: 2 } });
export const object_changed = (p: string): Change => ({
  object_changed: { patch: patch(p), object: "ext4" },
});

/** An event whose change only a newer version knows: field 40, an empty message. */
export function from_a_newer_publisher(sequence: number, when: When = {}): TableEvent {
  const { bytes, log_time_ms } = event(sequence, {}, when);
  return { bytes: Buffer.concat([bytes, Buffer.from([0xc2, 0x02, 0x00])]), log_time_ms };
}
