// What is mended in kafkajs, on its parts alone; test/kafka/ has the same on brokers.
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import "#services/kafka/kafkajs.js";

const require_part = createRequire(import.meta.url);

interface Topic {
  topicErrorCode: number;
  topic: string;
  partitionMetadata: { partitionErrorCode: number; partitionId: number; leader: number }[];
}

function topic(...partitions: [code: number, leader: number][]): Topic {
  const partitionMetadata = partitions.map(([partitionErrorCode, leader], partitionId) => ({
    ...{ partitionErrorCode, partitionId, leader },
  }));
  return { topicErrorCode: 0, topic: "events", partitionMetadata };
}

describe("metadata with a leaderless partition", () => {
  test.each([0, 1, 2, 3, 4, 5, 6])("of version %i is kept, the partition with leader -1", async (version) => {
    const { parse } = require_part(`kafkajs/src/protocol/requests/metadata/v${version}/response`);
    const { topicMetadata } = await parse({ topicMetadata: [topic([0, 1], [5, -1], [72, 2])] });
    expect(topicMetadata).toEqual([topic([0, 1], [0, -1], [0, -1])]);
  });

  test("another error of a partition, or of a topic, still is one", async () => {
    const { parse } = require_part("kafkajs/src/protocol/requests/metadata/v6/response");
    await expect(parse({ topicMetadata: [topic([3, 1])] })).rejects.toThrow(/does not host/);
    const unknown = { ...topic([0, 1]), topicErrorCode: 3 };
    await expect(parse({ topicMetadata: [unknown] })).rejects.toThrow(/does not host/);
  });

  test("offsets are asked for where there is a leader, and every topic is in the answer", async () => {
    const { prototype } = require_part("kafkajs/src/cluster");
    const metadata: Record<string, Topic> = { some: topic([0, 1], [0, -1]), none: topic([0, -1]) };
    const asked: unknown[] = [];
    const cluster = Object.assign(Object.create(prototype), {
      findTopicPartitionMetadata: (name: string) => metadata[name]!.partitionMetadata,
      defaultOffset: () => -1,
      async findBroker({ nodeId }: { nodeId: string }) {
        return {
          async listOffsets({
            topics,
          }: {
            topics: { topic: string; partitions: { partition: number }[] }[];
          }) {
            asked.push(nodeId);
            const answered = topics.map(({ topic, partitions }) => ({
              topic,
              partitions: partitions.map(({ partition }) => ({ partition, offset: "7" })),
            }));
            return { responses: answered };
          },
        };
      },
    });
    const offsets = await cluster.fetchTopicsOffset([
      { topic: "some", partitions: [{ partition: 0 }, { partition: 1 }], fromBeginning: false },
      { topic: "none", partitions: [{ partition: 0 }], fromBeginning: false },
    ]);
    expect(asked).toEqual(["1"]);
    expect(offsets).toEqual([
      { topic: "some", partitions: [{ partition: 0, offset: "7" }] },
      { topic: "none", partitions: [] },
    ]);
  });
});

describe("the timer of a connection's requests", () => {
  const RequestQueue = require_part("kafkajs/src/network/requestQueue");

  function queue_with(pending: unknown[], throttled_until = -1) {
    return Object.assign(Object.create(RequestQueue.prototype), {
      pending,
      inflight: new Map(),
      throttledUntil: throttled_until,
      throttleCheckTimeoutId: null,
      maxInFlightRequests: null,
    });
  }

  test("is not set while no request waits, so no process is woken, and Node has nothing to warn of", () => {
    const queue = queue_with([]);
    queue.scheduleCheckPendingRequests();
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });

  test("is set once while requests wait, for the end of the throttling", async () => {
    const queue = queue_with(["a request"], Date.now() + 20);
    await new Promise<void>((resolve) => {
      queue.checkPendingRequests = resolve;
      queue.scheduleCheckPendingRequests();
      const timer = queue.throttleCheckTimeoutId;
      expect(timer).not.toBeNull();
      queue.scheduleCheckPendingRequests();
      expect(queue.throttleCheckTimeoutId).toBe(timer);
    });
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });
});
