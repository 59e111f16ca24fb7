/** Answers about a host in the form of test/fixtures/conformance/streams/expect.jsonl.gz, from the API and from the model. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { HistoryEntry, HostAnswer } from "#services/registry/answers.js";
import type { HostModel } from "../model/fold.js";

const STREAMS = join(import.meta.dirname, "../fixtures/conformance/streams");

export interface View {
  kernel_release: string | null;
  arch: string | null;
  livepatching: string | null;
  /** What is set. */
  policy: string[];
  stack: [name: string, build_id: string, phase: string][];
  /** By name. */
  lingering: [name: string, build_id: string, pinned: boolean][];
  forced: boolean;
  knowledge: string;
  stream: string;
  sequence: string;
}

export interface Expectation {
  host_id: string;
  now: View;
  anomalies: Record<string, number>;
  /** One per event of the host, in log order. */
  effects: string[];
  as_of: [time: string, view: View | null][];
}

export const STREAMS_DIGEST = "24da38c124e33065a030ed9c812d8528b28d31cf2fbbe06604a0407d249215d0";

export function stream_lines(): string[] {
  return lines_of("events.ndjson.gz");
}

export function stream_expectations(): Expectation[] {
  return lines_of("expect.jsonl.gz").map((line) => JSON.parse(line) as Expectation);
}

function lines_of(name: string): string[] {
  const text = gunzipSync(readFileSync(join(STREAMS, name))).toString("utf8");
  return text.split("\n").filter((line) => line !== "");
}

const POLICIES = ["modules_disabled", "signature_required", "ftrace_off"] as const;

function by_name<Row extends [name: string, ...unknown[]]>(rows: Row[]): Row[] {
  return rows.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

export function view_of_answer(host: HostAnswer): View {
  return {
    kernel_release: host.kernel_release,
    arch: host.arch,
    livepatching: host.livepatching,
    policy: POLICIES.filter((name) => host.policy[name]),
    stack: host.stack.map(({ name, build_id, phase }) => [name, build_id ?? "", phase]),
    lingering: by_name(host.lingering.map(({ name, build_id, pinned }) => [name, build_id ?? "", pinned])),
    forced: host.forced,
    knowledge: host.knowledge,
    stream: host.stream,
    sequence: host.sequence,
  };
}

export function view_of_model(host: HostModel): View {
  return {
    kernel_release: host.kernel_release,
    arch: host.arch,
    livepatching: host.livepatching,
    policy: POLICIES.filter((name) => host.policy[name]),
    stack: host.stack.map(({ name, build_id, phase }) => [name, build_id, phase]),
    lingering: by_name(
      [...host.lingering.values()].map(({ name, build_id, pinned }) => [name, build_id, pinned]),
    ),
    forced: host.forced,
    knowledge: host.knowledge,
    stream: host.stream.toString(),
    sequence: host.sequence.toString(),
  };
}

export function count_anomalies(history: Pick<HistoryEntry, "anomalies">[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const code of history.flatMap((entry) => entry.anomalies)) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}
