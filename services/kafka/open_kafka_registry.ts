/**
 * Opens a node of a registry whose log is in Kafka: its directory, the catalog to its end, its shards; then, once it is
 * known where other nodes reach it, it joins the group.
 */
import { randomUUID } from "node:crypto";
import { availableParallelism } from "node:os";
import { Catalog } from "../catalog/catalog.js";
import { Core, MEMORY_BYTES_MAX } from "../core/core.js";
import { core_sha256, load_core_module } from "../core/module.js";
import { Problem } from "../events/problem.js";
import { type Claim, claim_directory } from "../log/claim.js";
import { make_directory_durably } from "../log/disk.js";
import { disk_problem } from "../log/disk_problem.js";
import { node_disk } from "../log/node_disk.js";
import { create_registry, type RegistryFile, read_registry } from "../log/registry_file.js";
import { type CatalogFact, catalog_fact } from "../registry/catalog_feed.js";
import type { LocalPartitions } from "../registry/local_partitions.js";
import {
  assemble,
  type RegistryOptions,
  report_start,
  STALE_AFTER_MS_DEFAULT,
} from "../registry/open_registry.js";
import { core_options, log_directory, type RegistryPlace } from "../registry/partition_place.js";
import type { Registry, RegistryParts } from "../registry/registry.js";
import type { ReplayHere } from "../registry/service.js";
import { CatalogTopic } from "./catalog_topic.js";
import type { KafkaLog } from "./client_log.js";
import { ClusterPartitions } from "./cluster_partitions.js";
import { KafkaIntake } from "./intake.js";
import { kafka_of } from "./kafka_client.js";
import { Lease } from "./lease.js";
import { KafkaNode } from "./node.js";
import { own_url } from "./own_url.js";
import { OwnershipGroup } from "./ownership.js";
import { PeerAuth } from "./peer_auth.js";
import { PeerClient } from "./peer_client.js";
import { PeerDoor } from "./peer_door.js";
import { PUBLISHER_REQUEST_TIMEOUT_MS, Publisher } from "./publisher.js";
import { ReplicaThread } from "./replica_thread.js";
import type { KafkaSettings } from "./settings.js";
import { refusal_of, verify_topics } from "./topics.js";

export interface KafkaRegistryOptions extends Omit<RegistryOptions, "partitions"> {
  /** Folds partitions that are kept here anew, for a node that was asked about all. */
  replay: ReplayHere;
  settings: KafkaSettings;
  log: KafkaLog;
}

export interface KafkaRegistry {
  registry: Registry;
  /** What only nodes ask; null: the request is for somebody else. */
  peers(request: Request): Promise<Response | null>;
  /** `url`: where this node listens. Resolves when it is in the group. */
  join(url: string): Promise<void>;
}

export async function open_kafka_registry(options: KafkaRegistryOptions): Promise<KafkaRegistry> {
  const { data, settings, log, report = () => {}, now = Date.now } = options;
  const kafka = kafka_of(settings, "node", log);
  const topics = await verify_topics(kafka, settings);
  const refusal = refusal_of(topics, settings);
  if (refusal !== null) throw refusal;
  const partitions = topics.partitions!;
  const admin = kafka.admin();
  await admin.connect();
  const undo: (() => unknown)[] = [() => admin.disconnect()];
  try {
    const { clusterId: cluster_id } = await admin.describeCluster();
    await read_registry(node_disk, data);
    await make_directory_durably(node_disk, data).catch((error: unknown) => {
      throw disk_problem(error, `${data} cannot be made`);
    });
    const claim = claim_directory(data);
    undo.push(() => claim.release());
    const file = await own_directory(data, settings, cluster_id, partitions, now);
    const place: RegistryPlace = {
      directory: data,
      registry_id: file.registry_id,
      partition_count: partitions,
      replica: true,
      module: load_core_module(),
      core_sha256: core_sha256(),
      memory_bytes_max: MEMORY_BYTES_MAX,
    };
    return await open_claimed({ ...options, report, now }, { claim, place, admin, kafka, undo });
  } catch (error) {
    for (const take_back of undo.toReversed()) await take_back();
    throw error;
  }
}

interface Claimed {
  claim: Claim;
  place: RegistryPlace;
  admin: ReturnType<ReturnType<typeof kafka_of>["admin"]>;
  kafka: ReturnType<typeof kafka_of>;
  /** What a start that fails has to take back, the last one first. */
  undo: (() => unknown)[];
}

async function open_claimed(
  options: KafkaRegistryOptions & Required<Pick<KafkaRegistryOptions, "report" | "now">>,
  { claim, place, admin, kafka, undo }: Claimed,
): Promise<KafkaRegistry> {
  const { data, settings, log, report, now } = options;
  const { partition_count: partitions } = place;
  const group = `${settings.group_id}.${settings.node_id}`;
  const threads: ReplicaThread[] = [];
  const facts: CatalogFact[] = [];
  const catalog_topic = new CatalogTopic({
    kafka,
    topic: settings.topics.catalog,
    group: `${group}.catalog`,
    report,
  });
  undo.push(() => catalog_topic.close());
  const { catalog, torn } = await Catalog.open({
    disk: node_disk,
    directory: log_directory(data, "catalog"),
    replica: catalog_topic,
    now,
    on_change(change) {
      const fact = catalog_fact(change);
      if (fact === null) return;
      facts.push(fact);
      for (const { shard } of threads) shard.ask("catalog", [fact]).catch(() => {});
    },
  });
  undo.push(() => catalog.close());
  if (torn) report(`catalog: cut ${torn.bytes} bytes of a torn tail at byte ${torn.byte}`);
  await catalog_topic.follow(catalog);
  const { migration } = catalog;
  if (migration === "unfinished") throw unfinished(settings);

  const lease = new Lease(settings.session_timeout_ms);
  const fold_version = new Core(place.module, core_options(place, 0)).fold_version;
  const made: { node?: KafkaNode; registry?: Registry } = {};
  const count = Math.min(partitions, options.shards ?? Math.max(1, availableParallelism() - 1));
  for (let shard = 0; shard < count; shard++) {
    const known = facts.length;
    const thread = await ReplicaThread.start(
      {
        place,
        partitions: Array.from({ length: partitions }, (_, i) => i).filter((i) => i % count === shard),
        open: [],
        stale_after_ms: options.stale_after_ms ?? STALE_AFTER_MS_DEFAULT,
        catalog: facts.slice(0, known),
      },
      { settings, name: `shard-${shard}`, lease: lease.memory },
      {
        broken: (partition, broken) => made.node?.broke(partition, broken),
        published: (partition, progress) => made.node?.published(partition, progress),
        silent: (partition, says) => made.node?.silent(partition, says),
        report,
      },
    );
    // What came meanwhile.
    for (const fact of facts.slice(known)) thread.shard.ask("catalog", [fact]).catch(() => {});
    threads.push(thread);
    undo.push(() => thread.shard.close());
  }

  const node = new KafkaNode({
    topic: settings.topics.host_events,
    partitions,
    admin,
    lease,
    threads,
    state_changes: settings.state_changes,
    fold_version,
    data,
    now,
    migrated_to: migration?.ends ?? new Map(),
    async next_offsets() {
      const status = await Promise.all(threads.map(({ shard }) => shard.ask("status", [])));
      return new Map(status.flat().map(({ partition, next_offset }) => [partition, next_offset]));
    },
    report,
  });
  made.node = node;
  const publisher_kafka = kafka_of(settings, "publisher", log, PUBLISHER_REQUEST_TIMEOUT_MS);
  const publisher = new Publisher({ kafka: publisher_kafka, topic: settings.topics.host_events, partitions });
  const auth = new PeerAuth(settings.cluster_secret);
  const peer_client = new PeerClient(auth, settings.peer_allow);
  let door: PeerDoor | null = null;
  const start = report_start(
    threads.map(({ started }) => started),
    report,
  );
  const registry = assemble(
    { options, claim, place, catalog, shards: threads.map(({ shard }) => shard), start, now, report },
    (
      local: LocalPartitions,
    ): Pick<RegistryParts, "partitions" | "intake" | "lost" | "starting" | "reset" | "silent"> => {
      door = new PeerDoor(auth, node, local, catalog, (partitions, to) =>
        options.replay(made.registry!, partitions, to),
      );
      const cluster = new ClusterPartitions({
        partition_count: partitions,
        node,
        local,
        peers: peer_client,
        catalog,
        session_timeout_ms: settings.session_timeout_ms,
        async close() {
          await publisher.close();
          door!.close();
          await catalog_topic.close();
          await admin.disconnect();
        },
      });
      return {
        partitions: cluster,
        intake: new KafkaIntake(publisher, cluster),
        lost: local.lost,
        starting: () => catalog_topic.broken ?? node.starting,
        reset: (partition) => node.reset(partition),
        silent: () => node.silent_partitions,
      };
    },
  );
  made.registry = registry;
  return {
    registry,
    peers: (request) => door!.fetch(request),
    join: async (listens) => {
      const url = own_url(settings, listens);
      await node.start(
        new OwnershipGroup({
          kafka: kafka_of(settings, "owner", log, settings.session_timeout_ms),
          group_id: settings.group_id,
          topic: settings.topics.host_events,
          partitions,
          session_timeout_ms: settings.session_timeout_ms,
          node: { node_id: settings.node_id, url, fold_version },
          lease,
          claims: () => node.claims(),
          revoked: (still_owned) => node.revoked(still_owned),
          assigned: (ownership) => node.assigned(ownership),
          report,
        }),
      );
    },
  };
}

/** The directory's registry, made where it is missing. Throws Problem where it is of another log. */
async function own_directory(
  data: string,
  { topics }: KafkaSettings,
  cluster_id: string,
  partitions: number,
  now: () => number,
): Promise<RegistryFile> {
  const topic = topics.host_events;
  const file = await read_registry(node_disk, data);
  if (file === null) {
    const mode = { mode: "kafka", cluster_id, topic } as const;
    return create_registry(node_disk, data, {
      registry_id: randomUUID(),
      partitions,
      created_ms: now(),
      mode,
    });
  }
  const refuse = (says: string) => {
    return new Problem("contradiction", `${data} ${says}; give the node a directory of its own`, {
      field: "data",
      value: data,
    });
  };
  if (file.mode !== "kafka") {
    throw refuse(
      "has a log of its own and not replicas of one in Kafka: `klpstate migrate --to-kafka` copies it there",
    );
  }
  if (file.cluster_id !== cluster_id || file.topic !== topic) {
    throw refuse(
      `has replicas of the topic ${file.topic} of the Kafka cluster ${file.cluster_id}, not of ${topic} of ${cluster_id} (log_diverged)`,
    );
  }
  if (file.partitions !== partitions) {
    throw refuse(
      `has replicas of a topic of ${file.partitions} partitions, and ${topic} has ${partitions} (partition_count_changed): ` +
        "hosts would have other partitions",
    );
  }
  return file;
}

function unfinished({ topics }: KafkaSettings): Problem {
  return new Problem(
    "unavailable",
    `${topics.catalog} says that a copy of an embedded log began and not that it ended: wait for \`klpstate migrate\`, ` +
      "or delete the topics and begin it again",
  );
}
