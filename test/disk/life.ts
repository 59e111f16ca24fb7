/**
 * One life of a small registry on a simulated disk: process after process opens it, writes, and ends, well or badly,
 * also in the middle of a start; now and then durable bytes are damaged. After every start what is found is compared
 * with what was promised, and at the end, on a disk that is well again, everything has to be there and to go on.
 */
import { Problem } from "#services/events/problem.js";
import { error_code } from "#services/log/disk.js";
import { create_registry, read_registry } from "#services/log/registry_file.js";
import { CatalogLife } from "./catalog_life.js";
import { CoreInstances } from "./core_instances.js";
import { DAMAGE_KINDS, type Damage, do_damage, is_sealed } from "./damage.js";
import { DERIVED_DAMAGE_KINDS } from "./derived_damage.js";
import { Dice } from "./dice.js";
import { draw_fault, FAULT_NAMES, type Fault } from "./faults.js";
import { HeldTimers } from "./held_timers.js";
import {
  fail,
  type Inhabitant,
  is_of_a_chain,
  LifeFailure,
  type Opened,
  type Place,
  type World,
} from "./inhabitant.js";
import { PartitionLife } from "./partition_life.js";
import { SimulatedDisk, type SimulatedProcess } from "./simulated_disk.js";
import { PARTITIONS, Supply } from "./supply.js";

const DIRECTORY = "/var/registry";
const BEGINNING_MS = 1_770_000_000_000;
const DAY_MS = 86_400_000;

/** What may happen in a life, as it is counted. */
export const EVENT_KINDS = [
  "clean stop",
  "kill -9",
  "power loss",
  "end during a start",
  "torn tail cut",
  "disk full",
  "read-only",
  ...FAULT_NAMES,
  ...DAMAGE_KINDS,
  "damage cut as a torn tail",
  "damage that a start does not read",
  "snapshot made",
  "snapshot of a day's end made",
  "snapshot taken away",
  "snapshot refused",
  "snapshot of another registry",
  ...DERIVED_DAMAGE_KINDS.map((kind) => `snapshot ${kind}`),
  "keeper stopped",
  "keeper meets damage",
  "start from a snapshot",
  "start from an older snapshot",
  "start from the log, though snapshots were there",
  ...DERIVED_DAMAGE_KINDS.map((kind) => `chain ${kind}`),
  "chain made anew",
  "history by the chain",
  "history by reading",
];

export interface LifeReport {
  /** Of EVENT_KINDS. */
  happened: Set<string>;
  starts: number;
  acknowledged: number;
  /** Of all processes on the disk. */
  steps: number;
}

/** The process is dead: what was awaited never comes. */
class Death extends Error {}

interface Damaged {
  damage: Damage;
  /** What was promised when it was done. */
  promised_end: bigint;
  /** A start has named it. */
  named: boolean;
  /** A start that did not come to its end may have cut it. */
  perhaps_cut: boolean;
  /** The start of the running process did not read it. */
  hidden: boolean;
}

const core_instances = new CoreInstances();

/** One at a time in a thread. Throws LifeFailure where a promise is broken. */
export async function live(seed: number): Promise<LifeReport> {
  const timers = new HeldTimers();
  timers.hold();
  core_instances.hold();
  try {
    return await new Life(seed, timers).run();
  } finally {
    core_instances.release();
    timers.release();
  }
}

class Life {
  readonly #dice: Dice;
  readonly #disk: SimulatedDisk;
  readonly #timers: HeldTimers;
  readonly #inhabitants: Inhabitant[];
  readonly #partitions: PartitionLife[];
  readonly #report: LifeReport = { happened: new Set(), starts: 0, acknowledged: 0, steps: 0 };
  #now_ms = BEGINNING_MS;
  /** The clock goes on by days now and then. */
  readonly #days: boolean;

  /** Ids that processes have tried to give it; one of them once it was found. */
  #registry_ids: string[] = [];
  #damaged = new Map<Inhabitant, Damaged>();
  /** Closed without an error: nothing can be torn. */
  #at_rest = new Set<Inhabitant>();

  // Of the process that runs.
  #running!: SimulatedProcess;
  #fault: Fault | null = null;
  #faults_held = false;
  #serving: Inhabitant[] = [];
  #in_flight = new Set<Promise<void>>();
  #failure: unknown = null;

  constructor(seed: number, timers: HeldTimers) {
    this.#dice = new Dice(seed);
    this.#disk = new SimulatedDisk(this.#dice);
    this.#disk.fault = (step) => (this.#faults_held ? null : (this.#fault?.code_of(step) ?? null));
    this.#timers = timers;
    const world: World = {
      dice: this.#dice,
      supply: new Supply(this.#dice),
      disk: this.#disk,
      directory: DIRECTORY,
      segment_bytes_max: this.#dice.pick([300, 3000, 20_000, 1_000_000]),
      now: () => this.#now_ms,
      happened: (kind) => this.#happened(kind),
    };
    this.#days = this.#dice.chance(0.3);
    this.#partitions = Array.from({ length: PARTITIONS }, (_, number) => new PartitionLife(world, number));
    this.#inhabitants = [...this.#partitions, new CatalogLife(world)];
  }

  async run(): Promise<LifeReport> {
    for (let processes = 1 + this.#dice.below(4); processes > 0; processes--) {
      await this.#process(() => this.#troubled());
    }
    do {
      this.#heal();
      await this.#process(() => this.#undisturbed());
    } while (this.#damaged.size > 0);
    for (const { acknowledged } of this.#partitions) this.#report.acknowledged += acknowledged;
    return this.#report;
  }

  /** One process from its start to its end, and what happens to the disk then. */
  async #process(course: () => Promise<void>): Promise<void> {
    const process = this.#disk.boot(this.#draw_steps_to_death());
    this.#running = process;
    this.#faults_held = false;
    try {
      await course();
    } catch (error) {
      if (!(error instanceof Death)) throw error;
    } finally {
      process.die();
    }
    this.#report.steps += process.steps;
    if (this.#fault?.struck === true) this.#happened(this.#fault.name);
    this.#fault = null;
    for (const inhabitant of this.#inhabitants) inhabitant.abandon();
    this.#timers.forget();
    this.#in_flight.clear();
    this.#serving = [];
    if (this.#failure !== null) throw this.#failure;
    if (!this.#dice.chance(0.55)) return;
    this.#disk.lose_power();
    this.#happened("power loss");
  }

  #draw_steps_to_death(): number {
    const never = Number.POSITIVE_INFINITY;
    return this.#dice.weighted([4, never], [2, this.#dice.below(60)], [3, this.#dice.below(300)]);
  }

  /** `kind`: of EVENT_KINDS. */
  #happened(kind: string): void {
    this.#report.happened.add(kind);
  }

  /** Waits for it as long as the process lives. */
  async #alive<T>(work: Promise<T>): Promise<T> {
    const process = this.#running;
    try {
      const result = await Promise.race([work, process.died]);
      if (this.#failure !== null) throw this.#failure;
      if (process.dead) throw new Death();
      return result as T;
    } catch (error) {
      if (process.dead && !(error instanceof LifeFailure)) throw new Death();
      throw error;
    }
  }

  /** Others run. */
  async #turns(count: number): Promise<void> {
    for (let turns = count; turns > 0; turns--) await null;
  }

  async #settle(): Promise<void> {
    await this.#alive(Promise.all(this.#in_flight));
  }

  /** The disk is well, but for what may have been cut. */
  #heal(): void {
    this.#disk.read_only = false;
    this.#disk.capacity_bytes = Number.POSITIVE_INFINITY;
    for (const [inhabitant, damaged] of this.#damaged) {
      if (!damaged.named && !must_be_named(damaged, inhabitant)) continue;
      damaged.damage.undo();
      this.#damaged.delete(inhabitant);
    }
  }

  async #troubled(): Promise<void> {
    if (this.#dice.chance(0.7)) this.#disk.read_only = false;
    if (this.#dice.chance(0.7)) this.#disk.capacity_bytes = Number.POSITIVE_INFINITY;
    if (this.#dice.chance(0.6)) this.#fault = draw_fault(this.#dice);
    if (!(await this.#start())) return;
    if (this.#dice.chance(0.25)) await this.#damage_one(this.#serving, false);
    for (let acts = this.#dice.below(25); acts > 0; acts--) await this.#act();
    const end = this.#dice.weighted([4, "now"], [2, "settled"], [4, "stop"]);
    if (end === "settled") await this.#settle();
    if (end !== "stop") {
      this.#happened("kill -9");
      return;
    }
    await this.#stop();
    if (this.#dice.chance(0.3)) await this.#damage_one([...this.#at_rest], true);
    for (const { snapshots, chains, promised_end } of this.#healthy_partitions()) {
      if (this.#dice.chance(0.3)) snapshots.spoil(promised_end);
      if (this.#dice.chance(0.15)) chains.spoil();
    }
  }

  /** Those that serve, and whose log has no damage that is not found yet. */
  #healthy_partitions(): PartitionLife[] {
    return this.#partitions.filter((each) => this.#serving.includes(each) && !this.#damaged.has(each));
  }

  async #undisturbed(): Promise<void> {
    this.#running.spare();
    if (!(await this.#start())) fail("a start failed on a disk that is well");
    for (const inhabitant of this.#serving) this.#send(inhabitant, true);
    await this.#settle();
    await this.#check();
    for (const partition of this.#healthy_partitions()) {
      await this.#alive(partition.mend_chains(this.#running));
    }
    await this.#check();
    await this.#stop();
  }

  /** False: the disk did not let it. */
  async #start(): Promise<boolean> {
    this.#report.starts += 1;
    try {
      return await this.#open_all();
    } catch (error) {
      if (error instanceof Death) this.#happened("end during a start");
      for (const damaged of this.#damaged.values()) damaged.perhaps_cut = true;
      throw error;
    }
  }

  async #open_all(): Promise<boolean> {
    try {
      await this.#alive(this.#open_registry());
    } catch (error) {
      return this.#not_opened(error, DIRECTORY);
    }
    const opened = await this.#alive(
      Promise.allSettled(this.#inhabitants.map((inhabitant) => inhabitant.open(this.#running))),
    );
    let all = true;
    for (const [index, result] of opened.entries()) {
      const inhabitant = this.#inhabitants[index]!;
      if (result.status === "rejected") {
        all = this.#not_opened(result.reason, inhabitant.directory);
        const damaged = this.#damaged.get(inhabitant);
        if (damaged !== undefined) damaged.perhaps_cut = true;
      } else if (this.#serves(inhabitant, result.value)) this.#serving.push(inhabitant);
    }
    if (!all) return false;
    this.#at_rest.clear();
    for (const inhabitant of this.#serving) {
      if (this.#damaged.get(inhabitant)?.hidden !== true) continue;
      if (!(await this.#find_hidden(inhabitant))) return false;
    }
    await this.#check();
    return true;
  }

  async #open_registry(): Promise<void> {
    const disk = this.#running;
    let registry = await read_registry(disk, DIRECTORY, PARTITIONS);
    if (registry === null) {
      if (this.#inhabitants.some(({ promised_end }) => promised_end > 0n)) fail("registry.json is gone");
      const registry_id = `registry ${this.#registry_ids.length}`;
      this.#registry_ids.push(registry_id);
      const facts = { registry_id, partitions: PARTITIONS, created_ms: this.#now_ms };
      registry = await create_registry(disk, DIRECTORY, facts);
    }
    if (!this.#registry_ids.includes(registry.registry_id)) fail(`the registry is ${registry.registry_id}`);
  }

  /** A start may fail only where the disk has failed, and says so; what is damaged opens, and is broken. */
  #not_opened(error: unknown, directory: string): false {
    if (error instanceof Death || error instanceof LifeFailure) throw error;
    if (!(error instanceof Problem) && error_code(error) === "") throw error;
    // Which snapshots there are has to be known: they show how far the log went.
    const snapshots = directory.replace("/log/", "/snapshots/");
    const reasons = this.#running.errors.filter(
      ({ path, step }) =>
        (path.startsWith(directory) || directory.startsWith(path) || path === snapshots) &&
        !is_of_a_chain(path) &&
        // What is there is opened on a full disk as well.
        !(step === "write" && this.#disk.room_bytes === 0 && directory !== DIRECTORY && this.#fault === null),
    );
    if (reasons.length === 0) fail(`${directory} is not opened, without a reason: ${String(error)}`);
    return false;
  }

  #serves(inhabitant: Inhabitant, opened: Opened): boolean {
    const damaged = this.#damaged.get(inhabitant);
    if (opened.state === "damaged") {
      if (damaged === undefined)
        fail(`${inhabitant.name} is broken, and nothing was damaged: ${opened.message}`);
      const { damage } = damaged;
      const place = damage.found_from(opened.from);
      if (place === null || !opened.message.includes(words(place))) {
        fail(`${damage.kind} ${words(place ?? damage.places[0]!)} is named as: ${opened.message}`);
      }
      damaged.named = true;
      return false;
    }
    const { torn } = opened;
    if (torn !== null) this.#happened("torn tail cut");
    if (damaged === undefined) {
      if (torn !== null && this.#at_rest.has(inhabitant)) fail(`${inhabitant.name} was closed, and is torn`);
      return true;
    }
    const { damage, perhaps_cut } = damaged;
    const place = damage.found_from(opened.from);
    damaged.hidden = place === null;
    if (place === null) return true;
    if (must_be_named(damaged, inhabitant) || opened.reaches > place.offset) {
      fail(`${inhabitant.name} serves, and has ${damage.kind} ${words(place)}`);
    }
    if (torn === null ? !perhaps_cut : words(torn) !== words(place)) {
      fail(`${damage.kind} ${words(place)} is cut ${torn === null ? "nowhere" : words(torn)}`);
    }
    inhabitant.forget_from(place.offset);
    this.#happened("damage cut as a torn tail");
    // What is behind the snapshot is gone; before it there may be more.
    damaged.hidden = words(damage.found_from(null)!) !== words(place);
    damaged.perhaps_cut = true;
    if (!damaged.hidden) this.#damaged.delete(inhabitant);
    return true;
  }

  /**
   * A start has left it unread: who reads it is told, and then it is taken away. False: only the next process finds it
   * well, since a file has another length.
   */
  async #find_hidden(inhabitant: Inhabitant): Promise<boolean> {
    const { damage } = this.#damaged.get(inhabitant)!;
    this.#happened("damage that a start does not read");
    await this.#read_damaged(inhabitant, damage);
    damage.undo();
    this.#damaged.delete(inhabitant);
    return !damage.changes_length;
  }

  /** All that serve, after all is answered. A damaged one is looked at by its next start. */
  async #check(): Promise<void> {
    await this.#settle();
    this.#faults_held = true;
    for (const inhabitant of this.#serving) {
      if (!this.#damaged.has(inhabitant)) await this.#alive(inhabitant.check());
    }
    this.#faults_held = false;
  }

  #send(inhabitant: Inhabitant, must_be_taken: boolean): void {
    this.#in_background(inhabitant.send(must_be_taken));
  }

  #in_background(work: Promise<void>): void {
    const settled: Promise<void> = work
      .catch((error) => {
        this.#failure ??= error;
      })
      .finally(() => this.#in_flight.delete(settled));
    this.#in_flight.add(settled);
  }

  async #act(): Promise<void> {
    this.#now_ms += this.#dice.weighted([6, this.#dice.below(50)], [2, 100_000], [1, -30_000]);
    if (this.#days && this.#dice.chance(0.2)) this.#now_ms += this.#dice.below(3 * DAY_MS);
    const act = this.#dice.weighted(
      [14, "send"],
      [5, "turns"],
      [3, "settle"],
      [2, "idle"],
      [1, "room"],
      [0.4, "read_only"],
      [1, "check"],
      [6, "keep"],
    );
    if (act === "send" && this.#serving.length > 0) this.#send(this.#dice.pick(this.#serving), false);
    if (act === "turns") await this.#alive(this.#turns(this.#dice.below(80)));
    if (act === "settle") await this.#settle();
    if (act === "idle") this.#timers.run();
    if (act === "check") await this.#check();
    if (act === "keep") this.#keep();
    if (act === "room") await this.#change_room();
    if (act === "read_only") await this.#change_read_only();
  }

  /** Goes on beside what the process does, to its end or its death. */
  #keep(): void {
    const partitions = this.#partitions.filter((each) => this.#serving.includes(each));
    if (partitions.length === 0) return;
    const partition = this.#dice.pick(partitions);
    const never = Number.POSITIVE_INFINITY;
    const thread = this.#running.thread(this.#dice.weighted([4, never], [1, this.#dice.below(40)]));
    this.#in_background(
      partition.keep(thread).then((message) => {
        if (message === null) return;
        const damage = this.#damaged.get(partition)?.damage;
        if (damage === undefined || !names_one_of([...damage.places, ...damage.behind], message)) {
          fail(`${partition.name}: no snapshot is made: ${message}`);
        }
        this.#happened("keeper meets damage");
      }),
    );
  }

  async #change_room(): Promise<void> {
    if (this.#disk.capacity_bytes === Number.POSITIVE_INFINITY) {
      this.#disk.capacity_bytes = this.#disk.root.total_bytes() + this.#dice.below(2000);
      this.#happened("disk full");
      return;
    }
    this.#disk.capacity_bytes = Number.POSITIVE_INFINITY;
    await this.#goes_on();
  }

  async #change_read_only(): Promise<void> {
    this.#disk.read_only = !this.#disk.read_only;
    if (this.#disk.read_only) this.#happened("read-only");
    else await this.#goes_on();
  }

  /** What was refused for the disk's state is taken again, by itself, unless no fsync can be trusted. */
  async #goes_on(): Promise<void> {
    await this.#settle();
    if (this.#disk.read_only || this.#disk.capacity_bytes !== Number.POSITIVE_INFINITY) return;
    this.#faults_held = true;
    for (const inhabitant of this.#serving) this.#send(inhabitant, true);
    await this.#settle();
    this.#faults_held = false;
  }

  async #stop(): Promise<void> {
    await this.#alive(Promise.all(this.#serving.map((inhabitant) => inhabitant.close())));
    await this.#settle();
    this.#happened("clean stop");
    for (const inhabitant of this.#serving) {
      const { errors } = this.#running;
      if (errors.some(({ path }) => path.startsWith(inhabitant.directory) && !is_of_a_chain(path))) continue;
      this.#at_rest.add(inhabitant);
      const directory = this.#disk.directory(inhabitant.directory)!;
      if (!this.#damaged.has(inhabitant) && !is_sealed(directory, inhabitant.directory)) {
        fail(`${inhabitant.name} was closed, and has no empty frame at its end`);
      }
    }
  }

  /** Damage to one log that has come to rest: closed, or just opened and asked nothing yet. */
  async #damage_one(resting: Inhabitant[], is_closed: boolean): Promise<void> {
    const healthy = resting.filter((each) => !this.#damaged.has(each));
    if (healthy.length === 0) return;
    const inhabitant = this.#dice.pick(healthy);
    const directory = this.#disk.directory(inhabitant.directory)!;
    const partition = this.#partitions.find((each) => each === inhabitant);
    const known_end = is_closed ? (partition?.snapshots.known_end() ?? null) : null;
    const damage = do_damage(directory, inhabitant.directory, known_end, this.#dice);
    if (damage === null) return;
    this.#happened(damage.kind);
    this.#damaged.set(inhabitant, {
      damage,
      promised_end: inhabitant.promised_end,
      named: false,
      perhaps_cut: false,
      hidden: false,
    });
    await this.#read_damaged(inhabitant, damage);
  }

  async #read_damaged(inhabitant: Inhabitant, damage: Damage): Promise<void> {
    this.#faults_held = true;
    const message = await this.#alive(inhabitant.read_damaged());
    this.#faults_held = false;
    if (message === null && !damage.loses_records) return;
    if (message === null || !names_one_of(damage.places, message)) {
      fail(`${damage.kind} ${words(damage.places[0]!)} is told to a reader as: ${message}`);
    }
  }
}

/** What was acknowledged behind the damage shows that it is none of a crash. */
function must_be_named({ damage, promised_end }: Damaged, inhabitant: Inhabitant): boolean {
  return damage.certain || inhabitant.promised_end > promised_end;
}

function names_one_of(places: readonly Place[], message: string): boolean {
  return places.some((place) => message.includes(words(place)));
}

/** As a LogCorruption puts it. */
function words({ file, byte, offset }: Place): string {
  return `in ${file} at byte ${byte} (offset ${offset})`;
}
