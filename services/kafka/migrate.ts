/**
 * From one machine to Kafka: copies an embedded log into empty topics, reads them back, and only when they are the same
 * registry says so, in the catalog and in the directory. Whatever breaks off before leaves the directory as it is, and
 * topics that no node serves.
 */
import type { Admin, Kafka, Producer } from "kafkajs";
import { type MigrationEnd, migration_ended, migration_of } from "../catalog/migration.js";
import { type Digest, format_digest } from "../core/digest.js";
import { type CatalogRecord, decode_catalog_record, encode_catalog_record } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import { node_disk } from "../log/node_disk.js";
import { leave_registry, type RegistryFile } from "../log/registry_file.js";
import { unavailable } from "./broker_problem.js";
import { type Copy, copy } from "./migration/copy.js";
import { type EmbeddedSource, embedded_registry, open_embedded } from "./migration/embedded_source.js";
import { read_back } from "./migration/read_back.js";
import { look_at_target, type Target } from "./migration/target.js";
import { type Verified, verify } from "./migration/verify.js";
import type { KafkaSettings } from "./settings.js";

export type MigratePhase = "reading" | "copying" | "verifying";

export interface MigrateOptions {
  /** The registry's. */
  directory: string;
  settings: KafkaSettings;
  kafka: Kafka;
  /** Of the topic, where it is meant to have others than the directory. */
  partitions?: number;
  progress(phase: MigratePhase, fraction: number): void;
  signal: AbortSignal;
}

export interface MigrateReport {
  registry_id: string;
  cluster_id: string;
  topic: string;
  /** How far the copies go in each partition, as next offsets. */
  partitions: { partition: number; next: string }[];
  /** The same of the catalog. */
  catalog: string;
  hosts: number;
  events: number;
  /** Records that were never applied, and that other partitions have no place for. */
  left_out: number;
  digest: string;
  fold_version: number;
  /** The registry is in Kafka now. False: nothing was switched, and `differences` says why. */
  migrated: boolean;
  differences: string[];
}

/** What the catalog's topic says of a copy. */
type Said = ReturnType<typeof migration_of>;

const ANEW = "delete the topics, make them anew with `klpstate topics create`, and start again";

/** Throws Problem; what it says tells whether the topics have to be made anew. */
export async function migrate(options: MigrateOptions): Promise<MigrateReport> {
  const { directory, settings, kafka, progress } = options;
  const admin = kafka.admin();
  await admin.connect().catch((error: Error) => {
    throw new Problem(
      "unavailable",
      `no broker answers at ${settings.brokers.join(", ")} (${error.message})`,
    );
  });
  try {
    // Before minutes are spent on the log.
    const registry = await embedded_registry(directory);
    check_target(options, registry, ...(await look(options, admin)));
    const source = await open_embedded(directory, (fraction) => progress("reading", fraction));
    try {
      const [target, said] = await look(options, admin);
      check_target(options, source.file, target, said);
      if (said !== null && said !== "unfinished") return await finish(options, source, target, said);
      return await copy_and_switch(options, admin, source, target);
    } finally {
      await source.close();
    }
  } finally {
    await admin.disconnect();
  }
}

async function look(
  { kafka, settings, signal }: MigrateOptions,
  admin: Admin,
): Promise<[target: Target, said: Said]> {
  const target = await look_at_target(kafka, admin, settings);
  const records: CatalogRecord[] = [];
  await read_back({
    kafka,
    admin,
    topic: settings.topics.catalog,
    group_prefix: settings.group_id,
    ends: new Map([[0, target.catalog_end]]),
    on_records: (_, found) => void records.push(...found.map(({ bytes }) => decode_catalog_record(bytes))),
    on_end() {},
    signal,
  });
  return [target, migration_of(records)];
}

/** Throws Problem unless the topics are empty and as many partitions as are wanted, or have this registry already. */
function check_target(
  { partitions: wanted, settings }: MigrateOptions,
  registry: RegistryFile,
  target: Target,
  said: Said,
): void {
  const { group_id, topics } = settings;
  if (said === "unfinished") {
    throw new Problem("contradiction", `a copy into ${topics.host_events} broke off; ${ANEW}`);
  }
  if (said !== null && said.registry_id === registry.registry_id) return;
  if (target.written !== null) {
    const { topic, partition } = target.written;
    const message = `${topic}, partition ${partition} has or had records, and a log is copied into new topics only; ${ANEW}`;
    throw new Problem("contradiction", message, { field: "topic", value: topic });
  }
  if (target.members > 0) {
    const message = `the group ${group_id} has ${target.members} members: stop the nodes, a log is copied before them`;
    throw new Problem("unavailable", message, { field: "group", value: group_id });
  }
  if (target.partitions === (wanted ?? registry.partitions)) return;
  const has = `${topics.host_events} has ${target.partitions} partitions`;
  const message =
    wanted !== undefined
      ? `${has}, not ${wanted}`
      : `${has}, the registry ${registry.partitions}: make the topics with that many, and positions stay what they are, ` +
        `or write --partitions ${target.partitions}`;
  throw new Problem("contradiction", message, { field: "partitions", value: String(target.partitions) });
}

async function copy_and_switch(
  options: MigrateOptions,
  admin: Admin,
  source: EmbeddedSource,
  target: Target,
): Promise<MigrateReport> {
  const producer = options.kafka.producer({
    idempotent: false,
    allowAutoTopicCreation: false,
    // A send that is repeated unseen may be stored twice.
    retry: { retries: 0 },
  });
  await producer.connect();
  try {
    const { copied, verified } = await copy_and_verify(options, admin, producer, source, target);
    const end = end_of(source, copied, verified.digest);
    const { differences } = verified;
    const migrated = differences.length === 0;
    if (migrated) {
      const ended = Buffer.from(encode_catalog_record(migration_ended(end)));
      await copied.catalog_writer.write([{ partition: 0, key: null, value: ended }]);
      await leave(options, source, target);
    }
    return report_of(options, source, target, end, { left_out: copied.left_out, migrated, differences });
  } finally {
    await producer.disconnect();
  }
}

async function copy_and_verify(
  options: MigrateOptions,
  admin: Admin,
  producer: Producer,
  source: EmbeddedSource,
  { partitions }: Target,
): Promise<{ copied: Copy; verified: Verified }> {
  const { kafka, settings, progress, signal } = options;
  const shared = { source, settings, kafka, signal };
  const show = (phase: MigratePhase) => (fraction: number) => progress(phase, fraction);
  try {
    const copied = await copy({ ...shared, producer, partitions, progress: show("copying") });
    const verified = await verify({ ...shared, admin, copied, progress: show("verifying") });
    return { copied, verified };
  } catch (error) {
    throw broken_off(error, options);
  }
}

/** The topics have it all, and the directory was not told. */
async function finish(
  options: MigrateOptions,
  source: EmbeddedSource,
  target: Target,
  said: MigrationEnd,
): Promise<MigrateReport> {
  const copied = Buffer.from(said.digest).toString("hex");
  if (said.fold_version !== source.fold_version || copied !== format_digest(source.digest)) {
    const message = `${options.settings.topics.host_events} has a copy of ${options.directory}, which has changed since; ${ANEW}`;
    throw new Problem("contradiction", message, { field: "data", value: options.directory });
  }
  await leave(options, source, target);
  return report_of(options, source, target, said, { left_out: 0, migrated: true, differences: [] });
}

async function leave(
  { directory, settings }: MigrateOptions,
  { file }: EmbeddedSource,
  target: Target,
): Promise<void> {
  const { cluster_id } = target;
  const place = { cluster_id, topic: settings.topics.host_events, brokers: settings.brokers.join(",") };
  await leave_registry(node_disk, directory, file, { mode: "migrated", ...place });
}

function end_of(source: EmbeddedSource, { host_events, catalog }: Copy, digest: Digest): MigrationEnd {
  return {
    registry_id: source.file.registry_id,
    ends: new Map(host_events.map(({ end }, partition) => [partition, end])),
    catalog_end: catalog.end,
    digest: Buffer.from(format_digest(digest), "hex"),
    fold_version: source.fold_version,
  };
}

function report_of(
  { settings }: MigrateOptions,
  source: EmbeddedSource,
  { cluster_id }: Target,
  { registry_id, ends, catalog_end }: MigrationEnd,
  came_to: Pick<MigrateReport, "left_out" | "migrated" | "differences">,
): MigrateReport {
  const { partitions, digest, fold_version } = source;
  return {
    registry_id,
    cluster_id,
    topic: settings.topics.host_events,
    partitions: [...ends].map(([partition, next]) => ({ partition, next: String(next) })),
    catalog: String(catalog_end),
    hosts: partitions.reduce((sum, { hosts }) => sum + hosts, 0),
    events: partitions.reduce((sum, { events }) => sum + events, 0),
    digest: format_digest(digest),
    fold_version,
    ...came_to,
  };
}

/** Whatever it was: the topics have a part of the log now. */
function broken_off(error: unknown, { directory, settings }: MigrateOptions): Problem {
  const { code, message, parts } = unavailable(error, settings);
  return new Problem(code, `${message}; ${directory} is as it was: ${ANEW}`, parts);
}
