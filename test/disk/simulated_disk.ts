/**
 * A disk that fails in every way that is known of disks, from a seed, behind the interface of the real one. It
 * outlives processes: each one that runs on it has a Disk of its own, which stops where the process dies.
 *
 * Between two steps of one process others of its steps run, and it may die there; a write may be left half done.
 */
import { basename, dirname } from "node:path";
import type { Disk, ReadFile, WriteFile } from "#services/log/disk.js";
import type { Dice } from "./dice.js";
import { SimulatedDirectory } from "./simulated_directory.js";
import { SimulatedFile } from "./simulated_file.js";

export type Step =
  | "open_write"
  | "write"
  | "truncate"
  | "sync"
  | "close"
  | "open_read"
  | "read"
  | "list"
  | "make_directory"
  | "remove"
  | "rename"
  | "sync_directory";

/** An error that the disk has given. */
export interface DiskError {
  step: Step;
  path: string;
  code: string;
}

const CHANGING: ReadonlySet<Step> = new Set(["write", "truncate", "make_directory", "remove", "rename"]);

export class SimulatedDisk {
  readonly #dice: Dice;
  readonly root = new SimulatedDirectory();
  /** The length of all files together that there is room for. */
  capacity_bytes = Number.POSITIVE_INFINITY;
  read_only = false;
  /** The code of an error that a step is to end with; null: none. */
  fault: (step: Step, path: string) => string | null = () => null;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  get room_bytes(): number {
    return Math.max(0, this.capacity_bytes - this.root.total_bytes());
  }

  /** A process that dies at so many steps from now, if it is not killed before. */
  boot(steps_to_death = Number.POSITIVE_INFINITY): SimulatedProcess {
    return new SimulatedProcess(this, this.#dice, steps_to_death);
  }

  /** What may be found when the power comes back. */
  lose_power(): void {
    this.root.lose_power(this.#dice);
  }

  directory(path: string): SimulatedDirectory | null {
    const node = this.#node(path);
    return node instanceof SimulatedDirectory ? node : null;
  }

  file(path: string): SimulatedFile | null {
    const node = this.#node(path);
    return node instanceof SimulatedFile ? node : null;
  }

  #node(path: string): SimulatedDirectory | SimulatedFile | null {
    let node: SimulatedDirectory | SimulatedFile | null = this.root;
    for (const name of path.split("/")) {
      if (name === "") continue;
      if (!(node instanceof SimulatedDirectory)) return null;
      node = node.find(name);
    }
    return node;
  }
}

export class SimulatedProcess implements Disk {
  readonly #disk: SimulatedDisk;
  readonly #dice: Dice;
  readonly #announce_death: () => void;
  /** Of the process that it is a thread of; null: it is a process. */
  readonly #process: SimulatedProcess | null;
  readonly #threads: SimulatedProcess[] = [];
  #steps_left: number;
  steps = 0;
  dead = false;
  /** Resolves when it dies; from then on nothing that it has begun goes on. */
  readonly died: Promise<void>;
  readonly #never = new Promise<never>(() => {});
  /** Every error that it was given. */
  readonly errors: DiskError[] = [];

  constructor(
    disk: SimulatedDisk,
    dice: Dice,
    steps_to_death: number,
    process: SimulatedProcess | null = null,
  ) {
    this.#process = process;
    this.#disk = disk;
    this.#dice = dice;
    this.#steps_left = steps_to_death;
    let announce = () => {};
    this.died = new Promise((resolve) => {
      announce = resolve;
    });
    this.#announce_death = announce;
  }

  die(): void {
    this.dead = true;
    this.#announce_death();
    for (const thread of this.#threads) thread.die();
  }

  /** It ends with the process, or by itself, and then the process goes on; its errors are its own. */
  thread(steps_to_death: number): SimulatedProcess {
    const thread = new SimulatedProcess(this.#disk, this.#dice, steps_to_death, this);
    this.#threads.push(thread);
    if (this.dead) thread.die();
    return thread;
  }

  /** It dies only when it is killed. */
  spare(): void {
    this.#steps_left = Number.POSITIVE_INFINITY;
  }

  /** Others run; the process may die. What it had begun then never ends, neither well nor badly. */
  async #instant(): Promise<void> {
    for (let turns = this.#dice.below(4); turns > 0; turns--) await null;
    if (!this.dead) this.#count_step();
    if (this.dead) await this.#never;
  }

  #count_step(): void {
    this.steps += 1;
    this.#steps_left -= 1;
    if (this.#process !== null) this.#process.#count_step();
    if (this.#steps_left < 0) this.die();
  }

  #error(step: Step, path: string, code: string): Error {
    this.errors.push({ step, path, code });
    return Object.assign(new Error(`${code}: ${step} '${path}'`), { code, path });
  }

  #check(step: Step, path: string): void {
    const code = this.#disk.read_only && CHANGING.has(step) ? "EROFS" : this.#disk.fault(step, path);
    if (code !== null) throw this.#error(step, path, code);
  }

  async #begin(step: Step, path: string): Promise<void> {
    await this.#instant();
    this.#check(step, path);
  }

  #parent(step: Step, path: string): SimulatedDirectory {
    const parent = this.#disk.directory(dirname(path));
    if (parent === null) throw this.#error(step, path, "ENOENT");
    return parent;
  }

  async open_write(path: string): Promise<WriteFile> {
    await this.#begin("open_write", path);
    if (this.#disk.read_only) throw this.#error("open_write", path, "EROFS");
    const parent = this.#parent("open_write", path);
    let file = parent.find(basename(path));
    if (file instanceof SimulatedDirectory) throw this.#error("open_write", path, "EISDIR");
    if (file === null) {
      // A file system may keep room for names.
      if (this.#disk.room_bytes === 0 && this.#dice.chance(0.5)) {
        throw this.#error("open_write", path, "ENOSPC");
      }
      file = new SimulatedFile();
      parent.change([{ name: basename(path), node: file }]);
    }
    await this.#instant();
    return this.#open_file(file, path);
  }

  #open_file(file: SimulatedFile, path: string): WriteFile {
    return {
      write: (buffers, position) => this.#write(file, path, buffers, position),
      truncate: async (bytes) => {
        await this.#begin("truncate", path);
        file.truncate(bytes);
        await this.#instant();
      },
      sync: () => this.#sync(file, path),
      close: () => this.#begin("close", path),
    };
  }

  async #write(
    file: SimulatedFile,
    path: string,
    buffers: readonly Uint8Array[],
    position: number,
  ): Promise<void> {
    await this.#instant();
    if (this.#disk.read_only) throw this.#error("write", path, "EROFS");
    const bytes = Buffer.concat(buffers);
    const half = this.#dice.below(bytes.length + 1);
    this.#write_part(file, path, bytes.subarray(0, half), position);
    await this.#instant();
    this.#check("write", path);
    this.#write_part(file, path, bytes.subarray(half), position + half);
    await this.#instant();
  }

  #write_part(file: SimulatedFile, path: string, bytes: Uint8Array, position: number): void {
    const end = file.length + this.#disk.room_bytes;
    file.write(position, bytes.subarray(0, Math.max(0, end - position)));
    if (position + bytes.length > end) throw this.#error("write", path, "ENOSPC");
  }

  async #sync(file: SimulatedFile, path: string): Promise<void> {
    await this.#instant();
    try {
      this.#check("sync", path);
      if (this.#disk.read_only && !file.synced) throw this.#error("sync", path, "EROFS");
    } catch (error) {
      file.fail_sync(this.#dice);
      throw error;
    }
    file.sync();
    await this.#instant();
  }

  open_read(path: string): ReadFile {
    this.#living();
    this.#check("open_read", path);
    const file = this.#disk.file(path);
    if (file === null) throw this.#error("open_read", path, "ENOENT");
    const read_sync = (into: Uint8Array, position: number): number => {
      this.#living();
      this.#check("read", path);
      const end = Math.min(file.length, position + into.length);
      if (file.first_unreadable(position, end) !== undefined) throw this.#error("read", path, "EIO");
      return file.read(into, position);
    };
    return {
      size: () => file.length,
      read_sync,
      read: async (into, position) => {
        await this.#instant();
        return read_sync(into, position);
      },
      close: () => {},
    };
  }

  #living(): void {
    if (this.dead) throw new Error("a dead process does nothing");
  }

  async list(path: string): Promise<string[] | null> {
    await this.#begin("list", path);
    const directory = this.#disk.directory(path);
    return directory === null ? null : this.#dice.shuffled(directory.names());
  }

  async make_directory(path: string): Promise<void> {
    await this.#begin("make_directory", path);
    const parent = this.#parent("make_directory", path);
    if (parent.find(basename(path)) !== null) return;
    if (this.#disk.room_bytes === 0) throw this.#error("make_directory", path, "ENOSPC");
    parent.change([{ name: basename(path), node: new SimulatedDirectory() }]);
    await this.#instant();
  }

  async remove(path: string): Promise<void> {
    await this.#begin("remove", path);
    const parent = this.#parent("remove", path);
    if (parent.find(basename(path)) === null) throw this.#error("remove", path, "ENOENT");
    parent.change([{ name: basename(path), node: null }]);
    await this.#instant();
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#begin("rename", from);
    const parent = this.#parent("rename", from);
    if (dirname(from) !== dirname(to)) throw this.#error("rename", from, "EXDEV");
    const node = parent.find(basename(from));
    if (node === null) throw this.#error("rename", from, "ENOENT");
    parent.change([
      { name: basename(from), node: null },
      { name: basename(to), node },
    ]);
    await this.#instant();
  }

  async sync_directory(path: string): Promise<void> {
    await this.#begin("sync_directory", path);
    const directory = this.#disk.directory(path);
    if (directory === null) throw this.#error("sync_directory", path, "ENOENT");
    if (this.#disk.read_only && !directory.synced) throw this.#error("sync_directory", path, "EROFS");
    directory.sync();
    await this.#instant();
  }
}
