/** The thread that a shard runs in: opens it, then answers requests one by one as they come in. */
import { parentPort, workerData } from "node:worker_threads";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import { node_disk } from "../log/node_disk.js";
import { Shard, type ShardWork } from "./shard.js";
import type { ShardRequest, ShardResponse, ShardStart } from "./shard_protocol.js";

const port = parentPort!;

function refusal(id: number, error: unknown): ShardResponse {
  if (error instanceof Problem) {
    return { id, problem: { code: error.code, message: error.message, parts: error.parts } };
  }
  if (error instanceof LogCorruption) {
    return { id, problem: { code: "unavailable", message: error.message, parts: {} } };
  }
  return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

async function answer(shard: Shard, { id, operation, arguments: given }: ShardRequest): Promise<void> {
  try {
    const work = shard[operation] as ShardWork[typeof operation];
    const value = await (work as (...args: unknown[]) => unknown).apply(shard, given);
    port.postMessage({ id, answer: value } satisfies ShardResponse);
  } catch (error) {
    port.postMessage(refusal(id, error));
  }
  if (operation === "close") port.close();
}

try {
  const shard = await Shard.open(workerData as ShardStart, node_disk, Date.now);
  port.on("message", (request: ShardRequest) => void answer(shard, request));
  port.postMessage({ id: 0, answer: shard.status() } satisfies ShardResponse);
} catch (error) {
  port.postMessage(refusal(0, error));
}
