/** Deletes a topic and makes it anew, with records of its own, as somebody does who restores it from elsewhere. */
import { setTimeout as sleep } from "node:timers/promises";
import kafkajs from "kafkajs";
import { encode_batch } from "#services/events/codec.js";
import type { SentEvent } from "./operations.js";

const MESSAGES_OF_SEND = 500;
const POLL_MS = 100;

/** `create` makes what is missing; `events`: of each partition, one a record. */
export async function remake_topic(
  brokers: string[],
  topic: string,
  create: () => Promise<unknown>,
  events: readonly (readonly SentEvent[])[],
): Promise<void> {
  const kafka = new kafkajs.Kafka({ clientId: "maker", brokers, logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  await admin.deleteTopics({ topics: [topic] });
  while ((await admin.listTopics()).includes(topic)) await sleep(POLL_MS);
  await admin.disconnect();
  await create();
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner:
      () =>
      ({ message }) =>
        message.partition!,
  });
  await producer.connect();
  for (const [partition, own] of events.entries()) {
    for (let at = 0; at < own.length; at += MESSAGES_OF_SEND) {
      const messages = own.slice(at, at + MESSAGES_OF_SEND).map(({ host_id, bytes }) => ({
        partition,
        key: host_id,
        value: Buffer.from(encode_batch([bytes])),
      }));
      await producer.send({ topic, messages, acks: -1 });
    }
  }
  await producer.disconnect();
}
