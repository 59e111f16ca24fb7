/** The hand-made tables, the 300-host stream and the vectors of kernel/livepatch/state.c on the WebAssembly core. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type Configuration, Core, type Outcome as CoreOutcome } from "#services/core/core.js";
import { digest_of_core, digest_of_state, format_digest } from "#services/core/digest.js";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import { klpstate } from "#services/events/proto.js";
import { encode_frames, frames_of } from "#services/log/frame.js";
import { CoreCatalog, check, core_module, host_state, verdict_words } from "../model/from_core.js";
import { batch_of } from "../model/registry.js";
import { checks_table, NO_VERDICT, type Verdict } from "./checks_table.js";
import { past_table } from "./past_table.js";
import { type Outcome, rules_table, type Subject, USUAL } from "./rules_table.js";
import type { TableEvent } from "./table_events.js";

const { HostEvent, Livepatching, Phase } = klpstate.v1;
const ALONE = { partition: null, partitions: 1 };
/** Every case begins with `fresh`. */
const core = new Core(core_module, ALONE);

function fresh(): Core {
  core.restart(ALONE);
  return core;
}

function reference(entry: { name: string; build_id: string | null }): string {
  return entry.build_id === null ? entry.name : `${entry.name}@${entry.build_id}`;
}

function stack_of(configuration: Configuration): string[] {
  return configuration.stack.map((entry) => `${reference(entry)} ${entry.phase}`);
}

/** What the last fold did, and what is known of its host. */
function outcome_of(outcome: CoreOutcome): Outcome {
  const facts = core.host(outcome.host);
  const configuration = core.configuration(facts.configuration);
  expect(facts.knowledge).toBe(configuration.knowledge);
  expect(facts.effective_time_ms).toBe(outcome.effective_time_ms);
  return {
    effect: outcome.effect,
    anomalies: outcome.anomalies,
    knowledge: facts.knowledge,
    kernel_release: configuration.kernel_release,
    arch: configuration.arch,
    livepatching: configuration.livepatching,
    policy: Object.entries(configuration.policy).flatMap(([name, is_set]) => (is_set ? [name] : [])),
    stack: stack_of(configuration),
    lingering: configuration.lingering.map((entry) => reference(entry) + (entry.pinned ? " pinned" : "")),
    forced: configuration.forced,
    stream: facts.stream,
    sequence: BigInt(facts.sequence),
    effective_time_ms: BigInt(outcome.effective_time_ms),
  };
}

const by_records: Subject = {
  fold(events) {
    fresh();
    return events.map((event, at) => {
      const position = { offset: BigInt(at), index: 0 };
      expect(core.fold_record(batch_of([event.bytes]), position, Number(event.log_time_ms))).toBe("folded");
      return outcome_of(core.outcome(0));
    });
  },
};

const by_frames: Subject = {
  fold(events) {
    fresh();
    return events.map((event, at) => {
      const record = {
        offset: BigInt(at),
        log_time_ms: Number(event.log_time_ms),
        bytes: batch_of([event.bytes]),
      };
      expect(core.fold_frames(encode_frames([record], 0), true)).toBe("folded");
      return outcome_of(core.outcome(0));
    });
  },
};

function in_any_order(outcome: Outcome): Outcome {
  return {
    ...outcome,
    anomalies: outcome.anomalies.toSorted(),
    policy: outcome.policy.toSorted(),
    lingering: outcome.lingering.toSorted(),
  };
}

/** As of T is the fold of those events whose effective time is at most T, of those known at K. */
function stack_as_of(
  events: TableEvent[],
  as_of_ms: bigint,
  known_at_ms: bigint | undefined,
): string[] | null {
  let log_time_ms = 0n;
  const known = events.filter((event) => {
    if (event.log_time_ms > log_time_ms) log_time_ms = event.log_time_ms;
    return known_at_ms === undefined || log_time_ms <= known_at_ms;
  });
  const past = by_records.fold(known).filter((outcome) => outcome.effective_time_ms <= as_of_ms).length;
  return by_records.fold(known.slice(0, past)).at(-1)?.stack ?? null;
}

function check_of(
  events: TableEvent[],
  catalog: (typeof checks_table)[number]["catalog"],
  candidate: string,
): Verdict {
  by_records.fold(events);
  const of_core = new CoreCatalog(core);
  for (const record of catalog) of_core.apply(record);
  const [name, build_id] = candidate.split("@");
  const outcomes = check(core, build_id === undefined ? { name: name! } : { name: name!, build_id });
  expect(outcomes.map((outcome) => outcome.hosts)).toEqual([1]);
  const verdict = verdict_words(outcomes[core.outcome_of_host(0)]!);
  if (verdict.unresolved !== "candidate") return { ...verdict, unresolved: verdict.unresolved };
  const [manifest] = of_core.manifests.of_name(name!);
  const build = Buffer.from(manifest!.manifest.build_id ?? []).toString("hex");
  return { ...verdict, unresolved: { name: name!, build_id: build, manifest: "states_unknown" } };
}

describe("the core", () => {
  test.each(rules_table)("$rule $title, record by record", ({ events, expected }) => {
    expect(in_any_order(by_records.fold(events).at(-1)!)).toEqual(in_any_order({ ...USUAL, ...expected }));
  });

  test.each(rules_table)("$rule $title, frame by frame", ({ events, expected }) => {
    expect(in_any_order(by_frames.fold(events).at(-1)!)).toEqual(in_any_order({ ...USUAL, ...expected }));
  });

  test.each(past_table)("F8 $title", ({ events, as_of_ms, known_at_ms, expected }) => {
    expect(stack_as_of(events, as_of_ms, known_at_ms)).toEqual(expected.stack);
  });

  test.each(checks_table)("C $title", ({ events, catalog, candidate, expected }) => {
    expect(check_of(events, catalog, candidate)).toEqual({ ...NO_VERDICT, ...expected });
  });
});

const FIXTURES = join(import.meta.dirname, "../fixtures/conformance");

function lines(name: string): string[] {
  const text = gunzipSync(readFileSync(join(FIXTURES, name))).toString("utf8");
  return text.split("\n").filter((line) => line !== "");
}

interface Expectation {
  host_id: string;
  now: Record<string, unknown>;
  anomalies: Record<string, number>;
  effects: string[];
}

function view(host: number): Record<string, unknown> {
  const { stream, sequence, configuration } = core.host(host);
  const of_host = core.configuration(configuration);
  return {
    kernel_release: of_host.kernel_release,
    arch: of_host.arch,
    livepatching: of_host.livepatching,
    policy: (["modules_disabled", "signature_required", "ftrace_off"] as const).filter(
      (name) => of_host.policy[name],
    ),
    stack: of_host.stack.map(({ name, build_id, phase }) => [name, build_id ?? "", phase]),
    lingering: of_host.lingering.map(({ name, build_id, pinned }) => [name, build_id ?? "", pinned]),
    forced: of_host.forced,
    knowledge: of_host.knowledge,
    stream: stream.toString(),
    sequence: sequence.toString(),
  };
}

describe("the streams on the core", () => {
  // "All event times lie before the time of ingest."
  const log_time_ms = Date.UTC(2027, 0, 1);
  const records = lines("streams/events.ndjson.gz").map((line, at) => ({
    offset: BigInt(at),
    log_time_ms,
    bytes: encode_batch([event_from_json(JSON.parse(line))]),
  }));
  const expectations = lines("streams/expect.jsonl.gz").map((line) => JSON.parse(line) as Expectation);

  test("leave every host as expected, with the stated effects, anomalies and digests", () => {
    fresh();
    const effects = new Map<number, string[]>();
    const anomalies = new Map<number, Record<string, number>>();
    for (const frame of frames_of(encode_frames(records, 0))) {
      expect(core.fold_frames(frame, true)).toBe("folded");
      for (let i = 0; i < core.outcome_count; i++) {
        const outcome = core.outcome(i);
        if (!effects.has(outcome.host)) {
          effects.set(outcome.host, []);
          anomalies.set(outcome.host, {});
        }
        effects.get(outcome.host)!.push(outcome.effect);
        const counts = anomalies.get(outcome.host)!;
        for (const code of outcome.anomalies) counts[code] = (counts[code] ?? 0) + 1;
      }
    }
    expect(core.host_count).toBe(expectations.length);
    const totals: Record<string, number> = {};
    for (const expected of expectations) {
      const host = core.find_host(expected.host_id)!;
      expect(view(host), expected.host_id).toEqual(expected.now);
      expect(effects.get(host), expected.host_id).toEqual(expected.effects);
      expect(anomalies.get(host), expected.host_id).toEqual(expected.anomalies);
      for (const [code, count] of Object.entries(expected.anomalies))
        totals[code] = (totals[code] ?? 0) + count;
    }
    expect(core.anomalies_seen()).toMatchObject(totals);
    expect(core.events_folded).toBe(records.length);
    expect(format_digest(digest_of_state(host_state(core, core.find_host("h00000-é")!)))).toBe(
      "93169268c5a785cbbd671030a04b139b4256b4e04c8f1b200495542213966fe4",
    );
    expect(format_digest(digest_of_core(core))).toBe(
      "24da38c124e33065a030ed9c812d8528b28d31cf2fbbe06604a0407d249215d0",
    );
  });

  test("give the same digest in a single call", () => {
    fresh();
    expect(core.fold_frames(encode_frames(records, 0), false)).toBe("folded");
    expect(format_digest(digest_of_core(core))).toBe(
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

describe("the vectors of kernel/livepatch/state.c on the core", () => {
  const vectors = lines("compat-vectors.jsonl.gz").map((line) => JSON.parse(line) as Vector);
  /** Hosts that are judged together. */
  const FLEET = 50;

  function put_manifest(name: string, patch: VectorPatch): void {
    core.put_manifest({
      name,
      kernel_release: "6.12.1",
      arch: "x86_64",
      build_id: new Uint8Array(),
      replace: patch.replace,
      states_unknown: false,
      irreversible: false,
      signed: false,
      // As they are in the module, also behind the id 0 that ends the array.
      states: (patch.states ?? []).map(([id, version]) => ({ id: BigInt(id), version })),
    });
  }

  function install(vector: Vector, index: number): void {
    const stack = vector.installed.map((patch, place) => {
      put_manifest(`v${index}_${place}`, patch);
      return { patch: { name: `v${index}_${place}` }, phase: Phase.ENABLED };
    });
    put_manifest(`c${index}`, vector.candidate);
    const event = HostEvent.encode({
      host_id: `h${index}`,
      stream: 1,
      sequence: 1,
      observed: { kernel_release: "6.12.1", arch: "x86_64", livepatching: Livepatching.SUPPORTED, stack },
    }).finish();
    core.fold_record(batch_of([event]), { offset: BigInt(index), index: 0 }, 1);
  }

  function check_vector(vector: Vector, index: number): void {
    const host = core.find_host(`h${index}`)!;
    const { verdict, conflict } = check(core, { name: `c${index}` })[core.outcome_of_host(host)]!;
    expect(verdict, `vector ${index}`).toBe(vector.compatible ? "ok" : "incompatible");
    if (vector.conflict === undefined) expect(conflict, `vector ${index}`).toBeNull();
    else {
      const [id, held] = vector.installed[vector.conflict.patch]!.states![vector.conflict.state]!;
      const offered = vector.candidate.states?.slice(0, end_of(vector.candidate)).find(([own]) => own === id);
      expect(conflict, `vector ${index}`).toEqual({
        state: BigInt(id),
        holder: { name: `v${index}_${vector.conflict.patch}`, build_id: null },
        held,
        offered: offered?.[1] ?? null,
        transient: false,
        first: true,
      });
    }
    const id = BigInt(vector.prev.id);
    const holder = core.previous_holder(host, vector.installed.length, id);
    expect(
      { patch: holder ?? -1, version: holder === null ? null : core.version_at(host, holder, id) },
      `vector ${index}`,
    ).toEqual({ patch: vector.prev.patch, version: vector.prev.version });
  }

  function end_of(patch: VectorPatch): number {
    const end = (patch.states ?? []).findIndex(([id]) => id === "0");
    return end === -1 ? Number.POSITIVE_INFINITY : end;
  }

  test("agree on compatibility, the first conflict and klp_get_prev_state", () => {
    expect(vectors.length).toBe(5_500);
    for (let first = 0; first < vectors.length; first += FLEET) {
      fresh();
      const fleet = vectors.slice(first, first + FLEET);
      for (const [at, vector] of fleet.entries()) install(vector, first + at);
      for (const [at, vector] of fleet.entries()) check_vector(vector, first + at);
    }
  });
});
