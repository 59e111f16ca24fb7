/** The figures of the log alone: how fast records become durable, and how long one event waits for its acknowledgement. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { frames_of, records_of } from "../services/log/frame.js";
import { Log } from "../services/log/log.js";
import { node_disk } from "../services/log/node_disk.js";
import { Fleet, type Pieces } from "./data.js";
import { in_directory } from "./directory.js";
import {
  type Figure,
  figure_of,
  median,
  quantile,
  RUNS,
  type Run,
  speed_against,
  start_run,
} from "./measure.js";

/** Records of about 16 KiB: together one commit of 256 KiB. */
const RECORDS_PER_COMMIT = 16;
/** Enough that a hundredth of them is some. */
const SINGLE_APPENDS = 500;

interface LatencyRun extends Run {
  latencies_ms: number[];
}

/** The records of the pieces, gathered to commits. */
function commits_of({ pieces }: Pieces): Uint8Array[][] {
  const records = pieces.flatMap((piece) =>
    [...frames_of(piece)].flatMap((frame) => [...records_of(frame)].map(({ bytes }) => bytes)),
  );
  return Array.from({ length: Math.ceil(records.length / RECORDS_PER_COMMIT) }, (_, i) =>
    records.slice(i * RECORDS_PER_COMMIT, (i + 1) * RECORDS_PER_COMMIT),
  );
}

async function with_log<Result>(directory: string, work: (log: Log) => Promise<Result>): Promise<Result> {
  mkdirSync(directory);
  const { log } = await Log.open({
    disk: node_disk,
    directory,
    name: "bench",
    now: Date.now,
    on_frames() {},
  });
  try {
    return await work(log);
  } finally {
    await log.close();
    rmSync(directory, { recursive: true });
  }
}

/** One append after another: two that wait would be one commit. */
async function append_all(log: Log, commits: Uint8Array[][]): Promise<Run> {
  const end = start_run();
  for (const records of commits) await log.append(records);
  return end();
}

async function append_singly(log: Log, event: Uint8Array): Promise<LatencyRun> {
  const latencies_ms: number[] = [];
  const end = start_run();
  for (let i = 0; i < SINGLE_APPENDS; i++) {
    const start_ms = performance.now();
    await log.append([event]);
    latencies_ms.push(performance.now() - start_ms);
  }
  return { ...end(), latencies_ms };
}

/** The floor: the same bytes without frames, checksums or promises, written and synced by blocking calls. */
function write_plainly(path: string, writes: readonly Uint8Array[]): LatencyRun {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  fsyncSync(fd);
  const latencies_ms: number[] = [];
  const end = start_run();
  let at = 0;
  for (const bytes of writes) {
    const start_ms = performance.now();
    at += writeSync(fd, bytes, 0, bytes.length, at);
    fdatasyncSync(fd);
    latencies_ms.push(performance.now() - start_ms);
  }
  const run = { ...end(), latencies_ms };
  closeSync(fd);
  rmSync(path);
  return run;
}

/** `append` and `append-write`, its floor. */
export function append_figures(parent: string, hosts: number, event_count: number): Promise<Figure[]> {
  const fleet = new Fleet(hosts);
  fleet.baseline();
  const events = fleet.events(event_count);
  const commits = commits_of(events);
  const writes = commits.map((records) => Buffer.concat(records));
  return in_directory(parent, async (directory) => {
    const runs: Run[] = [];
    const floor_runs: Run[] = [];
    for (let i = 0; i <= RUNS; i++) {
      const run = await with_log(join(directory, "log"), (log) => append_all(log, commits));
      const floor_run = write_plainly(join(directory, "plain"), writes);
      // The first run is for the compiler.
      if (i === 0) continue;
      runs.push(run);
      floor_runs.push(floor_run);
    }
    const rate = (run: Run) => events.events / run.seconds;
    const append = figure_of("append", "events/s", runs, rate, events.bytes);
    append.against["append-write"] = speed_against(runs, floor_runs);
    return [append, figure_of("append-write", "events/s", floor_runs, rate, events.bytes)];
  });
}

/** `append-one`, p50 and p99, against a write and an fdatasync of as many bytes. */
export function append_one_figures(parent: string): Promise<Figure[]> {
  const fleet = new Fleet(SINGLE_APPENDS);
  fleet.baseline();
  // A batch of one, its event's tag and length before it.
  const [first] = fleet.event_batches(1, 1)[0]!;
  const event = first!;
  return in_directory(parent, async (directory) => {
    const runs: LatencyRun[] = [];
    const floor_runs: LatencyRun[] = [];
    const writes = Array.from({ length: SINGLE_APPENDS }, () => event);
    for (let i = 0; i <= RUNS; i++) {
      const run = await with_log(join(directory, "log"), (log) => append_singly(log, event));
      const floor_run = write_plainly(join(directory, "plain"), writes);
      if (i === 0) continue;
      runs.push(run);
      floor_runs.push(floor_run);
    }
    return [0.5, 0.99].map((share) => {
      const latency = (run: LatencyRun) => quantile(run.latencies_ms, share);
      const name = `append-one-p${share * 100}`;
      const figure = figure_of(name, "ms", runs, latency, event.length * SINGLE_APPENDS);
      figure.against["a plain write"] = median(runs.map((run, i) => latency(run) / latency(floor_runs[i]!)));
      return figure;
    });
  });
}
