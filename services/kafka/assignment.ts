/**
 * Who owns which partition and who stands by for it: a pure function of who is there and what each of them has. An owner
 * stays one. Where the numbers are uneven, a partition moves only to a standby that has caught up; until then it is
 * marked as one that is to move, and its target stands by for it.
 */

export interface Member {
  /** The group's name for it. */
  member_id: string;
  node: NodeFacts;
  /** Partitions that it owned in the generation before. */
  owns: readonly number[];
  /** That it stands by for, with all that the topic has. */
  caught_up: readonly number[];
  /** That it has the bytes of, more or less. */
  keeps: readonly number[];
  /** That it owned, and whose topic is another one now: they stay its own, without a standby. */
  broken?: readonly number[];
}

export interface NodeFacts {
  node_id: string;
  /** Where other nodes ask it. */
  url: string;
  fold_version: number;
}

export interface Seat {
  owner: string;
  /** Null: there is no other member. */
  standby: string | null;
  /** The standby is to become the owner when it has caught up. */
  moves: boolean;
}

/** By partition. `members` is not empty. */
export function assign(partition_count: number, members: readonly Member[]): Seat[] {
  // By a name that outlives a start, so that the same nodes get the same partitions.
  const nodes = members
    .toSorted((a, b) => order(a.node.node_id, b.node.node_id) || order(a.member_id, b.member_id))
    .map((member) => new Candidate(member));
  const owners: Candidate[] = [];
  for (let partition = 0; partition < partition_count; partition++) {
    owners.push(first_owner(nodes, partition));
  }
  const targets = level(nodes, owners);
  return owners.map((owner, partition) => {
    const target = targets.get(partition);
    const standby = owner.broken.has(partition) ? null : (target ?? standby_of(nodes, owner, partition));
    if (standby !== null) standby.stands_by_for += 1;
    return {
      owner: owner.member.member_id,
      standby: standby?.member.member_id ?? null,
      moves: target !== undefined,
    };
  });
}

class Candidate {
  readonly owns: ReadonlySet<number>;
  readonly caught_up: ReadonlySet<number>;
  readonly keeps: ReadonlySet<number>;
  readonly broken: ReadonlySet<number>;
  /** Partitions, with those that are to move to it. */
  load = 0;
  stands_by_for = 0;

  constructor(readonly member: Member) {
    this.owns = new Set(member.owns);
    this.caught_up = new Set(member.caught_up);
    this.keeps = new Set(member.keeps);
    this.broken = new Set(member.broken);
  }

  /** How much of the partition it has: the less, the more. */
  rank(partition: number): number {
    if (this.owns.has(partition) || this.broken.has(partition)) return 0;
    if (this.caught_up.has(partition)) return 1;
    return this.keeps.has(partition) ? 2 : 3;
  }
}

function first_owner(nodes: readonly Candidate[], partition: number): Candidate {
  const owner = best(nodes, (node) => [node.rank(partition), node.load])!;
  owner.load += 1;
  return owner;
}

/** Evens the loads out: at once where the target has caught up; the others are returned with their targets. */
function level(nodes: readonly Candidate[], owners: Candidate[]): Map<number, Candidate> {
  const targets = new Map<number, Candidate>();
  for (let step = 0; step < owners.length; step++) {
    const target = best(nodes, (node) => [node.load])!;
    const source = best(nodes, (node) => [-node.load])!;
    if (source.load - target.load < 2) break;
    const movable = owners
      .map((owner, partition) => ({ owner, partition }))
      .filter(
        ({ owner, partition }) => owner === source && !targets.has(partition) && !owner.broken.has(partition),
      );
    const moved = best(movable, ({ partition }) => [target.rank(partition)]);
    if (moved === null) break;
    source.load -= 1;
    target.load += 1;
    if (target.rank(moved.partition) <= 1) owners[moved.partition] = target;
    else targets.set(moved.partition, target);
  }
  return targets;
}

function standby_of(nodes: readonly Candidate[], owner: Candidate, partition: number): Candidate | null {
  const others = nodes.filter((node) => node !== owner);
  // The one that owned it until now has all of it.
  return best(others, (node) => [Math.max(1, node.rank(partition)), node.stands_by_for]);
}

/** The first with the lowest numbers; null: there is none. */
function best<Item>(items: readonly Item[], by: (item: Item) => readonly number[]): Item | null {
  let found: { item: Item; key: readonly number[] } | null = null;
  for (const item of items) {
    const key = by(item);
    if (found === null || is_lower(key, found.key)) found = { item, key };
  }
  return found?.item ?? null;
}

function is_lower(a: readonly number[], b: readonly number[]): boolean {
  for (const [i, value] of a.entries()) {
    if (value !== b[i]) return value < b[i]!;
  }
  return false;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
