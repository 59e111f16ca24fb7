/** Plain events of many hosts, for tests that need many. */
import { Core } from "#services/core/core.js";
import { encode_batch, encode_event, type HostEvent } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { encode_frames } from "#services/log/frame.js";
import { core_module } from "../../model/from_core.js";

export const ALONE = { partition: null, partitions: 1 };
export const TIME_MS = 1_770_000_000_000;
export const KERNEL = { kernel_release: "6.12.1", arch: "x86_64" };

const { Livepatching, Phase } = klpstate.v1;

export function new_core(more: { memory_bytes_max?: number; seed?: bigint } = {}): Core {
  return new Core(core_module, { ...ALONE, ...more });
}

export interface Seen {
  stack?: string[];
  lingering?: string[];
  kernel_release?: string;
  livepatching?: klpstate.v1.Livepatching;
  time_ms?: number;
  sequence?: number;
}

/** A full observation; every patch on the stack is enabled. */
export function observed(host_id: string, seen: Seen = {}): HostEvent {
  return {
    host_id,
    stream: 1,
    sequence: seen.sequence ?? 1,
    time_unix_ms: seen.time_ms ?? TIME_MS,
    observed: {
      ...KERNEL,
      ...(seen.kernel_release === undefined ? {} : { kernel_release: seen.kernel_release }),
      livepatching: seen.livepatching ?? Livepatching.SUPPORTED,
      stack: (seen.stack ?? []).map((name) => ({ patch: { name }, phase: Phase.ENABLED })),
      lingering: (seen.lingering ?? []).map((name) => ({ patch: { name } })),
    },
  };
}

export interface Record {
  offset: bigint;
  log_time_ms: number;
  bytes: Uint8Array;
}

/** A log of records of so many events each. */
export function log_of(events: Iterable<HostEvent>, events_per_record: number, first_offset = 0n): Record[] {
  const records: Record[] = [];
  let batch: Uint8Array[] = [];
  const close = () => {
    if (batch.length === 0) return;
    const offset = first_offset + BigInt(records.length);
    records.push({ offset, log_time_ms: TIME_MS + 1_000, bytes: encode_batch(batch) });
    batch = [];
  };
  for (const event of events) {
    batch.push(encode_event(event));
    if (batch.length === events_per_record) close();
  }
  close();
  return records;
}

/** As one call with as many frames as fit, call after call. */
export function fold_log(
  core: Core,
  records: Record[],
  bytes_per_call = 3 << 20,
): "folded" | "partition_full" {
  for (let first = 0; first < records.length; ) {
    let next = first;
    for (let bytes = 0; next < records.length && (next === first || bytes < bytes_per_call); next++)
      bytes += records[next]!.bytes.length;
    if (core.fold_frames(encode_frames(records.slice(first, next), 0), false) !== "folded")
      return "partition_full";
    first = next;
  }
  return "folded";
}

export function* count_to(count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield i;
}

/** The same each time; xorshift32. */
export function numbers(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}
