/** A log that lost its end, beside a snapshot that cannot be used and whose name says how far the log went. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Core } from "#services/core/core.js";
import { host_list } from "#services/core/host_list.js";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { node_disk } from "#services/log/node_disk.js";
import { keep_snapshots } from "#services/registry/keep.js";
import { Partition } from "#services/registry/partition.js";
import {
  core_options,
  log_directory,
  type RegistryPlace,
  snapshot_directory,
} from "#services/registry/partition_place.js";
import { place_in } from "../../model/place.js";
import { observed } from "../core/fleet.js";

const RETENTION = { newest: 2, days: 0, bytes_max: 1 << 30 };

let directory: string;
let place: RegistryPlace;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-end-"));
  place = place_in(directory, 1);
});

afterEach(() => rmSync(directory, { recursive: true }));

async function open(reports: string[] = []): Promise<Partition> {
  const report = (message: string) => void reports.push(message);
  return Partition.open({ disk: node_disk, place, partition: 0, report, now: Date.now });
}

/** Two records, a snapshot of both, and a last commit that is half gone. The snapshot's path, and the log's. */
async function lose_half_of_the_last_commit(): Promise<{ snapshot: string; log: string }> {
  const partition = await open();
  for (const host_id of ["h1", "h2"]) {
    await partition.append([encode_batch([encode_event(observed(host_id))])], host_list([host_id]), false);
  }
  const to = await partition.chained_position(true);
  const core = new Core(place.module, core_options(place, 0));
  await keep_snapshots(node_disk, place, core, { partition: 0, to, retention: RETENTION }, () => {});
  await partition.close();
  const snapshots = snapshot_directory(directory, 0);
  const [name] = readdirSync(snapshots);
  const log = join(log_directory(directory, 0), "00000000000000000000.log");
  truncateSync(log, to.byte - 10);
  return { snapshot: join(snapshots, name!), log };
}

test("is broken, and named, where the snapshot's bytes are damaged", async () => {
  const { snapshot, log } = await lose_half_of_the_last_commit();
  const bytes = readFileSync(snapshot);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(snapshot, bytes);
  const reports: string[] = [];
  const partition = await open(reports);
  expect(reports).toEqual([`${snapshot} is not used: its checksum does not match`]);
  expect(partition.broken).toContain(`in ${log} at byte `);
  expect(partition.broken).toContain("(offset 1): the log ends here, and it had records up to 2");
  await partition.close();
});

test("is cut as a torn tail where the snapshot is of another registry", async () => {
  const { log } = await lose_half_of_the_last_commit();
  place = { ...place, registry_id: "00000000-0000-4000-8000-000000000008" };
  const reports: string[] = [];
  const partition = await open(reports);
  expect(reports).toEqual([expect.stringMatching(/ is not used: it is of another registry$/)]);
  expect(partition.broken).toBeNull();
  expect(partition.torn).toMatch(`${log}: cut `);
  expect(partition.core.host_count).toBe(1);
  await partition.close();
});
