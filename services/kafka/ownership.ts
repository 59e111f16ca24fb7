/**
 * Who owns what, decided by one consumer group that consumes nothing: its partitions stay paused. Each member brings its
 * address and what it has; the leader's assignment (assignment.ts) goes to every member as a whole, and is read back from
 * the coordinator, since a consumer is told only of its own part.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin, Consumer, Kafka, PartitionAssigner } from "kafkajs";
import { assign, type Member, type NodeFacts, type Seat } from "./assignment.js";
import kafkajs from "./kafkajs.js";
import type { Lease } from "./lease.js";

export interface Claims {
  owns: number[];
  caught_up: number[];
  keeps: number[];
  broken: number[];
}

/** Of one generation of the group. */
export interface Ownership {
  generation: number;
  /** This node's name in the group. */
  member_id: string;
  nodes: ReadonlyMap<string, NodeFacts>;
  /** By partition. */
  seats: readonly Seat[];
}

export interface OwnershipOptions {
  kafka: Kafka;
  group_id: string;
  topic: string;
  partitions: number;
  session_timeout_ms: number;
  node: NodeFacts;
  lease: Lease;
  /** What this node has, as the group is to know it. */
  claims(): Claims;
  /** At once: partitions that are this node's as an owner no more. */
  revoked(still_owned: ReadonlySet<number>): void;
  assigned(ownership: Ownership): void;
  report(message: string): void;
}

const { MemberAssignment, MemberMetadata } = kafkajs.AssignerProtocol;

const PROTOCOL = "klpstate";
const VERSION = 1;
/** kafkajs beats only between fetches, and a consumer whose partitions are paused fetches as often as it waits. */
const WAIT_MS = 100;
const BEATS_PER_SESSION = 12;
const BEAT_MS_MAX = 1_000;
const DESCRIBE_EVERY_MS = 50;
/** kafkajs's own number, which has to be said beside the other. A consumer that was given up must not start itself again. */
const RETRIES = 5;
const RESTART_AFTER_MS = 500;
/** So many times a session it is looked whether the coordinator was heard of, and after so many that it was not … */
const LOOKS_PER_SESSION = 2;
/** … the consumer is made anew; a process that was stopped has one look only. */
const SILENT_LOOKS_MAX = 5;
/** A group waits for members that do not come back; these are the brokers' own words for "not yet". */
const REBALANCE_TIMEOUT_MS = 30_000;

interface MemberData extends Claims {
  node: NodeFacts;
  /** A member that only has the group put together anew: it is given nothing. */
  nudges?: boolean;
}

/** As every member gets it: seats have members by their place in `members`, -1 for none. */
interface AssignmentData {
  members: { member_id: string; node: NodeFacts }[];
  seats: [owner: number, standby: number, moves: 0 | 1][];
}

export class OwnershipGroup {
  readonly #options: OwnershipOptions;
  readonly #admin: Admin;
  #consumer: Consumer | null = null;
  #member_id: string | null = null;
  #generation: number | null = null;
  /** Counts joins: what was begun for one is of no use after the next. */
  #joins = 0;
  #closed = false;
  /** The group is being put together anew, and this node has not joined it yet. */
  #rebalancing = false;
  #nudging: Promise<void> | null = null;
  #nudge_again = false;
  #looks: NodeJS.Timeout | null = null;
  #silent_looks = 0;

  constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#admin = options.kafka.admin();
  }

  async start(): Promise<void> {
    await this.#admin.connect();
    const every_ms = this.#options.session_timeout_ms / LOOKS_PER_SESSION;
    this.#looks = setInterval(() => this.#look(), every_ms).unref();
    await this.#run();
  }

  /** Has the group put together anew, with everybody's claims of now. */
  async nudge(): Promise<void> {
    // One that is under way may have brought the claims of before.
    if (this.#nudging !== null) this.#nudge_again = true;
    this.#nudging ??= this.#nudge_all().finally(() => {
      this.#nudging = null;
    });
    await this.#nudging;
  }

  async #nudge_all(): Promise<void> {
    do {
      this.#nudge_again = false;
      await this.#nudge();
    } while (this.#nudge_again && !this.#closed);
  }

  /** Committed in the group, with the metadata; fenced by the generation. */
  async commit(offsets: { partition: number; offset: bigint; metadata: string }[]): Promise<void> {
    const { topic } = this.#options;
    await this.#consumer?.commitOffsets(
      offsets.map(({ partition, offset, metadata }) => ({
        topic,
        partition,
        offset: String(offset),
        metadata,
      })),
    );
  }

  /** What was committed last, by partition; without those of which nothing was. */
  async committed(): Promise<Map<number, { offset: bigint; metadata: string }>> {
    const { group_id: groupId, topic } = this.#options;
    const found = await this.#admin.fetchOffsets({ groupId, topics: [topic] });
    const partitions = found.flatMap((one) => one.partitions).filter(({ offset }) => offset !== "-1");
    return new Map(
      partitions.map(({ partition, offset, metadata }) => [
        partition,
        { offset: BigInt(offset), metadata: metadata ?? "" },
      ]),
    );
  }

  /** Leaves the group, so that others need not wait for the session to end. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#looks !== null) clearInterval(this.#looks);
    this.#lose();
    await this.#consumer?.disconnect().catch(() => {});
    await this.#admin.disconnect().catch(() => {});
  }

  async #run(): Promise<void> {
    const { kafka, group_id, topic, session_timeout_ms, lease, report } = this.#options;
    const consumer = kafka.consumer({
      groupId: group_id,
      sessionTimeout: session_timeout_ms,
      rebalanceTimeout: Math.max(session_timeout_ms, REBALANCE_TIMEOUT_MS),
      heartbeatInterval: Math.min(BEAT_MS_MAX, session_timeout_ms / BEATS_PER_SESSION),
      maxWaitTimeInMs: WAIT_MS,
      allowAutoTopicCreation: false,
      partitionAssigners: [this.#assigner(() => ({ node: this.#options.node, ...this.#options.claims() }))],
      retry: { retries: RETRIES, restartOnFailure: async () => !this.#closed && this.#consumer === consumer },
    });
    this.#consumer = consumer;
    this.#silent_looks = 0;
    const { events } = consumer;
    const is_current = () => this.#consumer === consumer && !this.#closed;
    consumer.on(events.FETCH, () => {
      // The heartbeat follows.
      if (is_current()) lease.asking();
    });
    consumer.on(events.HEARTBEAT, ({ payload }) => {
      if (!is_current()) return;
      this.#silent_looks = 0;
      this.#generation = payload.groupGenerationId;
      // A node whose lease ended may have been replaced meanwhile: it has nothing until it has asked anew.
      if (lease.confirmed()) return;
      this.#options.revoked(new Set());
      void this.#read_assignment(++this.#joins, payload.memberId);
    });
    consumer.on(events.REBALANCING, () => {
      if (!is_current()) return;
      this.#silent_looks = 0;
      this.#rebalancing = true;
      lease.publishing = false;
    });
    consumer.on(events.GROUP_JOIN, ({ payload }) => {
      if (!is_current()) {
        // It was given up while kafkajs was about to start it again: a member that nobody speaks for.
        consumer.disconnect().catch(() => {});
        return;
      }
      this.#silent_looks = 0;
      this.#rebalancing = false;
      consumer.pause([{ topic, partitions: Array.from({ length: this.#options.partitions }, (_, i) => i) }]);
      const owned = new Set(payload.memberAssignment[topic] ?? []);
      // Under another name it was out of the group for a while, whatever it is given now.
      const is_another = this.#member_id !== null && this.#member_id !== payload.memberId;
      if (is_another) lease.lost();
      this.#options.revoked(is_another ? new Set() : owned);
      this.#member_id = payload.memberId;
      this.#generation = null;
      void this.#read_assignment(++this.#joins, payload.memberId);
    });
    consumer.on(events.CRASH, ({ payload }) => {
      if (!is_current()) return;
      report(`out of the group ${group_id}: ${payload.error.message}`);
      this.#lose();
      if (!payload.restart) void this.#restart();
    });
    consumer.on(events.STOP, () => {
      if (is_current()) this.#lose();
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: async () => {} });
    } catch (error) {
      if (!is_current()) return;
      report(`the group ${group_id} cannot be joined: ${message_of(error)}`);
      void this.#restart();
    }
  }

  async #restart(): Promise<void> {
    const old = this.#consumer;
    this.#consumer = null;
    this.#lose();
    // A connection that nothing comes through ends when its requests do.
    const gone = old?.disconnect().catch(() => {});
    await Promise.race([gone, sleep(this.#options.session_timeout_ms)]);
    await sleep(RESTART_AFTER_MS);
    if (!this.#closed && this.#consumer === null) await this.#run();
  }

  /**
   * kafkajs sends heartbeats by the wall clock, none for an hour where that was set back by one; and a request whose
   * answer was lost is waited for as long as any request.
   */
  #look(): void {
    this.#silent_looks += 1;
    if (this.#silent_looks < SILENT_LOOKS_MAX || this.#consumer === null) return;
    this.#options.report(
      `nothing was heard of the group ${this.#options.group_id} for too long: joining anew`,
    );
    this.#silent_looks = 0;
    void this.#restart();
  }

  #lose(): void {
    this.#joins += 1;
    this.#rebalancing = false;
    this.#member_id = null;
    this.#generation = null;
    this.#options.lease.lost();
    this.#options.revoked(new Set());
  }

  /** Waits for the coordinator to have the whole assignment, and for the first heartbeat, which tells the generation. */
  async #read_assignment(join: number, member_id: string): Promise<void> {
    const { lease, report } = this.#options;
    let told = false;
    while (join === this.#joins && !this.#closed) {
      try {
        const found = await this.#describe(member_id);
        const generation = this.#generation;
        if (join !== this.#joins) return;
        // What the group has become meanwhile is not of that generation; another join follows.
        if (found !== null && generation !== null && !this.#rebalancing) {
          lease.publishing = true;
          this.#options.assigned({ generation, member_id, ...found });
          return;
        }
      } catch (error) {
        if (!told) report(`the group's assignment cannot be read: ${message_of(error)}`);
        told = true;
      }
      await sleep(DESCRIBE_EVERY_MS);
    }
  }

  /** Null: the group is being put together. */
  async #describe(member_id: string): Promise<Pick<Ownership, "nodes" | "seats"> | null> {
    const { groups } = await this.#admin.describeGroups([this.#options.group_id]);
    const group = groups[0];
    if (group?.state !== "Stable") return null;
    const own = group.members.find((member) => member.memberId === member_id);
    if (own === undefined || own.memberAssignment.length === 0) return null;
    const decoded = MemberAssignment.decode(own.memberAssignment);
    if (decoded === null || decoded.userData.length === 0) return null;
    return read_data(JSON.parse(decoded.userData.toString()) as AssignmentData);
  }

  /** A second member that comes and goes: everybody joins again, and nobody leaves. */
  async #nudge(): Promise<void> {
    const { kafka, group_id, topic, session_timeout_ms, node } = this.#options;
    const nothing = { node, owns: [], caught_up: [], keeps: [], broken: [], nudges: true };
    const consumer = kafka.consumer({
      groupId: group_id,
      sessionTimeout: session_timeout_ms,
      maxWaitTimeInMs: WAIT_MS,
      partitionAssigners: [this.#assigner(() => nothing)],
      retry: { retries: RETRIES, restartOnFailure: async () => false },
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic] });
      const joined = new Promise<void>((resolve) => {
        consumer.on(consumer.events.GROUP_JOIN, () => resolve());
        consumer.on(consumer.events.CRASH, () => resolve());
      });
      await consumer.run({ autoCommit: false, eachBatch: async () => {} });
      await joined;
    } finally {
      await consumer.disconnect().catch(() => {});
    }
  }

  #assigner(data: () => MemberData): PartitionAssigner {
    const { topic, partitions } = this.#options;
    return () => ({
      name: PROTOCOL,
      version: VERSION,
      protocol: ({ topics }) => ({
        name: PROTOCOL,
        metadata: MemberMetadata.encode({
          version: VERSION,
          topics,
          userData: Buffer.from(JSON.stringify(data())),
        }),
      }),
      async assign({ members }) {
        const all = members.map(({ memberId, memberMetadata }) => {
          const { userData } = MemberMetadata.decode(memberMetadata)!;
          return { member_id: memberId, ...(JSON.parse(userData.toString()) as MemberData) };
        });
        const seated = all.filter(({ nudges }) => nudges !== true) satisfies Member[];
        const seats = seated.length === 0 ? [] : assign(partitions, seated);
        const userData = Buffer.from(JSON.stringify(data_of(seated, seats)));
        return all.map(({ member_id }) => ({
          memberId: member_id,
          memberAssignment: MemberAssignment.encode({
            version: VERSION,
            assignment: { [topic]: seats.flatMap(({ owner }, i) => (owner === member_id ? [i] : [])) },
            userData,
          }),
        }));
      },
    });
  }
}

function data_of(members: readonly Member[], seats: readonly Seat[]): AssignmentData {
  const place = (member_id: string | null) => members.findIndex((member) => member.member_id === member_id);
  return {
    members: members.map(({ member_id, node }) => ({ member_id, node })),
    seats: seats.map(({ owner, standby, moves }) => [place(owner), place(standby), moves ? 1 : 0]),
  };
}

function read_data({ members, seats }: AssignmentData): Pick<Ownership, "nodes" | "seats"> {
  const name = (place: number) => members[place]?.member_id ?? null;
  return {
    nodes: new Map(members.map(({ member_id, node }) => [member_id, node])),
    seats: seats.map(([owner, standby, moves]) => ({
      owner: name(owner)!,
      standby: name(standby),
      moves: moves === 1,
    })),
  };
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
