/**
 * The fleet's partitions over all nodes: owners are asked in parallel, a standby where an owner cannot answer, and what
 * nobody answers for is missing from the answer, which says so.
 */
import { Problem } from "../events/problem.js";
import { HOSTS_PAGE, lines_of_page } from "../registry/host_lines.js";
import type { LocalPartitions } from "../registry/local_partitions.js";
import type { Asker, Partitions } from "../registry/partitions.js";
import type { PastInstants } from "../registry/past.js";
import type { Behind } from "../registry/positions.js";
import type { ReplayedPartition } from "../registry/service.js";
import type {
  Answer,
  Arguments,
  BatchQuestion,
  CheckQuestion,
  HostOutcome,
  HostsCheckQuestion,
  LinesPage,
  Operation,
  PartitionBatch,
  PartitionCheck,
  PartitionFleet,
  PartitionStatus,
} from "../registry/shard_protocol.js";
import { of_all, of_some } from "./answerable.js";
import type { KafkaNode } from "./node.js";
import type { PeerClient } from "./peer_client.js";
import { NotOwner, OF_LISTS, type PeerOperation, type PeerOperations, type Role } from "./peer_protocol.js";

export interface ClusterPartitionsOptions {
  partition_count: number;
  node: KafkaNode;
  local: LocalPartitions;
  peers: PeerClient;
  /** Of this node. */
  catalog: { readonly next_offset: bigint };
  session_timeout_ms: number;
  /** What goes with it. */
  close(): Promise<void>;
}

/** Of a session: an answer that takes longer may come from who has been replaced meanwhile. */
const DEADLINE_OF_SESSION = 0.4;
/** A question about the past folds; nobody else can answer it sooner. */
const PAST_DEADLINE_MS = 60_000;
const REPLAY_DEADLINE_MS = 60 * 60_000;
/** Before the second try, for the group to tell of another owner. */
const RETRY_AFTER_MS = 150;
/** One wait for positions at another node, so that a change of owner is noticed. */
const WAIT_SLICE_MS = 1_000;

/** Whom to ask, in this order. */
const TRIES: readonly { role: Role; wait_ms: number }[] = [
  { role: "owner", wait_ms: 0 },
  { role: "owner", wait_ms: RETRY_AFTER_MS },
  { role: "standby", wait_ms: 0 },
];

/** Null: this node. */
type Where = { url: string } | null;

export class ClusterPartitions implements Partitions {
  readonly #options: ClusterPartitionsOptions;
  readonly #deadline_ms: number;
  /** Of each partition, the furthest that was folded when a question waited for it: no later answer is older. */
  readonly #known = new Map<number, bigint>();

  constructor(options: ClusterPartitionsOptions) {
    this.#options = options;
    this.#deadline_ms = options.session_timeout_ms * DEADLINE_OF_SESSION;
  }

  async ask<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<Awaited<Answer<Op>>> {
    return (await this.ask_whom(partition, operation, given)).answer;
  }

  async ask_whom<Op extends Operation>(
    partition: number,
    operation: Op,
    given: Arguments<Op>,
  ): Promise<{ answer: Awaited<Answer<Op>>; by: Asker }> {
    return this.#first_of(partition, async (where, role) => {
      if (where === null) {
        const { local } = this.#options;
        return { answer: await local.ask(partition, operation, given), by: local.shard(partition) };
      }
      const by = this.#asker(where, role, partition);
      return { answer: await by.ask(operation, given), by };
    });
  }

  check(question: CheckQuestion, past: PastInstants | null): Promise<PartitionCheck[]> {
    return this.#gather(
      past === null ? this.#deadline_ms : PAST_DEADLINE_MS,
      (partitions) => this.#options.local.check(question, past, partitions),
      "check",
      (partitions) => [partitions, question, past],
      ({ found }) => found !== null,
      (partition) => ({ partition, next_offset: 0n, found: null }),
    );
  }

  check_batch(question: BatchQuestion, past: PastInstants | null): Promise<PartitionBatch[]> {
    return this.#gather(
      past === null ? this.#deadline_ms : PAST_DEADLINE_MS,
      (partitions) => this.#options.local.check_batch(question, past, partitions),
      "check_batch",
      (partitions) => [partitions, question, past],
      ({ found }) => found !== null,
      (partition) => ({ partition, next_offset: 0n, found: null }),
    );
  }

  fleet(past: PastInstants | null): Promise<PartitionFleet[]> {
    return this.#gather(
      past === null ? this.#deadline_ms : PAST_DEADLINE_MS,
      (partitions) => this.#options.local.fleet(past, partitions),
      "fleet",
      (partitions) => [partitions, past],
      ({ rows }) => rows !== null,
      (partition) => ({ partition, next_offset: 0n, rows: null }),
    );
  }

  async status(): Promise<PartitionStatus[]> {
    const status = await this.#gather(
      this.#deadline_ms,
      async (partitions) =>
        (await this.own_status()).filter(({ partition }) => partitions.includes(partition)),
      "status",
      (partitions) => [partitions],
      ({ broken }) => broken === null,
      (partition) => no_status(partition, this.#options.node.broken(partition) ?? "no node answers for it"),
    );
    return status.sort((a, b) => a.partition - b.partition);
  }

  async own_status(): Promise<PartitionStatus[]> {
    const { node, local } = this.#options;
    const of_shards = await local.status();
    const open = of_shards.map((status) => ({
      ...status,
      broken: node.broken(status.partition) ?? status.broken,
    }));
    const closed = node.kept.filter(
      ({ partition }) => !open.some((status) => status.partition === partition),
    );
    const told = closed.map(({ partition }) =>
      no_status(partition, node.broken(partition) ?? "its log is being opened"),
    );
    return [...open, ...told].sort((a, b) => a.partition - b.partition);
  }

  /** Nodes of different versions tell each other of hosts as objects. */
  check_lines(question: HostsCheckQuestion): Promise<LinesPage> {
    const { partition } = question;
    const count_max = Math.min(question.count_max, HOSTS_PAGE);
    return this.#first_of(partition, async (where, role) => {
      if (where === null) return this.#options.local.check_lines(question);
      const page = await this.#asker(where, role, partition).ask("check_hosts", [{ ...question, count_max }]);
      return lines_of_page(page, question.candidate);
    });
  }

  async *past_hosts(past: PastInstants, question: HostsCheckQuestion): AsyncGenerator<HostOutcome> {
    const hosts = await this.#first_of(question.partition, async (where, role) => {
      if (where === null) return this.#options.local.past_hosts(past, question);
      const list = await this.#peer(where, role, "past_hosts", [past, question], PAST_DEADLINE_MS);
      return this.#pulled(where, role, list);
    });
    yield* hosts;
  }

  /** Those that this node owns. */
  own(): number[] {
    const { ownership } = this.#options.node;
    if (ownership === null) return [];
    return [...ownership.seats.entries()].flatMap(([partition, { owner }]) =>
      owner === ownership.member_id ? [partition] : [],
    );
  }

  async replay_elsewhere(partitions: number[], to: bigint | null): Promise<ReplayedPartition[]> {
    const asked = [...this.#by_seat(partitions, "owner")].map(async ([url, theirs]) => {
      if (url === null) return [];
      try {
        return await this.#peer({ url }, "owner", "replay", [theirs, to], REPLAY_DEADLINE_MS);
      } catch (error) {
        if (!is_elsewhere(error)) throw error;
        return [];
      }
    });
    return (await Promise.all(asked)).flat();
  }

  behind(positions: ReadonlyMap<number, bigint>, wait_ms: number): Promise<Behind[]>[] {
    return [...positions].map(([partition, wanted]) => this.#wait_for(partition, wanted, wait_ms));
  }

  async close(): Promise<void> {
    const { node, local, peers } = this.#options;
    await node.close();
    peers.close();
    await this.#options.close();
    await local.close();
  }

  /** Of one partition, over the nodes that it may move between meanwhile. */
  async #wait_for(partition: number, wanted: bigint, wait_ms: number): Promise<Behind[]> {
    const { local, node } = this.#options;
    const until = performance.now() + wait_ms;
    for (;;) {
      const left_ms = Math.max(0, until - performance.now());
      const slice_ms = Math.min(left_ms, WAIT_SLICE_MS);
      let behind: Behind[];
      try {
        behind = await this.#first_of(partition, async (where, role) => {
          const positions = new Map([[partition, wanted]]);
          if (where === null) return (await Promise.all(local.behind(positions, slice_ms))).flat();
          const deadline_ms = slice_ms + this.#deadline_ms;
          return this.#peer(where, role, "wait", [[...positions], slice_ms], deadline_ms);
        });
        if (behind.length === 0) this.#know(partition, wanted);
        if (behind.length === 0 || behind.some(({ broken }) => broken !== null)) return behind;
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "unavailable") throw error;
        behind = [{ partition, wanted, has: 0n, broken: null }];
        await node.changed(Math.min(left_ms, RETRY_AFTER_MS));
      }
      if (performance.now() >= until) return behind;
    }
  }

  #know(partition: number, next_offset: bigint): void {
    if (next_offset > this.#known_of(partition)) this.#known.set(partition, next_offset);
  }

  #known_of(partition: number): bigint {
    return this.#known.get(partition) ?? 0n;
  }

  /** Throws NotOwner where the standby has not folded what a question has waited for at the owner. */
  async #refuse_older(partition: number, where: Where): Promise<void> {
    const next_offset = this.#known_of(partition);
    if (next_offset === 0n) return;
    const positions: [number, bigint][] = [[partition, next_offset]];
    const behind =
      where === null
        ? (await Promise.all(this.#options.local.behind(new Map(positions), 0))).flat()
        : await this.#peer(where, "standby", "wait", [positions, 0], this.#deadline_ms);
    if (behind.length > 0)
      throw new NotOwner(`the standby of partition ${partition} is behind ${next_offset}`);
  }

  /** Whoever answers first, in the order of TRIES. Throws Problem `unavailable` with what the last one said. */
  async #first_of<Told>(partition: number, ask: (where: Where, role: Role) => Promise<Told>): Promise<Told> {
    let says = `no node has partition ${partition} at the moment`;
    for (const { role, wait_ms } of TRIES) {
      if (wait_ms > 0) await this.#options.node.changed(wait_ms);
      const where = this.#seat(partition, role);
      if (where === undefined) continue;
      try {
        if (role === "standby") await this.#refuse_older(partition, where);
        if (where !== null) return await ask(where, role);
        return await of_all(this.#options.node, [partition], role, () => ask(null, role));
      } catch (error) {
        if (!is_elsewhere(error)) throw error;
        says = (error as Error).message;
      }
    }
    throw new Problem("unavailable", says);
  }

  /** One answer of each partition, whoever gives it; `is_told`: it is one, and not that there is none. */
  async #gather<
    Op extends "check" | "check_batch" | "fleet" | "status",
    Found extends { partition: number; next_offset: bigint },
  >(
    deadline_ms: number,
    local: (partitions: number[]) => Promise<Found[]>,
    operation: Op,
    given: (partitions: number[]) => Parameters<PeerOperations[Op]>,
    is_told: (found: Found) => boolean,
    missing: (partition: number) => Found,
  ): Promise<Found[]> {
    const all = Array.from({ length: this.#options.partition_count }, (_, partition) => partition);
    const found = new Map<number, Found>();
    let left = all;
    for (const { role, wait_ms } of TRIES) {
      if (left.length === 0) break;
      if (wait_ms > 0) await this.#options.node.changed(wait_ms);
      const asked = [...this.#by_seat(left, role)].map(async ([where, partitions]) => {
        try {
          if (where === null) return await of_some(this.#options.node, partitions, role, local);
          return (await this.#peer(
            { url: where },
            role,
            operation,
            given(partitions),
            deadline_ms,
          )) as Found[];
        } catch (error) {
          if (!is_elsewhere(error)) throw error;
          return [];
        }
      });
      for (const each of (await Promise.all(asked)).flat()) {
        if (each.next_offset < this.#known_of(each.partition)) continue;
        if (is_told(each) || !found.has(each.partition)) found.set(each.partition, each);
      }
      left = left.filter((partition) => !found.has(partition) || !is_told(found.get(partition)!));
    }
    return all.map((partition) => found.get(partition) ?? missing(partition));
  }

  #by_seat(partitions: readonly number[], role: Role): Map<string | null, number[]> {
    const by_seat = new Map<string | null, number[]>();
    for (const partition of partitions) {
      const where = this.#seat(partition, role);
      if (where === undefined) continue;
      const key = where === null ? null : where.url;
      const known = by_seat.get(key);
      if (known) known.push(partition);
      else by_seat.set(key, [partition]);
    }
    return by_seat;
  }

  /** Undefined: nobody has it. */
  #seat(partition: number, role: Role): Where | undefined {
    const { ownership } = this.#options.node;
    const seat = ownership?.seats[partition];
    const member = seat && (role === "owner" ? seat.owner : seat.standby);
    if (ownership === null || member === undefined || member === null) return undefined;
    if (member === ownership.member_id) return null;
    const url = ownership.nodes.get(member)?.url;
    return url === undefined ? undefined : { url };
  }

  #asker(where: { url: string }, role: Role, partition: number): Asker {
    return {
      ask: async (operation, given) => {
        try {
          const asked = [partition, operation, given] as [number, Operation, unknown[]];
          return (await this.#peer(where, role, "ask", asked, this.#deadline_ms)) as never;
        } catch (error) {
          // Nobody else has a list that was opened there.
          if (error instanceof NotOwner && OF_LISTS.has(operation)) throw broken_off(error);
          throw error;
        }
      },
    };
  }

  async *#pulled(where: { url: string }, role: Role, list: number): AsyncGenerator<HostOutcome> {
    let done = false;
    try {
      while (!done) {
        const pulled = this.#peer(where, role, "pull_hosts", [list], PAST_DEADLINE_MS);
        const page = await pulled.catch((error: unknown) => {
          throw error instanceof NotOwner ? broken_off(error) : error;
        });
        done = page.done;
        yield* page.items;
      }
    } finally {
      if (!done) await this.#peer(where, role, "cancel_hosts", [list], this.#deadline_ms).catch(() => {});
    }
  }

  async #peer<Op extends PeerOperation>(
    { url }: { url: string },
    role: Role,
    operation: Op,
    given: Parameters<PeerOperations[Op]>,
    deadline_ms: number,
  ): Promise<ReturnType<PeerOperations[Op]>> {
    const { node, catalog, peers } = this.#options;
    const { generation } = node;
    const question = { generation, role, catalog_next_offset: catalog.next_offset, operation, given };
    const answer = await peers.ask(url, question, deadline_ms);
    return answer as ReturnType<PeerOperations[Op]>;
  }
}

/** Another node may be able to tell. */
function is_elsewhere(error: unknown): boolean {
  return error instanceof NotOwner || (error instanceof Problem && error.code === "unavailable");
}

function broken_off({ message }: NotOwner): Problem {
  return new Problem("unavailable", `the list broke off: ${message}; ask again`);
}

/** Of a partition of which nothing is served. */
export function no_status(partition: number, broken: string): PartitionStatus {
  return {
    partition,
    next_offset: 0n,
    broken,
    torn: null,
    hosts: 0,
    configurations: 0,
    events: 0,
    log_bytes: 0,
    unsnapshotted_bytes: 0,
    snapshot_log_time_ms: null,
    memory_bytes: 0,
    records_quarantined: 0,
    anomalies: {},
  };
}
