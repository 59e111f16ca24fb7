/** What a node has of its partitions: as it says, and on its disk. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { frames_of, records_of } from "#services/log/frame.js";
import { node_disk } from "#services/log/node_disk.js";
import { read_log } from "#services/log/read_only.js";
import type { ReplayAnswer } from "#services/registry/answers.js";
import type { Door } from "./http.js";
import type { LogOfNode, Replayed, Replica } from "./place.js";
import type { TopicRecord } from "./truth.js";

const FRAMES_BYTES = 4 * 1024 * 1024;
const REPLAY_MS_MAX = 60_000;

/** Throws where what is served is not what the log says. */
export async function replayed(door: Door): Promise<Replayed> {
  const answer = await door.ask("POST", "/v1/replay", { ms_max: REPLAY_MS_MAX });
  if (answer.status !== 200) return { replicas: [], missing: [answer.says] };
  const { partitions } = answer.document as ReplayAnswer;
  const replicas: Replica[] = [];
  const missing: string[] = [];
  for (const { partition, next, hosts, digest, matches, damaged, broken } of partitions) {
    if (damaged !== null || (matches === false && broken === null)) {
      throw new Error(
        `${door.node}: partition ${partition} is not what its log says: ${damaged ?? "it differs"}`,
      );
    }
    if (matches !== true) missing.push(`partition ${partition}: ${broken ?? "it was not compared"}`);
    else replicas.push({ told_by: door.node, partition, next_offset: BigInt(next), hosts, digest: digest! });
  }
  return { replicas, missing };
}

/** Of a directory that nobody serves. */
export async function logs_in(data: string, node: string): Promise<LogOfNode[]> {
  const partitions = readdirSync(join(data, "log"))
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number);
  return await Promise.all(
    partitions.map(async (partition) => ({
      node,
      partition,
      records: await log_in(data, String(partition), true),
    })),
  );
}

export async function log_in(data: string, name: string, replica = false): Promise<TopicRecord[]> {
  const records: TopicRecord[] = [];
  const buffer = new Uint8Array(FRAMES_BYTES);
  await read_log({
    disk: node_disk,
    directory: join(data, "log", name),
    name,
    replica,
    to: null,
    buffer: () => buffer,
    on_frames(frames) {
      for (const frame of frames_of(frames)) {
        for (const { bytes, offset, log_time_ms } of records_of(frame)) {
          records.push({ offset, bytes: Uint8Array.from(bytes), log_time_ms: BigInt(log_time_ms) });
        }
      }
    },
  });
  return records;
}
