/** Replay: the log folded anew beside the live state, in worker threads, and the digests compared (RULES F9). */
import { availableParallelism } from "node:os";
import { Core } from "../core/core.js";
import { add_digests, format_digest } from "../core/digest.js";
import { load_core_module } from "../core/module.js";
import { Problem } from "../events/problem.js";
import { type Difference, find_difference } from "./difference.js";
import type { LiveState } from "./live_state.js";
import { CannotReplay, ReplayThread } from "./replay_thread.js";

export interface ReplayProgress {
  bytes: number;
  bytes_total: number;
}

export interface PartitionReport {
  partition: number;
  first: string;
  next: string;
  hosts: number;
  /** Null where the log is damaged. */
  digest: string | null;
  events: number;
  /** Whether the digest is that of the live state; null: there was nothing to compare with. */
  matches: boolean | null;
  /** Why the log could not be folded to its end, and where; then `next`, `hosts` and `events` tell how far it was. */
  damaged: string | null;
  /** Why nothing of the live partition is served. */
  broken: string | null;
  /** Where the digests differ; null also if no host differed any more when it was looked for. */
  difference: Difference | null;
}

export interface ReplayReport {
  /** Of all that was replayed; null where a part of it is damaged. */
  digest: string | null;
  fold_version: number;
  partitions: PartitionReport[];
  /** False: one differs, is damaged or is broken. Null: one that is not live was asked for, nothing was compared. */
  matches: boolean | null;
}

export interface PartitionQuestion {
  partition: number;
  /** Only the records below; null: all that are live, of a broken partition all that its log has. */
  to: bigint | null;
  log_bytes: number;
  /** `to` is not the live state's: there is nothing to compare with. */
  past: boolean;
  /** Why nothing of it is served. */
  broken: string | null;
}

export interface ReplayOptions {
  /** The registry's directory; it may be served meanwhile. */
  directory: string;
  partition_count: number;
  /** The logs are replicas. */
  replica?: boolean;
  questions: PartitionQuestion[];
  live: LiveState;
  progress?(progress: ReplayProgress): void;
}

/** A partition that is damaged is reported, and the others are replayed all the same. */
export async function replay(options: ReplayOptions): Promise<ReplayReport> {
  const { questions, progress = () => {} } = options;
  const module = load_core_module();
  const bytes_total = questions.reduce((sum, { log_bytes }) => sum + log_bytes, 0);
  let bytes = 0;
  const on_bytes = (more: number) => {
    bytes += more;
    progress({ bytes, bytes_total });
  };
  // The longest first: else it might run alone at the end.
  const waiting = questions.toSorted((a, b) => b.log_bytes - a.log_bytes);
  const threads = Array.from(
    { length: Math.min(waiting.length, availableParallelism()) },
    () => new ReplayThread(module, on_bytes),
  );
  const partitions: PartitionReport[] = [];
  try {
    await Promise.all(
      threads.map(async (thread) => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          partitions.push(await replay_one(thread, next, options));
        }
      }),
    );
  } finally {
    await Promise.all(threads.map((thread) => thread.end()));
  }
  const { fold_version } = new Core(module, { partition: null, partitions: 1 });
  return report_of(partitions, fold_version);
}

/** What replays of partitions come to together, wherever they ran. */
export function report_of(reports: readonly PartitionReport[], fold_version: number): ReplayReport {
  const partitions = reports.toSorted((a, b) => a.partition - b.partition);
  const digests = partitions.map(({ digest }) => digest).filter((digest) => digest !== null);
  const whole = digests.length === partitions.length;
  return {
    digest: whole ? format_digest(add_digests(digests.map((digest) => BigInt(`0x${digest}`)))) : null,
    fold_version,
    partitions,
    matches: verdict(partitions),
  };
}

function verdict(partitions: PartitionReport[]): boolean | null {
  const is_no = ({ matches, damaged, broken }: PartitionReport) =>
    matches === false || damaged !== null || broken !== null;
  if (partitions.some(is_no)) return false;
  return partitions.every(({ matches }) => matches === true) ? true : null;
}

async function replay_one(
  thread: ReplayThread,
  { partition, to: asked, past, broken: known_broken }: PartitionQuestion,
  { directory, partition_count, replica = false, live: served }: ReplayOptions,
): Promise<PartitionReport> {
  let broken = known_broken;
  let live: Awaited<ReturnType<LiveState["digest"]>> | null = null;
  if (broken === null && !past) {
    try {
      live = await served.digest(partition);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      broken = error.message;
    }
  }
  const to = asked ?? live?.next_offset ?? null;
  const replayed = await thread.replay({ directory, partition, partition_count, replica, to });
  const { next_offset, hosts, events, digest } = replayed;
  const matches = live !== null && live.next_offset === to && digest !== null ? live.digest === digest : null;
  let { damaged } = replayed;
  let difference: Difference | null = null;
  if (matches === false) {
    try {
      difference = await find_difference(partition, served, thread);
    } catch (error) {
      if (error instanceof CannotReplay) damaged = error.message;
      else if (error instanceof Problem) broken = error.message;
      else throw error;
    }
  }
  return {
    partition,
    first: "0",
    next: String(next_offset),
    hosts,
    digest: digest === null ? null : format_digest(digest),
    events,
    matches,
    damaged,
    broken,
    difference,
  };
}
