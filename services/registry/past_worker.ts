/** A thread that makes one partition after another as it was, and answers about the last one. */
import { parentPort, workerData } from "node:worker_threads";
import { Core } from "../core/core.js";
import { Problem } from "../events/problem.js";
import { LogCorruption } from "../log/corruption.js";
import { node_disk } from "../log/node_disk.js";
import { check_batch_of_core, check_core, check_hosts_of_core, fleet_rows } from "./core_answers.js";
import { core_options, type RegistryPlace } from "./partition_place.js";
import { fold_past } from "./past.js";
import type { PastAnswers, PastFold, PastOperation, PastRequest, PastResponse } from "./past_protocol.js";

const port = parentPort!;
const { place, stale_after_ms } = workerData as { place: RegistryPlace; stale_after_ms: number };
const core = new Core(place.module, core_options(place, 0));
let second: Core | null = null;

async function fold({ question, manifests }: PastFold) {
  const reports: string[] = [];
  const cores = {
    main: core,
    second: () => {
      second ??= new Core(place.module, core_options(place, question.partition));
      return second;
    },
  };
  const next_offset = await fold_past(node_disk, place, cores, question, (message) => {
    reports.push(message);
  });
  for (const manifest of manifests) core.put_manifest(manifest);
  return { next_offset, reports };
}

const operations: {
  [Op in PastOperation]: (
    given: PastAnswers[Op]["asks"],
  ) => PastAnswers[Op]["tells"] | Promise<PastAnswers[Op]["tells"]>;
} = {
  fold,
  check: (question) => check_core(core, question, stale_after_ms),
  check_batch: (question) => check_batch_of_core(core, question, stale_after_ms),
  check_hosts: (question) => check_hosts_of_core(core, question, stale_after_ms),
  fleet: () => fleet_rows(core),
};

async function answer({ id, operation, given }: PastRequest): Promise<PastResponse> {
  try {
    const work = operations[operation] as (given: unknown) => unknown;
    return { id, answer: await work(given) };
  } catch (error) {
    if (error instanceof LogCorruption) return { id, damaged: error.message };
    if (!(error instanceof Problem))
      return { id, error: error instanceof Error ? String(error.stack) : String(error) };
    const { code, message, parts } = error;
    return { id, problem: { code, message, parts } };
  }
}

port.on("message", async (request: PastRequest) => port.postMessage(await answer(request)));
