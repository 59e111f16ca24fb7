/** The figure of a history: one host's events out of all, through the shard as the registry asks it, page by page. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { node_disk } from "../services/log/node_disk.js";
import { Shard } from "../services/registry/shard.js";
import { Fleet } from "./data.js";
import { append_pieces, make_snapshot, open_partition, place_of } from "./kept_directory.js";
import { type Figure, figure_of, type Run, timed_until } from "./measure.js";
import { random_from } from "./random.js";

export const HISTORY_FIGURES = ["history-one"];

const EVENTS_OF_HOST = 200;
const HOSTS_ASKED = 300;
const WARM = 20;
/** So many events are made and appended at once. */
const EVENTS_AT_ONCE = 1_000_000;
const STALE_AFTER_MS = 93_600_000;

export async function history_figure(event_count: number): Promise<Figure> {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const place = place_of(directory);
    const hosts = Math.ceil(event_count / EVENTS_OF_HOST);
    const fleet = new Fleet(hosts);
    const partition = await open_partition(place);
    await append_pieces(partition, fleet.baseline());
    for (let left = event_count - hosts; left > 0; left -= EVENTS_AT_ONCE) {
      await append_pieces(partition, fleet.events(Math.min(left, EVENTS_AT_ONCE)));
    }
    await make_snapshot(place, partition);
    const ids = Array.from(
      { length: partition.core.host_count },
      (_, host) => partition.core.host(host).host_id,
    );
    await partition.close();

    const start = { place, partitions: [0], open: [0], stale_after_ms: STALE_AFTER_MS, catalog: [] };
    const shard = await Shard.open(start, node_disk, Date.now);
    const random = random_from(1);
    const runs: Run[] = [];
    let events = 0;
    for (let i = 0; i < WARM + HOSTS_ASKED; i++) {
      const host_id = ids[random() % ids.length]!;
      const run = await timed_until(async () => {
        const list = (await shard.history(0, host_id, {}))!;
        for (let done = false; !done; ) {
          const page = await shard.pull(list);
          events += page.items.length;
          done = page.done;
        }
      });
      if (i >= WARM) runs.push(run);
    }
    await shard.close();
    const mean = events / (WARM + HOSTS_ASKED);
    if (Math.abs(mean - EVENTS_OF_HOST) > EVENTS_OF_HOST / 10) throw new Error(`a host has ${mean} events`);
    return figure_of("history-one", "ms", runs, ({ seconds }) => seconds * 1000, 0);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
