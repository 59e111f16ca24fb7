/** A shard behind a port: opens it, then answers requests one by one as they come in. */
import type { MessagePort } from "node:worker_threads";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import type { Disk } from "../log/disk.js";
import { Shard, type ShardWork } from "./shard.js";
import type {
  LinesPage,
  Operation,
  ShardRequest,
  ShardResponse,
  ShardStart,
  ShardStarted,
} from "./shard_protocol.js";

function refusal(id: number, error: unknown): ShardResponse {
  if (error instanceof Problem) {
    return { id, problem: { code: error.code, message: error.message, parts: error.parts } };
  }
  if (error instanceof LogCorruption) {
    return { id, problem: { code: "unavailable", message: error.message, parts: {} } };
  }
  return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** Memory that goes over instead of being copied. */
function transferred(operation: Operation, answer: unknown): ArrayBuffer[] {
  return operation === "check_lines" ? [(answer as LinesPage).lines.buffer] : [];
}

/** Resolves when it answers; its first message says that it does, or why it does not (then with null). */
export async function serve_shard(
  port: MessagePort,
  start: ShardStart,
  disk: Disk,
  now: () => number,
): Promise<Shard | null> {
  async function answer(shard: Shard, { id, operation, arguments: given }: ShardRequest): Promise<void> {
    try {
      const work = shard[operation] as ShardWork[typeof operation];
      const value = await (work as (...args: unknown[]) => unknown).apply(shard, given);
      port.postMessage({ id, answer: value } satisfies ShardResponse, transferred(operation, value));
    } catch (error) {
      port.postMessage(refusal(id, error));
    }
    if (operation === "close") port.close();
  }

  try {
    const shard = await Shard.open(start, disk, now);
    port.on("message", (request: ShardRequest) => void answer(shard, request));
    const started: ShardStarted = { status: shard.status(), refused_snapshots: shard.refused_snapshots };
    port.postMessage({ id: 0, answer: started } satisfies ShardResponse);
    return shard;
  } catch (error) {
    port.postMessage(refusal(0, error));
    return null;
  }
}
