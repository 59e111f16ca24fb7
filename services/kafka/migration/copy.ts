/** Copies a log into empty topics: first a record that says so, then all others with their log times. */
import type { Kafka, Message, Producer } from "kafkajs";
import { identity_key } from "../../catalog/manifests.js";
import { migration_began } from "../../catalog/migration.js";
import { load_core_module } from "../../core/module.js";
import { WayIn } from "../../core/way_in.js";
import { decode_catalog_record, encode_catalog_record } from "../../events/codec.js";
import { records_of } from "../../log/frame.js";
import type { Log } from "../../log/log.js";
import { seed_of } from "../../registry/partition_place.js";
import { log_time_header } from "../log_time_header.js";
import type { KafkaSettings } from "../settings.js";
import type { EmbeddedSource } from "./embedded_source.js";
import { Outgoing } from "./outgoing.js";
import { merged_frames, recut } from "./recut.js";
import { single_host } from "./single_host.js";
import { SoleWriter } from "./sole_writer.js";
import { topic_offsets } from "./topic_offsets.js";

export interface CopyOptions {
  source: EmbeddedSource;
  settings: KafkaSettings;
  /** Of the topic. */
  partitions: number;
  kafka: Kafka;
  producer: Producer;
  /** Of the bytes of the log. */
  progress(fraction: number): void;
  signal: AbortSignal;
}

export interface CopiedPartition {
  end: bigint;
  seal: string;
}

export interface Copy {
  host_events: CopiedPartition[];
  catalog: CopiedPartition;
  /** Of the catalog, for its last record. */
  catalog_writer: SoleWriter;
  /** Records that the fold never applied, and that have no place among other partitions. */
  left_out: number;
}

/** Throws Problem, and LogCorruption where the log was damaged meanwhile. */
export async function copy(options: CopyOptions): Promise<Copy> {
  const { source, settings } = options;
  const catalog_writer = writer_of(options, settings.topics.catalog, 0);
  const catalog = await copy_catalog(source, catalog_writer, options.signal);
  const { host_events, left_out } = await copy_events(options);
  return { host_events, catalog, catalog_writer, left_out };
}

async function copy_catalog(
  { catalog, file }: EmbeddedSource,
  writer: SoleWriter,
  signal: AbortSignal,
): Promise<CopiedPartition> {
  const outgoing = new Outgoing([writer], () => {});
  const began = encode_catalog_record(migration_began(file.registry_id));
  // Log times are a running maximum: one of today before the first manifest would date all of them to today.
  await outgoing.add(0, message(0, began, null, await first_log_time(catalog)));
  // By itself, so that whatever is broken off later is known to be a part.
  await outgoing.flush();
  for await (const frame of catalog.read(0n)) {
    signal.throwIfAborted();
    for (const { bytes } of records_of(frame.bytes)) {
      const { published, withdrawn } = decode_catalog_record(bytes);
      const identity = published ?? withdrawn?.identity;
      const key = identity ? Buffer.from(identity_key(identity)) : null;
      await outgoing.add(0, message(0, bytes, key, frame.log_time_ms));
    }
  }
  return (await outgoing.end())[0]!;
}

async function first_log_time(log: Log): Promise<number> {
  for await (const { log_time_ms } of log.read(0n)) return log_time_ms;
  return 0;
}

async function copy_events(
  options: CopyOptions,
): Promise<{ host_events: CopiedPartition[]; left_out: number }> {
  const { source, settings, partitions, progress, signal } = options;
  const logs = source.partitions.map(({ log }) => log);
  const bytes_total = logs.reduce((sum, log) => sum + log.bytes, 0);
  let bytes_read = 0;
  const writers = Array.from({ length: partitions }, (_, partition) =>
    writer_of(options, settings.topics.host_events, partition),
  );
  const outgoing = new Outgoing(writers, () => progress(bytes_read / bytes_total));
  const way_in = new WayIn(load_core_module(), seed_of(source.file.registry_id));
  const is_same = partitions === logs.length;
  let left_out = 0;
  for await (const { partition, frame } of merged_frames(logs)) {
    signal.throwIfAborted();
    bytes_read += frame.bytes.length;
    for (const { bytes } of records_of(frame.bytes)) {
      const placed = is_same
        ? [{ partition, bytes }]
        : recut(way_in, bytes, partition, logs.length, partitions);
      if (placed === null) left_out += 1;
      for (const one of placed ?? []) {
        const key = single_host(one.bytes);
        await outgoing.add(one.partition, message(one.partition, one.bytes, key, frame.log_time_ms));
      }
    }
  }
  return { host_events: await outgoing.end(), left_out };
}

function message(partition: number, bytes: Uint8Array, key: Buffer | null, log_time_ms: number): Message {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return { partition, key, value, headers: log_time_header(log_time_ms) };
}

function writer_of({ producer, kafka }: CopyOptions, topic: string, partition: number): SoleWriter {
  const high_watermark = async () => (await topic_offsets(kafka, [topic])).get(topic)![partition]!.high;
  return new SoleWriter({ producer, topic, partition, high_watermark });
}
