/**
 * The past over HTTP: a registry whose log was written over weeks, its events late, lost and in doubt, answers for any
 * instant as the plain model does.
 */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { HistoryEntry, HostAnswer, type ReplayAnswer, StateAnswer } from "#services/registry/answers.js";
import { random_catalog, random_log } from "../model/random.js";
import { fold_log, hosts_digest } from "../model/registry.js";
import {
  ask,
  ask_json,
  expect_refused,
  host_path,
  klpstate,
  klpstate_yes,
  problem_of,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { catalog_times, history_facts, host_facts, PastModel, type Question, time_text } from "./past.js";
import { by_partition, instants_to_ask, write_registry } from "./past_registry.js";
import { view_of_answer } from "./views.js";

/** Fixed: the questions below are then of every kind. */
const SEED = 20_261_101;
const QUESTIONS = 150;

function instant_query({ as_of_ms, known_at_ms }: Question): string {
  const given: [string, string][] = [
    ...(as_of_ms === undefined ? [] : [["as_of", time_text(as_of_ms)] as [string, string]]),
    ...(known_at_ms === undefined ? [] : [["known_at", time_text(known_at_ms)] as [string, string]]),
  ];
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

describe("a registry with a past", () => {
  let server: Server;
  let model: PastModel;
  let questions: Question[];
  let last_log_time_ms: bigint;
  let digest: string;

  beforeAll(async () => {
    const [log] = fc
      .sample(random_log({ hosts_max: 6, steps_max: 400 }), { seed: SEED, numRuns: 40 })
      .slice(-1);
    const [catalog] = fc.sample(random_catalog(60), { seed: SEED, numRuns: 20 }).slice(-1);
    const records = by_partition(log!);
    const manifests = catalog_times(
      catalog!,
      records.map(({ log_time_ms }) => log_time_ms),
    );
    const data = temporary_directory();
    await write_registry(data, records, manifests);
    const folded = fold_log(records);
    digest = hosts_digest(folded.hosts.values());
    last_log_time_ms = records.at(-1)!.log_time_ms;
    model = new PastModel(folded, manifests, BigInt(Date.now()));
    const instant = fc.option(fc.constantFrom(...instants_to_ask(log!)), { nil: undefined, freq: 8 });
    questions = fc.sample(
      fc.record({ host_id: fc.constantFrom(...model.hosts), as_of_ms: instant, known_at_ms: instant }),
      { seed: SEED, numRuns: QUESTIONS },
    );
    server = await start_server(data);
  });

  test("has the model's digest", async () => {
    const replay = await ask_json<ReplayAnswer>(server, "/v1/replay", { method: "POST" });
    expect(replay).toMatchObject({ digest, matches: true });
  });

  test("says of every host at any instant what the model says, or that it was not known then", async () => {
    const seen = { unknown: 0, uncertain: 0, certain: 0, known_states: 0, missing: 0 };
    for (const question of questions) {
      const expected = model.host(question);
      const query = instant_query(question);
      const answer = await ask(server, host_path(question.host_id, query));
      if (expected === null) {
        seen.unknown++;
        const { field, detail } = problem_of(answer, 404);
        expect(["as_of", "known_at"]).toContain(field);
        expect(detail).toContain("became known later");
        continue;
      }
      expect(answer.status, answer.text).toBe(200);
      const document = JSON.parse(answer.text) as HostAnswer;
      expect(HostAnswer.parse(document)).toEqual(document);
      expect(host_facts(document, view_of_answer(document)), query).toEqual(expected);
      if (question.as_of_ms !== undefined) expect(document.at.as_of).toBe(time_text(question.as_of_ms));
      const known_at = question.known_at_ms === undefined ? null : time_text(question.known_at_ms);
      expect(document.at.known_at).toBe(known_at);
      seen[expected.uncertain ? "uncertain" : "certain"]++;
      if (expected.states.some((states) => states?.length)) seen.known_states++;
      if (expected.manifests.includes("missing")) seen.missing++;
    }
    for (const count of Object.values(seen)) expect(count, JSON.stringify(seen)).toBeGreaterThan(3);
  });

  test("tells every history as it was at any instant", async () => {
    for (const question of questions.slice(0, 60)) {
      const query = instant_query(question);
      const answer = await ask(server, host_path(question.host_id, `/history${query}`));
      const expected = model.history(question);
      expect(answer.status, answer.text).toBe(200);
      const { history } = JSON.parse(answer.text) as { history: HistoryEntry[] };
      for (const entry of history) expect(HistoryEntry.parse(entry)).toEqual(entry);
      expect(history.map(history_facts), query).toEqual(expected);
    }
  });

  test("tells who held a state at any instant", async () => {
    const seen = { held: 0, found: 0, unresolved: 0 };
    for (const [index, question] of questions.entries()) {
      const expected_host = model.host(question);
      if (expected_host === null) continue;
      const states = expected_host.states.flatMap((some) => some ?? []);
      const id = BigInt(states[index % states.length]?.id ?? 1n);
      const patch = expected_host.view.stack.at(index % 2 === 0 ? -1 : 0)?.[0] ?? "kp_1";
      const kind = index % 4 < 2 ? "of" : "prev_of";
      const query = new URLSearchParams(instant_query(question));
      query.set(kind, patch);
      const path = host_path(question.host_id, `/states/${id}?${query}`);
      const { at: _, ...said } = StateAnswer.parse(await ask_json(server, path));
      const expected = model.state(question, id, { kind, patch });
      expect(said, path).toEqual(expected);
      if (expected!.holders.length > 0) seen.held++;
      if (expected!.lookup!.found !== null) seen.found++;
      if (expected!.unresolved.length > 0) seen.unresolved++;
    }
    for (const count of Object.values(seen)) expect(count, JSON.stringify(seen)).toBeGreaterThan(3);
  });

  test("is asked by the command in the same words", async () => {
    const question = questions.find(
      (one) =>
        one.as_of_ms !== undefined && one.known_at_ms !== undefined && model.host(one)?.view.stack.length,
    )!;
    const as_of = time_text(question.as_of_ms!);
    const known_at = time_text(question.known_at_ms!);
    const instants = ["--as-of", as_of, "--known-at", known_at, "--server", server.url];
    const said = JSON.parse(await klpstate_yes(["host", question.host_id, ...instants, "--json"]));
    expect(host_facts(said, view_of_answer(said))).toEqual(model.host(question));
    const text = await klpstate_yes(["host", question.host_id, ...instants]);
    expect(text).toContain(as_of);
    expect(text).toContain(model.host(question)!.view.stack[0]![0]);

    const before_all = ["--as-of", "1970-01-01T00:00:00Z", "--server", server.url];
    const refused = await klpstate(["host", question.host_id, ...before_all]);
    expect_refused(refused, "was not known as of 1970-01-01T00:00:00.000Z", "became known later");
  });

  test("does not change when more is stored: what was known then stays", async () => {
    const fixed = questions.filter(
      (one) => one.known_at_ms !== undefined && one.known_at_ms < last_log_time_ms,
    );
    const told = async () => {
      const texts: string[] = [];
      for (const question of fixed.slice(0, 20))
        texts.push((await ask(server, host_path(question.host_id, instant_query(question)))).text);
      // An answer without as_of is of the instant at which it was asked.
      return texts.map((text) => text.replace(/"as_of":"[^"]*"/, ""));
    };
    const before = await told();
    const events = model.hosts.map((host_id) => ({
      host_id,
      stream: "77",
      sequence: "1",
      time_unix_ms: String(Date.now()),
      observed: { kernel_release: "7.0.0", arch: "x86_64", livepatching: "supported" },
    }));
    const stored = await ask(server, "/v1/events", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ events }),
    });
    expect(stored.status, stored.text).toBe(200);
    expect(await told()).toEqual(before);
    const now = await ask_json<HostAnswer>(server, host_path(model.hosts[0]!));
    expect(now).toMatchObject({ kernel_release: "7.0.0", stack: [] });
  });
});
