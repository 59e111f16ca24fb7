/**
 * What a kernel answered to a recorded load, and what it showed: told from the recording alone, without the agent's
 * reading of it. Verdicts are held against this (RULES K5, and the last column of the table in RULES C).
 */
import type { HostVerdict } from "../registry/answers.js";
import type { Module, RecordedPatch, RecordedStep } from "./recording.js";

/** What refuses a load, in the kernel's order (RULES K5). */
const ORDER = [
  "modules_disabled",
  "signature",
  "lockdown",
  "other_kernel",
  "format",
  "name",
  "import_missing",
  "no_objects",
  "not_livepatch",
  "states",
  "symbol_missing",
  "transition",
  "pre_patch",
  "ftrace",
  "enabling_failed",
] as const;
export type Refusal = (typeof ORDER)[number];

/** Refusals that verdicts foresee; the others depend on what no registry is told. */
const FORESEEN: Partial<Record<HostVerdict["verdict"], { errno: string; refusal: Refusal }>> = {
  done: { errno: "EEXIST", refusal: "name" },
  name_taken: { errno: "EEXIST", refusal: "name" },
  incompatible: { errno: "EINVAL", refusal: "states" },
  busy: { errno: "EBUSY", refusal: "transition" },
  other_kernel: { errno: "ENOEXEC", refusal: "other_kernel" },
};
const FORESEEN_POLICY: Record<string, { errno: string; refusal: Refusal }> = {
  modules_disabled: { errno: "EPERM", refusal: "modules_disabled" },
  unsigned: { errno: "EKEYREJECTED", refusal: "signature" },
  ftrace_off: { errno: "EBUSY", refusal: "ftrace" },
};

/** `errno` null: whatever the patch's own code returned. `reason`: that of the event, as JSON has it. */
interface RefusalLine {
  text: RegExp;
  refusal: Refusal;
  errno: string | null;
  reason: string;
}

const REFUSAL_LINES: RefusalLine[] = [
  line(/ is not compatible with the already installed livepatches/, "states", "EINVAL", "incompatible"),
  line(/ is not marked as a livepatch module/, "not_livepatch", "EINVAL", "not_livepatch"),
  line(/^livepatch: symbol .* not found/, "symbol_missing", "EINVAL", "symbol_missing"),
  line(/^livepatch: unresolvable ambiguity for symbol/, "symbol_missing", "EINVAL", "other"),
  line(/^livepatch: pre-patch callback failed for object/, "pre_patch", null, "pre_patch"),
  line(/^livepatch: failed to .* for function /, "ftrace", "EBUSY", "ftrace"),
  line(/^livepatch: failed to enable patch /, "enabling_failed", null, "other"),
  line(/^Loading of .* is rejected/, "signature", "EKEYREJECTED", "unsigned"),
  line(/^Lockdown: .* unsigned module loading is restricted/, "lockdown", "EPERM", "lockdown"),
  line(/: disagrees about version of symbol module_layout/, "other_kernel", "ENOEXEC", "other_kernel"),
  line(/: version magic .* should be /, "other_kernel", "ENOEXEC", "other_kernel"),
  line(/this_module section size must match/, "other_kernel", "ENOEXEC", "other_kernel"),
  line(/^Invalid (ELF|architecture)/, "format", "ENOEXEC", "other"),
  line(/: Unknown symbol /, "import_missing", "ENOENT", "import_missing"),
  line(/: disagrees about version of symbol /, "import_missing", "EINVAL", "other_kernel"),
];

function line(text: RegExp, refusal: Refusal, errno: string | null, reason: string): RefusalLine {
  return { text, refusal, errno, reason };
}

/** The first of the lines that says why: what follows it is its consequence. */
function first_refusal_line(step: RecordedStep): (RefusalLine & { said: string }) | null {
  for (const said of step.dmesg) {
    const found = REFUSAL_LINES.find(({ text }) => text.test(said));
    if (found !== undefined) return { ...found, said };
  }
  return null;
}

export interface KernelAnswer {
  /** `ok` or the errno's name. */
  result: string;
  /** What the load was refused for, where line or facts say so; null for `ok`, and where only the errno tells. */
  refusal: Refusal | null;
}

/** `modules_disabled`: an earlier step set it, which cannot be taken back. */
export function answer_to_load(
  step: RecordedStep,
  module: { facts: Pick<Module["facts"], "noobj"> },
  modules_disabled: boolean,
): KernelAnswer {
  const { result } = step;
  if (result === "ok") return { result, refusal: null };
  const told = first_refusal_line(step);
  if (told !== null) {
    // A line of another refusal than the errno's proves nothing.
    return { result, refusal: told.errno === null || told.errno === result ? told.refusal : null };
  }
  if (result === "EPERM" && modules_disabled) return { result, refusal: "modules_disabled" };
  if (result === "EINVAL" && module.facts.noobj) return { result, refusal: "no_objects" };
  return { result, refusal: null };
}

/** What came of comparing: equal, or a refusal that nobody could foresee, or a difference. */
export type Comparison = { found: "equal" | "differs" } | { found: "unforeseen"; refusal: Refusal };

export function compare_verdict(
  { verdict, reason }: Pick<HostVerdict, "verdict" | "reason">,
  { result, refusal }: KernelAnswer,
): Comparison {
  const foreseen = verdict === "blocked" ? FORESEEN_POLICY[reason ?? ""] : FORESEEN[verdict];
  // A verdict without an answer of the kernel's foresees nothing.
  if (foreseen === undefined && verdict !== "ok") return { found: "differs" };
  const is_told = refusal !== null && refusal !== foreseen?.refusal;
  if (!is_told) return { found: (foreseen?.errno ?? "ok") === result ? "equal" : "differs" };
  if (is_foreseeable(refusal)) return { found: "differs" };
  // What the verdict foresees would have come first: then the kernel would have said that.
  if (foreseen !== undefined && ORDER.indexOf(foreseen.refusal) < ORDER.indexOf(refusal)) {
    return { found: "differs" };
  }
  return { found: "unforeseen", refusal };
}

/** `name` and `transition` are told by their errno alone, so that `states` is the only one with a line. */
function is_foreseeable(refusal: Refusal): boolean {
  return refusal === "states";
}

/** The line that a history must have as a Refused of this step; null: none was printed. */
export function printed_refusal(step: RecordedStep): { said: string; reason: string } | null {
  return first_refusal_line(step);
}

/** Whether the lines tell that the transition ended before the kernel came to the step's own load. */
export function ended_before_load(step: RecordedStep, in_transition: string, target: string): boolean {
  const own = [`'${target}'`, `(${target})`, `module ${target} `, `${target}: `];
  const first_own = step.dmesg.findIndex((said) => own.some((text) => said.includes(text)));
  return step.dmesg
    .slice(0, first_own < 0 ? undefined : first_own)
    .some((said) => /^livepatch: '(.+)': (?:un)?patching complete$/.exec(said)?.[1] === in_transition);
}

export interface Shown {
  /** `NAME PHASE`, oldest first. */
  stack: string[];
  /** By name. */
  lingering: string[];
  forced: boolean;
}

/** Follows a recording and says after each step what the kernel shows: the stack in its own order, the modules beside it. */
export class KernelView {
  #started = new Set<string>();
  #lingering = new Set<string>();
  #forced = false;

  after(step: RecordedStep): Shown {
    for (const said of step.dmesg) {
      const started = /^livepatch: '(.+)': starting /.exec(said);
      if (started) this.#started.add(started[1]!);
      if (said === "livepatch: forcing remaining tasks to the patched state") this.#forced = true;
    }
    // Enabled 0 and transition 0 is a patch that has left but for its directory, or one that is not there yet.
    const on_stack = step.after.filter(
      ({ name, enabled, transition }) => enabled || (transition && this.#started.has(name)),
    );
    const names = new Set(on_stack.map(({ name }) => name));
    const position = (patch: RecordedPatch) =>
      patch.stack_order ?? patch.order ?? -step.modules.findIndex(([name]) => name === patch.name);
    // A module that comes has not been a patch, one that goes was: only the latter lingers.
    this.#lingering = new Set(
      step.modules
        .filter(([name, , state, taints]) => {
          if (!taints.includes("K") || names.has(name)) return false;
          return state === "Live" || this.#lingering.has(name);
        })
        .map(([name]) => name),
    );
    return {
      stack: on_stack
        .sort((a, b) => position(a) - position(b))
        .map(
          ({ name, enabled, transition }) =>
            `${name} ${!enabled ? "disabling" : transition ? "enabling" : "enabled"}`,
        ),
      lingering: [...this.#lingering].sort(),
      forced: this.#forced,
    };
  }
}
