/** One partition on the simulated disk: what it was sent, what it has acknowledged or served, and what it has now. */

import { replay_partition } from "#services/audit/replay_partition.js";
import { Core } from "#services/core/core.js";
import { format_digest } from "#services/core/digest.js";
import { HostFactRows, type HostList, host_list } from "#services/core/host_list.js";
import { Problem } from "#services/events/problem.js";
import { klpstate } from "#services/events/proto.js";
import { LogCorruption } from "#services/log/corruption.js";
import { records_of } from "#services/log/frame.js";
import { Partition } from "#services/registry/partition.js";
import { core_options, log_directory, type RegistryPlace } from "#services/registry/partition_place.js";
import { core_module } from "../model/from_core.js";
import { place_in } from "../model/place.js";
import { apply_record, hosts_digest, new_registry, type RegistryModel } from "../model/registry.js";
import { ChainLife } from "./chain_life.js";
import {
  disk_failed_at,
  fail,
  type Inhabitant,
  type Opened,
  says_ended,
  says_nothing_stored,
  sync_failed_at,
  type World,
} from "./inhabitant.js";
import type { SimulatedProcess } from "./simulated_disk.js";
import { SnapshotLife } from "./snapshot_life.js";
import { PARTITIONS } from "./supply.js";

/** A record that was sent, with a number of its own at the end of its bytes. */
interface Sent {
  number: number;
  bytes: Uint8Array;
  /** "unanswered" may be in the log or not. */
  answer: "unanswered" | "acknowledged" | "nothing_stored";
}

interface Found {
  sent: Sent;
  log_time_ms: number;
}

/** Field 1000 of an EventBatch, fixed32: one that no reader knows. */
const NUMBER_TAG = [0xc5, 0x3e];

function numbered(batches: Uint8Array[], number: number): Uint8Array {
  const tail = Buffer.from([...NUMBER_TAG, 0, 0, 0, 0]);
  tail.writeUint32LE(number, NUMBER_TAG.length);
  return Uint8Array.from(Buffer.concat([...batches, tail]));
}

function number_of(record: Uint8Array): number {
  return Buffer.from(record).readUint32LE(record.length - 4);
}

function hosts_of(records: Uint8Array[]): HostList {
  const events = records.flatMap((record) => klpstate.v1.EventBatch.decode(record).events);
  return host_list([...new Set(events.map(({ host_id }) => host_id ?? ""))]);
}

export class PartitionLife implements Inhabitant {
  readonly name: string;
  readonly directory: string;
  readonly #world: World;
  readonly #number: number;
  readonly #sent: Sent[] = [];
  /** By offset: acknowledged, or served once. */
  #promised: Sent[] = [];
  /** What was found at the last check, and the plain model's fold of it. */
  #found: Found[] = [];
  #model: RegistryModel = new_registry();
  readonly #place: RegistryPlace;
  readonly snapshots: SnapshotLife;
  readonly chains: ChainLife;
  /** Says which records the fold takes. */
  #judge: Core | null = null;
  /** A thread is at its snapshots or chains. */
  #keeping = false;
  #process: SimulatedProcess | null = null;
  #partition: Partition | null = null;
  ended = false;

  constructor(world: World, number: number) {
    this.#world = world;
    this.#number = number;
    this.name = `partition ${number}`;
    this.directory = log_directory(world.directory, number);
    this.#place = place_in(world.directory, PARTITIONS);
    this.snapshots = new SnapshotLife(world, this.#place, number);
    this.chains = new ChainLife(world, this.#place, number);
  }

  get promised_end(): bigint {
    return BigInt(this.#promised.length);
  }

  get acknowledged(): number {
    return this.#sent.filter(({ answer }) => answer === "acknowledged").length;
  }

  async open(process: SimulatedProcess): Promise<Opened> {
    this.#process = process;
    this.ended = false;
    this.#keeping = false;
    const reports: string[] = [];
    const partition = await Partition.open({
      disk: process,
      place: this.#place,
      partition: this.#number,
      report: (message) => {
        reports.push(message);
        this.chains.begun_elsewhere();
      },
      segment_bytes_max: this.#world.segment_bytes_max,
      now: this.#world.now,
    });
    this.#partition = partition;
    const { from, log_time_ms, reaches } = this.snapshots.found_by_start(reports, process);
    this.chains.opened(from);
    if (partition.broken !== null) {
      // Nothing of it is served, whatever the fold has seen before the damage.
      if (partition.serves || partition.log !== null) fail(`${this.name} is broken and serves`);
      return { state: "damaged", message: partition.broken, from, reaches };
    }
    if (partition.status().snapshot_log_time_ms !== log_time_ms) {
      fail(`${this.name} does not go on from the snapshot at ${from?.offset ?? "none"}`);
    }
    return { state: "serves", torn: place_of(partition.torn), from, reaches };
  }

  async check(): Promise<void> {
    const partition = this.#partition!;
    const log = partition.serving_log();
    const found: Found[] = [];
    for await (const frame of log.read(0n)) {
      for (const { offset, log_time_ms, bytes } of records_of(frame.bytes)) {
        if (offset !== BigInt(found.length)) {
          fail(`${this.name} has offset ${offset} where ${found.length} follows`);
        }
        found.push({ sent: this.#recognize(offset, bytes), log_time_ms });
      }
    }
    if (log.next_offset !== BigInt(found.length)) {
      fail(`${this.name} says it ends at ${log.next_offset}; ${found.length} records can be read`);
    }
    this.#compare(found);
    await this.#compare_state(partition, found);
    this.#promised = found.map(({ sent }) => sent);
    await this.chains.check(partition, this.#process!, this.#judge_core(), 2);
  }

  #judge_core(): Core {
    this.#judge ??= new Core(core_module, core_options(this.#place, this.#number));
    return this.#judge;
  }

  #recognize(offset: bigint, bytes: Uint8Array): Sent {
    const sent = this.#sent[number_of(bytes)];
    if (sent === undefined || !Buffer.from(bytes).equals(sent.bytes)) {
      fail(`${this.name} has a record at offset ${offset} that was never sent`);
    }
    if (sent.answer === "nothing_stored") {
      fail(
        `${this.name} has record ${sent.number} at offset ${offset}, of which it said that nothing was stored`,
      );
    }
    return sent;
  }

  #compare(found: Found[]): void {
    for (const [offset, promised] of this.#promised.entries()) {
      const there = found[offset]?.sent;
      if (there !== promised) {
        fail(
          `${this.name} has ${there === undefined ? "no record" : `record ${there.number}`} at offset ${offset}, ` +
            `where it promised record ${promised.number} (${promised.answer}); it ends at ${found.length}`,
        );
      }
    }
    for (const [offset, { sent, log_time_ms }] of found.entries()) {
      const before = found[offset - 1];
      if (before === undefined) continue;
      if (sent.number <= before.sent.number) {
        fail(
          `${this.name} has record ${sent.number} at offset ${offset} behind record ${before.sent.number}`,
        );
      }
      if (log_time_ms < before.log_time_ms) fail(`${this.name}: the log time falls at offset ${offset}`);
    }
    for (const [offset, { log_time_ms }] of this.#found.entries()) {
      if (found[offset]?.log_time_ms !== log_time_ms) {
        fail(`${this.name}: the log time at offset ${offset} is another one than before`);
      }
    }
  }

  async #compare_state(partition: Partition, found: Found[]): Promise<void> {
    for (const { sent, log_time_ms } of found.slice(this.#found.length)) {
      this.#take(sent, log_time_ms);
    }
    this.#found = found;
    const expected = hosts_digest(this.#model.hosts.values());
    const digest = format_digest(partition.digest());
    if (digest !== expected) fail(`${this.name} has digest ${digest}, the plain model ${expected}`);
    if (!this.#world.dice.chance(0.2)) return;
    const replayed = await this.#replay();
    if (format_digest(replayed.digest) !== expected) fail(`${this.name}: a replay has another digest`);
  }

  #replay() {
    const task = {
      directory: this.#world.directory,
      partition: this.#number,
      partition_count: PARTITIONS,
      to: this.#partition!.serving_log().next_offset,
    };
    return replay_partition(task, core_module, this.#process!, () => {});
  }

  #take({ bytes }: Sent, log_time_ms: number): void {
    apply_record(this.#model, { bytes, log_time_ms: BigInt(log_time_ms) });
    this.chains.add(bytes, log_time_ms);
  }

  /**
   * A thread of the process makes snapshots and chains that are missing, until it ends. Resolves with what is said of
   * damage; null: nothing.
   */
  async keep(thread: SimulatedProcess): Promise<string | null> {
    if (this.#keeping) return null;
    this.#keeping = true;
    const partition = this.#partition!;
    const process = this.#process!;
    try {
      const kept = this.#keep(partition, process, thread);
      const ended = thread.died.then(() => {
        if (!process.dead) this.#world.happened("keeper stopped");
      });
      await Promise.race([kept, ended]);
      return null;
    } catch (error) {
      if (thread.dead) return null;
      if (error instanceof LogCorruption) return error.message;
      throw error;
    } finally {
      if (this.#process === process) this.#keeping = false;
    }
  }

  async #keep(partition: Partition, process: SimulatedProcess, thread: SimulatedProcess): Promise<void> {
    const { snapshots, chains } = this;
    if (partition.status().unsnapshotted_bytes > 0) {
      const position = await snapshots.keep(partition, thread);
      if (position !== null) chains.snapshot_made(position, process);
    }
    await chains.mend(partition, thread, snapshots.core);
  }

  /** On a disk that is well, with something appended now and then: chains that lack something are whole again. */
  async mend_chains(process: SimulatedProcess): Promise<void> {
    const partition = this.#partition!;
    for (let rounds = 4; !this.chains.leads_to_all(partition); rounds--) {
      if (rounds === 0) fail(`${this.name}: no chain leads to all events, and none is made anew`);
      const thread = process.thread(Number.POSITIVE_INFINITY);
      if (!(await this.chains.mend(partition, thread, this.snapshots.core))) {
        fail(`${this.name}: a chain is not made on a disk that is well`);
      }
      await this.send(true);
    }
  }

  async send(must_be_taken: boolean): Promise<void> {
    const { dice, supply } = this.#world;
    const partition = this.#partition!;
    const process = this.#process!;
    const records = Array.from({ length: dice.weighted([6, 1], [2, 2], [1, 5]) }, () => {
      const batches = Array.from({ length: dice.weighted([15, 1], [1, 40]) }, () =>
        supply.batch(this.#number),
      );
      const number = this.#sent.length;
      const sent: Sent = { number, bytes: numbered(batches, number), answer: "unanswered" };
      this.#sent.push(sent);
      return sent;
    });
    const bytes = records.map((record) => record.bytes);
    try {
      const { next_offset, host_facts } = await partition.append(bytes, hosts_of(bytes), true);
      if (process.dead) return;
      if (this.ended) fail(`${this.name} takes records after an fsync that failed`);
      const facts = new HostFactRows(host_facts!);
      for (let row = 0; row < facts.count; row++) {
        if (!facts.is_known(row)) fail(`${this.name} acknowledges what it has not folded`);
      }
      this.#acknowledged(records, next_offset);
    } catch (error) {
      if (process.dead) return;
      this.#refused(records, error, must_be_taken);
    }
  }

  #acknowledged(records: Sent[], next_offset: bigint): void {
    const first = Number(next_offset) - records.length;
    for (const [index, sent] of records.entries()) {
      const other = this.#promised[first + index];
      if (other !== undefined) {
        fail(
          `${this.name} gives offset ${first + index} to record ${sent.number}, which record ${other.number} has`,
        );
      }
      sent.answer = "acknowledged";
      this.#promised[first + index] = sent;
    }
  }

  #refused(records: Sent[], error: unknown, must_be_taken: boolean): void {
    if (!(error instanceof Problem)) throw error;
    const { code, message } = error;
    const process = this.#process!;
    if (code !== "disk_full" && code !== "unavailable") fail(`${this.name} refuses with ${code}: ${message}`);
    if (!disk_failed_at(process, this.directory)) fail(`${this.name} refuses without a reason: ${message}`);
    if (says_ended(message)) {
      if (!sync_failed_at(process, this.directory)) fail(`${this.name} ended without a reason: ${message}`);
      this.ended = true;
    } else if (this.ended) {
      fail(`${this.name} does not say that it has ended: ${message}`);
    }
    if (must_be_taken && !this.ended) fail(`${this.name} refuses when the disk is well again: ${message}`);
    if (code === "disk_full" && !says_nothing_stored(message)) fail(`${this.name}: ${message}`);
    if (!says_nothing_stored(message)) return;
    for (const sent of records) sent.answer = "nothing_stored";
  }

  async read_damaged(): Promise<string | null> {
    const log = this.#partition!.serving_log();
    try {
      if (this.#world.dice.chance(0.3)) await this.#replay();
      for await (const frame of log.read(0n)) {
        for (const { offset, bytes } of records_of(frame.bytes)) this.#recognize(offset, bytes);
      }
      return null;
    } catch (error) {
      if (error instanceof LogCorruption) return error.message;
      throw error;
    }
  }

  forget_from(offset: bigint): void {
    const end = Number(offset);
    if (this.#promised.length <= end) return;
    this.#promised.length = end;
    this.#found.length = Math.min(this.#found.length, end);
    this.#model = new_registry();
    this.chains.clear();
    for (const { sent, log_time_ms } of this.#found) this.#take(sent, log_time_ms);
  }

  async close(): Promise<void> {
    await this.#partition?.close();
  }

  abandon(): void {
    if (this.#process !== null) this.chains.abandon(this.#process);
    this.#partition = null;
    this.#process = null;
  }
}

/** Of Partition's words about a torn tail. */
function place_of(torn: string | null) {
  if (torn === null) return null;
  const match = /^(.*): cut \d+ bytes at byte (\d+), offset (\d+) /.exec(torn);
  if (match === null) return fail(`a torn tail is told as: ${torn}`);
  return { file: match[1]!, byte: Number(match[2]), offset: BigInt(match[3]!) };
}
