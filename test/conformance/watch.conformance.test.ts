/** Recordings of real kernels as files, read by an agent: what it tells adds up to what the kernel showed. */
import { expect, test } from "vitest";
import type { Change } from "#services/agent/derive.js";
import { decode_event } from "#services/events/codec.js";
import { CHANGES } from "#services/events/schema.js";
import { PlainFold } from "../unit/agent/plain_fold.js";
import { WatchedHost } from "../unit/agent/watch_fixtures.js";
import { EMPTY, expected, of_step, POLICY, SCENARIOS, type Scenario } from "./recordings.js";

/** All would be seven thousand trees of files; derive.conformance.test.ts has all, without files. */
const EVERY = 20;

function change_of(bytes: Uint8Array): Change {
  const event = decode_event(bytes);
  const name = CHANGES.find((name) => event[name])!;
  return { [name]: event[name] } as unknown as Change;
}

function differences({ name, kernel, steps }: Scenario): string[] {
  const watched = new WatchedHost(EMPTY);
  const fold = new PlainFold();
  const was_enabled = new Set<string>();
  watched.look();
  watched.acknowledge();
  return steps.flatMap((step) => {
    watched.tree.print(...step.dmesg);
    watched.tree.show(of_step(step));
    for (const line of step.dmesg) {
      const started = /'(.+)': starting /.exec(line);
      if (started) was_enabled.add(started[1]!);
    }
    watched.look();
    for (const { bytes } of watched.spool.unsent) fold.apply(change_of(bytes));
    watched.acknowledge();
    const shows = JSON.stringify(fold.shows());
    const truth = JSON.stringify(expected(step, was_enabled));
    return shows === truth ? [] : [`${kernel} ${name} ${step.i}: ${shows} is ${truth}`];
  });
}

test("a sample of the scenarios, and all of the policies", () => {
  const sample = [...SCENARIOS.filter((_, index) => index % EVERY === 0), ...POLICY];
  expect(sample.length).toBeGreaterThan(60);
  expect(sample.flatMap(differences)).toEqual([]);
});
