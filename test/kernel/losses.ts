/** What an agent cannot see, or sees too late: it has to say so. */

import type { HistoryEntry } from "../../services/registry/answers.js";
import type { Dice } from "../disk/dice.js";
import { make_room } from "./chapters.js";
import { AGENT_SPOOL } from "./initramfs.js";
import { type PatchSpec, STATELESS } from "./patches.js";
import type { Trial } from "./trial.js";

const SIGKILL = 9;
const SIGCONT = 18;
const SIGSTOP = 19;
/** More than the ring of 128 KiB keeps. */
const FLOOD_RECORDS = 1000;
const HOUR_MS = 3_600_000;

/** All of a patch's life between two looks of the agent's. */
export async function change_inside_one_look(trial: Trial, dice: Dice): Promise<void> {
  const [stays, patch] = await prepare(trial, dice);
  const before = (await trial.witness.history()).length;
  await trial.step("signal", SIGSTOP);
  await come_and_go(trial, patch);
  await trial.step("signal", SIGCONT);
  // What is there is what was there: that the agent has looked shows only with something else.
  await trial.step("disable", stays.name);
  await trial.settle();
  await trial.agree();
  const told = (await trial.witness.history()).slice(before);
  const is_told = ["loaded", "disabled", "removed"].every((change) =>
    told.some((entry) => entry.change === change && name_of(entry) === patch.name),
  );
  trial.check(
    is_told || has_loss(told),
    `${patch.name} came and went between two looks: ${changes_of(told)}`,
  );
}

/** As above, and the kernel's lines of it are lost. */
export async function lose_kernel_lines(trial: Trial, dice: Dice): Promise<void> {
  const [, patch, other] = await prepare(trial, dice);
  const before = (await trial.witness.history()).length;
  await trial.step("signal", SIGSTOP);
  await come_and_go(trial, patch);
  await trial.step("load", other.name);
  await trial.settle();
  await trial.step("flood", FLOOD_RECORDS);
  await trial.step("signal", SIGCONT);
  await trial.step("load", patch.name);
  await trial.settle();
  await trial.agree();
  const told = (await trial.witness.history()).slice(before);
  trial.check(
    has_loss(told),
    `the kernel's lines of ${patch.name} are lost, and the agent tells: ${changes_of(told)}`,
  );
}

/** Killed, with its spool whole. */
export async function restart_agent(trial: Trial, dice: Dice): Promise<void> {
  const [, ...more] = await prepare(trial, dice);
  await trial.step("signal", SIGKILL);
  await load_all(trial, more);
  await trial.start_agent();
}

export async function lose_spool(trial: Trial, dice: Dice): Promise<void> {
  const [, ...more] = await prepare(trial, dice);
  const { stream } = (await trial.witness.host())!;
  await trial.step("signal", SIGKILL);
  await trial.step("remove", AGENT_SPOOL);
  await load_all(trial, more);
  await trial.start_agent();
  trial.check(
    (await trial.witness.host())!.stream !== stream,
    "an agent without its spool begins a new stream",
  );
}

export async function step_clock(trial: Trial, dice: Dice): Promise<void> {
  const [, ...more] = await prepare(trial, dice);
  for (const by_ms of [-HOUR_MS, 2 * HOUR_MS, -HOUR_MS]) {
    await trial.step("clock", by_ms);
    await load_all(trial, more);
    await trial.rest();
    for (const { name } of more) {
      await trial.step("disable", name);
      await trial.settle();
      await trial.step("rmmod", name);
    }
    await trial.rest();
  }
  // What a host tells whose clock is ahead counts from when it was stored: so long it may be late, and no longer.
  trial.marks.push(...trial.marks.splice(0).filter(({ is_quiet }) => is_quiet));
}

/** One is on the stack, and the agent has told of it. */
async function prepare(trial: Trial, dice: Dice): Promise<[PatchSpec, PatchSpec, PatchSpec]> {
  await make_room(trial);
  const [first, second, third] = dice.shuffled(STATELESS);
  await trial.load_and_settle(first!);
  await trial.rest();
  return [first!, second!, third!];
}

async function come_and_go(trial: Trial, { name }: PatchSpec): Promise<void> {
  await trial.step("load", name);
  await trial.settle();
  await trial.step("disable", name);
  await trial.settle();
  await trial.step("rmmod", name);
}

async function load_all(trial: Trial, specs: readonly PatchSpec[]): Promise<void> {
  for (const { name } of specs) {
    await trial.step("load", name);
    await trial.settle();
  }
}

function has_loss(entries: readonly HistoryEntry[]): boolean {
  return entries.some(({ losses }) => Array.isArray(losses) && losses.length > 0);
}

function name_of({ patch }: HistoryEntry): string | undefined {
  return (patch as { name?: string } | undefined)?.name;
}

function changes_of(entries: readonly HistoryEntry[]): string {
  return entries.map((entry) => `${entry.change} ${name_of(entry) ?? ""}`.trim()).join(", ") || "nothing";
}
