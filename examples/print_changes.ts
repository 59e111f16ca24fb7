/**
 * Prints what changes in a fleet, a line for each change: who, what, and what became of system states.
 *
 *     npm run build
 *     node dist/examples/print_changes.js broker-1:9092,broker-2:9092 [GROUP]
 *
 * Stopped and started again with the same group, it goes on behind the last change that it printed.
 */
import { type StateChange, SubscriptionError, subscribe } from "klpstate/client";

const [brokers, group_id = "print-changes"] = process.argv.slice(2);
if (brokers === undefined) {
  console.error("usage: node dist/examples/print_changes.js HOST:PORT[,HOST:PORT…] [GROUP]");
  process.exit(2);
}

function line(change: StateChange): string {
  const { effective_time_ms, host_id, before, after, states, anomalies } = change;
  const was = before?.stack.map(({ name }) => name).join(" ") ?? "?";
  const is = after.stack
    .map(({ name, phase }) => (phase === "enabled" ? name : `${name}(${phase})`))
    .join(" ");
  const lives = states.map(({ id, change, from, to }) => `state ${id} ${change} ${from ?? "-"}>${to ?? "-"}`);
  const rest = [...lives, ...anomalies].map((text) => `  ${text}`).join("");
  const time = new Date(effective_time_ms).toISOString();
  return `${time}  ${host_id}  ${change.change ?? "unknown"}  [${was}] > [${is}]  ${after.knowledge}${rest}`;
}

const topic_prefix = process.env.KLPSTATE_KAFKA_TOPIC_PREFIX ?? "klpstate.";
const changes = subscribe({ brokers: brokers.split(","), group_id, topic_prefix });
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void changes.close());
try {
  for await (const change of changes) console.log(line(change));
} catch (error) {
  if (!(error instanceof SubscriptionError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
