/** What partitions found out about a candidate, put together: sums, and groups that say the same. */
import type { CheckOutcome } from "../core/core.js";
import type { BatchAnswer, CheckAnswer, Conflict, HostVerdict, VerdictName } from "./answers.js";
import { summed } from "./outcome_words.js";
import type { Candidate } from "./service.js";
import type { HostOutcome, PartitionBatch, PartitionCheck, VerdictWords } from "./shard_protocol.js";

/** Rows of one list in an answer; the longest lists are cut, the most hosts first. */
const ROWS_MAX = 1000;

export function conflict_of(outcome: Pick<CheckOutcome, "conflict">): Conflict | null {
  const { conflict } = outcome;
  return (
    conflict && {
      state: String(conflict.state),
      holder: conflict.holder.name,
      held: conflict.held,
      offered: conflict.offered,
      transient: conflict.transient,
      first: conflict.first,
    }
  );
}

type Unresolved = NonNullable<HostVerdict["unresolved"]>;

function unresolved_of(unresolved: CheckOutcome["unresolved"], candidate: Candidate): Unresolved | null {
  if (unresolved !== "candidate") return unresolved;
  return { name: candidate.name, build_id: candidate.build_id ?? null, manifest: "states_unknown" };
}

export function host_verdict(host: HostOutcome, candidate: Candidate): HostVerdict {
  const { host_id, verdict, reason, replaces, warnings, stale, uncertain } = host;
  return {
    host_id,
    verdict,
    reason,
    conflict: conflict_of(host),
    unresolved: unresolved_of(host.unresolved, candidate),
    replaces: [...(replaces ?? [])],
    warnings: [...warnings],
    stale,
    uncertain,
  };
}

/** Counts hosts by what they have in common. */
class Groups<Row extends { hosts: number }> {
  #rows = new Map<string, Row>();

  /** `said`: what the row says but for its hosts. */
  add(said: unknown, row: Row): void {
    const key = JSON.stringify(said);
    const known = this.#rows.get(key);
    if (known) known.hosts += row.hosts;
    else this.#rows.set(key, row);
  }

  /** The most hosts first; equal numbers by what they say, so that an answer is the same every time. */
  list(): Row[] {
    return [...this.#rows.entries()]
      .sort(([a_key, a], [b_key, b]) => b.hosts - a.hosts || (a_key < b_key ? -1 : 1))
      .slice(0, ROWS_MAX)
      .map(([, row]) => row);
  }
}

/** What is said of how many hosts. */
class Counts {
  readonly hosts: CheckAnswer["hosts"] = {
    total: 0,
    ok: 0,
    done: 0,
    busy: 0,
    incompatible: 0,
    name_taken: 0,
    blocked: 0,
    other_kernel: 0,
    unsupported: 0,
    unknown: 0,
    stale: 0,
    uncertain: 0,
  };
  readonly reasons: CheckAnswer["reasons"] = {};
  readonly warnings = { forced: 0, irreversible: 0, built_for_other_kernel: 0 };

  add_partition(found: { hosts: number; stale: number; uncertain: number }): void {
    this.hosts.total += found.hosts;
    this.hosts.stale += found.stale;
    this.hosts.uncertain += found.uncertain;
  }

  /** How many of the hosts have the verdict: the aged ones are stale. */
  add_outcome({ verdict, reason, warnings }: VerdictWords, hosts: number, aged: number): number {
    this.#count("unknown", "stale", aged);
    if (warnings.includes("built_for_other_kernel")) this.warnings.built_for_other_kernel += aged;
    const rest = hosts - aged;
    this.#count(verdict, reason, rest);
    for (const warning of warnings) this.warnings[warning] += rest;
    return rest;
  }

  #count(verdict: VerdictName, reason: string | null, count: number): void {
    if (count === 0) return;
    this.hosts[verdict] += count;
    if (reason === null) return;
    const of_verdict = this.reasons[verdict] ?? {};
    of_verdict[reason] = (of_verdict[reason] ?? 0) + count;
    this.reasons[verdict] = of_verdict;
  }
}

function missing_of(partitions: readonly { partition: number; found: unknown }[]) {
  const missing = partitions.filter(({ found }) => found === null).map(({ partition }) => partition);
  return { complete: missing.length === 0, missing_partitions: missing.sort((a, b) => a - b) };
}

function reference_of({ name, build_id }: Candidate): CheckAnswer["candidate"] {
  return { name, build_id: build_id ?? null };
}

/** All but `at` of the answer. */
export function check_answer(candidate: Candidate, partitions: PartitionCheck[]): Omit<CheckAnswer, "at"> {
  const counts = new Counts();
  const conflicts = new Groups<Conflict & { hosts: number }>();
  const replaces = new Groups<{ patches: string[]; hosts: number }>();
  const unresolved = new Groups<Unresolved & { hosts: number }>();
  const found = partitions.flatMap(({ found }) => found ?? []);
  for (const of_partition of found) counts.add_partition(of_partition);
  for (const { words, hosts, aged } of summed(found)) {
    const rest = counts.add_outcome(words, hosts, aged);
    if (rest === 0) continue;
    const conflict = conflict_of(words);
    if (conflict) conflicts.add(conflict, { ...conflict, hosts: rest });
    const patches = words.replaces;
    if (patches?.length) replaces.add(patches, { patches: [...patches], hosts: rest });
    const missing = unresolved_of(words.unresolved, candidate);
    if (missing) unresolved.add(missing, { ...missing, hosts: rest });
  }
  return {
    candidate: reference_of(candidate),
    hosts: counts.hosts,
    reasons: counts.reasons,
    conflicts: conflicts.list(),
    replaces: replaces.list(),
    unresolved: unresolved.list(),
    warnings: counts.warnings,
    ...missing_of(partitions),
  };
}

/** Likewise, of many candidates. */
export function batch_answer(
  candidates: readonly Candidate[],
  partitions: PartitionBatch[],
): Omit<BatchAnswer, "at"> {
  const checks = candidates.map((candidate, i) => {
    const counts = new Counts();
    for (const { found } of partitions) {
      if (found === null) continue;
      counts.add_partition(found);
      for (const [number, words] of found.words.entries())
        counts.add_outcome(words, found.told[i]![number]!, found.aged?.[i]?.[number] ?? 0);
    }
    const { hosts, reasons, warnings } = counts;
    return { candidate: reference_of(candidate), hosts, reasons, warnings };
  });
  return { checks, ...missing_of(partitions) };
}
