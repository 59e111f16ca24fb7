/** Chains that are missing or damaged: histories stay right without them, and they are made anew as they were. */
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { observed } from "../core/fleet.js";
import { KeptPartition, NEWEST } from "./kept_partition.js";

const HOSTS = Array.from({ length: 7 }, (_, i) => `h${i}`);
const EVENTS_OF_HOST = 200;

let kept: KeptPartition;

afterEach(() => kept.remove());

async function append(from: number, to: number): Promise<void> {
  for (let sequence = from; sequence < to; sequence++) {
    const events = HOSTS.map((host_id) => observed(host_id, { sequence, stack: [`kp_${sequence}`] }));
    await kept.append([encode_batch(events.map((event) => encode_event(event)))]);
  }
}

/** Some segments, the last one with a snapshot in its middle. */
async function some_segments(): Promise<void> {
  kept = new KeptPartition(20_000);
  await kept.open();
  await append(1, EVENTS_OF_HOST - 5);
  await kept.keep(NEWEST);
  await append(EVENTS_OF_HOST - 5, EVENTS_OF_HOST + 1);
  expect(kept.partition.log!.segments.length).toBeGreaterThan(4);
}

/** Where each host's events are, by the chain; null: it does not lead to all of them. */
function found() {
  const { partition } = kept;
  return HOSTS.map((host_id) => partition.events_of(partition.core.find_host(host_id)!));
}

const nothing = HOSTS.map(() => null);

describe("the chain of a closed segment", () => {
  test.each([
    ["deleted", (path: string) => rmSync(path)],
    ["cut", (path: string) => truncateSync(path, 700)],
    ["empty", (path: string) => truncateSync(path, 0)],
    ["of another segment", (path: string) => writeFileSync(path, readFileSync(kept.chain_files[2]!))],
  ])("that is %s is made anew, byte for byte", async (_, damage) => {
    await some_segments();
    const before = found();
    expect(before.map((events) => events?.length)).toEqual(HOSTS.map(() => EVENTS_OF_HOST));
    await kept.close();
    const [first, second] = kept.chain_files as [string, string];
    const bytes = [readFileSync(first), readFileSync(second)];
    damage(first);
    damage(second);

    await kept.open();
    expect(found()).toEqual(nothing);
    expect((await kept.remake_chains()).map(({ segment }) => segment)).toEqual(
      kept.partition.log!.segments.slice(0, 2).map(({ first_offset }) => first_offset),
    );
    expect(found()).toEqual(before);
    expect([readFileSync(first), readFileSync(second)]).toEqual(bytes);
    expect(await kept.remake_chains()).toEqual([]);
  });

  test("that was found damaged by a question is made anew", async () => {
    await some_segments();
    const before = found();
    await kept.close();
    const [, second] = kept.chain_files as [string, string];
    const bytes = readFileSync(second);
    const damaged = Uint8Array.from(bytes);
    damaged[damaged.length - 20]! ^= 1;
    writeFileSync(second, damaged);
    await kept.open();
    expect(await kept.remake_chains()).toEqual([]);
    expect(found()).toContain(null);
    expect(await kept.remake_chains()).toHaveLength(1);
    expect(found()).toEqual(before);
    expect(readFileSync(second)).toEqual(bytes);
  });
});

test("a segment that has lost its chain before a snapshot in it is ended, and the chain made after the next append", async () => {
  await some_segments();
  await kept.close();
  const last = kept.chain_files.at(-1)!;
  rmSync(last);

  const partition = await kept.open();
  const segments = partition.log!.segments.length;
  expect(found()).toEqual(nothing);
  // It may still be written to.
  expect(await kept.remake_chains()).toEqual([]);
  await append(EVENTS_OF_HOST + 1, EVENTS_OF_HOST + 2);
  expect(partition.log!.segments.length).toBe(segments + 1);
  expect(await kept.remake_chains()).toHaveLength(1);
  expect(found().map((events) => events?.length)).toEqual(HOSTS.map(() => EVENTS_OF_HOST + 1));
});
