import { EventEmitter } from "node:events";
import { beforeEach, expect, test } from "vitest";
import { host_list } from "#services/core/host_list.js";
import {
  APPEND_BYTES_MAX,
  POSITION_WAITS_MAX,
  REQUESTS_MAX,
  ShardClient,
} from "#services/registry/shard_client.js";
import type { ShardRequest, ShardResponse, ShardStart } from "#services/registry/shard_protocol.js";

/** A shard that answers when it is told to. */
class SlowShard extends EventEmitter {
  asked: ShardRequest[] = [];

  postMessage(request: ShardRequest): void {
    this.asked.push(request);
  }

  answer_all(): void {
    for (const { id } of this.asked.splice(0)) this.say({ id, answer: null });
  }

  say(response: ShardResponse): void {
    this.emit("message", response);
  }

  async terminate(): Promise<void> {}
}

let slow: SlowShard;
let client: ShardClient;

beforeEach(async () => {
  slow = new SlowShard();
  const started = ShardClient.start({ partitions: [0] } as unknown as ShardStart, slow);
  slow.say({ id: 0, answer: [] });
  client = (await started).shard;
});

const BUSY = { code: "busy", parts: { limit: expect.any(String) } };

test("questions beyond the limit are refused until others are answered", async () => {
  const waiting = Array.from({ length: REQUESTS_MAX }, () => client.ask("fleet", [[]]));
  await expect(client.ask("host", [0, "h", {}, 0])).rejects.toMatchObject(BUSY);
  expect(slow.asked).toHaveLength(REQUESTS_MAX);
  slow.answer_all();
  await Promise.all(waiting);
  const later = client.ask("host", [0, "h", {}, 0]);
  slow.answer_all();
  expect(await later).toBeNull();
});

const NOBODY = host_list([]);

test("bytes of appends beyond the limit are refused until others are stored", async () => {
  const half = () => [new ArrayBuffer(APPEND_BYTES_MAX / 2)];
  const waiting = [
    client.ask("append", [0, [], NOBODY, false], half()),
    client.ask("append", [0, [], NOBODY, false], half()),
  ];
  await expect(client.ask("append", [0, [], NOBODY, false], [new ArrayBuffer(1)])).rejects.toMatchObject(
    BUSY,
  );
  // What brings no bytes is not kept out by those that do.
  waiting.push(client.ask("fleet", [[]]) as never);
  slow.answer_all();
  await Promise.all(waiting);
  const later = client.ask("append", [0, [], NOBODY, false], half());
  slow.answer_all();
  expect(await later).toBeNull();
});

test("questions that wait for a position keep no others out, and are limited as well", async () => {
  const waiting = Array.from({ length: POSITION_WAITS_MAX }, () => client.ask("wait_for", [[], 1]));
  await expect(client.ask("wait_for", [[], 1])).rejects.toMatchObject(BUSY);
  waiting.push(client.ask("fleet", [[]]) as never);
  slow.answer_all();
  await Promise.all(waiting);
});

test("the catalog's facts and the pages of open lists are never refused", async () => {
  const waiting: Promise<unknown>[] = Array.from({ length: REQUESTS_MAX }, () => client.ask("fleet", [[]]));
  waiting.push(client.ask("catalog", [{ fact: "withdrawn", number: 0, offset: 0n, log_time_ms: 0 }]));
  waiting.push(client.ask("pull", [1]), client.ask("cancel", [1]));
  slow.answer_all();
  await Promise.all(waiting);
});
