/** What is said of a batch that was not stored whole. */
import { type PartFate, Problem } from "../events/problem.js";
import type { PartOutcome } from "./partition_queue.js";

export type StoredPart = Extract<PartOutcome, { fate: "stored" }>;

const SAYS: Record<PartFate, string> = {
  stored: "is stored",
  unknown: "may be stored",
  refused: "is not stored",
};

/** In the order of the outcomes. Throws Problem `unavailable` unless all are stored. */
export function all_stored(outcomes: readonly PartOutcome[]): StoredPart[] {
  const stored = outcomes.filter((outcome): outcome is StoredPart => outcome.fate === "stored");
  if (stored.length === outcomes.length) return stored;
  throw not_stored_whole(outcomes);
}

function not_stored_whole(outcomes: readonly PartOutcome[]): Problem {
  const sorted = outcomes.toSorted((a, b) => a.partition - b.partition);
  const said = (["refused", "unknown", "stored"] as const).flatMap((fate) => {
    const those = sorted.filter((outcome) => outcome.fate === fate);
    if (those.length === 0) return [];
    const whys = new Set(those.flatMap((outcome) => ("why" in outcome ? [outcome.why] : [])));
    const why = whys.size === 0 ? "" : ` (${[...whys].join("; ")})`;
    return [`what is of partition ${those.map(({ partition }) => partition).join(", ")} ${SAYS[fate]}${why}`];
  });
  return new Problem(
    "unavailable",
    `Kafka did not take the whole batch: ${said.join("; ")}; sending the whole batch again is safe`,
    { partitions: Object.fromEntries(sorted.map(({ partition, fate }) => [partition, fate])) },
  );
}
