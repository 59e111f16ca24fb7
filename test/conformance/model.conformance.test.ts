/** The plain model gives exactly what the streams and the vectors of test/fixtures/conformance expect. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import type { HostModel } from "../model/fold.js";
import { first_conflict, first_version, previous_holder, type StatesArray } from "../model/kernel.js";
import {
  apply_record,
  as_of,
  type FoldedEvent,
  host_digest,
  hosts_digest,
  new_registry,
} from "../model/registry.js";

const FIXTURES = join(import.meta.dirname, "../fixtures/conformance");

function lines(name: string): string[] {
  const text = gunzipSync(readFileSync(join(FIXTURES, name))).toString("utf8");
  return text.split("\n").filter((line) => line !== "");
}

interface View {
  kernel_release: string | null;
  arch: string | null;
  livepatching: string | null;
  policy: string[];
  stack: [name: string, build_id: string, phase: string][];
  lingering: [name: string, build_id: string, pinned: boolean][];
  forced: boolean;
  knowledge: string;
  stream: string;
  sequence: string;
}

interface Expectation {
  host_id: string;
  now: View;
  anomalies: Record<string, number>;
  effects: string[];
  as_of: [time: string, view: View | null][];
}

function view(host: HostModel): View {
  return {
    kernel_release: host.kernel_release,
    arch: host.arch,
    livepatching: host.livepatching,
    policy: (["modules_disabled", "signature_required", "ftrace_off"] as const).filter(
      (name) => host.policy[name],
    ),
    stack: host.stack.map((entry) => [entry.name, entry.build_id, entry.phase]),
    lingering: [...host.lingering.values()]
      .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
      .map((entry) => [entry.name, entry.build_id, entry.pinned]),
    forced: host.forced,
    knowledge: host.knowledge,
    stream: host.stream.toString(),
    sequence: host.sequence.toString(),
  };
}

function count_anomalies(history: FoldedEvent[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const code of history.flatMap((entry) => entry.anomalies)) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

describe("the streams", () => {
  // "All event times lie before the time of ingest."
  const log_time_ms = BigInt(Date.UTC(2027, 0, 1));
  const registry = new_registry();
  for (const line of lines("streams/events.ndjson.gz")) {
    apply_record(registry, { bytes: encode_batch([event_from_json(JSON.parse(line))]), log_time_ms });
  }
  const expectations = lines("streams/expect.jsonl.gz").map((line) => JSON.parse(line) as Expectation);

  test("have the hosts that are expected, and no other", () => {
    expect([...registry.hosts.keys()].sort()).toEqual(
      expectations.map((expected) => expected.host_id).sort(),
    );
  });

  test.each(expectations)("$host_id: now, effects, anomalies, as of", (expected) => {
    const history = registry.histories.get(expected.host_id)!;
    expect(view(registry.hosts.get(expected.host_id)!)).toEqual(expected.now);
    expect(history.map((entry) => entry.effect)).toEqual(expected.effects);
    expect(count_anomalies(history)).toEqual(expected.anomalies);
    for (const [time, past] of expected.as_of) {
      const { host } = as_of(registry, expected.host_id, BigInt(Date.parse(time)));
      expect(host === null ? null : view(host), time).toEqual(past);
    }
  });

  test("have the stated digests", () => {
    expect(host_digest(registry.hosts.get("h00000-é")!)).toBe(
      "93169268c5a785cbbd671030a04b139b4256b4e04c8f1b200495542213966fe4",
    );
    expect(hosts_digest(registry.hosts.values())).toBe(
      "24da38c124e33065a030ed9c812d8528b28d31cf2fbbe06604a0407d249215d0",
    );
  });
});

interface VectorPatch {
  replace: boolean;
  states: [id: string, version: number][] | null;
}

interface Vector {
  installed: VectorPatch[];
  candidate: VectorPatch;
  compatible: boolean;
  conflict?: { patch: number; state: number };
  prev: { id: string; patch: number; version: number | null };
}

function states_array(states: VectorPatch["states"]): StatesArray {
  return (states ?? []).map(([id, version]) => ({ id: BigInt(id), version }));
}

describe("the vectors of kernel/livepatch/state.c", () => {
  const vectors = lines("compat-vectors.jsonl.gz").map((line) => JSON.parse(line) as Vector);

  test("are all there", () => {
    expect(vectors.length).toBe(5_500);
  });

  test("agree on compatibility, the first conflict and klp_get_prev_state", () => {
    for (const [index, vector] of vectors.entries()) {
      const stack = vector.installed.map((patch) => states_array(patch.states));
      const candidate = states_array(vector.candidate.states);
      const outcome = first_conflict(stack, candidate, vector.candidate.replace);
      const conflict =
        outcome === null ? undefined : { patch: outcome.patch_index, state: outcome.state_index };
      expect(conflict, `vector ${index}`).toEqual(vector.conflict);
      expect(conflict === undefined, `vector ${index}`).toBe(vector.compatible);

      const id = BigInt(vector.prev.id);
      const patch = previous_holder(stack, id);
      const version = patch === -1 ? null : first_version(stack[patch]!, id);
      expect({ patch, version }, `vector ${index}`).toEqual({
        patch: vector.prev.patch,
        version: vector.prev.version,
      });
    }
  });
});
