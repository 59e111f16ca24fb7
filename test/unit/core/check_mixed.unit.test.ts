/** Very many configurations of all kinds at once, each judged beside the plain model of the rules. */
import { expect, test } from "vitest";
import type { CoreManifest } from "#services/core/core.js";
import { klpstate } from "#services/events/proto.js";
import { type ManifestModel, new_catalog } from "../../model/catalog.js";
import { verdict } from "../../model/check.js";
import { check, configuration_model, verdict_words, verdict_words_of_model } from "../../model/from_core.js";
import { fold_log, log_of, new_core, numbers, observed } from "./fleet.js";

/** More than from where on the core tallies, and no multiple of what it takes at once. */
const HOSTS = 40_007;
const RELEASES = ["6.1.1", "6.1.2", "6.6.1"];
const ARCH = "x86_64";
const PATCHES = 60;
const { Phase } = klpstate.v1;

const random = numbers(20_261_126);

const manifests: CoreManifest[] = RELEASES.flatMap((kernel_release, kernel) => {
  const more = { kernel_release, arch: ARCH, build_id: new Uint8Array(), irreversible: false, signed: false };
  const patch = (i: number): CoreManifest => ({
    ...more,
    name: `p${i}`,
    replace: false,
    states_unknown: i % 23 === 5,
    states: i % 23 === 5 ? [] : [{ id: BigInt(1 + (i % 7)), version: (i + kernel) % 6 }],
  });
  const candidate = (name: string, version: number): CoreManifest => ({
    ...more,
    name,
    replace: false,
    states_unknown: false,
    states: Array.from({ length: 6 }, (_, i) => ({ id: BigInt(1 + i), version })),
  });
  // The catalog does not tell of every patch on every kernel, and not of every candidate.
  const known = Array.from({ length: PATCHES }, (_, i) => i).filter((i) => i % 19 !== 3 || kernel === 0);
  return [...known.map(patch), candidate("c", 3), ...(kernel === 2 ? [] : [candidate("d", 4)])];
});

function model_of(manifest: CoreManifest): ManifestModel {
  const { name, kernel_release, arch, replace, states, states_unknown, signed } = manifest;
  return {
    ...{ name, kernel_release, arch, replace, states_unknown, signed },
    ...{ states: [...states], build_id: "", irreversible: "", bytes: new Uint8Array() },
  };
}

test("many kernels, policies, phases, and patches that nobody knows: each is what the rules say of it", () => {
  const events = Array.from({ length: HOSTS }, (_, i) => {
    const stack = new Set<string>();
    for (let left = random(8); left > 0; left--) stack.add(`p${random(PATCHES)}`);
    if (random(50) === 0) stack.add("c");
    const seen = { stack: [...stack], kernel_release: RELEASES[random(RELEASES.length)]! };
    const event = observed(
      `h${i}`,
      !stack.has("c") && random(40) === 0 ? { ...seen, lingering: ["c"] } : seen,
    );
    event.observed!.policy = { ftrace_off: random(5) === 0, modules_disabled: random(30) === 0 };
    const top = event.observed!.stack!.at(-1);
    if (top && random(20) === 0) top.phase = random(2) === 0 ? Phase.ENABLING : Phase.DISABLING;
    return event;
  });
  const core = new_core();
  fold_log(core, log_of(events, 1000));
  expect(core.host_count).toBe(HOSTS);
  const catalog = new_catalog();
  for (const manifest of manifests) {
    core.put_manifest(manifest);
    catalog.manifests.set(`${manifest.name} ${manifest.kernel_release}`, model_of(manifest));
  }
  expect(core.configuration_count).toBeGreaterThan(20_000);

  for (const candidate of [{ name: "c" }, { name: "d" }]) {
    const outcomes = check(core, candidate);
    const counted = outcomes.map(() => 0);
    for (let host = 0; host < HOSTS; host++) {
      const outcome = core.outcome_of_host(host);
      counted[outcome]!++;
      if (host % 4 !== 0) continue;
      const configuration = configuration_model(core.configuration(core.host(host).configuration));
      const expected = verdict_words_of_model(verdict(configuration, catalog, candidate), candidate);
      expect(verdict_words(outcomes[outcome]!)).toEqual(expected);
    }
    expect(outcomes.map(({ hosts }) => hosts)).toEqual(counted);
    const verdicts = new Set(outcomes.map((outcome) => outcome.verdict));
    for (const seen of ["ok", "incompatible", "unknown", "busy", "blocked"] as const)
      expect(verdicts).toContain(seen);
  }
});
