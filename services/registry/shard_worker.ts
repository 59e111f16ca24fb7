/** The thread that a shard runs in. */
import { parentPort, workerData } from "node:worker_threads";
import { node_disk } from "../log/node_disk.js";
import type { ShardStart } from "./shard_protocol.js";
import { serve_shard } from "./shard_serving.js";

await serve_shard(parentPort!, workerData as ShardStart, node_disk, Date.now);
