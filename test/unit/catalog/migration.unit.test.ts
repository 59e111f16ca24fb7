import { describe, expect, test } from "vitest";
import { Manifests } from "#services/catalog/manifests.js";
import {
  type MigrationEnd,
  migration_began,
  migration_ended,
  migration_of,
} from "#services/catalog/migration.js";
import { type CatalogRecord, decode_catalog_record, encode_catalog_record } from "#services/events/codec.js";

const END: MigrationEnd = {
  registry_id: "7b9c4e0e-7f43-4f0e-9d0c-0f8f5f1f4a11",
  ends: new Map([
    [0, 17n],
    [1, 0n],
    [2, 2n ** 60n],
  ]),
  catalog_end: 2n,
  digest: Uint8Array.from({ length: 32 }, (_, i) => i),
  fold_version: 3,
};
const BEGAN = migration_began(END.registry_id);
const ENDED = migration_ended(END);
const PUBLISHED: CatalogRecord = {
  published: { name: "kp_1", kernel_release: "6.12.1", arch: "x86_64" },
};

function read_back(...records: CatalogRecord[]): ReturnType<typeof migration_of> {
  return migration_of(records.map((record) => decode_catalog_record(encode_catalog_record(record))));
}

describe("a catalog", () => {
  test("that begins and ends a migration says how far the copies go", () => {
    expect(read_back(BEGAN, PUBLISHED, ENDED, PUBLISHED)).toEqual(END);
    expect(read_back(BEGAN, ENDED)).toEqual(END);
  });

  test("whose migration has not ended is unfinished, also where another one's end stands", () => {
    const foreign = migration_ended({ ...END, registry_id: "00000000-0000-4000-8000-000000000001" });
    expect(read_back(BEGAN)).toBe("unfinished");
    expect(read_back(BEGAN, PUBLISHED, foreign)).toBe("unfinished");
  });

  test("that begins with anything else holds no copy", () => {
    expect(read_back()).toBeNull();
    expect(read_back(PUBLISHED, BEGAN, ENDED)).toBeNull();
    expect(read_back(ENDED)).toBeNull();
  });

  test("publishes nothing by it", () => {
    const manifests = new Manifests();
    const records = [BEGAN, PUBLISHED, ENDED].map(encode_catalog_record);
    const outcomes = records.map((bytes, i) => manifests.apply(bytes, BigInt(i), 1000).outcome);
    expect(outcomes).toEqual(["migration", "published", "migration"]);
    expect(manifests.all.map(({ number, offset }) => [number, offset])).toEqual([[0, 1n]]);
  });
});
