/**
 * One file's bytes, twice: as the page cache shows them and as they are on the disk, with the changes in between that
 * were not synced. A power loss, and a failed fsync, let any part of those changes reach the disk.
 */
import type { Dice } from "./dice.js";

export const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

/** Bytes that grow; a gap that a write leaves is zeros. */
class Contents {
  #bytes: Uint8Array = new Uint8Array(1024);
  length = 0;

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  write(at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.extend(at + bytes.length);
    this.#bytes.set(bytes, at);
  }

  extend(length: number): void {
    if (length <= this.length) return;
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(length * 2);
      grown.set(this.view());
      this.#bytes = grown;
    }
    this.length = length;
  }

  truncate(length: number): void {
    this.extend(length);
    this.#bytes.fill(0, length, this.length);
    this.length = length;
  }

  replace(bytes: Uint8Array): void {
    this.truncate(0);
    this.write(0, bytes);
  }
}

type Change = { kind: "write"; at: number; bytes: Uint8Array } | { kind: "truncate"; length: number };

export class SimulatedFile {
  #cache = new Contents();
  #durable = new Contents();
  /** In the page cache and not surely on the disk; oldest first. */
  #pending: Change[] = [];
  /** Numbers of sectors that the disk cannot read. */
  readonly unreadable = new Set<number>();

  get length(): number {
    return this.#cache.length;
  }

  /** What a process sees; a view. */
  bytes(): Uint8Array {
    return this.#cache.view();
  }

  get synced(): boolean {
    return this.#pending.length === 0;
  }

  read(into: Uint8Array, at: number): number {
    const bytes = this.bytes().subarray(at, at + into.length);
    into.set(bytes);
    return bytes.length;
  }

  /** The first byte of [from, to) that cannot be read. */
  first_unreadable(from: number, to: number): number | undefined {
    const starts = [...this.unreadable].map((sector) => Math.max(from, sector * SECTOR_BYTES));
    return starts
      .sort((a, b) => a - b)
      .find((start) => start < to && this.unreadable.has(Math.floor(start / SECTOR_BYTES)));
  }

  write(at: number, bytes: Uint8Array): void {
    this.#change({ kind: "write", at, bytes: bytes.slice() });
  }

  truncate(length: number): void {
    // What is cut off is given back, and what is written there later goes to other sectors.
    for (const sector of this.unreadable) {
      if (sector * SECTOR_BYTES >= length) this.unreadable.delete(sector);
    }
    this.#change({ kind: "truncate", length });
  }

  #change(change: Change): void {
    apply(this.#cache, change);
    this.#pending.push(change);
  }

  sync(): void {
    for (const change of this.#pending.splice(0)) apply(this.#durable, change);
  }

  /** An fsync that fails: part of it reached the disk, all of it is called clean, and no later fsync writes it. */
  fail_sync(dice: Dice): void {
    for (const change of this.#pending.splice(0)) reach_the_disk(this.#durable, change, dice);
    // What is clean may be dropped at any time, and read from the disk again.
    const from_disk = this.#durable.view();
    for (let at = 0; at < this.length; at += PAGE_BYTES) {
      if (dice.chance(0.6)) continue;
      const page = new Uint8Array(Math.min(PAGE_BYTES, this.length - at));
      page.set(from_disk.subarray(at, at + page.length));
      this.#cache.write(at, page);
    }
  }

  lose_power(dice: Dice): void {
    const none = dice.chance(0.2);
    for (const change of this.#pending.splice(0)) {
      if (!none) reach_the_disk(this.#durable, change, dice);
    }
    this.#cache.replace(this.#durable.view());
  }

  /** Damage: the bytes become others, in the cache and on the disk, with no one's write. */
  damage(change: (bytes: Uint8Array) => Uint8Array): void {
    this.#cache.replace(change(this.#cache.view().slice()));
    this.#durable.replace(change(this.#durable.view().slice()));
  }
}

function apply(contents: Contents, change: Change): void {
  if (change.kind === "truncate") contents.truncate(change.length);
  else contents.write(change.at, change.bytes);
}

/** What of an unsynced change is on the disk when the power is gone: all, nothing, the beginning, or some sectors. */
function reach_the_disk(disk: Contents, change: Change, dice: Dice): void {
  const extent = dice.weighted([3, "nothing"], [3, "all"], [2, "beginning"], [3, "sectors"]);
  if (extent === "nothing") return;
  if (extent === "all" || change.kind === "truncate") {
    apply(disk, change);
    return;
  }
  const { at, bytes } = change;
  if (extent === "beginning") {
    disk.write(at, bytes.subarray(0, dice.below(bytes.length + 1)));
    return;
  }
  const length_before = disk.length;
  for (let from = 0; from < bytes.length; ) {
    const sector_end = (Math.floor((at + from) / SECTOR_BYTES) + 1) * SECTOR_BYTES - at;
    const to = Math.min(bytes.length, sector_end);
    const whole = bytes.subarray(from, to);
    const fate = dice.weighted([10, "old"], [10, "new"], [1, "zeros"], [1, "noise"]);
    if (fate === "new") disk.write(at + from, whole);
    // The length may reach the disk before the data does; but what was durable is never anything else.
    else if (fate !== "old" && at + from >= length_before) {
      disk.write(
        at + from,
        whole.map(() => (fate === "zeros" ? 0 : dice.below(256))),
      );
    }
    from = to;
  }
}
