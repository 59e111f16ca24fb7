/** A thread that replays one partition after another, and is asked about what it has replayed last. */
import { parentPort, workerData } from "node:worker_threads";
import { Core } from "../core/core.js";
import { node_disk } from "../log/node_disk.js";
import { PartitionReplay } from "./replay_partition.js";
import type { ReplayMessage, ReplayRequest } from "./replay_thread.js";

/** Told apart often enough for a progress bar, seldom enough to cost nothing. */
const PROGRESS_BYTES = 16 * 1024 * 1024;

const port = parentPort!;
// One for all: the address space of another would be free only when the garbage collector comes by.
const core = new Core(workerData as WebAssembly.Module, { partition: null, partitions: 1 });
let replay: PartitionReplay | null = null;

function tell(message: ReplayMessage): void {
  port.postMessage(message);
}

async function fold_to(folded: PartitionReplay, to: bigint | null): Promise<void> {
  let untold = 0;
  try {
    await folded.fold_to(to, (bytes) => {
      untold += bytes;
      if (untold < PROGRESS_BYTES) return;
      tell({ bytes: untold });
      untold = 0;
    });
  } finally {
    tell({ bytes: untold });
  }
}

async function answer(request: ReplayRequest): Promise<unknown> {
  if (request.what === "replay") {
    replay = new PartitionReplay(core, node_disk, request.task);
    try {
      await fold_to(replay, request.task.to);
    } catch (error) {
      return { ...replay.range, digest: null, damaged: message_of(error) };
    }
    return { ...replay.range, digest: replay.digest(), damaged: null };
  }
  if (replay === null) throw new Error("nothing was replayed yet");
  await fold_to(replay, request.to);
  return request.what === "compare" ? replay.compare(request.hashes) : replay.state(request.host_id);
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

port.on("message", (request: ReplayRequest) => {
  answer(request).then(
    (given) => tell({ answer: given }),
    (error) => tell({ failed: message_of(error) }),
  );
});
