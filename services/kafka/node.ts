/**
 * What this node is to each partition: owner, standby, or nothing. It follows the group, has shards hold and let go, and
 * says when a partition may be answered for: the lease holds, and all that the topic had when the partition became this
 * node's is folded.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin } from "kafkajs";
import { Problem } from "../events/problem.js";
import { parse_committed, write_committed } from "./committed.js";
import type { Lease } from "./lease.js";
import type { Claims, Ownership, OwnershipGroup } from "./ownership.js";
import type { Role } from "./peer_protocol.js";
import type { Broken, BrokenReason } from "./replica.js";
import type { ReplicaThread } from "./replica_thread.js";
import { move_replica_aside, was_reset } from "./reset.js";
import type { OutletProgress } from "./state_changes/outlet.js";

export interface KafkaNodeOptions {
  topic: string;
  partitions: number;
  admin: Admin;
  lease: Lease;
  threads: readonly ReplicaThread[];
  state_changes: boolean;
  fold_version: number;
  /** The registry's directory. */
  data: string;
  /** ms since 1970. */
  now(): number;
  /** Where a migrated log ends, by partition. */
  migrated_to: ReadonlyMap<number, bigint>;
  /** Next offsets of the logs here. */
  next_offsets(): Promise<Map<number, bigint>>;
  report(message: string): void;
}

interface Kept {
  role: Role;
  thread: ReplicaThread;
  /** All that the topic had when it was asked is folded. An owner's ends with its ownership. */
  ready: boolean;
  broken: Broken | null;
  publishes: boolean;
  /** Why nothing is published although it should be; null: it is. */
  silent: string | null;
  /** Settled when the log is open. */
  opened: Promise<void>;
}

const COMMIT_EVERY_MS = 1_000;
const RETRY_OFFSETS_MS = 200;
const SPEAK_AGAIN_MS = 10_000;
/**
 * What is wrong with the topic and not with the replica here. Such a partition stays where it is: a node that has
 * nothing of it would take the new topic for the whole of the log, and serve it.
 */
const OF_TOPIC: ReadonlySet<BrokenReason> = new Set(["log_diverged", "hole", "partition_count_changed"]);

export class KafkaNode {
  readonly #options: KafkaNodeOptions;
  readonly #kept = new Map<number, Kept>();
  /** What is being let go; a partition is opened again only behind it. */
  readonly #closing = new Map<number, Promise<void>>();
  readonly #published = new Map<number, OutletProgress>();
  readonly #told_silence = new Map<number, string>();
  #group: OwnershipGroup | null = null;
  #ownership: Ownership | null = null;
  /** Partitions whose ends nobody can tell at the moment. */
  #leaderless: ReadonlySet<number> = new Set();
  /** Those who wait for a change of ownership. */
  #changed: (() => void)[] = [];
  #commits: NodeJS.Timeout | null = null;
  #committing = false;
  #closed = false;

  constructor(options: KafkaNodeOptions) {
    this.#options = options;
  }

  start(group: OwnershipGroup): Promise<void> {
    this.#group = group;
    this.#commits = setInterval(() => void this.#commit(), COMMIT_EVERY_MS).unref();
    return group.start();
  }

  get ownership(): Ownership | null {
    return this.#ownership;
  }

  get generation(): number {
    return this.#ownership?.generation ?? 0;
  }

  /** Null: the partition may be answered for in this role. */
  refusal(partition: number, role: Role): string | null {
    const kept = this.#kept.get(partition);
    if (kept === undefined || (role === "owner" && kept.role !== "owner")) {
      return `partition ${partition} is not this node's`;
    }
    if (kept.broken !== null)
      return `partition ${partition} is broken here, ${kept.broken.reason}: ${kept.broken.says}`;
    if (!this.#options.lease.holds) return "this node has not heard from the group for too long";
    return kept.ready ? null : `partition ${partition} is not folded yet as far as its topic goes`;
  }

  /** Why nothing of it is served here, for a person; null: it is served, or not kept here. */
  broken(partition: number): string | null {
    const broken = this.#kept.get(partition)?.broken ?? null;
    return broken && `${broken.reason}: ${broken.says}`;
  }

  /** Why this node should not be asked yet; null: it may be. */
  get starting(): string | null {
    if (this.#ownership === null) return "not in the group yet";
    const behind = [...this.#kept].filter(
      ([, { role, ready, broken }]) => role === "owner" && !ready && broken === null,
    );
    return behind.length === 0
      ? null
      : `${behind.length} partitions are not folded yet as far as their topic goes`;
  }

  get kept(): { partition: number; role: Role; ready: boolean; broken: Broken | null }[] {
    return [...this.#kept].map(([partition, { role, ready, broken }]) => ({
      partition,
      role,
      ready,
      broken,
    }));
  }

  /** Resolves when the ownership has changed, or the time is over. */
  async changed(wait_ms: number): Promise<void> {
    await Promise.race([
      new Promise<void>((resolve) => this.#changed.push(resolve)),
      sleep(wait_ms, undefined, { ref: false }),
    ]);
  }

  claims(): Claims {
    const claims: Claims = { owns: [], caught_up: [], keeps: [], broken: [] };
    const { holds } = this.#options.lease;
    for (const [partition, { role, ready, broken }] of this.#kept) {
      if (broken !== null) {
        if (holds && role === "owner" && OF_TOPIC.has(broken.reason)) claims.broken.push(partition);
        continue;
      }
      if (holds && role === "owner") claims.owns.push(partition);
      else if (holds && ready) claims.caught_up.push(partition);
      else claims.keeps.push(partition);
    }
    return claims;
  }

  /** At once: what this node owns no more is answered for no more. */
  revoked(still_owned: ReadonlySet<number>): void {
    for (const [partition, kept] of this.#kept) {
      if (kept.role !== "owner" || still_owned.has(partition)) continue;
      kept.role = "standby";
      kept.ready = false;
      this.#unpublish(partition, kept);
    }
  }

  assigned(ownership: Ownership): void {
    if (this.#closed) return;
    this.#ownership = ownership;
    const { member_id, seats } = ownership;
    for (const [partition, { owner, standby }] of seats.entries()) {
      const role: Role | null = owner === member_id ? "owner" : standby === member_id ? "standby" : null;
      if (role === null) this.#release(partition);
      else this.#take(partition, role);
    }
    for (const told of this.#changed.splice(0)) told();
    void this.#catch_up(ownership);
  }

  broke(partition: number, broken: Broken): void {
    const kept = this.#kept.get(partition);
    if (kept === undefined || kept.broken !== null) return;
    kept.broken = broken;
    kept.ready = false;
    this.#options.report(`partition ${partition} is broken, ${broken.reason}: ${broken.says}`);
    this.#unpublish(partition, kept);
    // Another node may have it whole, unless it is the topic that is another one.
    if (kept.role === "owner" && !OF_TOPIC.has(broken.reason)) void this.#nudge();
    else if (this.#ownership !== null) this.#move_when_ready(this.#ownership);
  }

  /**
   * Moves the replica here aside and folds the topic from its earliest record. Resolves with where it was moved to.
   * Throws Problem where the partition is not kept here, or is not broken.
   */
  async reset(partition: number): Promise<string> {
    const { data, now, report } = this.#options;
    const kept = this.#kept.get(partition);
    if (kept === undefined) {
      throw new Problem(
        "not_found",
        `partition ${partition} is not kept by this node; ask the one that keeps it`,
        {
          field: "partition",
          value: String(partition),
        },
      );
    }
    if (kept.broken === null) {
      throw new Problem("contradiction", `partition ${partition} is not broken here; nothing was moved`, {
        field: "partition",
        value: String(partition),
      });
    }
    this.#release(partition);
    await this.#closing.get(partition);
    const aside = move_replica_aside(data, partition, now());
    report(`partition ${partition} begins again: what was here is in ${aside}`);
    const ownership = this.#ownership;
    if (ownership !== null) this.assigned(ownership);
    // What was broken had no standby.
    void this.#nudge();
    return aside;
  }

  published(partition: number, progress: OutletProgress): void {
    this.#published.set(partition, progress);
  }

  /** Nothing more of the partition is published, though it is served. */
  silent(partition: number, says: string): void {
    const kept = this.#kept.get(partition);
    if (kept === undefined || !kept.publishes || kept.silent === says) return;
    kept.silent = says;
    // Looked at again now and then, and told once: somebody may have decided where to go on.
    if (this.#told_silence.get(partition) !== says) this.#options.report(says);
    this.#told_silence.set(partition, says);
    setTimeout(() => void this.#speak_again(partition, kept), SPEAK_AGAIN_MS).unref();
  }

  async #speak_again(partition: number, kept: Kept): Promise<void> {
    if (this.#kept.get(partition) !== kept || kept.silent === null) return;
    await this.#unpublish(partition, kept);
    if (this.#ownership !== null) this.#publish_ready(this.#ownership);
  }

  /** Partitions that this node owns and publishes nothing of, and why. */
  get silent_partitions(): { partition: number; reason: string }[] {
    return [...this.#kept].flatMap(([partition, { silent }]) =>
      silent === null ? [] : [{ partition, reason: silent }],
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#commits !== null) clearInterval(this.#commits);
    await Promise.all([...this.#kept].map(([partition, kept]) => this.#unpublish(partition, kept)));
    await this.#commit();
    await this.#group?.close();
    await Promise.all(this.#options.threads.map((thread) => thread.tell("close").catch(() => {})));
  }

  #take(partition: number, role: Role): void {
    const known = this.#kept.get(partition);
    if (known !== undefined) {
      if (known.role === "owner" && role === "standby") this.#unpublish(partition, known);
      // An owner has to have folded what the topic had when it became the owner.
      if (known.role !== role) known.ready = known.ready && role === "standby";
      known.role = role;
      return;
    }
    const { threads, data, migrated_to } = this.#options;
    const thread = threads[partition % threads.length]!;
    const hold = {
      partition,
      begins_anywhere: was_reset(data, partition),
      migrated_to: migrated_to.get(partition) ?? null,
    };
    const kept: Kept = {
      role,
      thread,
      ready: false,
      broken: null,
      publishes: false,
      silent: null,
      opened: Promise.resolve(),
    };
    kept.opened = (async () => {
      await this.#closing.get(partition);
      const says = await thread.tell("hold", hold).catch((error: Error) => error.message);
      if (says !== null && this.#kept.get(partition) === kept)
        this.broke(partition, { reason: "corrupt", says });
    })();
    this.#kept.set(partition, kept);
  }

  #release(partition: number): void {
    const kept = this.#kept.get(partition);
    if (kept === undefined) return;
    this.#kept.delete(partition);
    const unpublished = this.#unpublish(partition, kept);
    const closing = kept.opened
      .then(() => unpublished)
      .then(() => kept.thread.tell("release", partition))
      .catch((error: Error) => this.#options.report(`partition ${partition} is not closed: ${error.message}`))
      .finally(() => {
        if (this.#closing.get(partition) === closing) this.#closing.delete(partition);
      });
    this.#closing.set(partition, closing);
  }

  /** Whoever is not ready becomes so when all is folded that the topic has now. */
  async #catch_up(ownership: Ownership): Promise<void> {
    const behind = () =>
      [...this.#kept]
        .filter(([, { ready, broken }]) => !ready && broken === null)
        .map(([partition]) => partition);
    let left = new Set(behind());
    while (left.size > 0 && this.#ownership === ownership && !this.#closed) {
      const offsets = await this.#offsets();
      if (this.#ownership !== ownership) return;
      const now_known = [...left].filter((partition) => offsets.has(partition));
      for (const partition of now_known) void this.#ready_at(ownership, partition, offsets.get(partition)!);
      // The others have no leader at the moment.
      left = new Set([...left].filter((partition) => !offsets.has(partition)));
      this.#leaderless = left;
      if (left.size > 0) await sleep(RETRY_OFFSETS_MS);
    }
    this.#publish_ready(ownership);
    // What became ready while the group was being put together is not told of again.
    if (this.#ownership === ownership) this.#move_when_ready(ownership);
  }

  /** Next offsets of what may be read. */
  async #offsets(): Promise<Map<number, bigint>> {
    try {
      const found = await this.#options.admin.fetchTopicOffsets(this.#options.topic);
      return new Map(found.map(({ partition, high }) => [partition, BigInt(high)]));
    } catch {
      return new Map();
    }
  }

  async #ready_at(ownership: Ownership, partition: number, offset: bigint): Promise<void> {
    const kept = this.#kept.get(partition)!;
    const role = kept.role;
    await kept.opened;
    if (kept.broken !== null) return;
    await kept.thread.tell("reached", partition, offset).catch(() => new Promise(() => {}));
    if (this.#kept.get(partition) !== kept || this.#ownership !== ownership || kept.role !== role) return;
    if (kept.broken !== null) return;
    kept.ready = true;
    this.#publish_ready(ownership);
    this.#move_when_ready(ownership);
  }

  /** When all that is to move here and can be had has come in, the group is asked to let it. */
  #move_when_ready({ member_id, seats }: Ownership): void {
    const coming = [...seats.entries()].filter(([, seat]) => seat.moves && seat.standby === member_id);
    const kept = coming.map(([partition]) => this.#kept.get(partition));
    const waits = coming.some(([partition], i) => {
      const { ready = false, broken = null } = kept[i] ?? {};
      return !ready && broken === null && !this.#leaderless.has(partition);
    });
    if (!waits && kept.some((each) => each?.ready === true)) void this.#nudge();
  }

  async #nudge(): Promise<void> {
    if (this.#closed) return;
    await this.#group?.nudge().catch((error: Error) => {
      this.#options.report(`the group cannot be asked to move partitions: ${error.message}`);
    });
  }

  #publish_ready(ownership: Ownership): void {
    const due = [...this.#kept].filter(
      ([, { role, ready, publishes }]) => role === "owner" && ready && !publishes,
    );
    if (due.length === 0) return;
    for (const [, kept] of due) kept.publishes = true;
    void this.#publish(ownership, due);
  }

  async #publish(ownership: Ownership, due: [number, Kept][]): Promise<void> {
    for (;;) {
      try {
        const committed = await this.#group!.committed();
        for (const [partition, kept] of due) {
          if (this.#kept.get(partition) !== kept || !kept.publishes) continue;
          const place = parse_committed(committed.get(partition)?.metadata ?? "");
          if (place !== null && place.fold_version > this.#options.fold_version) {
            this.broke(partition, {
              reason: "fold_version",
              says: `a node with fold version ${place.fold_version} has had it, this one has ${this.#options.fold_version}`,
            });
            continue;
          }
          await kept.thread.tell("publish", partition, place);
        }
        return;
      } catch (error) {
        if (this.#closed || this.#ownership !== ownership) {
          for (const [, kept] of due) kept.publishes = false;
          return;
        }
        this.#options.report(`what is published cannot be gone on with: ${(error as Error).message}`);
        await sleep(RETRY_OFFSETS_MS);
      }
    }
  }

  #unpublish(partition: number, kept: Kept): Promise<void> {
    if (!kept.publishes) return Promise.resolve();
    kept.publishes = false;
    kept.silent = null;
    return kept.thread.tell("unpublish", partition).catch(() => {});
  }

  /** For lag monitors, and for who owns the partition next. */
  async #commit(): Promise<void> {
    const { lease, fold_version, next_offsets, state_changes } = this.#options;
    if (this.#committing || !lease.may_publish) return;
    this.#committing = true;
    try {
      const logs = await next_offsets();
      const owned = [...this.#kept].filter(([, { role, ready }]) => role === "owner" && ready);
      const offsets = owned.flatMap(([partition]) => {
        const offset = logs.get(partition);
        const place = this.#published.get(partition);
        // Without a place nothing is known of what was published: the older word stays.
        if (offset === undefined || (place === undefined && state_changes)) return [];
        return [
          { partition, offset, metadata: place === undefined ? "" : write_committed(fold_version, place) },
        ];
      });
      if (offsets.length > 0) await this.#group?.commit(offsets);
    } catch {
      // The group is being put together anew, or the coordinator moves: the next one says as much.
    } finally {
      this.#committing = false;
    }
  }
}
