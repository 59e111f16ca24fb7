/**
 * What lives on the simulated disk: it is opened by one process after the other, remembers what it was promised, and
 * says whether what it finds agrees. A life (life.ts) does not know what kind of thing it has.
 */
import type { Dice } from "./dice.js";
import type { SimulatedDisk, SimulatedProcess } from "./simulated_disk.js";
import type { Supply } from "./supply.js";

/** What all that live on one disk share. */
export interface World {
  readonly dice: Dice;
  readonly supply: Supply;
  readonly disk: SimulatedDisk;
  /** The registry's. */
  readonly directory: string;
  readonly segment_bytes_max: number;
  /** The clock, ms since 1970; it may go back. */
  now(): number;
  /** Of EVENT_KINDS (life.ts). */
  happened(kind: string): void;
}

/** Where in a log bytes were cut, or do not check. */
export interface Place {
  file: string;
  byte: number;
  offset: bigint;
}

/** From where on a start reads a log: what stands before it is in a snapshot. */
export interface ReadFrom {
  /** First offset of the segment. */
  segment: bigint;
  byte: number;
  offset: bigint;
}

export type Opened = ({ state: "serves"; torn: Place | null } | { state: "damaged"; message: string }) & {
  /** Null: the beginning. */
  from: ReadFrom | null;
  /** The log had all records below, as the names of its snapshots say. */
  reaches: bigint;
};

export interface Inhabitant {
  /** As the log calls itself in messages. */
  readonly name: string;
  /** Of its log. */
  readonly directory: string;
  /** One more than the last offset that was promised. */
  readonly promised_end: bigint;
  /** Throws what the product throws where the disk does not let it. */
  open(process: SimulatedProcess): Promise<Opened>;
  /** Compares all that is found with what was promised; from now on all of it is promised. Throws LifeFailure. */
  check(): Promise<void>;
  /**
   * Something is sent; resolves when it is answered. Throws LifeFailure where an answer is wrong. `must_be_taken`:
   * there is nothing that could stand against it.
   */
  send(must_be_taken: boolean): Promise<void>;
  /** An fsync has failed under it: it takes nothing more until the next start. */
  readonly ended: boolean;
  /** Reads everything; returns what is said of damage, null: nothing. Throws LifeFailure where damage is served. */
  read_damaged(): Promise<string | null>;
  /** What stood from this offset on is lost, as it may be. */
  forget_from(offset: bigint): void;
  close(): Promise<void>;
  /** Its process is gone: what was not answered may be there or not. */
  abandon(): void;
}

/** The product broke a promise. */
export class LifeFailure extends Error {
  override readonly name = "LifeFailure";
}

export function fail(message: string): never {
  throw new LifeFailure(message);
}

/** Of a refusal: whether it says that nothing was stored. */
export function says_nothing_stored(message: string): boolean {
  return message.includes("nothing was stored");
}

/** Of a refusal: whether it is final until a restart. */
export function says_ended(message: string): boolean {
  return message.includes("takes no more records") && message.includes("restart");
}

/** Of a file that is made from a log's segments, in their directory: nothing of the log depends on it. */
export function is_of_a_chain(path: string): boolean {
  return path.endsWith(".chain") || path.endsWith(".chain.new");
}

/** Whether the disk gave an error that is a reason for this: one at a segment in this directory, or at the directory. */
export function disk_failed_at(process: SimulatedProcess, directory: string): boolean {
  return process.errors.some(({ path }) => path.startsWith(directory) && !is_of_a_chain(path));
}

/** After which a log may say that no fsync can be trusted. */
export function sync_failed_at(process: SimulatedProcess, directory: string): boolean {
  const steps = new Set(["sync", "sync_directory", "truncate"]);
  return process.errors.some(
    ({ step, path }) => steps.has(step) && path.startsWith(directory) && !is_of_a_chain(path),
  );
}
