/** Events that come in at this node: to the topic, whoever owns their partitions; then the owners say what became of hosts. */
import { setTimeout as sleep } from "node:timers/promises";
import { HostFactRows } from "../core/host_list.js";
import type { BatchPart } from "../core/way_in.js";
import type { PartStored } from "../registry/acknowledgement.js";
import type { Intake, Partitions } from "../registry/partitions.js";
import { all_stored } from "./publish_problem.js";
import type { Publisher } from "./publisher.js";

/** What an acknowledgement waits for the owners at most: the events are stored, and their publisher can go on. */
const FACTS_WAIT_MS = 500;

export class KafkaIntake implements Intake {
  readonly #publisher: Publisher;
  readonly #partitions: Pick<Partitions, "ask">;

  constructor(publisher: Publisher, partitions: Pick<Partitions, "ask">) {
    this.#publisher = publisher;
    this.#partitions = partitions;
  }

  async store(parts: BatchPart[], wants_facts: boolean): Promise<PartStored[]> {
    const stored = all_stored(await this.#publisher.store(parts));
    return Promise.all(
      stored.map(async ({ partition, next_offset }, i) => {
        const { hosts: list } = parts[i]!;
        const facts = wants_facts ? await this.#facts(partition, list, next_offset) : null;
        return { partition, next_offset, hosts: wants_facts ? { list, facts } : null };
      }),
    );
  }

  /** Null: nobody could tell in time, or not of all. */
  async #facts(
    partition: number,
    hosts: BatchPart["hosts"],
    next_offset: bigint,
  ): Promise<Uint8Array | null> {
    const given = [partition, hosts, next_offset, FACTS_WAIT_MS] as const;
    const asked = this.#partitions.ask(partition, "host_facts", [...given]).catch(() => null);
    const facts = await Promise.race([asked, sleep(FACTS_WAIT_MS, null, { ref: false })]);
    if (facts === null) return null;
    const rows = new HostFactRows(facts);
    // A record that the fold did not take, or a partition that is full, leaves a host unknown.
    for (let row = 0; row < rows.count; row++) if (!rows.is_known(row)) return null;
    return facts;
  }
}
