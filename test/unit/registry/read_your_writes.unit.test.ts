import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { open_registry } from "#services/registry/open_registry.js";
import { parse_min_position } from "#services/registry/positions.js";
import type { Registry } from "#services/registry/registry.js";
import { KERNEL, observed } from "../core/fleet.js";

/** Longer than the test may take: what resolves was not waited out. */
const LONG_MS = 1_000_000;

let data: string;
let registry: Registry;

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "klpstate-positions-"));
  registry = await open_registry({ data, partitions: 3, shards: 2 });
});

afterEach(async () => {
  await registry.close();
  rmSync(data, { recursive: true });
});

/** A host of each partition, in their order. */
function hosts(): string[] {
  return [0, 1, 2].map((partition) => {
    let number = 0;
    while (registry.partition_of(`h${number}`) !== partition) number++;
    return `h${number}`;
  });
}

function store(host_id: string, sequence = 1) {
  return registry.ingest(encode_batch([encode_event(observed(host_id, { sequence }))]));
}

const min = (text: string) => parse_min_position(text, 3);

describe("a question that wants a position", () => {
  test("waits until an event is folded up to it, and then has it in its answer", async () => {
    const [host] = hosts();
    const waited = registry.wait_for(min("0:1"), LONG_MS).then(() => registry.host(host!, {}));
    const { positions } = (await store(host!)).document;
    expect(positions).toEqual({ 0: "1" });
    expect((await waited)?.sequence).toBe("1");
  });

  test("waits for every partition that it names", async () => {
    let caught_up = false;
    const waited = registry.wait_for(min("0:1,1:1,2:1"), LONG_MS).then(() => {
      caught_up = true;
    });
    for (const host of hosts()) {
      expect(caught_up).toBe(false);
      await store(host);
    }
    await waited;
  });

  test("does not wait for what is there", async () => {
    for (const host of hosts()) await store(host);
    await registry.wait_for(min("0:1,1:1,2:0"), 0);
  });

  test("is told of all that is missing: the partition, what was wanted, what there is", async () => {
    const [host] = hosts();
    await store(host!);
    const refused = expect(registry.wait_for(min("0:3,1:1,2:9,catalog:4"), 1)).rejects;
    await refused.toMatchObject({ code: "not_caught_up", parts: { field: "min_position" } });
    const message = registry.wait_for(min("0:3,1:0,2:9,catalog:4"), 1).catch((error: Error) => error.message);
    const said = (await message) as string;
    for (const part of ["partition 0 is at 1, not yet at 3", "partition 2 is at 0, not yet at 9"]) {
      expect(said).toContain(part);
    }
    expect(said).toContain("the catalog is at 0, not yet at 4");
    expect(said).not.toContain("partition 1");
  });

  test("waits for the catalog too", async () => {
    const waited = registry.wait_for(min("catalog:1"), LONG_MS);
    await registry.publish({ ...KERNEL, name: "kp_1" });
    await waited;
    expect(registry.patches({})).toHaveLength(1);
  });

  test("is answered at once where a partition is broken, whatever the others wait for", async () => {
    const [, second] = hosts();
    for (const sequence of [1, 2, 3]) await store(second!, sequence);
    await registry.close();
    const directory = join(data, "log", "1");
    const path = join(directory, readdirSync(directory).find((name) => name.endsWith(".log"))!);
    const bytes = readFileSync(path);
    bytes[60]! ^= 1;
    writeFileSync(path, bytes);
    registry = await open_registry({ data, shards: 2 });
    const asked = registry.wait_for(min("0:5,1:3,2:5"), LONG_MS);
    await expect(asked).rejects.toMatchObject({ code: "not_caught_up" });
    await expect(registry.wait_for(min("1:0"), LONG_MS)).rejects.toThrow("partition 1");
  });
});
