/** The documents about one host, made from its story. */
import type { Configuration, StackEntry } from "../core/core.js";
import { event_to_json } from "../events/json.js";
import { change_of } from "../events/schema.js";
import { format_time } from "../events/time.js";
import { u64_to_bigint } from "../events/u64.js";
import type { At, EventPosition, HistoryEntry, HostAnswer, StateAnswer } from "./answers.js";
import { check_host_of_core } from "./core_answers.js";
import type { Arrival, HostStory, StoryStep } from "./host_story.js";
import type { Instant, StateLookup } from "./service.js";
import type { CheckQuestion, HostOutcome } from "./shard_protocol.js";

export interface HostQuestion {
  host_id: string;
  partition: number;
  instant: Instant;
  /** The node's clock when it was asked. */
  at_ms: number;
  stale_after_ms: number;
}

const MINUTE_MS = 60_000;

/** Both in whole minutes, as the fold counts hosts (RULES C). */
export function is_stale(effective_time_ms: number, at_ms: number, stale_after_ms: number): boolean {
  const silent = Math.floor(at_ms / MINUTE_MS) - Math.floor(effective_time_ms / MINUTE_MS);
  return silent > Math.floor(stale_after_ms / MINUTE_MS);
}

/** The first minute that is not stale at the instant. */
export function first_fresh_minute(at_ms: number, stale_after_ms: number): number {
  return Math.floor(at_ms / MINUTE_MS) - Math.floor(stale_after_ms / MINUTE_MS);
}

/** `catalog` is filled in by who has the catalog. */
function at_of(question: HostQuestion, story: HostStory): At {
  const { as_of_ms, known_at_ms } = question.instant;
  return {
    as_of: format_time(as_of_ms ?? question.at_ms),
    known_at: known_at_ms === undefined ? null : format_time(known_at_ms),
    position: { [question.partition]: String(story.next_offset) },
    catalog: "0",
  };
}

/** Whether the event leaves it open on which side of the instant something happened (RULES F8). */
function casts_doubt(step: StoryStep, instant_ms: number): boolean {
  if (step.effect !== "applied") return false;
  const instant = BigInt(Math.floor(instant_ms));
  const not_before = u64_to_bigint(step.event.not_before_unix_ms);
  const time = u64_to_bigint(step.event.time_unix_ms);
  const log_time = BigInt(step.log_time_ms);
  if (not_before !== 0n && not_before < instant && instant <= (time < log_time ? time : log_time))
    return true;
  return (step.event.observed?.losses ?? []).some(
    (loss) => u64_to_bigint(loss.from_unix_ms) <= instant && instant <= u64_to_bigint(loss.to_unix_ms),
  );
}

export function host_warnings(configuration: Configuration): ("forced" | "built_for_other_kernel")[] {
  const warnings: ("forced" | "built_for_other_kernel")[] = [];
  if (configuration.forced) warnings.push("forced");
  if (configuration.stack.some((entry) => entry.built_for_other_kernel))
    warnings.push("built_for_other_kernel");
  return warnings;
}

function manifest_word(entry: StackEntry): "known" | "missing" | "ambiguous" {
  return typeof entry.manifest === "number" ? "known" : entry.manifest;
}

/** Null: nothing of the host was known at the instant. */
export async function host_answer(question: HostQuestion, story: HostStory): Promise<HostAnswer | null> {
  const { as_of_ms } = question.instant;
  const instant_ms = as_of_ms ?? question.at_ms;
  let last: StoryStep | null = null;
  let uncertain = false;
  for await (const step of story.steps()) {
    if (casts_doubt(step, instant_ms)) uncertain = true;
    if (as_of_ms === undefined || step.effective_time_ms <= as_of_ms) last = step;
  }
  if (last === null) return null;
  const { configuration, arrivals } = last;
  return {
    host_id: question.host_id,
    partition: question.partition,
    kernel_release: configuration.kernel_release,
    arch: configuration.arch,
    boot_id: last.boot_id,
    boot_time: last.boot_time_unix_s === null ? null : format_time(last.boot_time_unix_s * 1000n),
    stream: String(last.stream),
    sequence: String(last.sequence),
    livepatching: configuration.livepatching,
    knowledge: configuration.knowledge,
    forced: configuration.forced,
    policy: configuration.policy,
    stack: configuration.stack.map((entry) => {
      const states = typeof entry.manifest === "number" ? story.states_of(entry.manifest) : null;
      return {
        name: entry.name,
        build_id: entry.build_id,
        phase: entry.phase,
        since: format_time(arrivals.get(entry.name)!.effective_time_ms),
        event: event_position(question.partition, arrivals.get(entry.name)!),
        manifest: manifest_word(entry),
        states: states?.map(({ id, version }) => ({ id: String(id), version })) ?? null,
      };
    }),
    lingering: configuration.lingering,
    warnings: host_warnings(configuration),
    last_event: format_time(last.effective_time_ms),
    stale: is_stale(last.effective_time_ms, instant_ms, question.stale_after_ms),
    uncertain,
    at: at_of(question, story),
  };
}

/** Null: nothing of the host was known at the instant. */
export async function host_check(
  question: HostQuestion,
  story: HostStory,
  check: CheckQuestion,
): Promise<HostOutcome | null> {
  const { as_of_ms } = question.instant;
  let count = 0;
  let uncertain = false;
  for await (const step of story.steps()) {
    if (casts_doubt(step, check.at_ms)) uncertain = true;
    if (as_of_ms === undefined || step.effective_time_ms <= as_of_ms) count++;
  }
  if (count === 0) return null;
  const host = story.stand_after(count);
  story.know(check.candidate.name);
  const outcome = check_host_of_core(story.core, host, check, question.stale_after_ms);
  return { ...outcome, uncertain };
}

/** Null: nothing of the host was known at the instant. */
export async function state_answer(
  question: HostQuestion,
  story: HostStory,
  state: bigint,
  lookup: StateLookup | null,
): Promise<StateAnswer | null> {
  const { as_of_ms } = question.instant;
  let last: StoryStep | null = null;
  let count = 0;
  for await (const step of story.steps()) {
    if (as_of_ms !== undefined && step.effective_time_ms > as_of_ms) continue;
    last = step;
    count++;
  }
  if (last === null) return null;
  const host = story.stand_after(count);
  const { core } = story;
  const { stack } = core.configuration(core.host(host).configuration);
  const unresolved: string[] = [];
  const holders: StateAnswer["holders"] = [];
  for (const entry of stack) {
    const states = typeof entry.manifest === "number" ? story.states_of(entry.manifest) : null;
    if (states === null) unresolved.push(entry.name);
    const versions = (states ?? []).filter(({ id }) => id === state).map(({ version }) => version);
    if (versions.length === 0) continue;
    holders.push({ patch: entry.name, build_id: entry.build_id, phase: entry.phase, versions });
  }
  const held = holders.flatMap((holder) => holder.versions);
  return {
    host_id: question.host_id,
    state: String(state),
    holders,
    minimum_version: held.length === 0 ? null : Math.max(...held),
    lookup: lookup && look_up(lookup),
    unresolved,
    at: at_of(question, story),
  };

  function look_up(asked: StateLookup): StateAnswer["lookup"] {
    const kind = "of" in asked ? "of" : "prev_of";
    const patch = "of" in asked ? asked.of : asked.prev_of;
    const position = stack.findIndex((entry) => entry.name === patch);
    if (position < 0) return { kind, patch, found: null };
    const holder = kind === "of" ? position : core.previous_holder(host, position, state);
    const version = holder === null ? null : core.version_at(host, holder, state);
    if (holder === null || version === null) return { kind, patch, found: null };
    return { kind, patch, found: { patch: stack[holder]!.name, version } };
  }
}

function event_position(partition: number, { offset, index }: Arrival): EventPosition {
  return { partition, offset: String(offset), index };
}

export function history_entry(partition: number, step: StoryStep): HistoryEntry {
  const change = change_of(step.event);
  const fields = (change && (event_to_json(step.event)[change] as Record<string, unknown>)) ?? {};
  return {
    position: event_position(partition, step),
    log_time: format_time(step.log_time_ms),
    time: format_time(u64_to_bigint(step.event.time_unix_ms)),
    effective_time: format_time(step.effective_time_ms),
    stream: String(u64_to_bigint(step.event.stream)),
    sequence: String(u64_to_bigint(step.event.sequence)),
    change: change ?? "unknown",
    ...fields,
    effect: step.effect,
    anomalies: step.anomalies,
    stack: step.configuration.stack.map((entry) => entry.name),
    knowledge: step.configuration.knowledge,
    states: step.states.map((life) => ({ ...life, id: String(life.id) })),
  };
}
