/** Opens a registry's directory: claims it, reads its catalog, starts its shards and all that works beside them. */
import { randomUUID } from "node:crypto";
import { availableParallelism } from "node:os";
import { Catalog } from "../catalog/catalog.js";
import { MEMORY_BYTES_MAX } from "../core/core.js";
import { core_sha256, load_core_module } from "../core/module.js";
import { WayIn } from "../core/way_in.js";
import { Problem } from "../events/problem.js";
import { type Claim, claim_directory } from "../log/claim.js";
import { LogCorruption } from "../log/corruption.js";
import { make_directory_durably } from "../log/disk.js";
import { disk_problem } from "../log/disk_problem.js";
import { node_disk } from "../log/node_disk.js";
import { create_registry, read_registry } from "../log/registry_file.js";
import { require_embedded } from "../log/registry_mode.js";
import { type CatalogFact, catalog_fact } from "./catalog_feed.js";
import { Keeper, RETENTION_DEFAULT, SNAPSHOT_AFTER_BYTES_DEFAULT } from "./keeper.js";
import { LocalPartitions } from "./local_partitions.js";
import { log_directory, type RegistryPlace, seed_of } from "./partition_place.js";
import { PastQuestions } from "./past_questions.js";
import { PastThreads } from "./past_threads.js";
import { Registry, type RegistryParts, type RegistryStart } from "./registry.js";
import { ShardClient } from "./shard_client.js";
import type { ShardStarted } from "./shard_protocol.js";
import type { Retention } from "./snapshots.js";

export const PARTITIONS_DEFAULT = 8;
export const STALE_AFTER_MS_DEFAULT = 26 * 60 * 60 * 1000;

export interface RegistryOptions {
  /** The directory; made where it is missing. */
  data: string;
  /** Fixed when the directory is made. */
  partitions?: number;
  /** Worker threads; default: cores less one, at least one. */
  shards?: number;
  stale_after_ms?: number;
  /** A snapshot of a partition is made when so much of its log is in none. */
  snapshot_after_bytes?: number;
  /** Which snapshots are kept. */
  retention?: Retention;
  /** For messages about what the start found: a torn tail, a broken partition. */
  report?(message: string): void;
  now?(): number;
}

/** Throws Problem: `unavailable` where another process has the directory, others where it is no registry. */
export async function open_registry(options: RegistryOptions): Promise<Registry> {
  const { data, report = () => {}, now = Date.now } = options;
  const known = await read_registry(node_disk, data, options.partitions);
  if (known === null) {
    await make_directory_durably(node_disk, data).catch((error: unknown) => {
      throw disk_problem(error, `${data} cannot be made`);
    });
  }
  const claim = claim_directory(data);
  try {
    const facts = {
      registry_id: randomUUID(),
      partitions: options.partitions ?? PARTITIONS_DEFAULT,
      created_ms: now(),
    };
    // Looked at again under the claim: another process may have made it meanwhile.
    const file =
      (await read_registry(node_disk, data, options.partitions)) ??
      (await create_registry(node_disk, data, facts));
    require_embedded(data, file);
    const place: RegistryPlace = {
      directory: data,
      registry_id: file.registry_id,
      partition_count: file.partitions,
      replica: false,
      module: load_core_module(),
      core_sha256: core_sha256(),
      memory_bytes_max: MEMORY_BYTES_MAX,
    };
    return await open_claimed(options, claim, place, report, now);
  } catch (error) {
    claim.release();
    throw error;
  }
}

async function open_claimed(
  options: RegistryOptions,
  claim: Claim,
  place: RegistryPlace,
  report: (message: string) => void,
  now: () => number,
): Promise<Registry> {
  const { partition_count: partitions } = place;
  const stale_after_ms = options.stale_after_ms ?? STALE_AFTER_MS_DEFAULT;
  const facts: CatalogFact[] = [];
  const shards: ShardClient[] = [];
  const { catalog, torn } = await open_catalog(options.data, now, (fact) => {
    if (shards.length === 0) facts.push(fact);
    // A shard that is gone ends the registry: whoever asked is told by its own question.
    for (const shard of shards) shard.ask("catalog", [fact]).catch(() => {});
  });
  if (torn) report(`catalog: cut ${torn.bytes} bytes of a torn tail at byte ${torn.byte}`);
  const count = Math.min(partitions, options.shards ?? Math.max(1, availableParallelism() - 1));
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  try {
    const started = await Promise.allSettled(
      Array.from({ length: count }, (_, shard) =>
        ShardClient.start({
          place,
          ...own_partitions(all.filter((partition) => partition % count === shard)),
          stale_after_ms,
          catalog: facts,
        }),
      ),
    );
    for (const result of started) if (result.status === "fulfilled") shards.push(result.value.shard);
    const told = started.map((result) => {
      if (result.status === "rejected") throw result.reason;
      return result.value.started;
    });
    const start = report_start(told, report);
    return assemble({ options, claim, place, catalog, shards, start, now, report }, (local) => ({
      partitions: local,
      intake: local,
      lost: local.lost,
    }));
  } catch (error) {
    await Promise.all(shards.map((shard) => shard.close()));
    await catalog.close();
    throw error;
  }
}

/** What the shards say of their start, to who started them. */
export function report_start(
  shards: readonly ShardStarted[],
  report: (message: string) => void,
): RegistryStart {
  const start: RegistryStart = { snapshots: 0, log_bytes_read: 0 };
  for (const { status: all_status, refused_snapshots } of shards) {
    for (const message of refused_snapshots) report(message);
    for (const status of all_status) {
      if (status.torn) report(`partition ${status.partition}: ${status.torn}`);
      if (status.broken) report(`partition ${status.partition} is broken: ${status.broken}`);
      if (status.snapshot_log_time_ms !== null) start.snapshots += 1;
      start.log_bytes_read += status.unsnapshotted_bytes;
    }
  }
  return start;
}

export interface AssembledFrom {
  options: RegistryOptions;
  claim: Claim;
  place: RegistryPlace;
  catalog: Catalog;
  shards: readonly ShardClient[];
  start: RegistryStart;
  now(): number;
  report(message: string): void;
}

/** All that a registry has beside its shards. `over`: what its questions go through, made from what is here. */
export function assemble(
  { options, claim, place, catalog, shards, start, now, report }: AssembledFrom,
  over: (
    local: LocalPartitions,
  ) => Pick<RegistryParts, "partitions" | "intake" | "lost" | "starting" | "reset" | "silent">,
): Registry {
  const keeper = new Keeper({
    place,
    shards,
    retention: options.retention ?? RETENTION_DEFAULT,
    after_bytes: options.snapshot_after_bytes ?? SNAPSHOT_AFTER_BYTES_DEFAULT,
    report,
    now,
  });
  keeper.start();
  const past = new PastThreads(place, options.stale_after_ms ?? STALE_AFTER_MS_DEFAULT);
  const local: LocalPartitions = new LocalPartitions(
    shards,
    new PastQuestions({
      shard_of: (partition) => local.shard(partition),
      manifests: catalog.manifests,
      threads: past,
      report,
    }),
  );
  const parts: RegistryParts = {
    claim,
    catalog,
    partition_count: place.partition_count,
    replica: place.replica,
    now,
    keeper,
    past,
    start,
    ...over(local),
  };
  return new Registry(parts, new WayIn(place.module, seed_of(place.registry_id)));
}

function own_partitions(partitions: number[]) {
  return { partitions, open: partitions };
}

async function open_catalog(data: string, now: () => number, on_fact: (fact: CatalogFact) => void) {
  try {
    return await Catalog.open({
      disk: node_disk,
      directory: log_directory(data, "catalog"),
      now,
      on_change(change) {
        const fact = catalog_fact(change);
        if (fact !== null) on_fact(fact);
      },
    });
  } catch (error) {
    // Without its catalog a registry could answer nothing about states.
    if (error instanceof LogCorruption) throw new Problem("unavailable", error.message);
    throw disk_problem(error, "the catalog cannot be opened");
  }
}
