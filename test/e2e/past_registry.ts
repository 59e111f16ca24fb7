/** A registry that was written over weeks, as its files: the product's own logs, with a clock of the test's. */
import { Catalog } from "#services/catalog/catalog.js";
import { partition_of } from "#services/events/partition.js";
import { Problem } from "#services/events/problem.js";
import { klpstate as proto } from "#services/events/proto.js";
import { make_directory_durably } from "#services/log/disk.js";
import { Log } from "#services/log/log.js";
import { node_disk } from "#services/log/node_disk.js";
import { create_registry } from "#services/log/registry_file.js";
import { log_directory } from "#services/registry/partition_place.js";
import { instants_of } from "../model/random.js";
import { batch_of, events_of, type LogRecord } from "../model/registry.js";
import { INSTANT_MAX_MS, type TimedCatalogRecord } from "./past.js";

const PARTITIONS = 3;

/** Instants at which something of the log changes, and those beside them, as far as a person can write them. */
export function instants_to_ask(records: LogRecord[]): bigint[] {
  return instants_of(records).filter((instant) => instant <= INSTANT_MAX_MS);
}

/** Each record by the partitions of its hosts, in the log's order. */
export function by_partition(records: LogRecord[]): (LogRecord & { partition: number })[] {
  return records.flatMap(({ bytes, log_time_ms }) => {
    const parts = new Map<number, Uint8Array[]>();
    for (const event of events_of(bytes)) {
      const { host_id } = proto.v1.HostEvent.decode(event);
      const partition = partition_of(Buffer.from(host_id), PARTITIONS);
      parts.set(partition, [...(parts.get(partition) ?? []), event]);
    }
    return [...parts].map(([partition, events]) => ({ bytes: batch_of(events), log_time_ms, partition }));
  });
}

/** A registry that has stood there since its first record, as its files. */
export async function write_registry(
  data: string,
  records: (LogRecord & { partition: number })[],
  manifests: TimedCatalogRecord[],
): Promise<void> {
  let clock_ms = Number(records[0]!.log_time_ms);
  const facts = { registry_id: crypto.randomUUID(), partitions: PARTITIONS, created_ms: clock_ms };
  await create_registry(node_disk, data, facts);
  const common = { disk: node_disk, now: () => clock_ms };
  await make_directory_durably(node_disk, log_directory(data, ""));
  const logs: Log[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const directory = log_directory(data, partition);
    logs.push((await Log.open({ ...common, directory, name: `partition ${partition}` })).log);
  }
  const { catalog } = await Catalog.open({
    ...common,
    directory: log_directory(data, "catalog"),
    on_change() {},
  });
  for (const { record, log_time_ms } of manifests) {
    clock_ms = log_time_ms;
    const done = record.published
      ? catalog.publish(record.published)
      : catalog.withdraw(record.withdrawn!.identity!, "wrong file", "admin");
    await done.catch((error) => {
      // One that the catalog refuses is part of its past as well.
      if (!(error instanceof Problem)) throw error;
    });
  }
  for (const { bytes, log_time_ms, partition } of records) {
    clock_ms = Number(log_time_ms);
    await logs[partition]!.append([bytes]);
  }
  await Promise.all([...logs.map((log) => log.close()), catalog.close()]);
}
