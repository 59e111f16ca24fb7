/** A partition near its limit of memory: what does not fit is refused before it is written, so that the log never stops. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { host_list } from "#services/core/host_list.js";
import { encode_batch, encode_event, type HostEvent } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { Partition } from "#services/registry/partition.js";
import { place_in } from "../../model/place.js";
import { new_core, observed } from "../core/fleet.js";
import { HeldDisk } from "./in_process.js";

const MEMORY_BYTES_MAX = new_core().memory_used_bytes + (32 << 20);

let directory: string;
let slow: HeldDisk;
let partition: Partition;

function open(): Promise<Partition> {
  return Partition.open({
    disk: slow.disk,
    place: place_in(directory, 1, MEMORY_BYTES_MAX),
    partition: 0,
    report: () => {},
    now: Date.now,
  });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-full-"));
  slow = new HeldDisk();
  partition = await open();
});

afterEach(async () => {
  await partition.close();
  rmSync(directory, { recursive: true });
});

/** "stored", or the code of the refusal. */
async function append(events: HostEvent[]): Promise<string> {
  const hosts = host_list([...new Set(events.map(({ host_id }) => host_id ?? ""))]);
  return partition.append([encode_batch(events.map((event) => encode_event(event)))], hosts, true).then(
    () => "stored",
    (error) => error.code ?? String(error),
  );
}

/** New hosts with long names, each with a patch of its own. */
function newcomers(batch: number, count = 100): HostEvent[] {
  return Array.from({ length: count }, (_, at) => {
    const name = `${batch}_${at}`;
    return observed("h".repeat(200) + name, { stack: [`${"p".repeat(40)}${name}`] });
  });
}

async function expect_whole(stored_hosts: number): Promise<void> {
  expect(partition.broken).toBeNull();
  expect(partition.core.host_count).toBe(stored_hosts);
  const digest = partition.digest();
  await partition.close();
  partition = await open();
  expect(partition.broken).toBeNull();
  expect(partition.digest()).toEqual(digest);
}

describe("a partition near its limit", () => {
  test("refuses with partition_full what does not fit, of many batches that are under way at once", async () => {
    slow.hold();
    const appends = Array.from({ length: 800 }, (_, batch) => append(newcomers(batch)));
    slow.release();
    const said = await Promise.all(appends);
    expect(new Set(said)).toEqual(new Set(["stored", "partition_full"]));
    // Most of the memory is used before anything is refused: a promise is for the worst, and is given back.
    expect(partition.core.memory_used_bytes).toBeGreaterThan(MEMORY_BYTES_MAX - (16 << 20));
    const stored = said.filter((one) => one === "stored").length;
    await expect_whole(stored * 100);
    expect(await append(newcomers(1_000))).toBe("partition_full");
  });

  test("takes the events of known hosts when new ones are refused", async () => {
    let stored = 0;
    for (const count of [100, 1]) {
      while ((await append(newcomers(stored, count))) === "stored") stored += count;
    }
    expect(await append(newcomers(stored, 1))).toBe("partition_full");
    const [first] = newcomers(0, 1);
    expect(await append([observed(first!.host_id!, { stack: ["kp_1"], sequence: 2 })])).toBe("stored");
    await expect_whole(stored);
  });

  test("refuses events of known hosts too before they could stop it", async () => {
    expect(await append(newcomers(0, 200))).toBe("stored");
    const hosts = newcomers(0, 200).map(({ host_id }) => host_id!);
    const said = new Set<string>();
    for (let sequence = 2; !said.has("partition_full"); sequence++) {
      slow.hold();
      const appends = Array.from({ length: 8 }, (_, part) =>
        append(
          hosts.slice(part * 25, part * 25 + 25).map((host_id, at) =>
            observed(host_id, {
              stack: Array.from(
                { length: 20 },
                (_, entry) => `${"q".repeat(30)}${sequence}_${part}_${at}_${entry}`,
              ),
              sequence,
            }),
          ),
        ),
      );
      slow.release();
      for (const one of await Promise.all(appends)) said.add(one);
    }
    expect(said).toEqual(new Set(["stored", "partition_full"]));
    await expect_whole(200);
  });

  test("reckons with hosts that cannot be read, of which each may need much", async () => {
    const lingering = Array.from({ length: 256 }, (_, at) => `l${at}`);
    const hosts = Array.from({ length: 40 }, (_, at) => `h${at}`);
    expect(await append(hosts.map((host_id) => observed(host_id, { lingering })))).toBe("stored");
    const { UNREADABLE } = klpstate.v1.Livepatching;
    const said = new Set<string>();
    for (let sequence = 2; !said.has("partition_full"); sequence++) {
      slow.hold();
      const appends = Array.from({ length: 10 }, (_, part) =>
        append(
          hosts.slice(part * 4, part * 4 + 4).map((host_id, at) =>
            observed(host_id, {
              livepatching: UNREADABLE,
              kernel_release: `r${sequence}_${part}_${at}`,
              sequence,
            }),
          ),
        ),
      );
      slow.release();
      for (const one of await Promise.all(appends)) said.add(one);
    }
    expect(said).toEqual(new Set(["stored", "partition_full"]));
    await expect_whole(40);
  });

  test("keeps the order of appends also where one has to wait for room", async () => {
    slow.hold();
    const appends = Array.from({ length: 20 }, (_, batch) => append(newcomers(batch)));
    const [first] = newcomers(19, 1);
    appends.push(append([observed(first!.host_id!, { stack: ["kp_2"], sequence: 2 })]));
    slow.release();
    expect(new Set(await Promise.all(appends))).toEqual(new Set(["stored"]));
    const host = partition.core.find_host(first!.host_id!);
    expect(partition.core.host(host!)).toMatchObject({ sequence: 2, knowledge: "complete" });
  });
});
