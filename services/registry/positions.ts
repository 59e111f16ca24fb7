/** How far an answer must have read (`min_position`): as acknowledgements state it, a partition's next offset. */
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_u64 } from "../events/u64.js";

export interface MinPosition {
  /** Partition → next offset, at least. */
  partitions: ReadonlyMap<number, bigint>;
  /** Next offset of the catalog, at least; null: any. */
  catalog: bigint | null;
}

/** What has not been folded as far as it was wanted. */
export interface Behind {
  partition: number | "catalog";
  wanted: bigint;
  has: bigint;
  /** Why nothing more is folded; null: it goes on. */
  broken: string | null;
}

/** `3:1042,5:77,catalog:17`. Throws Problem, also for a partition that the registry does not have. */
export function parse_min_position(text: string, partition_count: number): MinPosition {
  const field = "min_position";
  const limit = "partition:offset, separated by commas, like 3:1042,5:77,catalog:17";
  const refuse = (part: string, says: string) => {
    const value = shorten(part);
    return new Problem("bad_input", `${field}: ${value} ${says}`, { field, value, limit });
  };
  const partitions = new Map<number, bigint>();
  let catalog: bigint | null = null;
  for (const part of text.split(",")) {
    const [, name, offset] = /^(0|[1-9][0-9]{0,5}|catalog):([0-9]+)$/.exec(part.trim()) ?? [];
    if (name === undefined) throw refuse(part, `is no position; write ${limit}`);
    const next_offset = parse_u64(offset, field);
    if (name === "catalog") {
      if (catalog !== null) throw refuse(part, "is a second position of the catalog");
      catalog = next_offset;
      continue;
    }
    const partition = Number(name);
    if (partition >= partition_count) {
      throw refuse(part, `is of no partition of this registry, which has 0 to ${partition_count - 1}`);
    }
    if (partitions.has(partition)) throw refuse(part, "is a second position of its partition");
    partitions.set(partition, next_offset);
  }
  return { partitions, catalog };
}

export function not_caught_up(behind: readonly Behind[]): Problem {
  const said = behind.map(({ partition, wanted, has, broken }) => {
    const name = partition === "catalog" ? "the catalog" : `partition ${partition}`;
    return broken === null
      ? `${name} is at ${has}, not yet at ${wanted}`
      : `${broken}; it stays before ${wanted}`;
  });
  return new Problem("not_caught_up", `min_position: ${said.join("; ")}`, { field: "min_position" });
}
