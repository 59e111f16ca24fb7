/** A log's records as another number of partitions has them: in one order of all, and each host's events where it belongs. */
import type { WayIn } from "../../core/way_in.js";
import type { Log, LogFrame } from "../../log/log.js";

export interface PlacedRecord {
  partition: number;
  bytes: Uint8Array;
}

export interface FrameOfPartition {
  partition: number;
  frame: LogFrame;
}

/**
 * The frames of all logs by (log time, partition, offset): log times never fall then in any partition that is made of
 * them, and a frame has one. Throws LogCorruption.
 */
export async function* merged_frames(logs: readonly Log[]): AsyncGenerator<FrameOfPartition> {
  const waiting: { partition: number; frames: AsyncGenerator<LogFrame>; head: LogFrame }[] = [];
  for (const [partition, log] of logs.entries()) {
    const frames = log.read(0n);
    const head = await frames.next();
    if (!head.done) waiting.push({ partition, frames, head: head.value });
  }
  while (waiting.length > 0) {
    let next = waiting[0]!;
    for (const one of waiting) if (one.head.log_time_ms < next.head.log_time_ms) next = one;
    yield { partition: next.partition, frame: next.head };
    const head = await next.frames.next();
    if (head.done) waiting.splice(waiting.indexOf(next), 1);
    else next.head = head.value;
  }
}

/**
 * A record of a partition of `from` as records of partitions of `to`. Null: the fold never applied it, and in another
 * partition it might.
 */
export function recut(
  way_in: WayIn,
  record: Uint8Array,
  partition: number,
  from: number,
  to: number,
): PlacedRecord[] | null {
  const there = way_in.cut(record, from);
  if ("error" in there || there.parts.some((part) => part.partition !== partition)) return null;
  const here = way_in.cut(record, to);
  if ("error" in here) return null;
  return here.parts.flatMap((part) =>
    part.records.map(({ bytes }) => ({ partition: part.partition, bytes })),
  );
}
