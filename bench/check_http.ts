/**
 * The figures of a check as a program asks it: over HTTP of the real server, one request after another on one connection
 * that stays open, against `/healthz`, which is a request that does nothing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import type { CheckAnswer } from "../services/registry/answers.js";
import { CANDIDATE, Fleet, manifests } from "./data.js";
import { in_directory } from "./directory.js";
import { send_all } from "./ingest.js";
import { type Figure, figure_of, median, quantile, RUNS, type Run, start_run } from "./measure.js";
import { Sender } from "./sender.js";
import { type RunningServer, start_server } from "./server.js";
import { must_have_stored } from "./server_counts.js";

const SENDERS = 8;
const REQUESTS = 1_000;
const NO_BUILD_ID = new Uint8Array(0);
const QUESTION = Buffer.from(JSON.stringify({ patch: CANDIDATE }));
/** A server writes its first snapshots behind an ingest: it is asked when it uses less of a core than this. */
const IDLE_SHARE = 0.1;
const IDLE_MS_MAX = 180_000;

interface LatencyRun extends Run {
  latencies_ms: number[];
}

async function become_idle(server: RunningServer): Promise<void> {
  const begin_ms = performance.now();
  for (let share = 1; share > IDLE_SHARE; ) {
    if (performance.now() - begin_ms > IDLE_MS_MAX) {
      console.log(
        `check-http: after ${IDLE_MS_MAX / 1000} s the server still uses ${share.toFixed(2)} of a core`,
      );
      return;
    }
    const before = server.cpu_seconds();
    await sleep(1_000);
    share = server.cpu_seconds() - before;
  }
}

async function publish(url: string): Promise<void> {
  for (const { name, kernel_release, arch, replace, states } of manifests()) {
    const document = {
      ...{ name, kernel_release, arch, replace },
      states: states.map(({ id, version }) => ({ id: String(id), version })),
    };
    const answer = await fetch(`${url}/v1/patches`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(document),
    });
    if (!answer.ok) throw new Error(`a manifest is refused: ${await answer.text()}`);
    await answer.arrayBuffer();
  }
}

/** Hosts by verdict, as a core alone counts them. */
function counted_by_core(hosts: number): Map<string, number> {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  new Fleet(hosts).baseline_frames((frame) => {
    if (core.fold_frames(frame, false) !== "folded")
      throw new Error("the partition is full: give fewer --hosts");
  });
  for (const manifest of manifests()) core.put_manifest(manifest);
  const counts = new Map([["total", hosts]]);
  for (const { verdict, hosts: some } of core.check(CANDIDATE, NO_BUILD_ID))
    counts.set(verdict, (counts.get(verdict) ?? 0) + some);
  return counts;
}

async function must_be_the_core_s(sender: Sender, hosts: number): Promise<void> {
  const body = await sender.post("/v1/checks", QUESTION, true, "application/json");
  const answer = JSON.parse(body.toString()) as CheckAnswer;
  const { stale: _, uncertain: __, ...found } = answer.hosts;
  const wanted = counted_by_core(hosts);
  for (const [verdict, count] of Object.entries(found)) {
    const of_core = wanted.get(verdict) ?? 0;
    if (count !== of_core)
      throw new Error(`${verdict}: the server says ${count} hosts, and a core ${of_core}`);
  }
  if (!answer.complete) throw new Error("the server's answer is not complete");
}

async function ask_all(server: RunningServer, ask: () => Promise<unknown>): Promise<LatencyRun> {
  const latencies_ms: number[] = [];
  const server_cpu = server.cpu_seconds();
  const end = start_run();
  for (let i = 0; i < REQUESTS; i++) {
    const start_ms = performance.now();
    await ask();
    latencies_ms.push(performance.now() - start_ms);
  }
  const run = end();
  return { ...run, cpu_seconds: run.cpu_seconds + server.cpu_seconds() - server_cpu, latencies_ms };
}

export function check_http_figures(
  parent: string,
  hosts: number,
  profile_directory?: string,
): Promise<Figure[]> {
  return in_directory(parent, async (directory) => {
    const server = await start_server(directory, { profile_directory });
    const senders = await Promise.all(Array.from({ length: SENDERS }, () => Sender.open(server.url)));
    const new_sender = async () => {
      const sender = await Sender.open(server.url);
      senders.push(sender);
      return sender;
    };
    try {
      await send_all(server, senders, "/v1/events?hosts=none", new Fleet(hosts).baseline_batches(SENDERS));
      await must_have_stored(server.url, hosts, hosts);
      await publish(server.url);
      await must_be_the_core_s(await new_sender(), hosts);
      await become_idle(server);
      // The server closes a connection that waits for seconds.
      const sender = await new_sender();
      const runs: LatencyRun[] = [];
      const floor_runs: LatencyRun[] = [];
      for (let i = 0; i <= RUNS; i++) {
        const run = await ask_all(server, () =>
          sender.post("/v1/checks", QUESTION, false, "application/json"),
        );
        const floor_run = await ask_all(server, () => sender.get("/healthz"));
        // The first run is for the compilers of both processes.
        if (i === 0) continue;
        runs.push(run);
        floor_runs.push(floor_run);
      }
      return [0.5, 0.99].map((share) => {
        const latency = (run: LatencyRun) => quantile(run.latencies_ms, share);
        const name = `check-http-p${share * 100}`;
        const figure = figure_of(name, "ms", runs, latency, QUESTION.length * REQUESTS);
        figure.against["/healthz"] = median(runs.map((run, i) => latency(run) / latency(floor_runs[i]!)));
        return figure;
      });
    } finally {
      for (const sender of senders) sender.close();
      await server.stop();
    }
  });
}
