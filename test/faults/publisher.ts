/**
 * Publishers as agents are: each has hosts of its own, numbers their events in streams, sends a batch until it is
 * acknowledged, and begins a new stream where it cannot know what the server has.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { encode_batch, encode_event, type HostEvent } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { parse_time } from "#services/events/time.js";
import type { Ack } from "#services/registry/answers.js";
import type { Dice } from "../disk/dice.js";
import { long_of } from "../model/registry.js";
import type { Door } from "./http.js";
import { KERNELS, PATCHES } from "./manifests.js";
import { advance, type Operations, type Outcome, positions_of, type SentEvent } from "./operations.js";

const { Livepatching, Phase } = klpstate.v1;

/** How long a sender waits for an answer: most lose patience before a node does. */
const PATIENCE_MS = [3_000, 12_000, 45_000] as const;
const AGAIN_AFTER_MS = 200;

type Change = Partial<HostEvent>;

/** A host and its kernel: what really happens there, and what of it is told. */
export class Host {
  #stream = 0n;
  #sequence = 0;
  #patches: { name: string; phase: klpstate.v1.Phase }[] = [];
  #lingering: string[] = [];
  #boot_id: Uint8Array;
  readonly #kernel: (typeof KERNELS)[number];
  /** Events that the next batch has in front: the server must see the whole of it. */
  #begins = true;
  effective_time_ms = 0;

  constructor(
    readonly host_id: string,
    readonly dice: Dice,
  ) {
    this.#kernel = dice.pick(KERNELS);
    this.#boot_id = this.#random_bytes(16);
  }

  get next_sequence(): string {
    return String(this.#sequence + 1);
  }

  begin_stream(): void {
    this.#begins = true;
  }

  /** The next things that happen there. */
  events(count: number, now_ms: number): SentEvent[] {
    return Array.from({ length: count }, () => this.#event(now_ms));
  }

  #event(now_ms: number): SentEvent {
    const begins = this.#begins;
    if (begins) {
      this.#begins = false;
      this.#stream = Buffer.from(this.#random_bytes(8)).readBigUInt64LE() | 1n;
      this.#sequence = 0;
    }
    // A spool that lost an event, which nobody sends any more.
    if (!begins && this.dice.chance(0.01)) this.#sequence += 1;
    this.#sequence += 1;
    const change = begins || this.dice.chance(0.05) ? this.#observed() : this.#change();
    const bytes = encode_event({
      host_id: this.host_id,
      stream: long_of(this.#stream),
      sequence: this.#sequence,
      time_unix_ms: Math.max(now_ms, this.effective_time_ms),
      ...change,
    });
    return { host_id: this.host_id, bytes };
  }

  #change(): Change {
    const { dice } = this;
    const running = this.#patches.find(({ phase }) => phase !== Phase.ENABLED);
    if (running !== undefined) return this.#end_transition(running);
    const removable = this.#lingering[0];
    if (removable !== undefined && dice.chance(0.4)) {
      this.#lingering.shift();
      return { removed: { patch: { name: removable } } };
    }
    const taken = [...this.#lingering, ...this.#patches.map(({ name }) => name)];
    const free = PATCHES.map(({ name }) => name).filter((name) => !taken.includes(name));
    if (free.length > 0 && (this.#patches.length === 0 || dice.chance(0.5))) {
      const name = dice.pick(free);
      if (dice.chance(0.1)) return { refused: { patch: { name }, line: "livepatch: not compatible" } };
      this.#patches.push({ name, phase: Phase.ENABLING });
      return { loading: { patch: { name } } };
    }
    if (this.#patches.length === 0) return this.#observed();
    const leaving = dice.pick(this.#patches);
    leaving.phase = Phase.DISABLING;
    return { disabling: { patch: { name: leaving.name } } };
  }

  #end_transition(running: { name: string; phase: klpstate.v1.Phase }): Change {
    const { dice } = this;
    const patch = { name: running.name };
    if (dice.chance(0.1)) {
      running.phase = running.phase === Phase.ENABLING ? Phase.DISABLING : Phase.ENABLING;
      return { reversed: { patch, to: running.phase } };
    }
    if (dice.chance(0.03)) return { forced: { patch, phase: running.phase } };
    if (running.phase === Phase.DISABLING) {
      this.#patches = this.#patches.filter((each) => each !== running);
      this.#lingering.push(running.name);
      return { disabled: { patch } };
    }
    running.phase = Phase.ENABLED;
    if (dice.chance(0.5)) return { loaded: { patch } };
    const left = this.#patches.filter((each) => each !== running);
    this.#patches = [running];
    this.#lingering.push(...left.map(({ name }) => name));
    return { replaced: { patch, left: left.map(({ name }) => ({ name })) } };
  }

  #observed(): Change {
    if (this.dice.chance(0.2)) {
      this.#boot_id = this.#random_bytes(16);
      this.#patches = [];
      this.#lingering = [];
    }
    return {
      observed: {
        ...this.#kernel,
        boot_id: this.#boot_id,
        livepatching: Livepatching.SUPPORTED,
        stack: this.#patches.map(({ name, phase }) => ({ patch: { name }, phase })),
        lingering: this.#lingering.map((name) => ({ patch: { name } })),
      },
    };
  }

  #random_bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.dice.below(256));
  }
}

/** One batch at a time, of a few of its hosts. */
export class Publisher {
  readonly hosts: Host[];
  /** Of all its acknowledgements: an asker that goes with it may ask for no less. */
  readonly seen = new Map<number, bigint>();

  constructor(
    readonly name: string,
    host_ids: readonly string[],
    readonly dice: Dice,
    readonly doors: readonly Door[],
    readonly operations: Operations,
  ) {
    this.hosts = host_ids.map((host_id) => new Host(host_id, dice));
  }

  /** Until `ended`, and then on until nothing of it is unknown. */
  async run(ended: AbortSignal, pause_ms: number, given_up: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      await this.#publish(given_up);
      if (given_up.aborted) return;
      await sleep(this.dice.below(2 * pause_ms));
    }
  }

  async #publish(given_up: AbortSignal): Promise<void> {
    const { dice } = this;
    const hosts = dice.shuffled(this.hosts).slice(0, 1 + dice.below(4));
    const now_ms = Date.now();
    const events = hosts.flatMap((host) => host.events(1 + dice.below(3), now_ms));
    let door = dice.pick(this.doors);
    while (!given_up.aborted) {
      const { outcome, ack, retry_after_ms } = await this.#send(door, events);
      if (outcome === "ok") return this.#settle(hosts, ack!);
      // As an agent whose spool is full, or that was started anew: what the server has of this is not known.
      if (dice.chance(0.05)) {
        for (const host of hosts) host.begin_stream();
        return;
      }
      if (dice.chance(0.6)) door = dice.pick(this.doors);
      await sleep(retry_after_ms ?? AGAIN_AFTER_MS);
    }
  }

  async #send(door: Door, events: readonly SentEvent[]) {
    const { operations } = this;
    const invoked = operations.begin("publish", this.name, door.node);
    const body = encode_batch(events.map(({ bytes }) => bytes));
    const answer = await door.ask("POST", "/v1/events", {
      type: "application/x-protobuf",
      body,
      ms_max: this.dice.pick(PATIENCE_MS),
    });
    const ack = answer.status === 200 ? (answer.document as Ack) : null;
    const positions = positions_of(ack?.positions ?? {});
    const outcome = outcome_of(answer.status);
    operations.end({
      ...invoked,
      kind: "publish",
      ended_ms: operations.now_ms(),
      outcome,
      says: ack === null ? answer.says : "",
      events,
      positions,
      hosts: ack?.hosts.filter(is_told) ?? [],
    });
    if (ack !== null) advance(this.seen, positions);
    return { outcome, ack, retry_after_ms: answer.retry_after_ms };
  }

  #settle(hosts: readonly Host[], ack: Ack): void {
    // Of the others nobody has told in time what the registry has: their streams go on.
    for (const { host_id, next_sequence, knowledge, effective_time } of ack.hosts.filter(is_told)) {
      const host = hosts.find((each) => each.host_id === host_id);
      if (host === undefined) throw new Error(`acknowledged ${host_id}, which was not in the batch`);
      host.effective_time_ms = Math.max(host.effective_time_ms, parse_time(effective_time, "effective_time"));
      if (knowledge === "disputed" || next_sequence !== host.next_sequence) host.begin_stream();
    }
  }
}

type HostOfAck = Ack["hosts"][number];
type Told = { [Field in keyof HostOfAck]: NonNullable<HostOfAck[Field]> };

function is_told(host: HostOfAck): host is Told {
  return host.next_sequence !== null;
}

/** What the product says is stored in no part; any other refusal may have stored some. */
function outcome_of(status: number | null): Outcome {
  if (status === 200) return "ok";
  return status === 429 || (status !== null && status >= 400 && status < 500) ? "fail" : "unknown";
}
