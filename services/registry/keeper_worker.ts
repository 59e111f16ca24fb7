/** A thread that makes snapshots and chains as it is told to, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import { Core } from "../core/core.js";
import { node_disk } from "../log/node_disk.js";
import { keep_snapshots, remake_chain } from "./keep.js";
import type { KeeperMessage, KeeperTask } from "./keeper.js";
import { core_options, type RegistryPlace } from "./partition_place.js";

const port = parentPort!;
const place = workerData as RegistryPlace;
const core = new Core(place.module, core_options(place, 0));

async function work(task: KeeperTask): Promise<void> {
  const reports: string[] = [];
  const report = (message: string) => void reports.push(message);
  let failed: string | null = null;
  try {
    if ("gap" in task) await remake_chain(node_disk, place, core, task.gap, report);
    else await keep_snapshots(node_disk, place, core, task.keep, report);
  } catch (error) {
    failed = error instanceof Error ? error.message : String(error);
  }
  port.postMessage({ reports, failed } satisfies KeeperMessage);
}

port.on("message", (task: KeeperTask) => void work(task));
