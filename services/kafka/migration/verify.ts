/** Reads a copy back and folds it: whether it is the registry that was copied. */
import type { Admin, Kafka } from "kafkajs";
import { Core } from "../../core/core.js";
import { add_digests, type Digest, digest_of_core, format_digest } from "../../core/digest.js";
import { load_core_module } from "../../core/module.js";
import { Problem } from "../../events/problem.js";
import { encode_frames, type LogRecord } from "../../log/frame.js";
import type { KafkaSettings } from "../settings.js";
import type { CopiedPartition, Copy } from "./copy.js";
import type { EmbeddedSource } from "./embedded_source.js";
import { type ReadRecord, read_back } from "./read_back.js";
import { RecordsSeal } from "./records_seal.js";
import { topic_offsets } from "./topic_offsets.js";

export interface VerifyOptions {
  kafka: Kafka;
  admin: Admin;
  settings: KafkaSettings;
  source: EmbeddedSource;
  copied: Copy;
  progress(fraction: number): void;
  signal: AbortSignal;
}

export interface VerifiedPartition {
  partition: number;
  end: bigint;
  hosts: number;
  digest: Digest;
}

export interface Verified {
  partitions: VerifiedPartition[];
  /** Of the registry, as the topics have it. */
  digest: Digest;
  /** What differs, for a person. Empty: it is the registry. */
  differences: string[];
}

/** Throws Problem where the topics cannot be read, or do not have what was stored. */
export async function verify(options: VerifyOptions): Promise<Verified> {
  const { settings, source, copied } = options;
  const { host_events, catalog } = settings.topics;
  const differences: string[] = [];
  await read(
    options,
    catalog,
    [copied.catalog],
    () => {},
    (_, seal) => {
      if (seal !== copied.catalog.seal) differences.push(`${catalog}: other records than were copied`);
    },
  );
  const count = copied.host_events.length;
  const core = new Core(load_core_module(), { partition: 0, partitions: count });
  const partitions: VerifiedPartition[] = [];
  const ended = (partition: number, seal: string) => {
    const { end, seal: sent } = copied.host_events[partition]!;
    if (seal !== sent)
      differences.push(`${host_events}, partition ${partition}: other records than were copied`);
    partitions.push({ partition, end, hosts: core.host_count, digest: digest_of_core(core) });
    core.restart({ partition: partition + 1 < count ? partition + 1 : 0, partitions: count });
    options.progress((partition + 1) / count);
  };
  await read(options, host_events, copied.host_events, (records) => fold(core, records), ended);
  const digest = add_digests(partitions.map((one) => one.digest));
  differences.push(...digest_differences(source, partitions, digest));
  return { partitions, digest, differences };
}

/** Of each partition where there are as many, else of the whole. */
function digest_differences(
  source: EmbeddedSource,
  partitions: VerifiedPartition[],
  digest: Digest,
): string[] {
  const differs = (what: string, there: Digest, here: Digest) =>
    there === here ? [] : [`${what}: digest ${format_digest(there)}, and ${format_digest(here)} in Kafka`];
  if (partitions.length !== source.partitions.length) return differs("registry", source.digest, digest);
  return partitions.flatMap((one) =>
    differs(`partition ${one.partition}`, source.partitions[one.partition]!.digest, one.digest),
  );
}

async function read(
  { kafka, admin, settings, signal }: VerifyOptions,
  topic: string,
  copied: CopiedPartition[],
  on_records: (records: LogRecord[]) => void,
  on_end: (partition: number, seal: string) => void,
): Promise<void> {
  await check_ends(kafka, topic, copied);
  let seal = new RecordsSeal();
  await read_back({
    kafka,
    admin,
    topic,
    group_prefix: settings.group_id,
    ends: new Map(copied.map(({ end }, partition) => [partition, end])),
    on_records(partition, records) {
      const timed = records.map((record) => with_log_time(topic, partition, record));
      for (const { log_time_ms, bytes } of timed) seal.add(log_time_ms, bytes);
      on_records(timed);
    },
    on_end(partition) {
      on_end(partition, seal.hex());
      seal = new RecordsSeal();
    },
    signal,
  });
}

/** Nothing may stand behind the copy: a record of somebody else would be one of the registry. */
async function check_ends(kafka: Kafka, topic: string, copied: CopiedPartition[]): Promise<void> {
  for (const { partition, low, high } of (await topic_offsets(kafka, [topic])).get(topic)!) {
    const end = copied[partition]?.end;
    if (high === end && low === 0n) continue;
    const message = `${topic}, partition ${partition} has offsets ${low} to ${high}, and ${end ?? 0} records were copied`;
    throw new Problem("contradiction", message, { field: "topic", value: topic });
  }
}

function with_log_time(
  topic: string,
  partition: number,
  { offset, log_time_ms, bytes }: ReadRecord,
): LogRecord {
  if (log_time_ms !== null) return { offset, log_time_ms, bytes };
  throw new Problem("contradiction", `${topic}, partition ${partition}: no log time at offset ${offset}`);
}

function fold(core: Core, records: LogRecord[]): void {
  if (core.fold_frames(encode_frames(records, 0), false) === "folded") return;
  throw new Problem(
    "partition_full",
    `a partition of the copy does not fit into memory from offset ${core.stopped_at} on; take more partitions`,
  );
}
