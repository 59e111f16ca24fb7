/** The thread that fetches for a shard: one consumer, and the replicas of the partitions that the shard holds. */
import { workerData } from "node:worker_threads";
import type { RecordColumns } from "../log/columns.js";
import type { FetcherMessage, FetcherRequest, FetcherStart, HoldRequest } from "./fetcher.js";
import { kafka_of } from "./kafka_client.js";
import { copied_log_time_ms } from "./log_time_header.js";
import { keep_batches_whole } from "./record_batch.js";
import { Replica, type ReplicaLog } from "./replica.js";
import { Replicator } from "./replicator.js";

const { settings, name, partition_count, port } = workerData as FetcherStart;

keep_batches_whole();

function tell(message: FetcherMessage, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

const log = {
  debug() {},
  info() {},
  warn: (_fields: object, message: string) => tell({ report: message }),
  error: (_fields: object, message: string) => tell({ report: message }),
};

let next_id = 1;
const appends = new Map<number, { log: RemoteLog; resolve(): void; reject(error: Error): void }>();
const reads = new Map<number, (bytes: Uint8Array | null) => void>();
const logs = new Map<number, RemoteLog>();

/** A log that is in the shard's thread. */
class RemoteLog implements ReplicaLog {
  readonly #partition: number;
  readonly #holding: number;
  next_offset: bigint;

  constructor({ partition, holding, next_offset }: HoldRequest) {
    this.#partition = partition;
    this.#holding = holding;
    this.next_offset = next_offset;
  }

  append(after: bigint, records: RecordColumns): Promise<void> {
    const id = next_id++;
    const { deltas, log_times_ms, ends, body } = records;
    const transfer = [deltas.buffer, log_times_ms.buffer, ends.buffer, body.buffer] as ArrayBuffer[];
    tell({ append: { id, partition: this.#partition, holding: this.#holding, after, records } }, transfer);
    return new Promise((resolve, reject) => appends.set(id, { log: this, resolve, reject }));
  }

  bytes_at(offset: bigint): Promise<Uint8Array | null> {
    const id = next_id++;
    tell({ bytes_at: { id, partition: this.#partition, holding: this.#holding, offset } });
    return new Promise((resolve) => reads.set(id, resolve));
  }
}

const replicator = new Replicator({
  kafka: kafka_of(settings, name, log),
  topic: settings.topics.host_events,
  group: `${settings.group_id}.${settings.node_id}.${name}`,
  report: (report) => tell({ report }),
  broken: (partition, broken) => tell({ broken: { partition, broken } }),
  now: () => performance.now(),
});

function hold(request: HoldRequest): void {
  const { partition, holding, begins_anywhere, migrated_to } = request;
  const remote = new RemoteLog(request);
  logs.set(partition, remote);
  replicator.hold(
    new Replica({
      partition,
      log: remote,
      begins_anywhere,
      ...(migrated_to !== null && {
        copied_time: ({ offset, headers }) => (offset < migrated_to ? copied_log_time_ms(headers) : null),
      }),
      earliest: async () => (await replicator.offsets()).get(partition)?.low ?? 0n,
      now: () => performance.now(),
      // The shard decides what comes of it.
      failed() {},
      reached: (read_to) => tell({ reached: { partition, read_to } }),
      verified: () => tell({ verified: { partition, holding } }),
    }),
  );
}

async function tell_offsets(id: number): Promise<void> {
  const ends = await replicator.offsets().catch((error: Error) => error.message);
  tell({ offsets: { id, ends } });
}

async function close(): Promise<void> {
  await replicator.close();
  tell({ closed: true });
}

port.on("message", (request: FetcherRequest) => {
  if ("appended" in request || "refused" in request) {
    const { id, next_offset } = "appended" in request ? request.appended : request.refused;
    const waiting = appends.get(id);
    appends.delete(id);
    if (waiting === undefined) return;
    waiting.log.next_offset = next_offset;
    if ("appended" in request) waiting.resolve();
    else waiting.reject(new Error("the log did not take it"));
  } else if ("bytes" in request) {
    reads.get(request.bytes.id)?.(request.bytes.bytes);
    reads.delete(request.bytes.id);
  } else if ("hold" in request) hold(request.hold);
  else if ("release" in request) replicator.release(request.release);
  else if ("again" in request) {
    const { partition, next_offset } = request.again;
    const remote = logs.get(partition);
    if (remote !== undefined) remote.next_offset = next_offset;
    replicator.append_failed(partition);
  } else if ("offsets" in request) void tell_offsets(request.offsets);
  else void close();
});

await replicator.start(partition_count);
tell({ started: true });
