/** Questions about the whole fleet as it was: partition by partition, in threads of their own, put together by who asked. */
import type { Manifests, Published } from "../catalog/manifests.js";
import type { CoreManifest } from "../core/core.js";
import { Problem } from "../events/problem.js";
import { core_manifest } from "./catalog_feed.js";
import type { PastInstants } from "./past.js";
import { DamagedPast, type PastThread, type PastThreads } from "./past_threads.js";
import type { ShardClient } from "./shard_client.js";
import type {
  BatchQuestion,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  HostsPage,
  PartitionBatch,
  PartitionCheck,
  PartitionFleet,
} from "./shard_protocol.js";

export interface PastParts {
  shard_of(partition: number): ShardClient;
  manifests: Manifests;
  threads: PastThreads;
  report(message: string): void;
}

/** Manifests that stood at an instant, null: now. */
export function standing(published: Published, known_at_ms: number | null): boolean {
  if (known_at_ms === null) return published.withdrawn === null;
  const { log_time_ms, withdrawn } = published;
  return log_time_ms <= known_at_ms && !(withdrawn !== null && withdrawn.log_time_ms <= known_at_ms);
}

interface Past<Found> {
  next_offset: bigint;
  /** Null: the partition cannot tell. */
  found: Found | null;
}

export class PastQuestions {
  readonly #parts: PastParts;

  constructor(parts: PastParts) {
    this.#parts = parts;
  }

  check(
    instants: PastInstants,
    question: CheckQuestion,
    partitions: readonly number[],
  ): Promise<PartitionCheck[]> {
    return this.#of_all(instants, partitions, (thread) => thread.ask("check", question));
  }

  check_batch(
    instants: PastInstants,
    question: BatchQuestion,
    partitions: readonly number[],
  ): Promise<PartitionBatch[]> {
    return this.#of_all(instants, partitions, (thread) => thread.ask("check_batch", question));
  }

  async fleet(instants: PastInstants, asked: readonly number[]): Promise<PartitionFleet[]> {
    const partitions = await this.#of_all(instants, asked, (thread) => thread.ask("fleet", null));
    return partitions.map(({ partition, next_offset, found }) => ({ partition, next_offset, rows: found }));
  }

  /** In the order of the partition's hosts. Throws Problem where the partition's log is damaged. */
  async *verdicts(instants: PastInstants, question: HostsCheckQuestion): AsyncGenerator<HostOutcome> {
    const { threads } = this.#parts;
    const thread = await threads.take();
    try {
      await this.#fold(thread, question.partition, instants, this.#manifests(instants));
      for (let first: number | null = 0; first !== null; ) {
        const page: HostsPage = await thread.ask("check_hosts", { ...question, first });
        yield* page.hosts;
        first = page.next;
      }
    } catch (error) {
      throw error instanceof DamagedPast ? new Problem("unavailable", error.message) : error;
    } finally {
      threads.give_back(thread);
    }
  }

  async #of_all<Found>(
    instants: PastInstants,
    partitions: readonly number[],
    ask: (thread: PastThread) => Promise<Found>,
  ): Promise<({ partition: number } & Past<Found>)[]> {
    const { threads, report } = this.#parts;
    const manifests = this.#manifests(instants);
    const one = async (partition: number) => {
      try {
        return await threads.with_thread(async (thread) => {
          const next_offset = await this.#fold(thread, partition, instants, manifests);
          return { partition, next_offset, found: await ask(thread) };
        });
      } catch (error) {
        // One that is broken, or damaged where this had to be read, is missing from the answer, which says so.
        const is_missing = error instanceof DamagedPast || is_unavailable(error);
        if (!is_missing) throw error;
        report(`partition ${partition} is missing from an answer about the past: ${error.message}`);
        return { partition, next_offset: 0n, found: null };
      }
    };
    return Promise.all(partitions.map(one));
  }

  async #fold(
    thread: PastThread,
    partition: number,
    instants: PastInstants,
    manifests: CoreManifest[],
  ): Promise<bigint> {
    const { shard_of, report } = this.#parts;
    const to = await shard_of(partition).ask("chained_position", [partition, false]);
    const { next_offset, reports } = await thread.ask("fold", {
      question: { partition, to, ...instants },
      manifests,
    });
    for (const message of reports) report(message);
    return next_offset;
  }

  #manifests({ known_at_ms }: PastInstants): CoreManifest[] {
    const { all } = this.#parts.manifests;
    return all.filter((one) => standing(one, known_at_ms)).map(({ manifest }) => core_manifest(manifest));
  }
}

function is_unavailable(error: unknown): error is Problem {
  return error instanceof Problem && error.code === "unavailable";
}
