/**
 * The figures of ingest: protobuf over HTTP into the real server until it is durable and folded, with the load
 * generator on the same cores. Senders have hosts of their own, as real ones do, so that no batch overtakes another.
 */
import { Fleet } from "./data.js";
import { in_directory } from "./directory.js";
import { type Figure, figure_of, RUNS, type Run, start_run } from "./measure.js";
import { Sender } from "./sender.js";
import { type RunningServer, start_server } from "./server.js";
import { must_have_stored } from "./server_counts.js";

const SENDERS = 8;
/** With an acknowledgement that tells of every host, and with one that tells of none. */
const WAYS = [
  { name: "ingest", path: "/v1/events" },
  { name: "ingest-no-hosts", path: "/v1/events?hosts=none" },
] as const;

interface Ack {
  positions: Record<string, string>;
  hosts: { host_id: string }[];
}

/** The batches of each sender, one after the other; all senders at once. */
export async function send_all(
  server: RunningServer,
  senders: Sender[],
  path: string,
  batches: Uint8Array[][],
): Promise<Run> {
  const server_cpu = server.cpu_seconds();
  const end = start_run();
  await Promise.all(
    senders.map(async (sender, i) => {
      for (const batch of batches[i]!) await sender.post(path, batch, false);
    }),
  );
  const run = end();
  return { ...run, cpu_seconds: run.cpu_seconds + server.cpu_seconds() - server_cpu };
}

/** Before a time is believed: an acknowledgement names each host. Sends a batch again; the number of its events. */
async function must_name_hosts(sender: Sender, batch: Uint8Array): Promise<number> {
  const ack: Ack = JSON.parse((await sender.post("/v1/events", batch, true)).toString());
  const named = new Set(ack.hosts.map(({ host_id }) => host_id));
  const ids = Buffer.from(batch)
    .toString("latin1")
    .match(/host-[0-9]{7}\.fra\.net/g)!;
  const sent = new Set(ids);
  if (
    named.size !== ack.hosts.length ||
    named.size !== sent.size ||
    [...sent].some((host_id) => !named.has(host_id))
  ) {
    throw new Error(`an acknowledgement names ${named.size} hosts for ${sent.size}`);
  }
  return ids.length;
}

export function ingest_figures(
  parent: string,
  hosts: number,
  event_count: number,
  profile_directory?: string,
): Promise<Figure[]> {
  return in_directory(parent, async (directory) => {
    const server = await start_server(directory, { profile_directory });
    const senders = await Promise.all(Array.from({ length: SENDERS }, () => Sender.open(server.url)));
    const runs = WAYS.map((): Run[] => []);
    try {
      const fleet = new Fleet(hosts);
      await send_all(server, senders, WAYS[0].path, fleet.baseline_batches(SENDERS));
      let sent = hosts;
      let bytes = 0;
      for (let i = 0; i <= RUNS; i++) {
        for (const [way, { path }] of WAYS.entries()) {
          const batches = fleet.event_batches(event_count, SENDERS);
          bytes = batches.flat().reduce((sum, batch) => sum + batch.length, 0);
          const run = await send_all(server, senders, path, batches);
          sent += event_count;
          if (i === 0) sent += await must_name_hosts(senders[0]!, batches[0]![0]!);
          else runs[way]!.push(run);
        }
      }
      await must_have_stored(server.url, sent, hosts);
      return WAYS.map(({ name }, way) =>
        figure_of(name, "events/s", runs[way]!, (run) => event_count / run.seconds, bytes),
      );
    } finally {
      for (const sender of senders) sender.close();
      await server.stop();
    }
  });
}
