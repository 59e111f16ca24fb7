/** The log that is copied: a directory that is claimed, and of which every record was read and folded once. */
import { Manifests } from "../../catalog/manifests.js";
import { Core } from "../../core/core.js";
import { add_digests, type Digest, digest_of_core } from "../../core/digest.js";
import { load_core_module } from "../../core/module.js";
import { Problem } from "../../events/problem.js";
import { type Claim, claim_directory } from "../../log/claim.js";
import { LogCorruption } from "../../log/corruption.js";
import { disk_problem } from "../../log/disk_problem.js";
import { frames_of, records_of } from "../../log/frame.js";
import { Log } from "../../log/log.js";
import { node_disk } from "../../log/node_disk.js";
import { type RegistryFile, read_registry } from "../../log/registry_file.js";
import { require_embedded } from "../../log/registry_mode.js";
import { log_directory } from "../../registry/partition_place.js";

export interface SourcePartition {
  log: Log;
  digest: Digest;
  hosts: number;
  events: number;
}

export interface EmbeddedSource {
  file: RegistryFile;
  partitions: SourcePartition[];
  catalog: Log;
  /** Of the registry. */
  digest: Digest;
  fold_version: number;
  close(): Promise<void>;
}

/** Throws Problem: `contradiction` where its log lives elsewhere; `not_found`. */
export async function embedded_registry(directory: string): Promise<RegistryFile> {
  const file = await read_registry(node_disk, directory);
  if (file === null) {
    throw new Problem("not_found", `${directory} holds no registry`, { field: "data", value: directory });
  }
  require_embedded(directory, file);
  return file;
}

/**
 * Claims the directory and reads all of its log, as a start without snapshots would. Throws Problem: `unavailable`
 * where another process has it, or where it is damaged; and as `embedded_registry`.
 */
export async function open_embedded(
  directory: string,
  progress: (fraction: number) => void,
): Promise<EmbeddedSource> {
  await embedded_registry(directory);
  const claim = claim_directory(directory);
  const logs: Log[] = [];
  try {
    // Looked at again under the claim: another migration may have ended meanwhile.
    const file = await embedded_registry(directory);
    const catalog = await open_log(directory, "catalog", check_catalog());
    logs.push(catalog);
    const core = new Core(load_core_module(), { partition: null, partitions: 1 });
    const partitions: SourcePartition[] = [];
    for (let partition = 0; partition < file.partitions; partition++) {
      core.restart({ partition, partitions: file.partitions });
      const log = await open_log(directory, partition, (frames) => {
        if (core.fold_frames(frames, false) === "folded") return;
        throw new Problem(
          "partition_full",
          `partition ${partition} of ${directory} does not fit into memory`,
        );
      });
      logs.push(log);
      const { host_count: hosts, events_folded: events } = core;
      partitions.push({ log, digest: digest_of_core(core), hosts, events });
      progress((partition + 1) / file.partitions);
    }
    return {
      file,
      partitions,
      catalog,
      digest: add_digests(partitions.map(({ digest }) => digest)),
      fold_version: core.fold_version,
      close: () => close(logs, claim),
    };
  } catch (error) {
    await close(logs, claim);
    throw error;
  }
}

async function close(logs: Log[], claim: Claim): Promise<void> {
  for (const log of logs) await log.close();
  claim.release();
}

async function open_log(
  directory: string,
  name: number | "catalog",
  on_frames: (frames: Uint8Array) => void,
): Promise<Log> {
  const shown = name === "catalog" ? name : `partition ${name}`;
  try {
    const place = { disk: node_disk, directory: log_directory(directory, name), name: shown };
    return (await Log.open({ ...place, now: Date.now, on_frames })).log;
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (error instanceof LogCorruption) {
      throw new Problem("unavailable", `${error.message}; nothing was copied`, { field: "data" });
    }
    throw disk_problem(error, `${shown} of ${directory} cannot be opened`);
  }
}

/** Throws for a record that no node could read. */
function check_catalog(): (frames: Uint8Array) => void {
  const manifests = new Manifests();
  return (frames) => {
    for (const frame of frames_of(frames)) {
      for (const { bytes, offset, log_time_ms } of records_of(frame)) {
        manifests.apply(bytes.slice(), offset, log_time_ms);
      }
    }
  };
}
