/** The catalog on the simulated disk. It is sent one record at a time, so at most one is without an answer. */
import { Catalog } from "#services/catalog/catalog.js";
import { encode_catalog_record } from "#services/events/codec.js";
import { Problem } from "#services/events/problem.js";
import { LogCorruption } from "#services/log/corruption.js";
import { frames_of, records_of } from "#services/log/frame.js";
import { read_log } from "#services/log/read_only.js";
import { SCAN_BYTES } from "#services/log/segment.js";
import { log_directory } from "#services/registry/partition_place.js";
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

const FROM_THE_BEGINNING = { from: null, reaches: 0n };

export class CatalogLife implements Inhabitant {
  readonly name = "catalog";
  readonly directory: string;
  readonly #world: World;
  /** Records that have to be there, by offset. */
  #promised: Buffer[] = [];
  /** What may be there behind them. */
  #unanswered: Buffer | null = null;
  #process: SimulatedProcess | null = null;
  #catalog: Catalog | null = null;
  /** A send that is under way. */
  #sending = false;
  ended = false;

  constructor(world: World) {
    this.#world = world;
    this.directory = log_directory(world.directory, "catalog");
  }

  get promised_end(): bigint {
    return BigInt(this.#promised.length);
  }

  async open(process: SimulatedProcess): Promise<Opened> {
    this.#process = process;
    this.ended = false;
    this.#sending = false;
    try {
      const { catalog, torn } = await Catalog.open({
        disk: process,
        directory: this.directory,
        segment_bytes_max: this.#world.segment_bytes_max,
        now: this.#world.now,
        on_change: () => {},
      });
      this.#catalog = catalog;
      return { state: "serves", torn, ...FROM_THE_BEGINNING };
    } catch (error) {
      if (error instanceof LogCorruption)
        return { state: "damaged", message: error.message, ...FROM_THE_BEGINNING };
      throw error;
    }
  }

  async check(): Promise<void> {
    if (this.#sending) return;
    const found = await this.#read();
    const expected = this.#promised;
    for (const [offset, record] of expected.entries()) {
      if (found[offset]?.equals(record) !== true)
        fail(`the catalog lacks what it promised at offset ${offset}`);
    }
    const more = found.slice(expected.length);
    if (more.length > 1 || (more.length === 1 && this.#unanswered?.equals(more[0]!) !== true)) {
      fail(`the catalog has ${more.length} records from offset ${expected.length} on that were never sent`);
    }
    this.#promised = found;
    if (!this.ended) this.#unanswered = null;
  }

  async #read(): Promise<Buffer[]> {
    const found: Buffer[] = [];
    const buffer: Uint8Array = Buffer.allocUnsafeSlow(SCAN_BYTES);
    await read_log({
      disk: this.#process!,
      directory: this.directory,
      name: this.name,
      to: this.#catalog!.next_offset,
      buffer: () => buffer,
      on_frames(frames) {
        for (const frame of frames_of(frames)) {
          for (const { bytes } of records_of(frame)) found.push(Buffer.from(bytes));
        }
      },
    });
    return found;
  }

  async send(must_be_taken: boolean): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    const process = this.#process!;
    const catalog = this.#catalog!;
    const record = this.#world.supply.catalog_record();
    const before = catalog.next_offset;
    const bytes = Buffer.from(encode_catalog_record(record));
    // Once it has ended nothing more is written: what is in doubt is the record that it ended with.
    if (!this.ended) this.#unanswered = bytes;
    try {
      if (record.published) await catalog.publish(record.published);
      else await catalog.withdraw(record.withdrawn!.identity!, "wrong file", "admin");
    } catch (error) {
      if (process.dead) return;
      if (!(error instanceof Problem)) throw error;
      // The catalog's own answers: the record is there or was not needed, as its position says.
      if (["contradiction", "not_found", "bad_input"].includes(error.code)) this.#answered(before, bytes);
      else this.#refused(error.message, must_be_taken);
      this.#sending = false;
      return;
    }
    if (process.dead) return;
    this.#answered(before, bytes);
    this.#sending = false;
  }

  #answered(before: bigint, bytes: Buffer): void {
    if (this.#catalog!.next_offset > before) {
      if (this.ended) fail("the catalog takes records after an fsync that failed");
      this.#promised.push(bytes);
    }
    if (!this.ended) this.#unanswered = null;
  }

  #refused(message: string, must_be_taken: boolean): void {
    const process = this.#process!;
    if (!disk_failed_at(process, this.directory)) fail(`the catalog refuses without a reason: ${message}`);
    if (says_ended(message)) {
      if (!sync_failed_at(process, this.directory)) fail(`the catalog ended without a reason: ${message}`);
      this.ended = true;
    }
    if (must_be_taken && !this.ended) fail(`the catalog refuses when the disk is well again: ${message}`);
    if (says_nothing_stored(message)) this.#unanswered = null;
  }

  async read_damaged(): Promise<string | null> {
    try {
      await this.#read();
      return null;
    } catch (error) {
      if (error instanceof LogCorruption) return error.message;
      throw error;
    }
  }

  forget_from(offset: bigint): void {
    this.#promised.length = Math.min(this.#promised.length, Number(offset));
  }

  async close(): Promise<void> {
    await this.#catalog?.close();
  }

  abandon(): void {
    this.#catalog = null;
    this.#process = null;
  }
}
