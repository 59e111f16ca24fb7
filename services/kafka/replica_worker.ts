/** The thread of a shard whose partitions are replicas. */
import { parentPort, workerData } from "node:worker_threads";
import { node_disk } from "../log/node_disk.js";
import { serve_shard } from "../registry/shard_serving.js";
import { FetchThread } from "./fetch_thread.js";
import { kafka_of } from "./kafka_client.js";
import { LeaseView } from "./lease.js";
import { PUBLISHER_REQUEST_TIMEOUT_MS } from "./publisher.js";
import type { ReplicaMessage, ReplicaRequest, ReplicaStart } from "./replica_protocol.js";
import { ReplicaShard } from "./replica_shard.js";
import { outlet_writers } from "./state_changes/partition_sender.js";
import { ToldCauses } from "./state_changes/told_causes.js";

const { shard: start, settings, name, control, lease } = workerData as ReplicaStart;

function tell(message: ReplicaMessage): void {
  control.postMessage(message);
}

const log = {
  debug() {},
  info() {},
  warn: (_fields: object, message: string) => tell({ report: message }),
  error: (_fields: object, message: string) => tell({ report: message }),
};

const shard = await serve_shard(parentPort!, start, node_disk, Date.now);
if (shard !== null) {
  const { partition_count } = start.place;
  const fetcher = new FetchThread(
    { settings, name, partition_count },
    {
      broken: (partition, broken) => tell({ broken: { partition, ...broken } }),
      report: (report) => tell({ report }),
    },
  );
  const { topics, state_changes } = settings;
  const told_causes = state_changes
    ? new ToldCauses({
        kafka: kafka_of(settings, `${name}-told`, log),
        topic: topics.state_changes,
        group: `${settings.group_id}.${settings.node_id}.${name}-told`,
        report: (report) => tell({ report }),
      })
    : null;
  const writers_kafka = kafka_of(settings, `${name}-changes`, log, PUBLISHER_REQUEST_TIMEOUT_MS);
  const replicas = new ReplicaShard({
    shard,
    fetcher,
    tell,
    place: start.place,
    topics,
    state_changes,
    told_causes,
    writers: outlet_writers(writers_kafka, topics),
    lease: new LeaseView(lease),
  });
  const started = Promise.all([fetcher.started, told_causes?.start()]);

  async function answer({ id, operation, arguments: given }: ReplicaRequest): Promise<void> {
    try {
      await started;
      const work = replicas[operation] as (...args: unknown[]) => Promise<unknown>;
      tell({ id, answer: await work.apply(replicas, given) });
    } catch (error) {
      tell({ id, error: error instanceof Error ? error.message : String(error) });
    }
    if (operation === "close") control.close();
  }

  control.on("message", (request: ReplicaRequest) => void answer(request));
}
