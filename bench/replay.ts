/**
 * The figures of a replay: logs as the product writes them, read from the page cache, every checksum verified, folded
 * and hashed; and the same events in two partitions on two threads.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LiveState } from "../services/audit/live_state.js";
import { replay } from "../services/audit/replay.js";
import { replay_partition } from "../services/audit/replay_partition.js";
import { add_digests, type Digest } from "../services/core/digest.js";
import { load_core_module } from "../services/core/module.js";
import { WayIn } from "../services/core/way_in.js";
import { frames_of, records_of } from "../services/log/frame.js";
import { Log } from "../services/log/log.js";
import { node_disk } from "../services/log/node_disk.js";
import { Fleet, type Pieces } from "./data.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed_until } from "./measure.js";

export const REPLAY_FIGURES = ["replay", "replay-two"];

const THREADS = 2;

interface ReplayedLogs {
  directory: string;
  next_offsets: bigint[];
  bytes: number;
}

/** Writes the events through the way in and the log, so that records and frames are the product's. */
async function write_logs(
  directory: string,
  partitions: number,
  all: Pieces[],
  way_in: WayIn,
): Promise<ReplayedLogs> {
  const logs: Log[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const { log } = await Log.open({
      disk: node_disk,
      directory: join(directory, "log", String(partition)),
      name: `partition ${partition}`,
      now: Date.now,
    });
    logs.push(log);
  }
  for (const piece of all.flatMap(({ pieces }) => pieces)) {
    const records: Uint8Array[][] = logs.map(() => []);
    for (const frame of frames_of(piece)) {
      for (const { bytes } of records_of(frame)) {
        const cut = way_in.cut(bytes, partitions);
        if ("error" in cut) throw new Error(`the data is not what it should be: error ${cut.error}`);
        for (const part of cut.parts) {
          records[part.partition]!.push(...part.records.map((record) => record.bytes));
        }
      }
    }
    await Promise.all(logs.map((log, partition) => log.append(records[partition]!)));
  }
  const next_offsets = logs.map((log) => log.next_offset);
  await Promise.all(logs.map((log) => log.close()));
  return { directory, next_offsets, bytes: logs.reduce((sum, log) => sum + log.bytes, 0) };
}

async function replay_alone(
  { directory, next_offsets }: ReplayedLogs,
  partition: number,
  module: WebAssembly.Module,
) {
  const task = { directory, partition, partition_count: next_offsets.length, to: next_offsets[partition]! };
  return replay_partition(task, module, node_disk, () => {});
}

async function replay_all({ directory, next_offsets, bytes }: ReplayedLogs, digests: Digest[]) {
  const nobody = () => Promise.reject(new Error("the digests differ"));
  const live: LiveState = {
    digest: async (partition) => ({ next_offset: next_offsets[partition]!, digest: digests[partition]! }),
    host_hashes: nobody,
    host_state: nobody,
  };
  const questions = next_offsets.map((_, partition) => ({
    partition,
    to: null,
    past: false,
    log_bytes: bytes / next_offsets.length,
    broken: null,
  }));
  const { matches } = await replay({ directory, partition_count: next_offsets.length, questions, live });
  if (!matches) throw new Error("a replay has another digest than the one before it");
}

export async function replay_figures(hosts: number, event_count: number): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const module = load_core_module();
    const way_in = new WayIn(module, 0n);
    const fleet = new Fleet(hosts);
    const all = [fleet.baseline(), fleet.events(event_count)];
    const events = all.reduce((sum, pieces) => sum + pieces.events, 0);
    const one = await write_logs(join(directory, "one"), 1, all, way_in);
    const two = await write_logs(join(directory, "two"), THREADS, all, way_in);
    all.length = 0;

    // Warm: code and page cache. Two partitions of the same events have one digest between them.
    const whole = await replay_alone(one, 0, module);
    const parts = [];
    for (let partition = 0; partition < THREADS; partition++)
      parts.push(await replay_alone(two, partition, module));
    const digests = parts.map(({ digest }) => digest);
    if (whole.events !== events || whole.hosts !== hosts || add_digests(digests) !== whole.digest) {
      throw new Error(`the logs are not what they should be: ${whole.events} events of ${whole.hosts} hosts`);
    }

    const runs: Run[] = [];
    const runs_two: Run[] = [];
    for (let i = 0; i < RUNS; i++) {
      runs.push(await timed_until(() => replay_alone(one, 0, module)));
      runs_two.push(await timed_until(() => replay_all(two, digests)));
    }
    const rate = (run: Run) => events / run.seconds;
    const figure = figure_of("replay", "events/s", runs, rate, one.bytes);
    const figure_two = figure_of("replay-two", "events/s", runs_two, rate, two.bytes);
    figure_two.against.replay = speed_against(runs_two, runs);
    return [figure, figure_two];
  } finally {
    rmSync(directory, { recursive: true });
  }
}
