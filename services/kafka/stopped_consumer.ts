/**
 * A consumer that is stopped fetches no more. kafkajs begins its fetches anew where the brokers have changed; where it is
 * stopped in that moment, the new ones are told by nobody, and ask for batches for ever: each time they are told at once
 * that the consumer does not run, and there are none. That is a loop without an end in which nothing else of the thread
 * has a turn, no timer, no socket and no signal's handler. Here it ends them.
 */
interface Runner {
  running: boolean;
  fetch(node_id: string): Promise<unknown[]>;
}

/** `runner`: its prototype. */
export function end_fetches_when_stopped(runner: Runner): void {
  const { fetch } = runner;
  runner.fetch = async function (node_id) {
    // Whoever catches it looks whether the consumer runs before the next try.
    if (!this.running) throw new Error("the consumer was stopped");
    return fetch.call(this, node_id);
  };
}
