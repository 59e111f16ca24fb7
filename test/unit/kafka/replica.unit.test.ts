// What a partition's replica takes from its topic, and when it says that the topic is another one.
import type { Batch, KafkaMessage } from "kafkajs";
import { describe, expect, test } from "vitest";
import type { FetchedRecord } from "#services/kafka/record_batch.js";
import { Replica, type ReplicaLog, type ReplicaOptions } from "#services/kafka/replica.js";
import type { RecordColumns } from "#services/log/columns.js";
import {
  encode_columns,
  frames_of,
  type LogRecord,
  RECORD_BYTES_MAX,
  records_of,
} from "#services/log/frame.js";

const SECOND_MS = 1_000;

class FakeLog implements ReplicaLog {
  records: LogRecord[] = [];
  /** The next appends reject with it. */
  failure: Error | null = null;
  /** Appends wait for it. */
  gate: Promise<void> = Promise.resolve();

  get next_offset(): bigint {
    return (this.records.at(-1)?.offset ?? -1n) + 1n;
  }

  async append(_after: bigint, given: RecordColumns): Promise<void> {
    // As where it is another thread's: their memory is gone.
    const memory = [given.deltas, given.log_times_ms, given.ends, given.body].map(({ buffer }) => buffer);
    const records = structuredClone(given, { transfer: memory as ArrayBuffer[] });
    await this.gate;
    if (this.failure !== null) throw this.failure;
    for (const frame of frames_of(encode_columns(records, 0))) this.records.push(...records_of(frame));
  }

  async bytes_at(offset: bigint): Promise<Uint8Array | null> {
    return this.records.find((record) => record.offset === offset)?.bytes ?? null;
  }

  get texts(): [offset: bigint, text: string][] {
    return this.records.map(({ offset, bytes }) => [offset, Buffer.from(bytes).toString()]);
  }
}

interface World {
  log: FakeLog;
  replica: Replica;
  /** Offsets below which all was told to be folded, one after the other. */
  reached: bigint[];
  failures: unknown[];
  /** How often it was said that the topic is the one that the log is of. */
  verified: { times: number };
  topic: { earliest: bigint; asked: number };
  clock: { now_ms: number };
}

function world(records: Record<number, string> = {}, more: Partial<ReplicaOptions> = {}): World {
  const log = new FakeLog();
  for (const [offset, text] of Object.entries(records)) {
    log.records.push({ offset: BigInt(offset), log_time_ms: 1, bytes: Buffer.from(text) });
  }
  const reached: bigint[] = [];
  const failures: unknown[] = [];
  const verified = { times: 0 };
  const topic = { earliest: 0n, asked: 0 };
  const clock = { now_ms: 5_000 };
  const replica = new Replica({
    partition: 0,
    log,
    begins_anywhere: false,
    async earliest() {
      topic.asked += 1;
      return topic.earliest;
    },
    now: () => clock.now_ms,
    failed: (error) => failures.push(error),
    reached: (read_to) => reached.push(read_to),
    verified() {
      verified.times += 1;
    },
    ...more,
  });
  return { log, replica, reached, failures, verified, topic, clock };
}

/** A fetch from `fetched` that came to this; `last`: behind the messages, control records come. */
function batch(fetched: number, values: Record<number, string | Buffer | null>, last?: number): Batch {
  const messages = Object.entries(values).map(([offset, value]) => ({
    offset,
    timestamp: "1700000000000",
    value: typeof value === "string" ? Buffer.from(value) : value,
  }));
  const last_offset = `${last ?? messages.at(-1)!.offset}`;
  return {
    messages: messages as KafkaMessage[],
    fetchedOffset: `${fetched}`,
    lastOffset: () => last_offset,
    highWatermark: `${BigInt(last_offset) + 1n}`,
  } as unknown as Batch;
}

/** Until all that was appended is settled. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("records", () => {
  test("go to the log with their offsets and the broker's times, and are then told to be there", async () => {
    const { log, replica, reached } = world();
    expect(await replica.take(batch(0, { 0: "a", 1: "b" }))).toBe("taken");
    await settled();
    expect(log.texts).toEqual([
      [0n, "a"],
      [1n, "b"],
    ]);
    expect(log.records[0]!.log_time_ms).toBe(1_700_000_000_000);
    expect(reached).toEqual([2n]);
  });

  test("that are there already are compared and not taken again", async () => {
    const { log, replica } = world({ 0: "a", 1: "b" });
    expect(replica.fetch_offset).toBe(1n);
    expect(await replica.take(batch(1, { 1: "b", 2: "c" }))).toBe("taken");
    await settled();
    expect(log.texts.map(([, text]) => text)).toEqual(["a", "b", "c"]);
  });

  test("leave gaps where the topic has tombstones, aborted and control records, which are read past", async () => {
    const { log, replica, reached, topic } = world();
    expect(await replica.take(batch(0, { 0: "a", 1: null, 4: "b" }, 5))).toBe("taken");
    expect(await replica.passed(6n, 8n)).toBeNull();
    expect(await replica.take(batch(9, { 9: "c" }))).toBe("taken");
    await settled();
    expect(log.texts.map(([offset]) => offset)).toEqual([0n, 4n, 9n]);
    expect(reached).toEqual([6n, 9n, 10n]);
    // What was read past is no hole, and costs no question.
    expect(topic.asked).toBe(0);
  });

  test("over the limit are kept as records without events, and compared as such", async () => {
    const { log, replica } = world();
    const huge = Buffer.alloc(RECORD_BYTES_MAX + 1, 1);
    await replica.take(batch(0, { 0: huge }));
    await settled();
    expect(log.texts).toEqual([[0n, ""]]);
    const again = new Replica({ ...options_of(log) });
    expect(await again.take(batch(0, { 0: huge, 1: "b" }))).toBe("taken");
  });

  test("copied from another log have the times that they had there", async () => {
    const copied_time = ({ offset }: FetchedRecord) => (offset === 0 ? 77 : null);
    const { log, replica } = world({}, { copied_time });
    await replica.take(batch(0, { 0: "a", 1: "b" }));
    await settled();
    expect(log.records.map(({ log_time_ms }) => log_time_ms)).toEqual([77, 1_700_000_000_000]);
  });
});

function options_of(log: FakeLog): ReplicaOptions {
  return {
    partition: 0,
    log,
    begins_anywhere: false,
    earliest: async () => 0n,
    now: () => 0,
    failed() {},
    reached() {},
  };
}

describe("a topic is known to be the one that the log is of", () => {
  test("when it has the log's last record, and not before", async () => {
    const { replica, verified } = world({ 0: "a", 1: "b" });
    expect(replica.hole(0n)).toBeNull();
    expect(verified.times).toBe(0);
    expect(await replica.take(batch(1, { 1: "b" }))).toBe("taken");
    expect(await replica.take(batch(1, { 1: "b", 2: "c" }))).toBe("taken");
    expect(verified.times).toBe(1);
  });

  test("when all that the log has was deleted there, as far as anybody can tell", async () => {
    const { replica, verified } = world({ 0: "a", 1: "b" });
    expect(replica.hole(2n)).toBeNull();
    expect(verified.times).toBe(1);
  });

  test("never when its record is another one", async () => {
    const { replica, verified } = world({ 0: "a", 1: "b" });
    expect(await replica.take(batch(1, { 1: "x" }))).toMatchObject({ reason: "log_diverged" });
    expect(verified.times).toBe(0);
  });
});

describe("a topic that is another one", () => {
  test("has other bytes at the last offset here", async () => {
    const { log, replica } = world({ 0: "a", 1: "b" });
    expect(await replica.take(batch(1, { 1: "x", 2: "c" }))).toMatchObject({ reason: "log_diverged" });
    await settled();
    expect(log.records).toHaveLength(2);
  });

  test("goes on at the offset that was to come: it is compared before anything of it is taken", async () => {
    const { log, replica, clock } = world({ 0: "a" });
    expect(await replica.take(batch(0, { 0: "a", 1: "b" }))).toBe("taken");
    clock.now_ms += 2 * SECOND_MS;
    expect(await replica.take(batch(2, { 2: "x" }))).toBe("again");
    expect(replica.fetch_offset).toBe(1n);
    expect(await replica.take(batch(1, { 1: "y", 2: "x" }))).toMatchObject({ reason: "log_diverged" });
    await settled();
    expect(log.texts.map(([, text]) => text)).toEqual(["a", "b"]);
  });

  test("has a tombstone, or no record at all, where the last one here is", async () => {
    const tombstone = world({ 0: "a", 1: "b" });
    expect(await tombstone.replica.take(batch(1, { 1: null, 2: "c" }))).toMatchObject({
      reason: "log_diverged",
    });
    const gap = world({ 0: "a", 1: "b" });
    expect(await gap.replica.take(batch(1, { 2: "c" }))).toMatchObject({ reason: "log_diverged" });
    const control = world({ 0: "a", 1: "b" });
    expect(await control.replica.passed(1n, 4n)).toMatchObject({ reason: "log_diverged" });
  });

  test("is asked for its last record again before a comparison is too old", async () => {
    const { replica, clock } = world({ 0: "a" });
    expect(await replica.take(batch(0, { 0: "a", 1: "b" }))).toBe("taken");
    clock.now_ms += 0.15 * SECOND_MS;
    expect(await replica.take(batch(2, { 2: "c" }))).toBe("compare_next");
    expect(replica.fetch_offset).toBe(2n);
  });

  test("is asked for its last record again where more is to come, and not for ever where none comes", async () => {
    const { replica } = world();
    const more = { highWatermark: "9" };
    expect(await replica.take(Object.assign(batch(0, { 0: "a", 1: "b" }), more))).toBe("compare_next");
    expect(await replica.take(Object.assign(batch(1, { 1: "b" }), more))).toBe("taken");
  });
});

describe("a hole", () => {
  test("is where the topic begins behind what is here, with records or without", async () => {
    const { replica, topic } = world({ 0: "a" });
    topic.earliest = 5n;
    expect(await replica.take(batch(5, { 5: "f" }))).toMatchObject({ reason: "hole" });
    expect(await replica.passed(5n, 6n)).toMatchObject({ reason: "hole" });
    expect(replica.hole(5n)).toMatchObject({ reason: "hole" });
  });

  test("is none where all that was deleted is here: what follows is taken, though nothing can be compared", async () => {
    const { log, replica, topic } = world({ 0: "a", 1: "b" });
    topic.earliest = 2n;
    expect(replica.hole(2n)).toBeNull();
    expect(await replica.take(batch(2, { 2: "c" }))).not.toBe("again");
    await settled();
    expect(log.texts.map(([, text]) => text)).toEqual(["a", "b", "c"]);
  });

  test("is none before a log that may begin where the topic does", async () => {
    const { log, replica, topic } = world({}, { begins_anywhere: true });
    topic.earliest = 5n;
    expect(replica.hole(5n)).toBeNull();
    expect(await replica.take(batch(5, { 5: "f" }))).toBe("taken");
    await settled();
    expect(log.texts).toEqual([[5n, "f"]]);
    expect(replica.hole(9n)).toMatchObject({ reason: "hole" });
  });
});

describe("an append that fails", () => {
  test("is told, and the log goes on where it ends once there is room", async () => {
    const { log, replica, failures, reached } = world({ 0: "a" });
    log.failure = new Error("no room");
    await replica.take(batch(0, { 0: "a", 1: "b" }));
    await settled();
    expect(failures).toEqual([log.failure]);
    log.failure = null;
    await replica.begin_again();
    expect(replica.fetch_offset).toBe(0n);
    expect(await replica.take(batch(0, { 0: "a", 1: "b", 2: "c" }))).toBe("taken");
    await settled();
    expect(log.texts.map(([, text]) => text)).toEqual(["a", "b", "c"]);
    expect(reached).toEqual([3n]);
  });

  test("tells nothing behind it to be folded, though what follows is no record", async () => {
    const { log, replica, reached } = world({ 0: "a" });
    let open = () => {};
    log.gate = new Promise((resolve) => {
      open = resolve;
    });
    log.failure = new Error("no room");
    await replica.take(batch(0, { 0: "a", 1: "b" }));
    await replica.passed(2n, 5n);
    open();
    await settled();
    expect(reached).toEqual([]);
    expect(replica.reached).toBe(1n);
  });

  test("is waited for before the log is asked where it ends", async () => {
    const { log, replica } = world({ 0: "a" });
    let open = () => {};
    log.gate = new Promise((resolve) => {
      open = resolve;
    });
    await replica.take(batch(0, { 0: "a", 1: "b" }));
    const begun = replica.begin_again();
    open();
    await begun;
    expect(replica.expected_offset).toBe(2n);
  });
});

test("two consumers' batches at once, as where one was given up: the later one is fetched again", async () => {
  const { log, replica } = world({ 0: "a" });
  const both = [
    replica.take(batch(0, { 0: "a", 1: "b" })),
    replica.take(batch(0, { 0: "a", 1: "b", 2: "c" })),
  ];
  expect(await Promise.all(both)).toEqual(["taken", "again"]);
  await settled();
  expect(log.texts.map(([, text]) => text)).toEqual(["a", "b"]);
});
