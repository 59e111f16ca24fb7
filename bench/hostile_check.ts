/**
 * The figures of the check where every host has a configuration of its own; and of a bitmap of refused hosts, there and
 * on 300 configurations. Beside them native/check.c. All are asked for the refused hosts of the same candidates, and say
 * the same number before a time is believed.
 */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Core } from "../services/core/core.js";
import { load_core_module } from "../services/core/module.js";
import { CANDIDATE, Fleet, manifests } from "./data.js";
import { type DuckDBPeer, start_duckdb } from "./duckdb.js";
import {
  fold_hostile,
  HOSTILE_CANDIDATES,
  type HostileCandidate,
  hostile_manifests,
  hostile_stacks,
} from "./hostile.js";
import { type Figure, figure_of, RUNS, type Run, speed_against, timed } from "./measure.js";
import { type NativeProgram, run_of, start_native } from "./native_program.js";

export const HOSTILE_FIGURES = ["check-hostile", "bitmap", "bitmap-hostile"];

const NO_BUILD_ID = new Uint8Array(0);
/** Of C, beside each run. */
const FLOORS = ["read", "bytes", "columns", "lists"] as const;
type FloorName = (typeof FLOORS)[number];
/** Each takes five seconds where there are ten million hosts. */
const LIST_RUNS = 2;

export interface Floors {
  run(name: FloorName | "column", candidate: HostileCandidate): Promise<{ run: Run; refused: number }>;
  end(): Promise<void>;
}

export function start_floors(stacks: readonly Uint16Array[]): Floors | null {
  const program: NativeProgram | null = start_native("check", (directory) => {
    const path = join(directory, "stacks");
    writeFileSync(path, "");
    for (const { buffer } of stacks) appendFileSync(path, new Uint8Array(buffer));
    return [path, String(stacks[0]!.length)];
  });
  if (program === null) return null;
  return {
    async run(name, { replace, offered }) {
      program.tell([name, Number(replace), ...offered].join(" "));
      const [seconds, cpu_seconds, refused] = (await program.next_line()).split(" ").map(Number);
      return { run: run_of([seconds, cpu_seconds]), refused: refused! };
    },
    end: () => program.end(),
  };
}

export function refused_by(core: Core, name: string): number {
  return core
    .check(name, NO_BUILD_ID)
    .reduce((sum, { verdict, hosts }) => (verdict === "incompatible" ? sum + hosts : sum), 0);
}

export function bits_in(bytes: Uint8Array): number {
  let count = 0;
  for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}

/** Of the last check. */
export function refused_bitmap(core: Core, name: string): () => Uint8Array {
  const wanted = core.check(name, NO_BUILD_ID).map(({ verdict }) => verdict === "incompatible");
  core.hosts_bitmap(wanted);
  return () => core.hosts_bitmap(wanted);
}

export function must_be(what: string, found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`${what}: ${found} hosts are refused, and not ${wanted}`);
}

/** The rule in JavaScript over a Map, from a state's id to what is offered. */
export function plain_refused(
  stacks: readonly Uint16Array[],
  { replace, offered }: HostileCandidate,
): number {
  const versions = new Map(
    offered.flatMap((version, state): [number, number][] => (version === 0 ? [] : [[state, version]])),
  );
  const hosts = stacks[0]!.length;
  let refused = 0;
  for (let host = 0; host < hosts; host++) {
    for (const column of stacks) {
      const held = column[host]!;
      const version = versions.get(held >> 8);
      if (version === undefined ? !replace : version >= (held & 255)) continue;
      refused++;
      break;
    }
  }
  return refused;
}

interface Peers {
  stacks: readonly Uint16Array[];
  floors: Floors | null;
  duckdb: DuckDBPeer | null;
}

async function candidate_figure(
  core: Core,
  candidate: HostileCandidate,
  { stacks, floors, duckdb }: Peers,
): Promise<Figure> {
  const { name, replace } = candidate;
  const refused = refused_by(core, name);
  const floor_runs: Record<FloorName, Run[]> = { read: [], bytes: [], columns: [], lists: [] };
  const runs: Run[] = [];
  const of_peers: Record<"check-javascript-map" | "check-duckdb", Run[]> = {
    "check-javascript-map": [],
    "check-duckdb": [],
  };
  for (let i = 0; i < RUNS; i++) {
    runs.push(timed(() => core.check(name, NO_BUILD_ID)));
    of_peers["check-javascript-map"].push(
      timed(() => must_be("a Map of JavaScript", plain_refused(stacks, candidate), refused)),
    );
    if (duckdb !== null) {
      const told = await duckdb.run(candidate);
      must_be("DuckDB", told.refused, refused);
      of_peers["check-duckdb"].push(told.run);
    }
    for (const floor of FLOORS) {
      if (floors === null || (floor === "lists" && i >= LIST_RUNS)) continue;
      const told = await floors.run(floor, candidate);
      if (floor === "columns" || floor === "lists")
        must_be(`${floor} of native/check.c`, told.refused, refused);
      floor_runs[floor].push(told.run);
    }
  }
  const figure = figure_of(
    `check-hostile-${replace ? "replacing" : "over"}`,
    "ms",
    runs,
    ({ seconds }) => seconds * 1000,
    core.memory_used_bytes,
  );
  for (const [peer, peer_runs] of Object.entries(of_peers)) {
    if (peer_runs.length > 0) figure.against[peer] = 1 / speed_against(runs, peer_runs);
  }
  if (floors !== null) {
    figure.against["check-read"] = 1 / speed_against(runs, floor_runs.read);
    figure.against["check-bytes"] = 1 / speed_against(runs, floor_runs.bytes);
    figure.against["check-columns"] = 1 / speed_against(runs, floor_runs.columns);
    figure.against["check-lists"] = 1 / speed_against(runs.slice(0, LIST_RUNS), floor_runs.lists);
  }
  return figure;
}

async function bitmap_figure(
  figure_name: string,
  core: Core,
  name: string,
  hosts: number,
  floors: Floors | null,
): Promise<Figure> {
  const refused = refused_by(core, name);
  const bitmap = refused_bitmap(core, name);
  must_be(figure_name, bits_in(bitmap()), refused);
  const runs: Run[] = [];
  const reads: Run[] = [];
  for (let i = 0; i < RUNS; i++) {
    runs.push(timed(bitmap));
    if (floors !== null) reads.push((await floors.run("column", HOSTILE_CANDIDATES[0]!)).run);
  }
  const figure = figure_of(figure_name, "ms", runs, ({ seconds }) => seconds * 1000, 4 * hosts);
  if (floors !== null) figure.against["column-read"] = 1 / speed_against(runs, reads);
  return figure;
}

function realistic_core(hosts: number): Core {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  for (const piece of new Fleet(hosts).baseline().pieces) core.fold_frames(piece, false);
  for (const manifest of manifests()) core.put_manifest(manifest);
  return core;
}

function hostile_core(stacks: readonly Uint16Array[]): Core {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  fold_hostile(core, stacks);
  for (const manifest of hostile_manifests()) core.put_manifest(manifest);
  if (core.configuration_count < 0.999 * core.host_count) throw new Error("hosts share configurations");
  return core;
}

export async function hostile_figures(hosts: number): Promise<Figure[]> {
  const stacks = hostile_stacks(hosts);
  const floors = start_floors(stacks);
  const duckdb = await start_duckdb(stacks);
  if (floors === null) console.log("check-read, -columns, -lists: no gcc here, so no ratios");
  if (duckdb === null) console.log("check-duckdb: DuckDB is not installed in bench/, so no ratio");
  try {
    const figures = [await bitmap_figure("bitmap", realistic_core(hosts), CANDIDATE, hosts, floors)];
    const core = hostile_core(stacks);
    for (const candidate of HOSTILE_CANDIDATES)
      figures.push(await candidate_figure(core, candidate, { stacks, floors, duckdb }));
    const { name } = HOSTILE_CANDIDATES[1]!;
    figures.push(await bitmap_figure("bitmap-hostile", core, name, hosts, floors));
    figures.push(late_manifest_figure(core));
    return figures;
  } finally {
    await floors?.end();
  }
}

/** The check right behind a manifest that came late: nothing is derived from the catalog that would have to be made anew. */
function late_manifest_figure(core: Core): Figure {
  const late = hostile_manifests()[0]!;
  const { name } = HOSTILE_CANDIDATES[0]!;
  const runs = Array.from({ length: RUNS }, (_, i) => {
    core.put_manifest({ ...late, name: `late-${i}` });
    return timed(() => core.check(name, NO_BUILD_ID));
  });
  return figure_of("check-hostile-late", "ms", runs, ({ seconds }) => seconds * 1000, core.memory_used_bytes);
}
