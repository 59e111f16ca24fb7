/**
 * The figures of a list of refused hosts with their first conflicts: pages of lines from the thread of a shard, beside
 * the same lines made of objects, and the whole list over HTTP from the real server.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { host_verdict } from "../services/registry/check_answers.js";
import { line_of } from "../services/registry/host_lines.js";
import { ShardClient } from "../services/registry/shard_client.js";
import type { HostsCheckQuestion, HostsPage, LinesPage } from "../services/registry/shard_protocol.js";
import { CANDIDATE, Fleet, manifests, START_MS } from "./data.js";
import { append_pieces, make_snapshot, open_partition, place_of } from "./kept_directory.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, start_run, timed_until } from "./measure.js";
import { Sender } from "./sender.js";
import { start_server } from "./server.js";

export const HOSTS_LIST_FIGURES = ["hosts-list", "hosts-list-objects", "hosts-list-http"];

const STALE_AFTER_MS = 93_600_000;
/** As the registry asks for objects. */
const HOSTS_PAGE = 4096;
const LINES_BYTES = 64 * 1024;

const QUESTION: HostsCheckQuestion = {
  candidate: { name: CANDIDATE },
  at_ms: START_MS,
  max_age_ms: null,
  partition: 0,
  verdicts: ["incompatible"],
  after: null,
  first: 0,
  count_max: Number.POSITIVE_INFINITY,
};

type Take = (bytes: Uint8Array) => void;

/** The number of hosts. */
async function list_lines(shard: ShardClient, take: Take): Promise<number> {
  let hosts = 0;
  for (let first: number | null = 0; first !== null; ) {
    const page: LinesPage = await shard.ask("check_lines", [{ ...QUESTION, first }]);
    take(page.lines);
    hosts += page.hosts;
    first = page.next;
  }
  return hosts;
}

async function list_objects(shard: ShardClient, take: Take): Promise<number> {
  const encoder = new TextEncoder();
  let hosts = 0;
  let text = "";
  for (let first: number | null = 0; first !== null; ) {
    const asked = { ...QUESTION, first, count_max: HOSTS_PAGE };
    const page: HostsPage = await shard.ask("check_hosts", [asked]);
    for (const host of page.hosts) {
      text += line_of(host_verdict(host, QUESTION.candidate));
      if (text.length < LINES_BYTES) continue;
      take(encoder.encode(text));
      text = "";
    }
    hosts += page.hosts.length;
    first = page.next;
  }
  take(encoder.encode(text));
  return hosts;
}

interface Sum {
  bytes: number;
  checksum: number;
}

async function sum_of(list: (take: Take) => Promise<unknown>): Promise<Sum> {
  const sum: Sum = { bytes: 0, checksum: 0 };
  await list((bytes) => {
    sum.bytes += bytes.length;
    sum.checksum = crc32(bytes, sum.checksum);
  });
  return sum;
}

async function shard_figures(hosts: number): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const place = place_of(directory);
    const partition = await open_partition(place);
    await append_pieces(partition, new Fleet(hosts).baseline());
    await make_snapshot(place, partition);
    await partition.close();
    const catalog = manifests().map((manifest, number) => ({
      ...{ fact: "published" as const, number, offset: BigInt(number), log_time_ms: START_MS, manifest },
    }));
    const start = { place, partitions: [0], open: [0], stale_after_ms: STALE_AFTER_MS, catalog };
    const { shard } = await ShardClient.start(start);
    try {
      const of_lines = await sum_of((take) => list_lines(shard, take));
      const of_objects = await sum_of((take) => list_objects(shard, take));
      if (of_lines.bytes !== of_objects.bytes || of_lines.checksum !== of_objects.checksum)
        throw new Error("the lines of the core and those of objects differ");
      const runs: Record<"lines" | "objects", Run[]> = { lines: [], objects: [] };
      let listed = 0;
      const ignore = () => {};
      for (let i = 0; i < RUNS; i++) {
        runs.lines.push(await timed_until(async () => (listed = await list_lines(shard, ignore))));
        runs.objects.push(await timed_until(() => list_objects(shard, ignore)));
      }
      const rate = ({ seconds }: Run) => listed / seconds;
      const lines = figure_of("hosts-list", "hosts/s", runs.lines, rate, of_lines.bytes);
      lines.against["hosts-list-objects"] = speed_against(runs.lines, runs.objects);
      return [lines, figure_of("hosts-list-objects", "hosts/s", runs.objects, rate, of_objects.bytes)];
    } finally {
      await shard.close();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Of the answer, nothing but what is counted. */
async function get_list(url: string): Promise<{ hosts: number; bytes: number }> {
  const body = JSON.stringify({ patch: CANDIDATE, hosts: true, verdicts: QUESTION.verdicts });
  const headers = { "content-type": "application/json", accept: "application/x-ndjson" };
  const asked = request(`${url}/v1/checks`, { method: "POST", headers });
  asked.end(body);
  const [response] = await once(asked, "response");
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
  let bytes = 0;
  let hosts = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) hosts++;
  });
  await once(response, "end");
  return { hosts, bytes };
}

async function http_figure(hosts: number): Promise<Figure> {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const server = await start_server(directory);
    const sender = await Sender.open(server.url);
    try {
      for (const batch of new Fleet(hosts).baseline_batches(1)[0]!)
        await sender.post("/v1/events?hosts=none", batch, false);
      for (const { name, kernel_release, arch, replace, states } of manifests()) {
        const written = states.map(({ id, version }) => ({ id: String(id), version }));
        const body = JSON.stringify({ name, kernel_release, arch, replace, states: written });
        const headers = { "content-type": "application/json" };
        const { status } = await fetch(`${server.url}/v1/patches`, { method: "POST", headers, body });
        if (status !== 201) throw new Error(`a manifest is answered with ${status}`);
      }
      const warm = await get_list(server.url);
      const runs: Run[] = [];
      for (let i = 0; i < RUNS; i++) {
        const server_cpu = server.cpu_seconds();
        const end = start_run();
        const told = await get_list(server.url);
        const run = end();
        if (told.hosts !== warm.hosts) throw new Error(`${told.hosts} hosts and not ${warm.hosts}`);
        runs.push({ ...run, cpu_seconds: run.cpu_seconds + server.cpu_seconds() - server_cpu });
      }
      return figure_of("hosts-list-http", "hosts/s", runs, (run) => warm.hosts / run.seconds, warm.bytes);
    } finally {
      sender.close();
      await server.stop();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export async function hosts_list_figures(hosts: number): Promise<Figure[]> {
  return [...(await shard_figures(hosts)), await http_figure(hosts)];
}
