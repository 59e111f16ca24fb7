/**
 * The figures of a fleet's past: a check of all hosts as of an hour, a day and thirty days ago, by the nearest snapshot
 * and the chain; beside it the same answer without snapshots, and a replay of the whole log.
 */
import { replay_partition } from "../services/audit/replay_partition.js";
import { Core, type CoreManifest, MEMORY_BYTES_MAX } from "../services/core/core.js";
import { core_sha256, load_core_module } from "../services/core/module.js";
import { WayIn } from "../services/core/way_in.js";
import { frames_of, records_of } from "../services/log/frame.js";
import { node_disk } from "../services/log/node_disk.js";
import type { LogPosition } from "../services/log/segment.js";
import { keep_snapshots } from "../services/registry/keep.js";
import { RETENTION_DEFAULT } from "../services/registry/keeper.js";
import { summed } from "../services/registry/outcome_words.js";
import { Partition } from "../services/registry/partition.js";
import { core_options, type RegistryPlace } from "../services/registry/partition_place.js";
import { PastThreads } from "../services/registry/past_threads.js";
import type { CheckFound } from "../services/registry/shard_protocol.js";
import { CANDIDATE, DAY_MS, Fleet, manifests, START_MS } from "./data.js";
import { in_directory } from "./directory.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed_until } from "./measure.js";

const DAYS = 60;
const PARTITIONS = 2;
const HOUR_MS = 3_600_000;
const STALE_AFTER_MS = 26 * HOUR_MS;
const AGES: readonly [name: string, age_ms: number][] = [
  ["past-1h", HOUR_MS],
  ["past-1d", DAY_MS],
  ["past-30d", 30 * DAY_MS],
];

interface Stored {
  place: RegistryPlace;
  ends: LogPosition[];
}

function fail(message: string): never {
  throw new Error(message);
}

/** Sixty days of a fleet, as a server would have stored them, with the snapshots that it keeps by default. */
async function store(directory: string, hosts: number, events: number): Promise<Stored> {
  const place: RegistryPlace = {
    directory,
    registry_id: "00000000-0000-4000-8000-000000000001",
    partition_count: PARTITIONS,
    replica: false,
    module: load_core_module(),
    core_sha256: core_sha256(),
    memory_bytes_max: MEMORY_BYTES_MAX,
  };
  let clock_ms = START_MS;
  const now = () => clock_ms;
  const partitions: Partition[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    partitions.push(await Partition.open({ disk: node_disk, place, partition, report: fail, now }));
  }
  const way_in = new WayIn(place.module, 0n);
  const fleet = new Fleet(hosts);
  for (let day = 0; day <= DAYS; day++) {
    const { pieces } = day === 0 ? fleet.baseline() : fleet.events(Math.ceil(events / DAYS));
    for (const piece of pieces) {
      const records: Uint8Array[][] = partitions.map(() => []);
      for (const frame of frames_of(piece)) {
        for (const { bytes, log_time_ms } of records_of(frame)) {
          clock_ms = Math.max(clock_ms, log_time_ms);
          const cut = way_in.cut(bytes, PARTITIONS);
          if ("error" in cut) fail(`the data is not what it should be: error ${cut.error}`);
          for (const part of cut.parts) {
            records[part.partition]!.push(...part.records.map((record) => record.bytes));
          }
        }
      }
      await Promise.all(partitions.map((one, i) => one.serving_log().append(records[i]!)));
    }
  }
  const keeper = new Core(place.module, core_options(place, 0));
  const ends: LogPosition[] = [];
  for (const [partition, one] of partitions.entries()) {
    const to = await one.chained_position(true);
    await keep_snapshots(node_disk, place, keeper, { partition, to, retention: RETENTION_DEFAULT }, fail);
    ends.push(to);
    await one.close();
  }
  return { place, ends };
}

/** Of all partitions, each in a thread of its own, as the registry asks it. */
function check_past(
  threads: PastThreads,
  { ends }: Stored,
  as_of_ms: number,
  known: CoreManifest[],
): Promise<CheckFound[]> {
  const check = { candidate: { name: CANDIDATE }, at_ms: as_of_ms, max_age_ms: null };
  return Promise.all(
    ends.map((to, partition) =>
      threads.with_thread(async (thread) => {
        const question = { partition, to, as_of_ms, known_at_ms: null, doubt_ms: as_of_ms };
        await thread.ask("fold", { question, manifests: known });
        return thread.ask("check", check);
      }),
    ),
  );
}

/** What an answer says, whatever the order of its outcomes. */
function facts_of(found: CheckFound[]): string {
  return JSON.stringify(
    found.map((each) => [
      each.hosts,
      each.stale,
      each.uncertain,
      [...summed([each])].map(({ words, hosts }) => `${words.verdict} ${words.reason} ${hosts}`).sort(),
    ]),
  );
}

const milliseconds = ({ seconds }: Run) => seconds * 1_000;

export async function past_figures(parent: string, hosts: number, events: number): Promise<Figure[]> {
  return in_directory(parent, async (directory) => {
    const stored = await store(directory, hosts, events);
    const { place, ends } = stored;
    const known = manifests();
    const threads = new PastThreads(place, STALE_AFTER_MS);
    // Of another registry, so that no snapshot is good for it.
    const other_id = place.registry_id.replaceAll("0", "1");
    const without_snapshots = new PastThreads({ ...place, registry_id: other_id }, STALE_AFTER_MS);
    const end_ms = START_MS + DAYS * DAY_MS;
    try {
      const figures: Figure[] = [];
      for (const [name, age_ms] of AGES) {
        const ask = (of: PastThreads) => check_past(of, stored, end_ms - age_ms, known);
        if (facts_of(await ask(threads)) !== facts_of(await ask(without_snapshots))) {
          fail(`${name}: the answer with snapshots is another one than without`);
        }
        const runs: Run[] = [];
        const slow_runs: Run[] = [];
        for (let i = 0; i < RUNS; i++) {
          runs.push(await timed_until(() => ask(threads)));
          slow_runs.push(await timed_until(() => ask(without_snapshots)));
        }
        const figure = figure_of(name, "ms", runs, milliseconds, 0);
        figure.against["no snapshots"] = speed_against(runs, slow_runs);
        figures.push(figure);
      }
      const replay_all = () =>
        Promise.all(
          ends.map(({ offset: to }, partition) => {
            const task = { directory, partition, partition_count: PARTITIONS, to };
            return replay_partition(task, place.module, node_disk, () => {});
          }),
        );
      figures.push(figure_of("past-replay", "ms", [await timed_until(replay_all)], milliseconds, 0));
      return figures;
    } finally {
      await Promise.all([threads.close(), without_snapshots.close()]);
    }
  });
}
