/**
 * Answers are given only while the partitions are this node's, before and behind the making: one that was made while the
 * process was stopped may be of what is another's by now.
 */
import { NotOwner, type Role } from "./peer_protocol.js";

/** Whether a node answers for partitions. */
export interface Answerable {
  readonly generation: number;
  /** Null: it may be answered for in this role. */
  refusal(partition: number, role: Role): string | null;
  /** Why nothing of it is served, for a person; null: it is served, or not kept here. */
  broken(partition: number): string | null;
}

/** Throws NotOwner where one of the partitions is not to be answered for. */
export async function of_all<Told>(
  node: Answerable,
  partitions: readonly number[],
  role: Role,
  answer: () => Promise<Told>,
): Promise<Told> {
  refuse(node, partitions, role);
  const told = await answer();
  refuse(node, partitions, role);
  return told;
}

/** Only of those that are to be answered for. */
export async function of_some<Found extends { partition: number }>(
  node: Answerable,
  partitions: readonly number[],
  role: Role,
  answer: (partitions: number[]) => Promise<Found[]>,
): Promise<Found[]> {
  const is_answerable = (partition: number) => node.refusal(partition, role) === null;
  const asked = partitions.filter(is_answerable);
  if (asked.length === 0) return [];
  return (await answer(asked)).filter(({ partition }) => is_answerable(partition));
}

function refuse(node: Answerable, partitions: readonly number[], role: Role): void {
  for (const partition of partitions) {
    const refusal = node.refusal(partition, role);
    if (refusal !== null) throw new NotOwner(refusal);
  }
}
