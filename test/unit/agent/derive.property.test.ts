/** Whatever a host does between two looks: what the agent tells is what happened, or an Observed. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Change, derive, type Known } from "#services/agent/derive.js";
import { PlainFold } from "./plain_fold.js";
import { type Operation, SmallKernel } from "./small_kernel.js";

const name = fc.constantFrom("a", "b", "c", "d", "klp_dash");
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("load" as const),
      name,
      replace: fc.boolean(),
      fate: fc.constantFrom("ok", "ok", "ok", "stuck", "incompatible", "pre_patch", "busy"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom("disable", "enable"), name, stuck: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("settle", "force") }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("rmmod" as const), name }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("noise" as const) }) },
);
const intervals = (operations_max: number) =>
  fc.array(fc.array(operation, { maxLength: operations_max }), { minLength: 1, maxLength: 25 });

const RUNS = { numRuns: 1000 };

/** As SmallKernel writes down what happened. */
function short(change: Change): string {
  if ("replaced" in change) {
    const { patch, left } = change.replaced;
    return `replaced ${patch!.name} left ${left!.map(({ name }) => name)}`;
  }
  const [what, of] = Object.entries(change)[0]!;
  return `${what} ${of.patch?.name}`;
}

/** That a forcing is told when its patch is not there any more, or not in that phase, is all that may be odd. */
const is_serious = (anomaly: string) => anomaly !== "forced_elsewhere";

class Agent {
  readonly fold = new PlainFold();
  known: Known;
  observed = 0;
  private record = 1;

  constructor(readonly kernel: SmallKernel) {
    this.known = derive(null, kernel.look(), []).next;
  }

  look(lines: string[]): string[] {
    const records = lines.map((text) => ({ record: this.record++, text }));
    const { changes, next } = derive(this.known, this.kernel.look(), records);
    this.known = JSON.parse(JSON.stringify(next));
    for (const change of changes) this.fold.apply(change);
    if (changes.some((change) => "observed" in change)) this.observed++;
    return changes.map(short);
  }
}

test("a look after every operation needs no Observed, and tells each thing that happened in its order", () => {
  fc.assert(
    fc.property(intervals(1), fc.boolean(), fc.boolean(), (steps, shows_replace, shows_order) => {
      const kernel = new SmallKernel(shows_replace, shows_order);
      const agent = new Agent(kernel);
      for (const step of steps) {
        for (const operation of step) kernel.run(operation);
        const { lines, happened, removed } = kernel.take();
        expect(agent.look(lines)).toEqual([...happened, ...removed.map((name) => `removed ${name}`)]);
        expect(agent.fold.shows()).toEqual(kernel.shows());
      }
      expect(agent.fold.anomalies).toEqual([]);
    }),
    RUNS,
  );
});

test("a look after several operations tells what happened, or observes; never another story", () => {
  let looks = 0;
  let observed = 0;
  fc.assert(
    fc.property(intervals(6), fc.boolean(), fc.boolean(), (steps, shows_replace, shows_order) => {
      const kernel = new SmallKernel(shows_replace, shows_order);
      const agent = new Agent(kernel);
      for (const step of steps) {
        for (const operation of step) kernel.run(operation);
        const { lines, happened, removed } = kernel.take();
        const told = agent.look(lines);
        looks++;
        expect(agent.fold.shows()).toEqual(kernel.shows());
        if (told.some((text) => text.startsWith("observed"))) {
          observed++;
          continue;
        }
        expect(told.filter((text) => !text.startsWith("removed"))).toEqual(happened);
        const told_removed = told.filter((text) => text.startsWith("removed")).sort();
        expect(told_removed).toEqual(removed.map((name) => `removed ${name}`));
      }
      expect(agent.fold.anomalies.filter(is_serious)).toEqual([]);
    }),
    RUNS,
  );
  expect(observed).toBeGreaterThan(0);
  expect(observed / looks).toBeLessThan(0.05);
});

test("a log that is read before the snapshot, and ends some lines early, leads to the right stack all the same", () => {
  fc.assert(
    fc.property(intervals(3), fc.array(fc.nat(4)), fc.boolean(), (steps, lags, modern) => {
      const kernel = new SmallKernel(modern, modern);
      const agent = new Agent(kernel);
      let late: string[] = [];
      steps.forEach((step, at) => {
        for (const operation of step) kernel.run(operation);
        const printed = [...late, ...kernel.take().lines];
        const read = printed.length - Math.min(printed.length, lags[at] ?? 0);
        late = printed.slice(read);
        agent.look(printed.slice(0, read));
        // Which way a transition goes only lines tell.
        const is_open = kernel.shows().stack.some((text) => /(en|dis)abling$/.test(text));
        if (!is_open) expect(agent.fold.shows()).toEqual(kernel.shows());
      });
      agent.look(late);
      expect(agent.fold.shows()).toEqual(kernel.shows());
      expect(agent.fold.anomalies.filter(is_serious)).toEqual([]);
    }),
    RUNS,
  );
});
