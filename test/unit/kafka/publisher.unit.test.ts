/** What a publisher makes of Kafka's answers, and of none. */
import type { Kafka, Message, ProducerRecord } from "kafkajs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { load_core_module } from "#services/core/module.js";
import { type BatchPart, WayIn } from "#services/core/way_in.js";
import { decode_batch, encode_batch, encode_event } from "#services/events/codec.js";
import { RECORD_BYTES_MAX, RECORD_CUT_BYTES } from "#services/events/limits.js";
import { all_stored } from "#services/kafka/publish_problem.js";
import { Publisher, type PublisherParts } from "#services/kafka/publisher.js";

const TOPIC = "host-events";
const way_in = new WayIn(load_core_module(), 7n);

function event(host_id: string, sequence: number, line_bytes = 0): Uint8Array {
  const refused = { patch: { name: "kp_1" }, line: "x".repeat(line_bytes) };
  return encode_event({ host_id, stream: 7, sequence, time_unix_ms: 1_790_000_000_000, refused });
}

function parts_of(events: Uint8Array[], partitions: number): BatchPart[] {
  const cut = way_in.cut(encode_batch(events), partitions);
  if ("error" in cut) throw new Error(`refused: ${cut.error}`);
  return cut.parts;
}

function told(messages: Message[]): string[] {
  return messages.flatMap(({ value }) =>
    decode_batch(value as Buffer).map(({ event }) => `${event.host_id}#${event.sequence}`),
  );
}

type Answer = (messages: Message[], partition: number) => object[] | Promise<object[]>;

/** A Kafka that stores in order, unless a test answers for it. */
class FakeKafka {
  readonly logs = new Map<number, Message[]>();
  readonly sends: { partition: number; messages: Message[] }[] = [];
  /** Of the next sends, one each. */
  answers: Answer[] = [];
  producers = 0;
  disconnects = 0;
  /** Of the next producers. */
  connect_errors: Error[] = [];

  readonly stored: Answer = (messages, partition) => {
    const log = this.logs.get(partition) ?? [];
    this.logs.set(partition, log);
    const baseOffset = String(log.length);
    log.push(...messages);
    return [{ topicName: TOPIC, partition, errorCode: 0, baseOffset }];
  };

  async send({ topic, messages, acks }: ProducerRecord): Promise<object[]> {
    expect([topic, acks]).toEqual([TOPIC, -1]);
    const partition = messages[0]!.partition!;
    expect(messages.every((message) => message.partition === partition)).toBe(true);
    this.sends.push({ partition, messages });
    return await (this.answers.shift() ?? this.stored)(messages, partition);
  }

  as_kafka(): Kafka {
    const producer = () => {
      this.producers++;
      return {
        connect: async () => {
          const error = this.connect_errors.shift();
          if (error !== undefined) throw error;
        },
        send: (record: ProducerRecord) => this.send(record),
        disconnect: async () => void this.disconnects++,
      };
    };
    return { producer } as unknown as Kafka;
  }
}

function failure(name: string, type = ""): Error {
  return Object.assign(new Error(`${name} ${type}`.trim()), { name, type });
}

let kafka: FakeKafka;

function publisher(more: Partial<PublisherParts> = {}): Publisher {
  return new Publisher({ kafka: kafka.as_kafka(), topic: TOPIC, partitions: 1, ...more });
}

beforeEach(() => {
  vi.useFakeTimers();
  kafka = new FakeKafka();
});
afterEach(() => vi.useRealTimers());

describe("what is stored", () => {
  test("is acknowledged with the offset behind each part's last message", async () => {
    const to = publisher({ partitions: 3 });
    const events = Array.from({ length: 400 }, (_, i) => event(`host-${i}`, 1, 400));
    for (let round = 1; round <= 2; round++) {
      const storing = to.store(parts_of(events, 3));
      await vi.runAllTimersAsync();
      const outcomes = await storing;
      expect(outcomes.map(({ partition }) => partition)).toEqual([0, 1, 2]);
      for (const { partition, next_offset } of all_stored(outcomes))
        expect(next_offset).toBe(BigInt(kafka.logs.get(partition)!.length));
    }
    const stored = [...kafka.logs.values()].flatMap(told);
    expect(new Set(stored).size).toBe(400);
    expect(to.held_bytes).toBe(0);
  });

  test("of requests that come together goes in one send, its small records joined, in their order", async () => {
    const to = publisher();
    const storing = Promise.all(
      Array.from({ length: 1_000 }, (_, i) => to.store(parts_of([event(`host-${i}`, 1)], 1))),
    );
    await vi.runAllTimersAsync();
    const outcomes = (await storing).flatMap(all_stored);
    expect(kafka.sends).toHaveLength(1);
    const log = kafka.logs.get(0)!;
    expect(told(log)).toEqual(Array.from({ length: 1_000 }, (_, i) => `host-${i}#1`));
    expect(Math.max(...log.map(({ value }) => value!.length))).toBeLessThanOrEqual(RECORD_CUT_BYTES);
    expect(log.length).toBeLessThan(5);
    // Each is told the offset behind the message that has its event.
    const at = log.flatMap((message, offset) => told([message]).map(() => BigInt(offset + 1)));
    expect(outcomes.map(({ next_offset }) => next_offset)).toEqual(at);
  });

  test("has its host as key where a message has one only", async () => {
    const to = publisher();
    const big = (host_id: string) => Array.from({ length: 30 }, (_, i) => event(host_id, i + 1, 500));
    const storing = Promise.all([
      to.store(parts_of(big("alone"), 1)),
      to.store(parts_of([event("alone", 31, 300)], 1)),
      to.store(parts_of([...big("one"), ...big("other")], 1)),
      to.store(parts_of(big("last"), 1)),
    ]);
    await vi.runAllTimersAsync();
    await storing;
    const keys = kafka.logs.get(0)!.map(({ key, value }) => {
      const hosts = new Set(decode_batch(value as Buffer).map(({ event }) => event.host_id));
      return { key: key === null ? null : String(key), hosts: [...hosts] };
    });
    for (const { key, hosts } of keys) if (key !== null) expect(hosts).toEqual([key]);
    expect(keys.find(({ hosts }) => hosts[0] === "alone")!.key).toBe("alone");
    expect(keys.filter(({ hosts }) => hosts.length > 1).map(({ key }) => key)).not.toContain("one");
    expect(keys.at(-1)).toEqual({ key: "last", hosts: ["last"] });
  });

  test("is sent in pieces that a broker takes, framing and keys counted", async () => {
    const to = publisher();
    const host_id = "h".repeat(255);
    const events = (from: number) => Array.from({ length: 900 }, (_, i) => event(host_id, from + i, 512));
    const storing = Promise.all([1, 901, 1_801].map((from) => to.store(parts_of(events(from), 1))));
    await vi.runAllTimersAsync();
    await storing;
    expect(kafka.sends.length).toBeGreaterThan(1);
    for (const { messages } of kafka.sends) {
      const bytes = messages.reduce(
        (sum, { key, value }) => sum + (key?.length ?? 0) + value!.length + 24,
        0,
      );
      expect(bytes).toBeLessThanOrEqual(RECORD_BYTES_MAX);
    }
    expect(told(kafka.logs.get(0)!)).toEqual(Array.from({ length: 2_700 }, (_, i) => `${host_id}#${i + 1}`));
  });
});

describe("one send a partition", () => {
  test("is outstanding: what comes meanwhile is the next one, in its order", async () => {
    const to = publisher();
    let end_first: () => void = () => {};
    kafka.answers = [
      async (messages, partition) => {
        await new Promise<void>((resolve) => {
          end_first = resolve;
        });
        return kafka.stored(messages, partition);
      },
    ];
    const first = to.store(parts_of([event("a", 1)], 1));
    await vi.advanceTimersByTimeAsync(10);
    const others = [2, 3, 4].map((sequence) => to.store(parts_of([event("a", sequence)], 1)));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(kafka.sends).toHaveLength(1);
    end_first();
    await vi.runAllTimersAsync();
    await Promise.all([first, ...others]);
    expect(kafka.sends).toHaveLength(2);
    expect(told(kafka.logs.get(0)!)).toEqual(["a#1", "a#2", "a#3", "a#4"]);
  });

  test("does not hold up another partition's", async () => {
    const to = publisher({ partitions: 2 });
    kafka.answers = [() => new Promise(() => {})];
    const [stuck] = parts_of([event("host-0", 1)], 2);
    void to.store([stuck!]);
    await vi.advanceTimersByTimeAsync(10);
    const other = parts_of(
      Array.from({ length: 9 }, (_, i) => event(`host-${i}`, 1)),
      2,
    ).find(({ partition }) => partition !== stuck!.partition)!;
    const storing = to.store([other]);
    await vi.advanceTimersByTimeAsync(10);
    expect((await storing)[0]!.fate).toBe("stored");
  });
});

describe("a send that fails", () => {
  test.each([
    ["a connection that ended", () => Promise.reject(failure("KafkaJSConnectionClosedError"))],
    ["a request without an answer", () => Promise.reject(failure("KafkaJSRequestTimeoutError"))],
    ["a result without the partition", () => []],
    ["a result with an error", () => [{ topicName: TOPIC, partition: 0, errorCode: 6, baseOffset: "5" }]],
    [
      "a result without a position",
      () => [{ topicName: TOPIC, partition: 0, errorCode: 0, baseOffset: "-1" }],
    ],
    [
      "a result of another topic",
      () => [{ topicName: "other", partition: 0, errorCode: 0, baseOffset: "5" }],
    ],
  ] as [string, Answer][])("with %s is not acknowledged, and tried again", async (_, answer) => {
    const to = publisher();
    kafka.answers = [answer, answer];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toEqual([{ partition: 0, fate: "stored", next_offset: 1n }]);
    expect(kafka.sends).toHaveLength(3);
  });

  test("is unknown at its deadline, and what follows waits until it is over", async () => {
    const to = publisher({ deadline_ms: 1_000 });
    let end_first: (error: Error) => void = () => {};
    kafka.answers = [
      () =>
        new Promise((_, reject) => {
          end_first = reject;
        }),
    ];
    const first = to.store(parts_of([event("a", 1)], 1));
    await vi.advanceTimersByTimeAsync(500);
    const second = to.store(parts_of([event("a", 2)], 1));
    await vi.advanceTimersByTimeAsync(510);
    expect(await first).toEqual([{ partition: 0, fate: "unknown", why: "no answer within 1000 ms" }]);
    expect(kafka.sends).toHaveLength(1);
    end_first(failure("KafkaJSRequestTimeoutError"));
    await vi.advanceTimersByTimeAsync(100);
    // Nobody waits for the first any more: it is not tried again.
    expect((await second)[0]!.fate).toBe("stored");
    expect(told(kafka.logs.get(0)!)).toEqual(["a#2"]);
    expect(to.held_bytes).toBe(0);
  });

  test("keeps what waits behind it until its deadline; that was never sent, and leaves", async () => {
    const to = publisher({ deadline_ms: 1_000 });
    kafka.answers = [() => new Promise(() => {})];
    const first = parts_of([event("a", 1)], 1);
    void to.store(first);
    await vi.advanceTimersByTimeAsync(10);
    const held = to.held_bytes;
    const second = to.store(parts_of([event("a", 2)], 1));
    await vi.advanceTimersByTimeAsync(1_010);
    expect(await second).toEqual([
      { partition: 0, fate: "refused", why: expect.stringContaining("not sent within 1000 ms") },
    ]);
    expect(to.held_bytes).toBe(held);
  });

  test("since it is too large is refused at once, with the reason", async () => {
    const to = publisher();
    kafka.answers = [() => Promise.reject(failure("KafkaJSProtocolError", "MESSAGE_TOO_LARGE"))];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toEqual([
      { partition: 0, fate: "refused", why: expect.stringContaining("MESSAGE_TOO_LARGE") },
    ]);
    expect(kafka.sends).toHaveLength(1);
  });

  test("since it is too large, behind a try whose answer was lost, may be stored all the same", async () => {
    const to = publisher();
    kafka.answers = [
      () => Promise.reject(failure("KafkaJSConnectionClosedError")),
      () => Promise.reject(failure("KafkaJSProtocolError", "MESSAGE_TOO_LARGE")),
    ];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toMatchObject([{ fate: "unknown" }]);
  });

  test("for want of replicas is tried until its deadline, and not stored then", async () => {
    const to = publisher({ deadline_ms: 5_000 });
    const want = () => Promise.reject(failure("KafkaJSProtocolError", "NOT_ENOUGH_REPLICAS"));
    kafka.answers = Array.from({ length: 100 }, () => want);
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toMatchObject([{ fate: "refused" }]);
    expect(kafka.sends.length).toBeGreaterThan(5);
  });

  test("without an answer gets a producer of its own: kafkajs would go on with the same connection", async () => {
    const to = publisher();
    kafka.answers = [() => Promise.reject(failure("KafkaJSRequestTimeoutError"))];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    await storing;
    expect([kafka.producers, kafka.disconnects]).toEqual([2, 1]);
  });

  test("that never ends is given up with its producer, and tried again", async () => {
    const to = publisher({ deadline_ms: 90_000 });
    kafka.answers = [() => new Promise(() => {})];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toMatchObject([{ fate: "stored" }]);
    expect([kafka.producers, kafka.disconnects]).toEqual([2, 1]);
  });

  test("since no broker is there was not written, and is sent once one is", async () => {
    const to = publisher();
    kafka.connect_errors = [failure("KafkaJSConnectionError"), failure("KafkaJSConnectionError")];
    const storing = to.store(parts_of([event("a", 1)], 1));
    await vi.runAllTimersAsync();
    expect(await storing).toMatchObject([{ fate: "stored", next_offset: 1n }]);
    expect([kafka.producers, kafka.sends.length]).toEqual([3, 1]);
  });
});

describe("what may wait", () => {
  const filling = (to: Publisher, partition_events: number) =>
    to.store(parts_of([event("a", partition_events, 500)], 1));

  test("is limited in bytes: what is over it is refused whole, and taken again when there is room", async () => {
    const to = publisher({ held_bytes_max: 4_000 });
    let let_go: () => void = () => {};
    kafka.answers = [
      async (messages, partition) => {
        await new Promise<void>((resolve) => {
          let_go = resolve;
        });
        return kafka.stored(messages, partition);
      },
    ];
    const taken = [1, 2, 3].map((n) => filling(to, n));
    await expect(filling(to, 4)).rejects.toMatchObject({ code: "busy", parts: { limit: "4000 bytes" } });
    expect(to.held_bytes).toBeLessThanOrEqual(4_000);
    await vi.advanceTimersByTimeAsync(10);
    let_go();
    await vi.runAllTimersAsync();
    await Promise.all(taken);
    expect(to.held_bytes).toBe(0);
    const again = filling(to, 4);
    await vi.runAllTimersAsync();
    expect((await again)[0]!.fate).toBe("stored");
    expect(told(kafka.logs.get(0)!)).toEqual(["a#1", "a#2", "a#3", "a#4"]);
  });

  test("of one partition leaves room for the others, and a batch with both is refused whole", async () => {
    const to = publisher({ partitions: 2, partition_held_bytes_max: 1_000 });
    kafka.answers = [() => new Promise(() => {})];
    const both = parts_of(
      Array.from({ length: 9 }, (_, i) => event(`host-${i}`, 1)),
      2,
    );
    const [one, other] = both.map((part) => [part]);
    void to.store(one!);
    await vi.advanceTimersByTimeAsync(10);
    await expect(to.store(both)).rejects.toMatchObject({ code: "busy" });
    const storing = to.store(other!);
    await vi.advanceTimersByTimeAsync(10);
    expect((await storing)[0]!.fate).toBe("stored");
    expect(kafka.logs.get(both[1]!.partition)).toHaveLength(1);
  });
});

describe("closing", () => {
  test("sends what waits, takes no more, and does not try again", async () => {
    const to = publisher();
    const waiting = to.store(parts_of([event("a", 1)], 1));
    const closing = to.close();
    await expect(to.store(parts_of([event("a", 2)], 1))).rejects.toMatchObject({ code: "unavailable" });
    await vi.runAllTimersAsync();
    await closing;
    expect((await waiting)[0]!.fate).toBe("stored");
    expect(kafka.disconnects).toBe(1);

    kafka.answers = [() => Promise.reject(failure("KafkaJSConnectionClosedError"))];
    const other = publisher();
    const failing = other.store(parts_of([event("a", 3)], 1));
    const other_closing = other.close();
    await vi.runAllTimersAsync();
    await other_closing;
    expect((await failing)[0]!.fate).toBe("unknown");
  });
});

test("a batch that was not stored whole says what became of each partition, and that a repeat is safe", () => {
  const outcomes = [
    { partition: 5, fate: "unknown", why: "no answer within 30000 ms" },
    { partition: 3, fate: "stored", next_offset: 8n },
    { partition: 4, fate: "refused", why: "too large" },
    { partition: 2, fate: "stored", next_offset: 9n },
  ] as const;
  const refuse = () => all_stored(outcomes);
  expect(refuse).toThrow(
    "Kafka did not take the whole batch: what is of partition 4 is not stored (too large); what is of partition 5 may be stored (no answer within 30000 ms); what is of partition 2, 3 is stored; sending the whole batch again is safe",
  );
  expect(refuse).toThrow(
    expect.objectContaining({
      code: "unavailable",
      parts: { partitions: { "2": "stored", "3": "stored", "4": "refused", "5": "unknown" } },
    }),
  );
});
