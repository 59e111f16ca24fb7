/** Events for a publisher, cut as the door cuts them. */
import { load_core_module } from "#services/core/module.js";
import { type BatchPart, WayIn } from "#services/core/way_in.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { Publisher, type PublisherParts } from "#services/kafka/publisher.js";
import type { KafkaSettings } from "#services/kafka/settings.js";

const way_in = new WayIn(load_core_module(), 7n);

export function event(host_id: string, sequence: number, line_bytes = 0): Uint8Array {
  const refused = { patch: { name: "kp_1" }, line: "x".repeat(line_bytes) };
  return encode_event({ host_id, stream: 7, sequence, time_unix_ms: 1_790_000_000_000, refused });
}

export function parts_of(events: readonly Uint8Array[], partitions: number): BatchPart[] {
  const cut = way_in.cut(encode_batch(events), partitions);
  if ("error" in cut) throw new Error(`refused: ${cut.error}`);
  return cut.parts;
}

export interface TestPublisher extends Partial<PublisherParts> {
  topic: string;
  partitions: number;
  request_timeout_ms?: number;
}

/** For the time of `use`. */
export async function with_publisher<Result>(
  settings: KafkaSettings,
  { request_timeout_ms = 30_000, ...parts }: TestPublisher,
  use: (publisher: Publisher) => Promise<Result>,
): Promise<Result> {
  const kafka = kafka_of(settings, "publisher", undefined, request_timeout_ms);
  const publisher = new Publisher({ kafka, ...parts });
  await publisher.connect();
  try {
    return await use(publisher);
  } finally {
    await publisher.close();
  }
}
