// A consumer of kafkajs that stops and starts by itself, and brokers that do not answer: nothing of it ends the thread.
import type { Kafka } from "kafkajs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Broken, Replica } from "#services/kafka/replica.js";
import { Replicator } from "#services/kafka/replicator.js";

const TOPIC = "host-events";
const MINUTE_MS = 60_000;

type Offsets = { partition: number; low: string; high: string; offset: string }[];

/** What kafkajs's consumer does as far as it is asked here: between a crash and its restart it throws. */
class FakeKafka {
  readonly events = {
    GROUP_JOIN: "consumer.group_join",
    END_BATCH_PROCESS: "consumer.end_batch_process",
    CRASH: "consumer.crash",
  };
  offsets: () => Promise<Offsets> = async () => [{ partition: 0, low: "0", high: "5", offset: "5" }];
  connect: () => Promise<void> = async () => {};
  runs = false;
  /** Of the topic. */
  partitions = 1;
  sought: string[] = [];
  #heard = new Map<string, (event: unknown) => void>();

  admin() {
    return {
      connect: () => this.connect(),
      disconnect: async () => {},
      fetchTopicOffsets: () => this.offsets(),
      fetchTopicMetadata: async () => ({ topics: [{ partitions: Array(this.partitions).fill({}) }] }),
    };
  }

  consumer() {
    const while_it_runs = () => {
      if (!this.runs)
        throw new Error("Consumer group was not initialized, consumer#run must be called first");
    };
    return {
      events: this.events,
      on: (event: string, heard: (event: unknown) => void) => void this.#heard.set(event, heard),
      connect: async () => {},
      disconnect: async () => {},
      subscribe: async () => {},
      run: async () => this.join(),
      pause: while_it_runs,
      resume: while_it_runs,
      seek: ({ offset }: { offset: string }) => {
        while_it_runs();
        this.sought.push(offset);
      },
    };
  }

  join(): void {
    this.runs = true;
    this.#heard.get(this.events.GROUP_JOIN)!({ payload: {} });
  }

  tell_crash(): void {
    this.#heard.get(this.events.CRASH)!({ payload: { error: new Error("gone"), restart: true } });
  }
}

function replica(partition: number, expected: bigint): Replica {
  return {
    partition,
    fetch_offset: expected - 1n,
    expected_offset: expected,
    reached: expected,
    hole: () => null,
    begin_again: async () => {},
  } as unknown as Replica;
}

let kafka: FakeKafka;
let broken: Broken[];
let replicator: Replicator;
const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);

beforeEach(() => {
  vi.useFakeTimers();
  process.on("unhandledRejection", note);
  kafka = new FakeKafka();
  broken = [];
  replicator = new Replicator({
    kafka: kafka as unknown as Kafka,
    topic: TOPIC,
    group: "g",
    report() {},
    broken: (_partition, why) => void broken.push(why),
    now: () => performance.now(),
  });
});
afterEach(async () => {
  await replicator.close();
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(unhandled.splice(0)).toEqual([]);
});

test("what is held, let go or fails while the consumer is stopped is no error, and is sought when it has joined", async () => {
  await replicator.start(1);
  replicator.hold(replica(0, 5n));
  expect(kafka.sought).toEqual(["4"]);
  // kafkajs stops it first, and says so later.
  kafka.runs = false;
  replicator.release(0);
  replicator.hold(replica(0, 7n));
  replicator.append_failed(0);
  kafka.tell_crash();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(kafka.sought).toEqual(["4"]);
  kafka.join();
  expect(kafka.sought).toEqual(["4", "6"]);
});

test("a topic that seems shorter while its brokers answer nothing is not judged, and then as it is", async () => {
  await replicator.start(1);
  kafka.offsets = async () => [{ partition: 0, low: "0", high: "3", offset: "3" }];
  replicator.hold(replica(0, 5n));
  await vi.advanceTimersByTimeAsync(5_000);
  kafka.offsets = () => Promise.reject(new Error("not the leader"));
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(broken).toEqual([]);
  kafka.offsets = async () => [{ partition: 0, low: "0", high: "5", offset: "5" }];
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(broken).toEqual([]);
  kafka.offsets = async () => [{ partition: 0, low: "0", high: "3", offset: "3" }];
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(broken).toMatchObject([{ reason: "log_diverged" }]);
});

test("a topic that is away, between its end and its making anew, is not one with other partitions", async () => {
  await replicator.start(1);
  replicator.hold(replica(0, 5n));
  kafka.partitions = 0;
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(broken).toEqual([]);
  kafka.partitions = 2;
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(broken).toMatchObject([{ reason: "partition_count_changed" }]);
});

test("brokers that do not answer when it starts are waited for", async () => {
  let refused = 0;
  kafka.connect = async () => {
    if (refused < 3) {
      refused += 1;
      throw new Error("connect ECONNREFUSED");
    }
  };
  const started = replicator.start(1);
  await vi.advanceTimersByTimeAsync(10_000);
  await started;
  expect([refused, kafka.runs]).toEqual([3, true]);
});
