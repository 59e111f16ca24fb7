/** The boots of a run, and what is done in each. */
import { Dice } from "../disk/dice.js";
import {
  broken,
  held,
  make_room,
  of_other_release,
  slow,
  stack,
  without_ftrace,
  without_modules,
  without_signatures,
} from "./chapters.js";
import { compare_instants } from "./instants.js";
import {
  change_inside_one_look,
  lose_kernel_lines,
  lose_spool,
  restart_agent,
  step_clock,
} from "./losses.js";
import { PLAIN } from "./patches.js";
import type { Policy, Trial } from "./trial.js";

export interface Boot {
  name: string;
  kernel_parameters: readonly string[];
  policy: Policy;
  script(trial: Trial): Promise<void>;
  /** Whether the agent sees all: every refusal is in the history, nothing is odd, and what was long so is certain. */
  is_told_whole: boolean;
}

const ANYTHING: Policy = { modules_disabled: false, signature_required: false, ftrace_off: false };
const SIG_ENFORCE = "/sys/module/module/parameters/sig_enforce";
/** How many loads the chapters that are always there make, about. */
const FIXED_LOADS = 66;
const STACK_CHAPTERS = 4;

export function boots(seed: number, loads: number): Boot[] {
  const dice = new Dice(seed);
  const rest = Math.ceil(Math.max(0, loads - FIXED_LOADS) / STACK_CHAPTERS);
  const some = (trial: Trial) => stack(trial, dice, rest);
  return [
    {
      name: "all that is allowed",
      kernel_parameters: [],
      policy: ANYTHING,
      is_told_whole: true,
      async script(trial) {
        await broken(trial, dice);
        await some(trial);
        await held(trial, dice, "patching");
        await some(trial);
        await held(trial, dice, "unpatching");
        await slow(trial, dice);
        await some(trial);
        await without_ftrace(trial, dice);
        await held(trial, dice, "patching");
        await some(trial);
        await of_other_release(trial);
        // What is forced stays so, and its modules with it.
        await held(trial, dice, "patching", "force");
        await held(trial, dice, "unpatching", "force");
        await without_modules(trial, dice);
      },
    },
    {
      name: "the agent does not see all",
      kernel_parameters: [],
      policy: ANYTHING,
      is_told_whole: false,
      async script(trial) {
        for (const lose of [
          change_inside_one_look,
          lose_kernel_lines,
          restart_agent,
          step_clock,
          lose_spool,
        ]) {
          await lose(trial, dice);
          // What a later loss covers is uncertain for good.
          await compare_instants(trial);
        }
        await make_room(trial);
        for (const spec of dice.shuffled(PLAIN).slice(0, 2)) await trial.load_and_settle(spec);
        await trial.step("write", SIG_ENFORCE, "1");
        trial.policy.signature_required = true;
        await without_signatures(trial, dice);
      },
    },
    {
      name: "signed modules only",
      kernel_parameters: ["module.sig_enforce=1"],
      policy: { ...ANYTHING, signature_required: true },
      is_told_whole: true,
      script: (trial) => without_signatures(trial, dice),
    },
  ];
}
