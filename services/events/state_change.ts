/**
 * What an applied event changed on its host, as plain values and as the protobuf bytes that stream consumers read. The
 * event itself goes through as bytes: so a change that this version does not know is in the record all the same.
 */
import type { Cause } from "./cause.js";
import type { HostEvent } from "./codec.js";
import { Problem } from "./problem.js";
import { klpstate } from "./proto.js";
import { type ChangeName, change_of, ENUMS, type EnumName } from "./schema.js";
import { u64_from_bigint, u64_to_bigint } from "./u64.js";

const { StateChange: Message } = klpstate.v1;
type Properties = klpstate.v1.StateChange.$Properties;

export type KnowledgeName = "complete" | "gap" | "unreadable" | "no_baseline" | "disputed";
export type PhaseName = "enabling" | "enabled" | "disabling";
export type LifeChangeName =
  | "declared"
  | "taken_over"
  | "updated"
  | "withdrawn"
  | "returned"
  | "undone"
  | "lost";

export interface StackPatch {
  readonly name: string;
  /** Lower-case hex; null: not known. */
  readonly build_id: string | null;
  readonly phase: PhaseName;
}

/** What is known of a host's stack. */
export interface HostStack {
  /** Oldest first. */
  readonly stack: readonly StackPatch[];
  readonly knowledge: KnowledgeName;
}

/** What became of a system state (RULES K11). */
export interface StateLifeEntry {
  readonly id: bigint;
  readonly change: LifeChangeName;
  /** The version that was in effect; null: none was. */
  readonly from: number | null;
  /** The version that is in effect; null: none is. */
  readonly to: number | null;
  /** The patch that has the state afterwards; where none has it any more, the one that had it. */
  readonly patch: string;
}

interface ChangeFacts {
  readonly cause: Cause;
  /** When the event's record was appended, ms since 1970. */
  readonly log_time_ms: number;
  /** When the change took effect, as far as is known; never falls on a host. */
  readonly effective_time_ms: number;
  /** Null: nothing was known of the host. */
  readonly before: HostStack | null;
  readonly after: HostStack;
  /** What was odd about the event: docs/rules.md F. */
  readonly anomalies: readonly string[];
  /** By id. */
  readonly states: readonly StateLifeEntry[];
  /** The catalog that `states` was told with: its next offset then. */
  readonly catalog_next_offset: bigint;
}

/** As it is published. */
export interface ToldChange extends ChangeFacts {
  readonly host_id: string;
  /** The HostEvent as it stands in the log. */
  readonly event: Uint8Array;
}

/** As it is read. */
export interface StateChange extends ChangeFacts {
  readonly host_id: string;
  readonly stream: bigint;
  readonly sequence: number;
  /** The change's name in the schema; null: one that this version does not know. */
  readonly change: ChangeName | null;
  /** The event, with the change's own fields. */
  readonly event: HostEvent;
  /** So many more states, the highest ids, had no room in the record. */
  readonly states_left_out: number;
}

/** With its headers below the 1,048,588 bytes that a broker takes by default. */
export const STATE_CHANGE_BYTES_MAX = 1_000_000;
/** StateChange.event, length-delimited. */
const EVENT_TAG = (4 << 3) | 2;
/** Of the message, without its event and its states: two stacks at their limits, and numbers. */
const REST_BYTES_MAX = 24_000;
/** Of one StateLife with its tag and length: id, versions, and a name at its limit. */
const LIFE_BYTES_MAX = 88;

/** At most STATE_CHANGE_BYTES_MAX: of the states those that have room. */
export function encode_state_change(told: ToldChange): Uint8Array {
  const { cause, event, before, after, states } = told;
  const room = STATE_CHANGE_BYTES_MAX - REST_BYTES_MAX - event.length;
  const told_states = states.slice(0, Math.max(0, Math.floor(room / LIFE_BYTES_MAX)));
  const head: Properties = {
    cause: { partition: cause.partition, offset: u64_from_bigint(cause.offset), index: cause.index },
    log_time_unix_ms: told.log_time_ms,
    effective_time_unix_ms: told.effective_time_ms,
  };
  const tail: Properties = {
    ...(before && { stack_before: before.stack.map(stack_entry), knowledge_before: knowledge_of(before) }),
    stack_after: after.stack.map(stack_entry),
    knowledge_after: knowledge_of(after),
    anomalies: told.anomalies.map((name) => ENUMS.Anomaly.number_of.get(name)!),
    states: told_states.map(life_entry),
    states_left_out: states.length - told_states.length,
    catalog_next_offset: u64_from_bigint(told.catalog_next_offset),
  };
  // Two messages one behind the other are one: the event's own bytes stand between them, in the order of the fields.
  const writer = Message.encode(head).uint32(EVENT_TAG).bytes(event);
  return Message.encode(tail, writer).finish();
}

/** Throws Problem for what does not decode, or lacks what every change has. */
export function decode_state_change(bytes: Uint8Array): StateChange {
  const message = decoded(bytes);
  const { cause, event, knowledge_after } = message;
  if (!cause || !event || !knowledge_after) throw refused("it has no cause, no event, or no knowledge");
  return {
    cause: {
      partition: cause.partition ?? 0,
      offset: u64_to_bigint(cause.offset),
      index: cause.index ?? 0,
    },
    host_id: event.host_id ?? "",
    stream: u64_to_bigint(event.stream),
    sequence: Number(u64_to_bigint(event.sequence)),
    change: change_of(event),
    event,
    log_time_ms: Number(u64_to_bigint(message.log_time_unix_ms)),
    effective_time_ms: Number(u64_to_bigint(message.effective_time_unix_ms)),
    before: message.knowledge_before ? host_stack(message.stack_before, message.knowledge_before) : null,
    after: host_stack(message.stack_after, knowledge_after),
    anomalies: message.anomalies.map((anomaly) => name_of("Anomaly", anomaly)),
    states: message.states.map(({ id, change, from, to, patch }) => ({
      id: u64_to_bigint(id),
      change: name_of("LifeChange", change ?? 0) as LifeChangeName,
      from: from ?? null,
      to: to ?? null,
      patch: patch ?? "",
    })),
    states_left_out: message.states_left_out,
    catalog_next_offset: u64_to_bigint(message.catalog_next_offset),
  };
}

function decoded(bytes: Uint8Array) {
  try {
    return Message.decode(bytes);
  } catch (error) {
    throw refused(error instanceof Error ? error.message : String(error));
  }
}

function refused(reason: string): Problem {
  return new Problem("bad_input", `state change: not decodable (${reason})`, { field: "state change" });
}

function stack_entry({ name, build_id, phase }: StackPatch): klpstate.v1.StackEntry.$Properties {
  const patch = build_id === null ? { name } : { name, build_id: Buffer.from(build_id, "hex") };
  return { patch, phase: ENUMS.Phase.number_of.get(phase)! };
}

function life_entry({ id, change, from, to, patch }: StateLifeEntry): klpstate.v1.StateLife.$Properties {
  return {
    id: u64_from_bigint(id),
    change: ENUMS.LifeChange.number_of.get(change)!,
    ...(from !== null && { from }),
    ...(to !== null && { to }),
    patch,
  };
}

function knowledge_of({ knowledge }: HostStack): klpstate.v1.Knowledge {
  return ENUMS.Knowledge.number_of.get(knowledge)!;
}

function host_stack(
  entries: readonly klpstate.v1.StackEntry.$Properties[],
  knowledge: klpstate.v1.Knowledge,
): HostStack {
  const stack = entries.map(({ patch, phase }) => ({
    name: patch?.name ?? "",
    build_id: patch?.build_id?.length ? Buffer.from(patch.build_id).toString("hex") : null,
    phase: name_of("Phase", phase ?? 0) as PhaseName,
  }));
  return { stack, knowledge: name_of("Knowledge", knowledge) as KnowledgeName };
}

/** A number that a later version has given a name is that number. */
function name_of(name: EnumName, value: number): string {
  return ENUMS[name].name_of.get(value) ?? String(value);
}
