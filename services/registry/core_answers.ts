/** What a core that knows the catalog answers of a whole partition, whichever instant it stands at. */
import type { Verdict } from "../core/codes.js";
import type { CheckOutcome, Core } from "../core/core.js";
import { Problem } from "../events/problem.js";
import type { FleetRow } from "./answers.js";
import { first_fresh_minute, host_warnings, is_stale } from "./host_answers.js";
import { SharedWords } from "./outcome_words.js";
import type {
  BatchFound,
  BatchQuestion,
  CheckFound,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  HostsPage,
  VerdictWords,
} from "./shard_protocol.js";

/** Of the hosts in doubt, those that are marked in the core. `shared`: what other cores are asked the same with. */
export function check_core(
  core: Core,
  question: CheckQuestion,
  stale_after_ms: number,
  shared = new SharedWords(),
): CheckFound {
  const told = shared.told_of(outcomes_of(core, question));
  return { ...told, ...host_counts(core, question.at_ms, stale_after_ms) };
}

function host_counts(core: Core, at_ms: number, stale_after_ms: number) {
  return {
    hosts: core.host_count,
    stale: core.hosts_before_minute(first_fresh_minute(at_ms, stale_after_ms)),
    uncertain: core.uncertain_count,
  };
}

/** Likewise. */
export function check_batch_of_core(core: Core, question: BatchQuestion, stale_after_ms: number): BatchFound {
  const { candidates, at_ms, max_age_ms } = question;
  const asked = candidates.map(({ name, build_id }) => ({
    name,
    build_id: Buffer.from(build_id ?? "", "hex"),
  }));
  const counts = core.check_batch(asked, max_age_ms === null ? null : first_fresh_minute(at_ms, max_age_ms));
  // What is said is said once: a thousand candidates have the same few words each.
  const words: VerdictWords[] = [];
  const numbers = new Map<string, number>();
  const number_of = ({ verdict, reason, warnings }: VerdictWords): number => {
    const key = `${verdict} ${reason} ${warnings.join(" ")}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, words.length);
    return words.push({ verdict, reason, warnings }) - 1;
  };
  const numbered = counts.map((of_one) => of_one.map((count) => ({ ...count, number: number_of(count) })));
  const rows = (of: "hosts" | "aged") =>
    numbered.map((of_one) => {
      const row = words.map(() => 0);
      for (const count of of_one) row[count.number] = count[of];
      return row;
    });
  const aged = max_age_ms === null ? null : rows("aged");
  return { words, told: rows("hosts"), aged, ...host_counts(core, at_ms, stale_after_ms) };
}

function outcomes_of(core: Core, { candidate, at_ms, max_age_ms }: CheckQuestion): CheckOutcome[] {
  const outcomes = core.check(candidate.name, Buffer.from(candidate.build_id ?? "", "hex"));
  return max_age_ms === null ? outcomes : core.age_check(first_fresh_minute(at_ms, max_age_ms));
}

/** What a check comes to for one host. */
export function check_host_of_core(
  core: Core,
  host: number,
  question: CheckQuestion,
  stale_after_ms: number,
): HostOutcome {
  const outcomes = outcomes_of(core, question);
  return tell(core, host, outcomes[core.outcome_of_host(host)]!, question, stale_after_ms);
}

export function check_hosts_of_core(
  core: Core,
  question: HostsCheckQuestion,
  stale_after_ms: number,
): HostsPage {
  const { candidate, at_ms, verdicts, max_age_ms } = question;
  const outcomes = core.check(candidate.name, Buffer.from(candidate.build_id ?? "", "hex"));
  const is_wanted = (verdict: Verdict) => verdicts?.includes(verdict) ?? true;
  const wanted = outcomes.map(({ verdict }) => is_wanted(verdict));
  const aged = {
    minute: max_age_ms === null ? 0 : first_fresh_minute(at_ms, max_age_ms),
    wanted: is_wanted("unknown"),
  };
  const page = core.hosts_page(first_host(core, question), wanted, question.count_max, aged);
  const hosts = page.hosts.map(([host, outcome]) =>
    tell(core, host, outcomes[outcome]!, question, stale_after_ms),
  );
  return { hosts, next: page.next < core.host_count ? page.next : null };
}

/** Where the page begins. Throws Problem where there is no host to go on behind. */
export function first_host(core: Core, { first, after }: HostsCheckQuestion): number {
  if (after === null) return first;
  const last = core.find_host(after);
  if (last !== null) return Math.max(first, last + 1);
  throw new Problem("bad_input", `there is no host ${after} to go on behind`, {
    field: "cursor",
    value: after,
  });
}

function tell(
  core: Core,
  host: number,
  outcome: CheckOutcome,
  { at_ms, max_age_ms }: CheckQuestion,
  stale_after_ms: number,
): HostOutcome {
  const { host_id, effective_time_ms } = core.host(host);
  const aged = max_age_ms !== null && is_stale(effective_time_ms, at_ms, max_age_ms);
  const stale = is_stale(effective_time_ms, at_ms, stale_after_ms);
  return host_outcome(host_id, outcome, aged, { stale, uncertain: core.is_uncertain(host) });
}

/** `aged`: the host is too old for its outcome to count. */
export function host_outcome(
  host_id: string,
  outcome: CheckOutcome,
  aged: boolean,
  { stale, uncertain }: Pick<HostOutcome, "stale" | "uncertain">,
): HostOutcome {
  const { verdict, reason, conflict, unresolved, replaces, warnings } = aged
    ? stale_outcome(outcome)
    : outcome;
  return { host_id, verdict, reason, conflict, unresolved, replaces, warnings, stale, uncertain };
}

function stale_outcome(outcome: CheckOutcome): CheckOutcome {
  const { warnings } = outcome;
  return {
    ...outcome,
    verdict: "unknown",
    reason: "stale",
    conflict: null,
    unresolved: null,
    replaces: [],
    // `forced` and `irreversible` warn who may load; this one is about what is there.
    warnings: warnings.filter((warning) => warning === "built_for_other_kernel"),
  };
}

export function fleet_rows(core: Core): FleetRow[] {
  return Array.from(core.configurations(), (id) => {
    const configuration = core.configuration(id);
    const { kernel_release, arch, livepatching, policy, lingering, knowledge, forced, hosts } = configuration;
    return {
      kernel_release,
      arch,
      livepatching,
      policy,
      stack: configuration.stack.map(({ name, build_id, phase }) => ({ name, build_id, phase })),
      lingering,
      knowledge,
      forced,
      warnings: host_warnings(configuration),
      hosts,
    };
  });
}
