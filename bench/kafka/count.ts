/** The bare counting loop of kafkajs, in a process of its own. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Run } from "../measure.js";
import type { ReaderRun } from "./reader.js";
import type { FilledTopic } from "./topic.js";

const PROGRAM = fileURLToPath(new URL("count_topic.js", import.meta.url));

export async function count(broker: string, { name, contents }: FilledTopic): Promise<ReaderRun> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    PROGRAM,
    broker,
    name,
    String(contents.records),
  ]);
  const counted: Run & { records: number } = JSON.parse(stdout);
  if (counted.records !== contents.records) {
    throw new Error(`${name} has ${contents.records} records, and ${counted.records} were counted`);
  }
  return { ...counted, events: contents.events };
}
