// What becomes of a partition whose log does not take a record: tried again where that may help, broken where it cannot.
import { expect, test } from "vitest";
import { Problem } from "#services/events/problem.js";
import type { FetchedPartition, Fetcher } from "#services/kafka/fetcher.js";
import type { ReplicaMessage } from "#services/kafka/replica_protocol.js";
import { ReplicaShard, type ReplicaShardOptions } from "#services/kafka/replica_shard.js";
import { columns_of } from "#services/log/columns.js";
import { LogCorruption } from "#services/log/corruption.js";
import type { Shard } from "#services/registry/shard.js";

interface Refuses {
  error: unknown;
  /** The log's word for that it takes nothing any more. */
  ended?: Problem;
  broken?: string;
}

/** What is told of a partition whose append rejects so, and what its fetcher is asked for. */
async function told_of({ error, ended, broken }: Refuses): Promise<{ broken: unknown[]; asked: string[] }> {
  const messages: ReplicaMessage[] = [];
  const asked: string[] = [];
  const held: FetchedPartition[] = [];
  const log = { next_offset: 0n, ended: ended ?? null };
  const partition = {
    log,
    torn: null,
    serves: true,
    broken: broken ?? null,
    async append_replica() {
      partition.serves = broken === undefined;
      throw error;
    },
  };
  const shard = new ReplicaShard({
    shard: { open_partition: async () => partition } as unknown as Shard,
    fetcher: {
      hold: (fetched: FetchedPartition) => void held.push(fetched),
      release: () => void asked.push("release"),
      append_failed: () => void asked.push("again"),
    } as unknown as Fetcher,
    tell: (message: ReplicaMessage) => void messages.push(message),
  } as unknown as ReplicaShardOptions);
  expect(await shard.hold({ partition: 4, begins_anywhere: false, migrated_to: null })).toBeNull();
  const { log: fed, failed } = held[0]!;
  const records = columns_of([{ offset: 0n, log_time_ms: 1, bytes: Buffer.from("a") }]);
  await fed.append(0n, records).catch(failed);
  return { broken: messages.flatMap((message) => ("broken" in message ? [message.broken] : [])), asked };
}

test("a disk that is full, or refuses a write, is tried again", async () => {
  for (const code of ["disk_full", "unavailable"] as const) {
    expect(await told_of({ error: new Problem(code, "not now") })).toEqual({ broken: [], asked: ["again"] });
  }
});

test("a disk that cannot be synced is not: the partition is broken until the node is started again", async () => {
  const ended = new Problem("unavailable", "takes no more records: see to the disk, then restart");
  expect(await told_of({ error: ended, ended })).toEqual({
    broken: [{ partition: 4, reason: "corrupt", says: ended.message }],
    asked: ["release"],
  });
});

test("a partition that is full, and a log that does not check, are broken by their names", async () => {
  const full = await told_of({ error: new Problem("unavailable", "full"), broken: "partition 4 is full" });
  expect(full.broken).toEqual([{ partition: 4, reason: "partition_full", says: "partition 4 is full" }]);
  const { broken } = await told_of({ error: new LogCorruption("partition 4", "f", 7, 1n, "bad crc") });
  expect(broken).toEqual([{ partition: 4, reason: "corrupt", says: expect.stringContaining("bad crc") }]);
});

test("a log that goes beyond its topic is not caught up before the topic is known to be its own", async () => {
  const held: FetchedPartition[] = [];
  const partition = { log: { next_offset: 292n, ended: null }, torn: null, serves: true, broken: null };
  const shard = new ReplicaShard({
    shard: { open_partition: async () => partition } as unknown as Shard,
    fetcher: { hold: (fetched: FetchedPartition) => void held.push(fetched) } as unknown as Fetcher,
    tell() {},
  } as unknown as ReplicaShardOptions);
  await shard.hold({ partition: 4, begins_anywhere: false, migrated_to: null });
  let is_reached = false;
  const reached = shard.reached(4, 146n).then(() => {
    is_reached = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(is_reached).toBe(false);
  held[0]!.verified();
  await reached;
});
