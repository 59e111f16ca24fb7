/** How long a node needs until it answers for the fleet: from nothing but Kafka, and with its log in place. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { format_digest } from "../../services/core/digest.js";
import type { Run } from "../measure.js";
import type { RunningServer } from "../server.js";
import { must_have_stored } from "../server_counts.js";
import { type FoldPlace, must_replay } from "./fold_topic.js";
import { start_node } from "./node.js";
import type { FilledTopic } from "./topic.js";

const LOOK_EVERY_MS = 100;

export interface RebuildRuns {
  rebuild: Run;
  restart: Run;
}

let node = 0;

/** From the start of the process to when it is ready: it has folded all that the topic had then. */
export async function rebuild({ broker, directory }: FoldPlace, topic: FilledTopic): Promise<RebuildRuns> {
  const { prefix, contents, folded } = topic;
  const id = `rebuilt-${++node}`;
  const data = join(directory, id);
  const options = { broker, prefix, group: id, node_id: id, data, state_changes: false };

  async function started(look: (server: RunningServer) => Promise<void>): Promise<Run> {
    const start_ms = performance.now();
    const server = await start_node(options);
    try {
      await until_ready(server);
      const run = { seconds: (performance.now() - start_ms) / 1000, cpu_seconds: server.cpu_seconds() };
      await must_have_stored(server.url, contents.events, contents.hosts);
      await look(server);
      return run;
    } finally {
      await server.stop();
    }
  }

  try {
    const run = await started((server) => must_replay(server, format_digest(folded.digest)));
    return { rebuild: run, restart: await started(async () => {}) };
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

async function until_ready({ url }: RunningServer): Promise<void> {
  while (!(await fetch(`${url}/readyz`)).ok) await sleep(LOOK_EVERY_MS);
}
