/**
 * A process that reads a topic to where it ends at the start, counts messages and does nothing else: what kafkajs costs
 * whoever uses it. BROKER TOPIC RECORDS. Prints JSON; its time begins with the first batch.
 */
import { Kafka, logLevel } from "kafkajs";
import { start_run } from "../measure.js";

const [broker, topic, records] = process.argv.slice(2) as [string, string, string];
const consumer = new Kafka({ clientId: "count", brokers: [broker], logLevel: logLevel.NOTHING }).consumer({
  groupId: `count.${process.pid}`,
  maxBytesPerPartition: 1024 * 1024,
});
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
let counted = 0;
let end: ReturnType<typeof start_run> | null = null;
await new Promise<void>((resolve) => {
  consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: 1,
    async eachBatch({ batch }) {
      end ??= start_run();
      counted += batch.messages.length;
      if (counted >= Number(records)) resolve();
    },
  });
});
const run = end!();
await consumer.disconnect();
console.log(JSON.stringify({ ...run, records: counted }));
