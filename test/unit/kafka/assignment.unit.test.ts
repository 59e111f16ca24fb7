// Who owns what: whatever the members say that they have.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assign, type Member, type Seat } from "#services/kafka/assignment.js";

type Has = "nothing" | "keeps" | "caught_up" | "owns";

function member(name: string, has: readonly Has[]): Member {
  const of = (what: Has) => has.flatMap((it, partition) => (it === what ? [partition] : []));
  return {
    member_id: `${name}-1234`,
    node: { node_id: name, url: `http://${name}`, fold_version: 1 },
    owns: of("owns"),
    caught_up: of("caught_up"),
    keeps: of("keeps"),
  };
}

const has = fc.constantFrom<Has>("nothing", "nothing", "keeps", "caught_up", "owns");

const groups = fc
  .record({ partitions: fc.integer({ min: 1, max: 20 }), nodes: fc.integer({ min: 1, max: 6 }) })
  .chain(({ partitions, nodes }) =>
    fc.record({
      partitions: fc.constant(partitions),
      members: fc
        .array(fc.array(has, { minLength: partitions, maxLength: partitions }), {
          minLength: nodes,
          maxLength: nodes,
        })
        .map((all) => all.map((each, i) => member(`node-${i}`, each))),
    }),
  );

function for_groups(property: (seats: Seat[], members: Member[], partitions: number) => void): void {
  fc.assert(
    fc.property(groups, ({ partitions, members }) =>
      property(assign(partitions, members), members, partitions),
    ),
    { numRuns: 2_000 },
  );
}

const by_id = (members: readonly Member[], id: string | null) =>
  members.find(({ member_id }) => member_id === id)!;

/** The least and the most partitions of a member. */
function spread(members: readonly Member[], owners: readonly string[]): number {
  const loads = members.map(({ member_id }) => owners.filter((owner) => owner === member_id).length);
  return Math.max(...loads) - Math.min(...loads);
}

/** What the members say when they have what they were given, and standbys have caught up. */
function settled(members: readonly Member[], seats: readonly Seat[]): Member[] {
  return members.map(({ member_id, node }) => {
    const of = (is_so: (seat: Seat) => boolean) => seats.flatMap((seat, i) => (is_so(seat) ? [i] : []));
    return {
      member_id,
      node,
      owns: of(({ owner }) => owner === member_id),
      caught_up: of(({ standby }) => standby === member_id),
      keeps: [],
    };
  });
}

describe("whatever members say that they have", () => {
  test("every partition has one owner, and a standby elsewhere where there is another node", () => {
    for_groups((seats, members, partitions) => {
      expect(seats).toHaveLength(partitions);
      for (const { owner, standby } of seats) {
        expect(by_id(members, owner)).toBeDefined();
        if (members.length === 1) expect(standby).toBeNull();
        else expect([standby !== owner, by_id(members, standby) !== undefined]).toEqual([true, true]);
      }
    });
  });

  test("it goes to one that owned it or has caught up, before one that lacks records, before one that has none", () => {
    for_groups((seats, members) => {
      for (const [partition, { owner }] of seats.entries()) {
        const of = (...what: ("owns" | "caught_up" | "keeps")[]) =>
          members.filter((one) => what.some((it) => one[it].includes(partition)));
        const whole = of("owns", "caught_up");
        const some = whole.length > 0 ? whole : of("keeps");
        if (some.length > 0) expect(some.map(({ member_id }) => member_id)).toContain(owner);
      }
    });
  });

  test("an owner stays one, unless it moves to a standby that has all", () => {
    for_groups((seats, members) => {
      for (const [partition, { owner }] of seats.entries()) {
        const before = members.filter(({ owns }) => owns.includes(partition));
        if (before.length !== 1 || before[0]!.member_id === owner) continue;
        expect(by_id(members, owner).caught_up).toContain(partition);
      }
    });
  });

  test("loads are even within one, when what is marked has moved", () => {
    for_groups((seats, members) => {
      const owners = seats.map(({ owner, standby, moves }) => (moves ? standby! : owner));
      expect(spread(members, owners)).toBeLessThanOrEqual(1);
    });
  });

  test("what waits to move waits for a standby that lacks something", () => {
    for_groups((seats, members) => {
      for (const [partition, { standby, moves }] of seats.entries()) {
        if (!moves) continue;
        const { owns, caught_up } = by_id(members, standby);
        expect([...owns, ...caught_up]).not.toContain(partition);
      }
    });
  });

  test("the order in which members are told of does not matter", () => {
    for_groups((seats, members, partitions) => {
      expect(assign(partitions, members.toReversed())).toEqual(seats);
    });
  });

  test("two generations later nothing moves any more", () => {
    for_groups((seats, members, partitions) => {
      const second = settled(members, seats);
      const third = settled(second, assign(partitions, second));
      const end = assign(partitions, third);
      expect(end.some(({ moves }) => moves)).toBe(false);
      expect(
        spread(
          members,
          end.map(({ owner }) => owner),
        ),
      ).toBeLessThanOrEqual(1);
      expect(assign(partitions, settled(third, end)).map(({ owner }) => owner)).toEqual(
        end.map(({ owner }) => owner),
      );
    });
  });
});

test("one more node gets its share only; nobody else's partitions change hands", () => {
  const two = settled([member("a", []), member("b", [])], assign(12, [member("a", []), member("b", [])]));
  const joined = assign(12, [...two, member("c", [])]);
  expect(joined.filter(({ moves }) => moves)).toHaveLength(4);
  const three = settled([...two, member("c", [])], joined);
  const end = assign(12, three);
  const moved = end.filter(({ owner }, partition) => !by_id(two, owner)?.owns.includes(partition));
  expect(moved.map(({ owner }) => owner)).toEqual(Array(4).fill("c-1234"));
});

test("a node that is gone leaves its partitions to their standbys", () => {
  const names = ["a", "b", "c"].map((name) => member(name, []));
  const whole = settled(names, assign(9, names));
  const settled_whole = settled(whole, assign(9, whole));
  const standbys = assign(9, settled_whole);
  const left = settled_whole.filter(({ node }) => node.node_id !== "b");
  for (const [partition, { owner, standby }] of assign(9, left).entries()) {
    const before = standbys[partition]!;
    if (before.owner !== "b-1234") expect(owner).toBe(before.owner);
    else expect([before.standby, standby].includes(owner)).toBe(true);
  }
});

test("a partition whose topic is another one stays where that was seen, and nobody stands by for it", () => {
  const two = settled([member("a", []), member("b", [])], assign(4, [member("a", []), member("b", [])]));
  const [first, second] = two as [Member, Member];
  const lost = first.owns[0]!;
  const saw_it = { ...first, owns: first.owns.filter((partition) => partition !== lost), broken: [lost] };
  const seat = assign(4, [saw_it, second, member("c", []), member("d", [])])[lost];
  expect(seat).toEqual({ owner: first.member_id, standby: null, moves: false });
});
