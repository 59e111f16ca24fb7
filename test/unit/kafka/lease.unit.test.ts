// When a node may take itself for an owner, by clocks that stand, run and are set.
import { expect, test } from "vitest";
import { type Clocks, Lease, LeaseView } from "#services/kafka/lease.js";

const SESSION_MS = 10_000;

function leased(): { lease: Lease; clock: { monotonic: number; wall: number }; pass(ms: number): void } {
  const clock = { monotonic: 1_000, wall: 1_700_000_000_000 };
  const clocks: Clocks = { monotonic: () => clock.monotonic, wall: () => clock.wall };
  function pass(ms: number): void {
    clock.monotonic += ms;
    clock.wall += ms;
  }
  return { lease: new Lease(SESSION_MS, clocks), clock, pass };
}

test("it holds for half of the session from when the heartbeat was sent, not from when it was answered", () => {
  const { lease, pass } = leased();
  expect(lease.holds).toBe(false);
  lease.asking();
  pass(3_000);
  expect(lease.confirmed()).toBe(false);
  expect(lease.holds).toBe(true);
  pass(1_999);
  expect(lease.holds).toBe(true);
  pass(1);
  expect(lease.holds).toBe(false);
});

test("one heartbeat after the other keeps it, and whoever asks hears that there was no gap", () => {
  const { lease, pass } = leased();
  lease.asking();
  lease.confirmed();
  for (let beat = 0; beat < 20; beat++) {
    pass(800);
    lease.asking();
    pass(100);
    // Another fetch, while the heartbeat is under way.
    lease.asking();
    pass(100);
    expect(lease.confirmed()).toBe(true);
    expect(lease.holds).toBe(true);
  }
});

test("an answer that comes after it ended does not undo the gap", () => {
  const { lease, pass } = leased();
  lease.asking();
  lease.confirmed();
  lease.asking();
  pass(20_000);
  // Sent long ago, by a process that was stopped meanwhile.
  expect(lease.confirmed()).toBe(false);
  expect(lease.holds).toBe(false);
  lease.asking();
  expect(lease.confirmed()).toBe(false);
  expect(lease.holds).toBe(true);
});

test("an answer that nobody asked for extends nothing", () => {
  const { lease, pass } = leased();
  lease.asking();
  lease.confirmed();
  pass(4_000);
  expect(lease.confirmed()).toBe(true);
  pass(1_000);
  expect(lease.holds).toBe(false);
});

test("a machine that slept has lost it, though its monotonic clock stood", () => {
  const { lease, clock } = leased();
  lease.asking();
  lease.confirmed();
  clock.wall += 60_000;
  expect(lease.holds).toBe(false);
});

test("a wall clock that is set back does not lengthen it", () => {
  const { lease, clock, pass } = leased();
  lease.asking();
  lease.confirmed();
  clock.wall -= 3_600_000;
  expect(lease.holds).toBe(true);
  pass(5_000);
  expect(lease.holds).toBe(false);
});

test("what the group took away is gone at once, and the heartbeat that was under way does not bring it back", () => {
  const { lease } = leased();
  lease.asking();
  lease.confirmed();
  lease.publishing = true;
  expect(lease.may_publish).toBe(true);
  lease.asking();
  lease.lost();
  expect([lease.holds, lease.may_publish]).toEqual([false, false]);
  lease.confirmed();
  expect(lease.holds).toBe(false);
});

test("another thread sees the same, and publishes only while the group stands and the lease holds", () => {
  const { lease, clock, pass } = leased();
  const view = new LeaseView(lease.memory, { monotonic: () => clock.monotonic, wall: () => clock.wall });
  lease.asking();
  lease.confirmed();
  expect([view.holds, view.may_publish]).toEqual([true, false]);
  lease.publishing = true;
  expect(view.may_publish).toBe(true);
  lease.publishing = false;
  expect([view.holds, view.may_publish]).toEqual([true, false]);
  lease.publishing = true;
  pass(5_000);
  expect([view.holds, view.may_publish]).toEqual([false, false]);
});
