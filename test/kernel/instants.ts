/** What the registry says of instants of which it is known what the kernel had. */
import type { Trial } from "./trial.js";

/**
 * Each instant since the last call is asked for with what is known now. The answer is right, or marked as uncertain;
 * `must_be_certain`: the latter not where nothing had happened for a while.
 */
export async function compare_instants(trial: Trial, { must_be_certain = false } = {}): Promise<void> {
  const marks = trial.marks.splice(0);
  let uncertain = 0;
  for (const { time, after, stack, is_quiet } of marks) {
    const host = (await trial.witness.host(time))!;
    const answered = host.stack.map(({ name, phase }) => `${name} ${phase}`).join(", ") || "nothing";
    const what = `at ${time}, after ${after}, the kernel had ${stack}; the registry`;
    if (!host.uncertain && host.knowledge === "complete")
      trial.check(answered === stack, `${what} is certain of ${answered}`);
    else {
      uncertain += 1;
      // Who is never certain is never wrong.
      if (is_quiet && must_be_certain) trial.check(false, `${what} is not certain`);
    }
  }
  trial.say(`${marks.length} instants asked for, ${uncertain} answered as uncertain`);
}
