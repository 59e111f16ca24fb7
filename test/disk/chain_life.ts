/**
 * One partition's chains on the simulated disk, seen through the histories of its hosts: whatever became of the chains,
 * a history is what the records say, and by the chain it is told wherever nothing excuses that it is not.
 */

import type { Core } from "#services/core/core.js";
import { klpstate } from "#services/events/proto.js";
import { error_code } from "#services/log/disk.js";
import { host_events } from "#services/registry/host_events.js";
import { remake_chain } from "#services/registry/keep.js";
import type { Partition } from "#services/registry/partition.js";
import { log_directory, type RegistryPlace } from "#services/registry/partition_place.js";
import { batch_of, events_of } from "../model/registry.js";
import { spoil_derived } from "./derived_damage.js";
import { fail, is_of_a_chain, type ReadFrom, type World } from "./inhabitant.js";
import type { SimulatedProcess } from "./simulated_disk.js";

interface HistoryEvent {
  offset: bigint;
  index: number;
  log_time_ms: number;
  /** As a batch of one. */
  batch: Uint8Array;
}

export class ChainLife {
  readonly #world: World;
  readonly #place: RegistryPlace;
  readonly #number: number;
  readonly #directory: string;
  #histories = new Map<string, HistoryEvent[]>();
  #log_times_ms: number[] = [];
  /** Nothing that this process found, or did, excuses a chain that does not lead on. */
  #whole = false;
  /** A start from a snapshot of this position finds all chains before it, whatever the crash was. */
  #sure: { offset: bigint; byte: number } | null = null;

  constructor(world: World, place: RegistryPlace, number: number) {
    this.#world = world;
    this.#place = place;
    this.#number = number;
    this.#directory = log_directory(place.directory, number);
  }

  /** The log's next record. */
  add(bytes: Uint8Array, log_time_ms: number): void {
    const offset = BigInt(this.#log_times_ms.length);
    this.#log_times_ms.push(log_time_ms);
    for (const [index, event] of events_of(bytes).entries()) {
      const { host_id } = klpstate.v1.HostEvent.decode(event);
      const history = this.#histories.get(host_id) ?? [];
      history.push({ offset, index, log_time_ms, batch: batch_of([event]) });
      this.#histories.set(host_id, history);
    }
  }

  /** The log has no records. */
  clear(): void {
    this.#histories = new Map();
    this.#log_times_ms = [];
  }

  /** A start begins to read somewhere else than at the newest snapshot, and to write chains from there. */
  begun_elsewhere(): void {
    this.#sure = null;
  }

  opened(from: ReadFrom | null): void {
    // An empty frame may stand between two positions of one offset.
    if (from?.offset !== this.#sure?.offset || from?.byte !== this.#sure?.byte) this.#sure = null;
    this.#whole = from === null || this.#sure !== null;
  }

  /** A snapshot was made of the position, which `chained_position` gave. */
  snapshot_made(position: { offset: bigint; byte: number }, process: SimulatedProcess): void {
    this.#sure = this.#is_whole(process) ? position : null;
  }

  /** A process is gone, perhaps in the middle of a start: a chain that it could not read it has written anew. */
  abandon({ errors }: SimulatedProcess): void {
    const is_unread = errors.some(({ step, path, code }) => {
      return (step === "open_read" || step === "read") && is_of_a_chain(path) && code !== "ENOENT";
    });
    if (is_unread) this.#sure = null;
  }

  #is_whole({ errors }: SimulatedProcess): boolean {
    // A chain that is not there yet is looked for.
    const hurts = errors.some(({ step, path, code }) => {
      const is_name = step === "sync_directory" && path === this.#directory;
      return is_name || (is_of_a_chain(path) && code !== "ENOENT");
    });
    return this.#whole && !hurts;
  }

  /** Some hosts' histories, of a log that is as it was told to `add`. */
  async check(partition: Partition, process: SimulatedProcess, judge: Core, hosts: number): Promise<void> {
    const { dice } = this.#world;
    for (const [host_id, history] of dice.shuffled(this.#histories).slice(0, hosts)) {
      const host = partition.core.find_host(host_id);
      if (host === null) return fail(`partition ${this.#number} does not know the host ${host_id}`);
      const found = partition.events_of(host);
      this.#world.happened(found === null ? "history by reading" : "history by the chain");
      if (found === null && this.#is_whole(process)) fail(`the chain does not lead to all of ${host_id}`);
      const told: HistoryEvent[] = [];
      for await (const event of host_events(partition.serving_log(), host_id, found, null, judge)) {
        told.push(event);
      }
      compare(host_id, told, history);
    }
    await this.#check_instant(partition);
  }

  async #check_instant(partition: Partition): Promise<void> {
    const times = this.#log_times_ms;
    if (times.length === 0) return;
    const known_at_ms = this.#world.dice.pick(times) - this.#world.dice.below(2);
    const later = times.findIndex((log_time_ms) => log_time_ms > known_at_ms);
    const expected = BigInt(later < 0 ? times.length : later);
    const next_offset = await partition.next_offset_at(known_at_ms);
    if (next_offset !== expected) {
      fail(`by ${known_at_ms} the log had come to offset ${expected}, and it says ${next_offset}`);
    }
  }

  /** A thread makes what is missing; false: it could not. Throws what the product throws of a log that does not check. */
  async mend(partition: Partition, thread: SimulatedProcess, core: Core): Promise<boolean> {
    for (const gap of partition.chain_gaps()) {
      try {
        await remake_chain(thread, this.#place, core, gap, () => {});
      } catch (error) {
        if (thread.errors.length > 0 && (error_code(error) !== "" || is_unwritten(error))) return false;
        throw error;
      }
      partition.chain_made(gap.segment);
      // Its blocks end elsewhere: a start from a snapshot in the middle of one begins the chain anew.
      this.#sure = null;
      this.#world.happened("chain made anew");
    }
    return true;
  }

  /** Whether the chain leads to every event of every host. */
  leads_to_all(partition: Partition): boolean {
    return [...this.#histories.keys()].every((host_id) => {
      return partition.events_of(partition.core.find_host(host_id)!) !== null;
    });
  }

  /** One of the files is damaged. */
  spoil(): void {
    const { dice, disk } = this.#world;
    const directory = disk.directory(this.#directory)!;
    const names = [...directory.names()].filter(is_of_a_chain);
    if (names.length === 0) return;
    const kind = spoil_derived(directory, dice.pick(names.sort()), dice);
    if (kind === null) return;
    this.#whole = false;
    this.#sure = null;
    this.#world.happened(`chain ${kind}`);
  }
}

function is_unwritten(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith(" cannot be written");
}

function compare(host_id: string, told: readonly HistoryEvent[], history: readonly HistoryEvent[]): void {
  for (const [n, event] of history.entries()) {
    const other = told[n];
    const place = `${event.offset}.${event.index}`;
    if (other === undefined) fail(`the history of ${host_id} ends before ${place}`);
    if (other.offset !== event.offset || other.index !== event.index) {
      fail(`the history of ${host_id} has ${other.offset}.${other.index} where ${place} stands`);
    }
    if (other.log_time_ms !== event.log_time_ms || !Buffer.from(other.batch).equals(event.batch)) {
      fail(`the history of ${host_id} has another event at ${place}`);
    }
  }
  if (told.length > history.length) fail(`the history of ${host_id} goes on behind its last event`);
}
