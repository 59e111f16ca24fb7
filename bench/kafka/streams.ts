/** The same job as an application of Kafka Streams: each host's stack in a persistent store with a change log. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { format_digest } from "../../services/core/digest.js";
import { bytes_below } from "./bytes_below.js";
import type { JavaPrograms } from "./java.js";
import type { ReaderRun } from "./reader.js";
import { delete_topic, type FilledTopic } from "./topic.js";

/** RocksDB behind it has memory of its own. */
const CACHE_BYTES = 64 * 1024 * 1024;

export interface StreamsSetting {
  name: string;
  threads: number;
  cache_bytes: number;
}
export const STREAMS_SETTINGS: readonly StreamsSetting[] = [
  { name: "1t", threads: 1, cache_bytes: 0 },
  { name: "2t", threads: 2, cache_bytes: 0 },
  { name: "1t-cached", threads: 1, cache_bytes: CACHE_BYTES },
  { name: "2t-cached", threads: 2, cache_bytes: CACHE_BYTES },
];

export interface StreamsRun extends ReaderRun {
  /** The store's files after a clean close. */
  store_bytes: number;
  /** Its change log, on one broker. */
  change_log_bytes: number;
}

interface Printed extends ReaderRun {
  hosts: number;
  digest: string;
  change_log_bytes: number;
}

let application = 0;

/** Throws unless it came to what the core did. */
export async function run_streams(
  broker: string,
  java: JavaPrograms,
  directory: string,
  { name, contents, folded }: FilledTopic,
  { threads, cache_bytes }: StreamsSetting,
): Promise<StreamsRun> {
  const state = join(directory, "streams");
  const id = `streams-${++application}`;
  const shown = await java.run("HostStacks", broker, name, id, state, String(threads), String(cache_bytes));
  const printed: Printed = JSON.parse(shown);
  if (
    printed.events !== contents.events ||
    printed.hosts !== contents.hosts ||
    printed.digest !== format_digest(folded.digest)
  ) {
    throw new Error(`Kafka Streams came to something else than the core: ${shown}`);
  }
  const store_bytes = bytes_below(state);
  rmSync(state, { recursive: true });
  await delete_topic(broker, `${id}-stacks-changelog`);
  return { ...printed, store_bytes };
}
