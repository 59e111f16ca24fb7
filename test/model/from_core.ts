/** What the core says, in the plain model's words, so that the two can be compared as values. */
import { Manifests } from "#services/catalog/manifests.js";
import type { CheckOutcome, Configuration, Core } from "#services/core/core.js";
import { load_core_module } from "#services/core/module.js";
import { type CatalogRecord, encode_catalog_record } from "#services/events/codec.js";
import { apply_fact, catalog_fact } from "#services/registry/catalog_feed.js";
import type { CandidateModel, VerdictModel } from "./check.js";
import type * as model from "./fold.js";
import { configuration_key } from "./registry.js";

export { host_state } from "#services/core/host_hashes.js";

export const core_module = load_core_module();

export function configuration_model(of_core: Configuration): model.Configuration {
  const { kernel_release, arch, livepatching, policy, forced, knowledge } = of_core;
  return {
    kernel_release,
    arch,
    livepatching,
    policy,
    stack: of_core.stack.map(({ name, build_id, phase }) => ({ name, build_id: build_id ?? "", phase })),
    lingering: new Map(
      of_core.lingering.map(({ name, build_id, pinned }) => [
        name,
        { name, build_id: build_id ?? "", pinned },
      ]),
    ),
    forced,
    knowledge,
  };
}

/** The configuration part of a host of the model. */
export function configuration_of(host: model.HostModel): model.Configuration {
  const { kernel_release, arch, livepatching, policy, stack, lingering, forced, knowledge } = host;
  return { kernel_release, arch, livepatching, policy, stack, lingering, forced, knowledge };
}

/** Hosts by configuration as the core counts them, under the model's keys; throws where one is there twice. */
export function hosts_per_configuration(core: Core): Map<string, number> {
  const counts = new Map<string, number>();
  for (const id of core.configurations()) {
    const configuration = core.configuration(id);
    const key = configuration_key(configuration_model(configuration));
    if (counts.has(key)) throw new Error(`two configurations are the same: ${key}`);
    counts.set(key, configuration.hosts);
  }
  return counts;
}

/** Gives the core the catalog's records one by one, as the product does. */
export class CoreCatalog {
  readonly manifests = new Manifests();
  #core: Core;
  #offset = 0n;

  constructor(core: Core) {
    this.#core = core;
  }

  apply(record: CatalogRecord): void {
    const change = this.manifests.apply(encode_catalog_record(record), this.#offset++, 0);
    const fact = catalog_fact(change);
    if (fact !== null) apply_fact(this.#core, fact);
  }
}

/** The core calls the candidate "candidate" where its states are unknown. */
export type VerdictWords = Omit<VerdictModel, "unresolved"> & {
  unresolved: VerdictModel["unresolved"] | "candidate";
};

export function verdict_words(outcome: CheckOutcome): VerdictWords {
  const { verdict, reason, conflict, unresolved, warnings } = outcome;
  if (outcome.replaces === null) throw new Error("outcomes were too many to tell apart");
  return {
    verdict,
    reason,
    conflict: conflict && { ...conflict, holder: conflict.holder.name },
    unresolved:
      unresolved === null || unresolved === "candidate"
        ? unresolved
        : { ...unresolved, build_id: unresolved.build_id ?? "" },
    replaces: [...outcome.replaces],
    warnings: [...warnings],
  };
}

/** The model's verdict in the same words: a candidate that is on the stack has another verdict. */
export function verdict_words_of_model(verdict: VerdictModel, candidate: CandidateModel): VerdictWords {
  const is_candidate = verdict.unresolved?.name === candidate.name;
  return is_candidate ? { ...verdict, unresolved: "candidate" } : verdict;
}

export function check(core: Core, candidate: CandidateModel): CheckOutcome[] {
  return core.check(candidate.name, Buffer.from(candidate.build_id ?? "", "hex"));
}
