/**
 * Going on with a partition whose replica here is of another log than its topic: the replica is moved aside, and the
 * topic is folded from its earliest record. Somebody has to decide that: what the topic does not have any more is in no
 * answer from then on, and hosts whose beginning is gone are `no_baseline` (RULES F3).
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { log_directory, snapshot_directory } from "../registry/partition_place.js";

/** In a partition's directory: its log may begin where the topic does. */
const RESET_NAME = "reset.json";

/** Whether the partition's log may begin where its topic does. */
export function was_reset(data: string, partition: number): boolean {
  return existsSync(join(log_directory(data, partition), RESET_NAME));
}

/** Where the replica was moved to. Nobody has its files open. */
export function move_replica_aside(data: string, partition: number, now_ms: number): string {
  const stamp = new Date(now_ms).toISOString().replace(/[:.]/g, "-");
  const aside = join(data, "aside", `${partition}-${stamp}`);
  mkdirSync(aside, { recursive: true });
  const moved = [
    { from: log_directory(data, partition), to: "log" },
    { from: snapshot_directory(data, partition), to: "snapshots" },
  ];
  for (const { from, to } of moved) if (existsSync(from)) renameSync(from, join(aside, to));
  const log = log_directory(data, partition);
  mkdirSync(log, { recursive: true });
  writeFileSync(join(log, RESET_NAME), `${JSON.stringify({ reset: new Date(now_ms).toISOString() })}\n`);
  return aside;
}
