/** A thread that replays partitions one by one as it is told to. */
import { parentPort, workerData } from "node:worker_threads";
import { node_disk } from "../log/node_disk.js";
import type { ReplayMessage } from "./replay.js";
import { type ReplayTask, replay_partition } from "./replay_partition.js";

/** Told apart often enough for a progress bar, seldom enough to cost nothing. */
const PROGRESS_BYTES = 16 * 1024 * 1024;

const port = parentPort!;
const module = workerData as WebAssembly.Module;

port.on("message", (task: ReplayTask) => {
  let untold = 0;
  const tell = (message: ReplayMessage) => port.postMessage(message);
  const progress = (bytes: number) => {
    untold += bytes;
    if (untold < PROGRESS_BYTES) return;
    tell({ bytes: untold });
    untold = 0;
  };
  replay_partition(task, module, node_disk, progress).then(
    (replayed) => tell({ bytes: untold, replayed }),
    (error) =>
      tell({
        bytes: untold,
        partition: task.partition,
        failed: error instanceof Error ? error.message : String(error),
      }),
  );
});
