import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { claim_directory } from "#services/log/claim.js";
import { node_disk } from "#services/log/node_disk.js";
import { create_registry, leave_registry, read_registry } from "#services/log/registry_file.js";
import { require_embedded } from "#services/log/registry_mode.js";
import { faulty_disk, temporary_directory } from "./fixtures.js";

const FACTS = {
  registry_id: "7b9c4e0e-7f43-4f0e-9d0c-0f8f5f1f4a11",
  partitions: 16,
  created_ms: 1_790_000_000_000,
};

function write_file(directory: string, changed: object): void {
  const whole = {
    format_version: 1,
    registry_id: "x",
    partitions: 16,
    mode: "embedded",
    created: "2026-01-01T00:00:00.000Z",
  };
  writeFileSync(join(directory, "registry.json"), JSON.stringify({ ...whole, ...changed }));
}

describe("a registry", () => {
  test("is created in a missing directory, and read back", async () => {
    const directory = join(temporary_directory(), "a", "b");
    expect(await read_registry(node_disk, directory)).toBeNull();
    const created = await create_registry(node_disk, directory, FACTS);
    expect(created).toEqual({
      format_version: 1,
      registry_id: FACTS.registry_id,
      partitions: 16,
      mode: "embedded",
      created: new Date(FACTS.created_ms).toISOString(),
    });
    expect(await read_registry(node_disk, directory, 16)).toEqual(created);
    await expect(create_registry(node_disk, directory, FACTS)).rejects.toMatchObject({
      code: "contradiction",
    });
  });

  test("is created where there is only a claim, and what a crash left of an earlier try", async () => {
    const directory = temporary_directory();
    const claim = claim_directory(directory);
    writeFileSync(join(directory, "registry.json.new"), "{");
    await create_registry(node_disk, directory, FACTS);
    expect(JSON.parse(readFileSync(join(directory, "registry.json"), "utf8"))).toMatchObject({
      partitions: 16,
    });
    claim.release();
  });

  test("is not created among somebody's files", async () => {
    const directory = temporary_directory();
    writeFileSync(join(directory, "thesis.txt"), "");
    await expect(create_registry(node_disk, directory, FACTS)).rejects.toMatchObject({
      code: "contradiction",
      message: expect.stringContaining("thesis.txt"),
    });
    expect(existsSync(join(directory, "registry.json"))).toBe(false);
    await expect(read_registry(node_disk, join(directory, "thesis.txt"))).rejects.toMatchObject({
      code: "bad_input",
    });
  });

  test("is whole or not there when creating it fails", async () => {
    for (const failing of ["write", "sync"]) {
      const directory = temporary_directory();
      const disk = faulty_disk((step) => (step === failing ? "ENOSPC" : null));
      await expect(create_registry(disk, directory, FACTS)).rejects.toMatchObject({ code: "disk_full" });
      expect(await read_registry(node_disk, directory)).toBeNull();
    }
  });

  test.each([0, 1.5, 5_000])("cannot have %d partitions", async (partitions) => {
    const wanted = create_registry(node_disk, temporary_directory(), { ...FACTS, partitions });
    await expect(wanted).rejects.toMatchObject({ code: "bad_input", parts: { field: "partitions" } });
  });

  test("may be a replica of a log in Kafka, which is served with its brokers only", async () => {
    const directory = temporary_directory();
    const mode = { mode: "kafka", cluster_id: "xLpBTmDFSPW6Cbv0jT3yVQ", topic: "fleet.host-events" } as const;
    const created = await create_registry(node_disk, directory, { ...FACTS, mode });
    expect(created).toMatchObject(mode);
    expect(await read_registry(node_disk, directory)).toEqual(created);
    expect(() => require_embedded(directory, created)).toThrow(/replicas of the topic fleet\.host-events/);
  });

  test("that has moved keeps what it was, and says where its log lives now", async () => {
    const directory = temporary_directory();
    const created = await create_registry(node_disk, directory, FACTS);
    require_embedded(directory, created);
    const place = {
      mode: "migrated",
      cluster_id: "xLpBTmDFSPW6Cbv0jT3yVQ",
      topic: "klpstate.host-events",
      brokers: "broker-1:9092,broker-2:9092",
    } as const;
    await leave_registry(node_disk, directory, created, place);
    const left = (await read_registry(node_disk, directory))!;
    expect(left).toEqual({ ...created, ...place });
    expect(() => require_embedded(directory, left)).toThrow(
      /lives in the topic klpstate\.host-events of the Kafka cluster xLpBTmDFSPW6Cbv0jT3yVQ now.*=broker-1:9092,broker-2:9092/,
    );
  });

  test("keeps its partitions", async () => {
    const directory = temporary_directory();
    write_file(directory, {});
    await expect(read_registry(node_disk, directory, 8)).rejects.toMatchObject({
      code: "contradiction",
      message: expect.stringContaining("16 partitions"),
    });
  });

  test.each([
    [{ format_version: 2 }, "a newer klpstate made it"],
    [{ format_version: "1" }, "format_version"],
    [{ registry_id: 7 }, "registry_id"],
    [{ partitions: 0 }, "partitions"],
    [{ mode: "lunar" }, "mode"],
    [{ mode: "kafka", topic: "klpstate.host-events" }, "cluster_id"],
    [{ mode: "kafka", cluster_id: "xLpBTmDFSPW6Cbv0jT3yVQ", topic: 7 }, "topic"],
    [{ mode: "migrated", cluster_id: "xLpBTmDFSPW6Cbv0jT3yVQ", topic: "klpstate.host-events" }, "brokers"],
    [{ created: null }, "created"],
  ])("with %o is refused", async (changed, message) => {
    const directory = temporary_directory();
    write_file(directory, changed);
    await expect(read_registry(node_disk, directory)).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringContaining(message),
    });
  });

  test.each(["", "[1", "null", "\xff", "x".repeat(100_000)])("of other bytes is refused", async (text) => {
    const directory = temporary_directory();
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "registry.json"), text, "latin1");
    await expect(read_registry(node_disk, directory)).rejects.toMatchObject({ code: "bad_input" });
  });
});
