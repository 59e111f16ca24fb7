/** Random events for the partitions of a life: few hosts, many of the things that may happen to one. */
import fc from "fast-check";
import { partition_of } from "#services/events/partition.js";
import { klpstate } from "#services/events/proto.js";
import { random_catalog, random_log } from "../model/random.js";
import { batch_of, events_of } from "../model/registry.js";
import type { Dice } from "./dice.js";

type CatalogRecord = klpstate.v1.CatalogRecord.$Properties;

export const PARTITIONS = 2;
/** Logs are drawn once for all lives of a thread; a life strings some of them together. */
const LOGS = 64;

interface Drawn {
  /** EventBatches, by partition. */
  batches: Uint8Array[][];
  catalog: CatalogRecord[];
}

const drawn = new Map<number, Drawn>();

function draw(seed: number): Drawn {
  const known = drawn.get(seed);
  if (known !== undefined) return known;
  const [log] = fc.sample(random_log({ hosts_max: 6, steps_max: 60 }), { seed, numRuns: 1 });
  const [catalog] = fc.sample(random_catalog(), { seed, numRuns: 1 });
  const batches: Uint8Array[][] = Array.from({ length: PARTITIONS }, () => []);
  for (const { bytes } of log!) {
    const events = events_of(bytes);
    const partitions = events.map((event) => {
      const { host_id } = klpstate.v1.HostEvent.decode(event);
      return partition_of(Buffer.from(host_id), PARTITIONS);
    });
    for (const [partition, own] of batches.entries()) {
      const theirs = events.filter((_, index) => partitions[index] === partition);
      if (theirs.length > 0) own.push(batch_of(theirs));
    }
  }
  const made = { batches, catalog: catalog! };
  drawn.set(seed, made);
  return made;
}

export class Supply {
  readonly #dice: Dice;
  readonly #batches: Uint8Array[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #catalog: CatalogRecord[] = [];

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  batch(partition: number): Uint8Array {
    for (;;) {
      const batch = this.#batches[partition]!.shift();
      if (batch !== undefined) return batch;
      this.#more();
    }
  }

  catalog_record(): CatalogRecord {
    for (;;) {
      const record = this.#catalog.shift();
      if (record !== undefined) return record;
      this.#more();
    }
  }

  #more(): void {
    const { batches, catalog } = draw(this.#dice.below(LOGS));
    for (const [partition, own] of batches.entries()) this.#batches[partition]!.push(...own);
    this.#catalog.push(...catalog);
  }
}
