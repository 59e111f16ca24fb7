/** What leaves a partition, after repeats are dropped, is what the plain model says of its log: however often it was interrupted. */
import { rmSync } from "node:fs";
import fc from "fast-check";
import type { Message } from "kafkajs";
import { expect, test } from "vitest";
import { Manifests } from "#services/catalog/manifests.js";
import { type CausePosition, is_after } from "#services/events/cause.js";
import { encode_catalog_record } from "#services/events/codec.js";
import { decode_state_change } from "#services/events/state_change.js";
import { type OutletProgress, start_outlet } from "#services/kafka/state_changes/outlet.js";
import type { Attempts } from "#services/kafka/state_changes/partition_sender.js";
import { cause_from_headers, type ToldTo } from "#services/kafka/state_changes/record.js";
import { CatalogFacts, catalog_fact } from "#services/registry/catalog_feed.js";
import { apply_catalog_record, type CatalogModel, new_catalog } from "../model/catalog.js";
import { expected_changes } from "../model/changes.js";
import { random_catalog, random_log } from "../model/random.js";
import type { LogRecord } from "../model/registry.js";
import { unsynced_disk } from "../unit/log/fixtures.js";
import { ALL, KeptPartition } from "../unit/registry/kept_partition.js";

/** No tag of 0 is decoded. */
const POISON = Uint8Array.of(0, 1, 2);

type Fault = "none" | "lost_answer" | "not_sent";

/** A topic's partition at a broker, whose faults come in turn. */
class Topic implements Attempts {
  readonly appended: Message[] = [];
  #is_under_way = false;

  constructor(readonly faults: Fault[]) {}

  attempt: Attempts["attempt"] = async (partition, messages) => {
    expect(partition).toBe(0);
    expect(this.#is_under_way).toBe(false);
    this.#is_under_way = true;
    const fault = this.faults.shift() ?? "none";
    await Promise.resolve();
    this.#is_under_way = false;
    if (fault === "not_sent") return { why: "no leader", may_be_written: false, final: false };
    const offset = BigInt(this.appended.length);
    this.appended.push(...messages);
    return fault === "none" ? { offset } : { why: "reset", may_be_written: true, final: false };
  };
}

const fault = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Fault>("none") },
  { weight: 1, arbitrary: fc.constantFrom<Fault>("lost_answer", "not_sent") },
);

const life = fc
  .oneof(
    random_log({ hosts_max: 4, steps_max: 60 }),
    random_log({ hosts_max: 4, steps_max: 60, orderly: true }),
  )
  .chain((records) =>
    fc.record({
      records: fc.constant(records),
      catalog: random_catalog(),
      behind: fc.array(
        fc.record({
          poison: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
          kept: fc.integer({ min: 0, max: 5 }).map((dice) => dice === 0),
          restarted: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
          /** How far back the new owner believes the changes to be told: some of the last ones, none of the commits. */
          forgets: fc.nat(3),
          committed: fc.boolean(),
        }),
        { minLength: records.length, maxLength: records.length },
      ),
      faults: fc.array(fault, { maxLength: 12 }),
    }),
  );

/** In the order of the topic, without those that came before. */
function without_repeats(messages: Message[]): Message[] {
  let last: CausePosition | null = null;
  return messages.filter(({ headers, value }) => {
    const cause = cause_from_headers(headers);
    if (value === null || !is_after(cause, last)) return false;
    last = cause;
    return true;
  });
}

class Owner {
  readonly progress: OutletProgress;
  readonly reports: string[] = [];
  readonly outlet;
  #on_progress = () => {};

  constructor(
    readonly kept: KeptPartition,
    writers: { state_changes: Topic; quarantine: Topic },
    facts: CatalogFacts,
    resume: { topic_cause: ToldTo | null; committed: OutletProgress | null },
  ) {
    const { topic_cause, committed } = resume;
    this.progress = {
      cause: is_after(topic_cause, committed?.cause ?? null) ? topic_cause : (committed?.cause ?? null),
      quarantined_to: committed?.quarantined_to ?? 0n,
    };
    this.outlet = start_outlet({
      partition: kept.partition,
      place: kept.place,
      disk: unsynced_disk,
      facts,
      catalog_next_offset: () => 7n,
      writers,
      topics: { host_events: "host-events", state_changes: "state-changes" },
      state_changes: true,
      may_publish: () => true,
      resume: {
        topic_cause,
        committed_cause: committed?.cause ?? null,
        quarantined_to: committed?.quarantined_to ?? null,
        source_end: kept.partition.log!.next_offset,
      },
      on_progress: (progress) => {
        Object.assign(this.progress, progress);
        this.#on_progress();
      },
      report: (message) => this.reports.push(message),
    });
  }

  /** Resolves when everything in the log is told. */
  async caught_up(): Promise<void> {
    const next_offset = this.kept.partition.log!.next_offset;
    while (
      (this.progress.cause?.offset ?? -1n) + 1n < next_offset ||
      this.progress.quarantined_to < next_offset
    ) {
      expect(this.outlet.broken).toBeNull();
      await new Promise<void>((resolve) => {
        this.#on_progress = resolve;
        setTimeout(resolve, 1_000).unref();
      });
    }
  }
}

test("state changes, after repeats are dropped, are the model's; each record that is not taken is quarantined", async () => {
  await fc.assert(
    fc.asyncProperty(life, async ({ records, catalog, behind, faults }) => {
      const kept = new KeptPartition();
      await kept.open();
      const writers = { state_changes: new Topic([...faults]), quarantine: new Topic([...faults]) };
      const { facts, model } = catalog_of(catalog);
      const log: (LogRecord & { offset: bigint })[] = [];
      const poison: bigint[] = [];
      let owner = new Owner(kept, writers, facts, { topic_cause: null, committed: null });
      await owner.outlet.started;
      for (const [i, record] of records.entries()) {
        kept.now_ms = Number(record.log_time_ms);
        log.push({ ...record, offset: kept.partition.log!.next_offset });
        await kept.append([record.bytes]);
        if (behind[i]!.poison) {
          poison.push(kept.partition.log!.next_offset);
          await kept.append([POISON]);
        }
        owner.outlet.wake();
        if (behind[i]!.kept) await kept.keep(ALL);
        if (!behind[i]!.restarted) continue;
        if (behind[i]!.committed) await owner.caught_up();
        await owner.outlet.stop();
        await kept.open();
        const published = writers.state_changes.appended;
        const last = published.at(Math.max(-published.length, -1 - behind[i]!.forgets));
        const committed = behind[i]!.committed ? { ...owner.progress } : null;
        owner = new Owner(kept, writers, facts, {
          topic_cause: cause_from_headers(last?.headers),
          committed,
        });
      }
      await owner.caught_up();
      await owner.outlet.stop();

      const told = without_repeats(writers.state_changes.appended);
      const changes = told.map(({ value }) => decode_state_change(value as Buffer));
      const seen = changes.map(({ event, change, stream, sequence, states_left_out, ...rest }) => rest);
      const expected = expected_changes(log, 0, model);
      expect(seen).toEqual(expected.map((one) => ({ ...one, catalog_next_offset: 7n })));
      const quarantined = writers.quarantine.appended.map(({ headers }) => headers!.source_offset);
      expect([...new Set(quarantined)]).toEqual(poison.map(String));
      rmSync(kept.place.directory, { recursive: true, force: true });
    }),
    { numRuns: 25 },
  );
});

function catalog_of(records: Parameters<typeof apply_catalog_record>[1][]): {
  facts: CatalogFacts;
  model: CatalogModel;
} {
  const manifests = new Manifests();
  const facts = new CatalogFacts();
  const model = new_catalog();
  for (const [offset, record] of records.entries()) {
    const fact = catalog_fact(manifests.apply(encode_catalog_record(record), BigInt(offset), 0));
    if (fact !== null) facts.add(fact);
    apply_catalog_record(model, record);
  }
  return { facts, model };
}
