/** What is done to the guest: chapters of a plan, each random in what it picks. What they pick depends on the dice and on settled states alone. */
import type { Dice } from "../disk/dice.js";
import {
  GATE,
  GATED,
  NOTHING_PATCHED,
  OTHER_LAYOUT,
  OTHER_RELEASE,
  type PatchSpec,
  PLAIN,
  PRE_PATCH_REFUSES,
  SLOW,
  SYMBOL_MISSING,
  UNMARKED,
} from "./patches.js";
import type { Trial } from "./trial.js";

export const GATE_SHUT = `/sys/module/${GATE}/parameters/shut`;
export const FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled";
export const MODULES_DISABLED = "/proc/sys/kernel/modules_disabled";
/** The gate's thread has to come to where it sleeps. */
const GATE_MS = 50;

export type Chapter = (trial: Trial, dice: Dice) => Promise<void>;

/** Loads, with what makes room for others: so that some are refused for states, some for their name. */
export async function stack(trial: Trial, dice: Dice, loads: number): Promise<void> {
  let pool = dice.shuffled(PLAIN).slice(0, 7);
  for (let done = 0; done < loads; ) {
    const { on_stack, lingering } = trial;
    const act = dice.weighted(
      [10, "load"],
      [lingering.length > 0 ? 2 : 0, "load_again"],
      [on_stack.length, "disable"],
      [lingering.length, "rmmod"],
      [1, "other_patches"],
    );
    if (act === "load" || act === "load_again") {
      const from = act === "load" ? pool : PLAIN.filter(({ name }) => lingering.includes(name));
      await trial.load_and_settle(dice.pick(from.length > 0 ? from : pool));
      done += 1;
    } else if (act === "disable") {
      await trial.step("disable", dice.pick(on_stack));
      await trial.settle();
    } else if (act === "rmmod") {
      await trial.step("rmmod", dice.pick(lingering));
    } else pool = dice.shuffled(PLAIN).slice(0, 7);
  }
  await trial.rest();
}

/** A transition that runs for as long as the gate is shut, with loads meanwhile; it ends, or turns around, or is forced. */
export async function held(
  trial: Trial,
  dice: Dice,
  how: "patching" | "unpatching",
  end?: "force",
): Promise<void> {
  await make_room(trial);
  for (const spec of dice.shuffled(PLAIN).slice(0, dice.below(3))) await trial.load_and_settle(spec);
  const gated = dice.pick(GATED.filter(({ name }) => !trial.lingering.includes(name)));
  if (how === "unpatching") {
    if ((await trial.load_and_settle(gated)).result !== "ok") return;
    await shut_gate(trial);
    await trial.step("disable", gated.name);
  } else {
    await shut_gate(trial);
    if ((await trial.load(gated)).result !== "ok") return open_gate(trial);
  }
  trial.mark();
  const others = [...dice.shuffled(PLAIN).slice(0, 3), dice.pick(GATED)];
  for (const spec of others) await trial.load(spec);
  await trial.agree();
  if (end === "force") {
    await trial.step("force", gated.name);
    await trial.settle();
    await trial.agree();
  } else {
    const turns = dice.below(3);
    for (let turn = 0; turn < turns; turn++) {
      const forth = (how === "patching") === (turn % 2 === 0);
      await trial.step(forth ? "disable" : "enable", gated.name);
      // Turned back it may have ended before it is turned again; either way the registry has to follow.
    }
  }
  await open_gate(trial);
  await trial.settle();
  await trial.agree();
}

/** Callbacks that take their time, so that the agent looks in the middle; and a load that comes then. */
export async function slow(trial: Trial, dice: Dice): Promise<void> {
  await make_room(trial);
  for (const spec of dice.shuffled(SLOW)) {
    const wait_ms = dice.pick([200, 700]);
    await trial.load(spec, async () => {
      await trial.step("sleep", wait_ms);
    });
    await trial.step("show");
    // Its post_patch sleeps now: what is asked of the kernel here may be answered behind it.
    if (dice.chance(0.5)) await trial.load(dice.pick(PLAIN));
    await trial.settle();
    await trial.agree();
  }
  const last = trial.on_stack.find((name) => SLOW.some((spec) => spec.name === name));
  if (last !== undefined) await trial.step("disable", last);
  await trial.settle();
  await trial.agree();
}

/** Modules with something wrong in themselves. */
export async function broken(trial: Trial, dice: Dice): Promise<void> {
  for (const spec of dice.shuffled([
    PRE_PATCH_REFUSES,
    SYMBOL_MISSING,
    NOTHING_PATCHED,
    UNMARKED,
    OTHER_LAYOUT,
  ])) {
    await trial.load_and_settle(spec);
  }
  await trial.agree();
}

/** One that was built for another release, and loads all the same. */
export async function of_other_release(trial: Trial): Promise<void> {
  // So that nothing but its release is against it.
  await make_room(trial);
  const { result } = await trial.load_and_settle(OTHER_RELEASE);
  if (result === "ok") {
    await trial.agree();
    const host = await trial.witness.host();
    trial.check(
      host!.warnings.includes("built_for_other_kernel"),
      `${OTHER_RELEASE.name} is installed and the host's warnings are [${host!.warnings}]`,
    );
    await trial.step("disable", OTHER_RELEASE.name);
    await trial.settle();
  }
  await trial.step("rmmod", OTHER_RELEASE.name);
  await trial.agree();
}

/** With ftrace off, which the kernel allows only where nothing is patched. */
export async function without_ftrace(trial: Trial, dice: Dice): Promise<void> {
  await make_room(trial);
  await trial.step("write", FTRACE_ENABLED, "0");
  trial.policy.ftrace_off = true;
  for (const spec of dice.shuffled(PLAIN).slice(0, 3)) await trial.load_and_settle(spec);
  await trial.step("write", FTRACE_ENABLED, "1");
  trial.policy.ftrace_off = false;
  await trial.load_and_settle(dice.pick(PLAIN));
}

/** For the rest of the boot. What is there can still be disabled. */
export async function without_modules(trial: Trial, dice: Dice): Promise<void> {
  if (trial.on_stack.length === 0) await trial.load_and_settle(dice.pick(PLAIN));
  await trial.step("write", MODULES_DISABLED, "1");
  trial.policy.modules_disabled = true;
  for (const spec of dice.shuffled(PLAIN).slice(0, 5)) await trial.load(spec);
  const name = trial.on_stack.at(-1);
  if (name !== undefined) {
    const spec = [...PLAIN, ...GATED].find((spec) => spec.name === name);
    if (spec !== undefined) await trial.load(spec);
    await trial.step("disable", name);
    await trial.settle();
  }
  await trial.agree();
}

/** With only signed modules allowed, which none of the test's is. */
export async function without_signatures(
  trial: Trial,
  dice: Dice,
  specs: readonly PatchSpec[] = PLAIN,
): Promise<void> {
  for (const spec of dice.shuffled(specs).slice(0, 5)) await trial.load(spec);
  await trial.agree();
}

/** Disables all, newest first, and removes the modules. */
export async function make_room(trial: Trial): Promise<void> {
  for (const name of trial.on_stack.reverse()) {
    await trial.step("disable", name);
    await trial.settle();
  }
  for (const name of trial.lingering) await trial.step("rmmod", name);
  await trial.agree();
}

async function shut_gate(trial: Trial): Promise<void> {
  await trial.step("write", GATE_SHUT, "1");
  await trial.step("sleep", GATE_MS);
}

async function open_gate(trial: Trial): Promise<void> {
  await trial.step("write", GATE_SHUT, "0");
  await trial.step("sleep", GATE_MS);
}
