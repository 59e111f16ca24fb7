/** What partitions found out about a candidate, put together: sums, and groups that say the same. */
import type { CheckOutcome } from "../core/core.js";
import type { CheckAnswer, Conflict, HostVerdict, VerdictName } from "./answers.js";
import type { Candidate } from "./service.js";
import type { HostOutcome, PartitionCheck } from "./shard_protocol.js";

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
    warnings,
    stale,
    uncertain,
  };
}

/** Counts hosts by what they have in common. */
class Groups<Row> {
  #rows = new Map<string, { row: Row; hosts: number }>();

  add(row: Row, hosts: number): void {
    const key = JSON.stringify(row);
    const known = this.#rows.get(key);
    if (known) known.hosts += hosts;
    else this.#rows.set(key, { row, hosts });
  }

  /** The most hosts first; equal numbers by what they say, so that an answer is the same every time. */
  list(): (Row & { hosts: number })[] {
    return [...this.#rows.entries()]
      .sort(([a_key, a], [b_key, b]) => b.hosts - a.hosts || (a_key < b_key ? -1 : 1))
      .slice(0, ROWS_MAX)
      .map(([, { row, hosts }]) => ({ ...row, hosts }));
  }
}

/** All but `at` of the answer. */
export function check_answer(candidate: Candidate, partitions: PartitionCheck[]): Omit<CheckAnswer, "at"> {
  const hosts: CheckAnswer["hosts"] = {
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
  const reasons: Record<string, Record<string, number>> = {};
  const conflicts = new Groups<Conflict>();
  const replaces = new Groups<{ patches: string[] }>();
  const unresolved = new Groups<Unresolved>();
  const warnings = { forced: 0, irreversible: 0, built_for_other_kernel: 0 };
  const missing_partitions: number[] = [];

  function count(verdict: VerdictName, reason: string | null, count: number): void {
    if (count === 0) return;
    hosts[verdict] += count;
    if (reason === null) return;
    reasons[verdict] ??= {};
    reasons[verdict][reason] = (reasons[verdict][reason] ?? 0) + count;
  }

  for (const partition of partitions) {
    const { found } = partition;
    if (found === null) {
      missing_partitions.push(partition.partition);
      continue;
    }
    hosts.total += found.hosts;
    hosts.stale += found.stale;
    hosts.uncertain += found.uncertain;
    for (const outcome of found.outcomes) {
      count("unknown", "stale", outcome.aged);
      const rest = outcome.hosts - outcome.aged;
      if (outcome.warnings.includes("built_for_other_kernel"))
        warnings.built_for_other_kernel += outcome.aged;
      if (rest === 0) continue;
      count(outcome.verdict, outcome.reason, rest);
      const conflict = conflict_of(outcome);
      if (conflict) conflicts.add(conflict, rest);
      if (outcome.replaces?.length) replaces.add({ patches: [...outcome.replaces] }, rest);
      const missing = unresolved_of(outcome.unresolved, candidate);
      if (missing) unresolved.add(missing, rest);
      for (const warning of outcome.warnings) warnings[warning] += rest;
    }
  }
  return {
    candidate: { name: candidate.name, build_id: candidate.build_id ?? null },
    hosts,
    reasons,
    conflicts: conflicts.list(),
    replaces: replaces.list(),
    unresolved: unresolved.list(),
    warnings,
    complete: missing_partitions.length === 0,
    missing_partitions: missing_partitions.sort((a, b) => a - b),
  };
}
