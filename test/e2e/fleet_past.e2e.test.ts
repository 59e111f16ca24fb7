/** The fleet's past, asked of a real server: what check and fleet say as of any instant is what the plain model says. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { BatchAnswer, CheckAnswer, FleetRow, HostVerdict } from "#services/registry/answers.js";
import { configuration_model } from "../model/from_core.js";
import { random_catalog, random_log } from "../model/random.js";
import { configuration_key, fold_log } from "../model/registry.js";
import {
  ask,
  ask_json,
  json_lines,
  klpstate,
  post,
  problem_of,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { catalog_times, type HostVerdictFacts, type Instants, PastModel, time_text } from "./past.js";
import { by_partition, instants_to_ask, write_registry } from "./past_registry.js";

/** Fixed: the questions below are then of every kind. */
const SEED = 20_261_101;
const QUESTIONS = 60;

function asked(instants: Instants): Record<string, string> {
  const { as_of_ms, known_at_ms } = instants;
  return {
    ...(as_of_ms !== undefined && { as_of: time_text(as_of_ms) }),
    ...(known_at_ms !== undefined && { known_at: time_text(known_at_ms) }),
  };
}

function facts_of(said: HostVerdict): HostVerdictFacts {
  const { host_id, verdict, reason, replaces, warnings, stale, uncertain } = said;
  return { host_id, verdict, reason, replaces, warnings, stale, uncertain };
}

describe("a fleet with a past", () => {
  let server: Server;
  let model: PastModel;
  let questions: (Instants & { patch: string })[];

  beforeAll(async () => {
    const [log] = fc
      .sample(random_log({ hosts_max: 6, steps_max: 300 }), { seed: SEED, numRuns: 40 })
      .slice(-1);
    const [catalog] = fc.sample(random_catalog(60), { seed: SEED, numRuns: 20 }).slice(-1);
    const records = by_partition(log!);
    const manifests = catalog_times(
      catalog!,
      records.map(({ log_time_ms }) => log_time_ms),
    );
    const data = temporary_directory();
    await write_registry(data, records, manifests);
    model = new PastModel(fold_log(records), manifests, BigInt(Date.now()));
    const instant = fc.option(fc.constantFrom(...instants_to_ask(log!)), { nil: undefined, freq: 6 });
    questions = fc.sample(
      fc.record({ patch: fc.constantFrom(...model.patches), as_of_ms: instant, known_at_ms: instant }),
      { seed: SEED, numRuns: QUESTIONS },
    );
    server = await start_server(data);
  });

  test("gives each host the verdict that the model gives it, and counts them", async () => {
    const seen = { refused: 0, answered: 0, uncertain: 0, incompatible: 0 };
    for (const { patch, ...instants } of questions) {
      const request = JSON.stringify({ patch, ...asked(instants) });
      const answer = await post(server, "/v1/checks", "application/json", request);
      if (!model.knows(patch, instants.known_at_ms)) {
        seen.refused++;
        expect(problem_of(answer, 404).field).toBe("patch");
        continue;
      }
      expect(answer.status, answer.text).toBe(200);
      const expected = model.verdicts(patch, instants);
      const check = JSON.parse(answer.text) as CheckAnswer;
      const count = (is: (facts: HostVerdictFacts) => boolean) => [...expected.values()].filter(is).length;
      expect(check.complete).toBe(true);
      expect(check.hosts.total).toBe(expected.size);
      expect(check.hosts.stale).toBe(count(({ stale }) => stale));
      expect(check.hosts.uncertain).toBe(count(({ uncertain }) => uncertain));
      const { total: _, stale: __, uncertain: ___, ...verdicts } = check.hosts;
      for (const [name, hosts] of Object.entries(verdicts)) {
        expect(hosts, name).toBe(count(({ verdict }) => verdict === name));
      }
      if (instants.as_of_ms !== undefined) expect(check.at.as_of).toBe(time_text(instants.as_of_ms));
      expect(check.at.known_at).toBe(asked(instants).known_at ?? null);

      const lines = await ask(server, "/v1/checks", {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/x-ndjson" },
        body: JSON.stringify({ patch, hosts: true, ...asked(instants) }),
      });
      const said = json_lines<HostVerdict>(lines.text).map(facts_of);
      const by_host = (a: HostVerdictFacts, b: HostVerdictFacts) => (a.host_id < b.host_id ? -1 : 1);
      expect(said.sort(by_host)).toEqual([...expected.values()].sort(by_host));
      seen.answered++;
      seen.uncertain += check.hosts.uncertain;
      seen.incompatible += check.hosts.incompatible;
    }
    // The questions are about something.
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);
  });

  test("counts many candidates at once as it counts each, also where hosts are too old to tell", async () => {
    let answered = 0;
    const ask_for = (request: object) =>
      post(server, "/v1/checks", "application/json", JSON.stringify(request));
    const of_past = questions.filter(({ as_of_ms }) => as_of_ms !== undefined);
    for (const [i, { as_of_ms, known_at_ms }] of of_past.slice(0, 12).entries()) {
      const instants = { as_of_ms, known_at_ms };
      const given = { ...asked(instants), ...(i % 2 === 1 && { max_age: "1h" }) };
      const patches = model.patches.filter((patch) => model.knows(patch, known_at_ms));
      if (patches.length === 0) continue;
      const answer = await ask_for({ patches, ...given });
      expect(answer.status, answer.text).toBe(200);
      const { checks, ...together } = JSON.parse(answer.text) as BatchAnswer;
      expect(checks).toHaveLength(patches.length);
      for (const [number, patch] of patches.entries()) {
        const alone = JSON.parse((await ask_for({ patch, ...given })).text) as CheckAnswer;
        expect(alone, `${patch} ${JSON.stringify(given)}`).toMatchObject({ ...checks[number], ...together });
      }
      answered++;
      const unknown = model.patches.find((patch) => !model.knows(patch, known_at_ms));
      if (unknown === undefined) continue;
      const refused = await ask_for({ patches: [patches[0], unknown], ...given });
      expect(problem_of(refused, 404).field).toBe("patches[1]");
    }
    expect(answered).toBeGreaterThan(5);
  });

  test("gives one host the verdict that the model gives it", async () => {
    for (const { patch, ...instants } of questions.slice(0, 20)) {
      if (!model.knows(patch, instants.known_at_ms)) continue;
      for (const [host_id, expected] of [...model.verdicts(patch, instants)].slice(0, 3)) {
        const request = JSON.stringify({ patch, hosts: true, host_id, ...asked(instants) });
        const answer = await post(server, "/v1/checks", "application/json", request);
        expect(answer.status, answer.text).toBe(200);
        expect((JSON.parse(answer.text).hosts as HostVerdict[]).map(facts_of)).toEqual([expected]);
      }
    }
  });

  test("has the configurations that the model has, with their hosts", async () => {
    for (const instants of questions) {
      const path = `/v1/fleet?${new URLSearchParams({ limit: "10000", ...asked(instants) })}`;
      const { fleet } = await ask_json<{ fleet: FleetRow[] }>(server, path);
      const found = new Map(
        fleet.map((row) => [configuration_key(configuration_model(row as never)), row.hosts] as const),
      );
      expect(found).toEqual(model.fleet(instants));
    }
  });

  test("is asked by the command in the same words", async () => {
    const { patch, ...instants } = questions.find(
      (question) => question.as_of_ms !== undefined && model.knows(question.patch, question.known_at_ms),
    )!;
    const { as_of, known_at } = asked(instants);
    const given = ["--as-of", as_of!, ...(known_at === undefined ? [] : ["--known-at", known_at])];
    const check = await klpstate(["check", patch, ...given, "--json", "--server", server.url]);
    expect(JSON.parse(check.stdout)).toMatchObject({
      hosts: { total: model.verdicts(patch, instants).size },
    });
    const text = await klpstate(["check", patch, ...given, "--server", server.url]);
    expect(text.stdout).toContain(`as of ${as_of}`);
    const fleet = await klpstate(["fleet", ...given, "--json", "--server", server.url]);
    expect(json_lines(fleet.stdout).length).toBe(model.fleet(instants).size);
  });
});
