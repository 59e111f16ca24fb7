/**
 * The guest and the registry beside each other: every load has its verdict written down before the kernel is asked,
 * and after every step the registry has to come to what the kernel shows.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  answer_to_load,
  compare_verdict,
  KernelView,
  printed_refusal,
  type Refusal,
  type Shown,
} from "../../services/cli/kernel_answer.js";
import type { HostAnswer, HostVerdict } from "../../services/registry/answers.js";
import type { Answer, Guest } from "./guest.js";
import { AGENT } from "./initramfs.js";
import type { ManifestDocument } from "./manifests.js";
import type { PatchSpec } from "./patches.js";
import type { Witness } from "./witness.js";

/** How long events may take from the guest's kernel into the registry: an emulated agent thinks slowly. */
const ARRIVAL_LIMIT_MS = 20_000;
/** And the agent until its first look, on a machine that does other things as well. */
const START_LIMIT_MS = 120_000;
const LOOK_AGAIN_MS = 25;
const QUIET_MS = 3000;
/** How often the guest, which has one serial port for it, is looked at meanwhile. */
const SHOW_AGAIN_MS = 500;
/** The longest transition that ends by itself: its work runs once a second. */
const SETTLE_LIMIT_MS = 30_000;

export interface Policy {
  modules_disabled: boolean;
  signature_required: boolean;
  ftrace_off: boolean;
}

/** What no registry foresees, by what is wrong with the patch. */
const UNFORESEEN: Partial<Record<Refusal, (spec: PatchSpec) => boolean>> = {
  pre_patch: (spec) => spec.pre_patch_errno !== undefined,
  symbol_missing: (spec) => spec.patches === "missing_symbol",
  no_objects: (spec) => spec.patches === "nothing",
};

export interface Counts {
  loads: number;
  refused: number;
  disagreements: number;
  /** Of the loads: the transition was another one behind it. */
  excluded: number;
  /** Of the loads: refused for what is wrong with the module itself, which no registry is told. */
  unforeseen: number;
  passed: number;
  failed: number;
  compared: Map<string, number>;
}

export function no_counts(): Counts {
  return {
    loads: 0,
    refused: 0,
    disagreements: 0,
    excluded: 0,
    unforeseen: 0,
    passed: 0,
    failed: 0,
    compared: new Map(),
  };
}

/** An instant at which it is known what the kernel had. */
export interface Mark {
  time: string;
  after: string;
  stack: string;
  /** Nothing happened for a while before and behind it, and the agent had the time to look. */
  is_quiet: boolean;
}

export interface TrialOptions {
  guest: Guest;
  witness: Witness;
  /** By name; a patch without one is no livepatch. */
  manifests: ReadonlyMap<string, ManifestDocument>;
  counts: Counts;
  /** As the kernel was booted. */
  policy: Policy;
  say(line: string): void;
  /** Verdicts before they are put to the test, and what came of it. */
  write_down(document: object): void;
}

export class Trial {
  readonly guest: Guest;
  readonly witness: Witness;
  readonly marks: Mark[] = [];
  /** `REASON: LINE` of the refusals of which the kernel told since the agent looks, oldest first. */
  readonly refused: string[] = [];
  readonly policy: Policy;
  readonly #options: TrialOptions;
  readonly #view = new KernelView();
  /** Names in the order of their loads, as sysfs before 6.14 does not show it. */
  #loaded: string[] = [];
  #shown: Shown = { stack: [], lingering: [], forced: false };
  #last_step = "the boot";

  constructor(options: TrialOptions) {
    this.#options = options;
    this.guest = options.guest;
    this.witness = options.witness;
    this.policy = { ...options.policy };
  }

  /** `NAME PHASE` each, oldest first, as the kernel showed it last. */
  get stack(): readonly string[] {
    return this.#shown.stack;
  }

  get on_stack(): string[] {
    return this.#shown.stack.map((entry) => entry.split(" ")[0]!);
  }

  get lingering(): readonly string[] {
    return this.#shown.lingering;
  }

  /** Anything but a load whose verdict counts. */
  async step(operation: string, ...args: (string | number)[]): Promise<Answer> {
    const answer = await this.guest.ask(operation, ...args);
    if (operation !== "show") this.#last_step = `${operation} ${args.join(" ")}`;
    if (operation === "load" && answer.result === "ok") this.#came(answer.target);
    this.#take(answer);
    return answer;
  }

  async settle(): Promise<void> {
    await this.step("settle", SETTLE_LIMIT_MS);
    this.mark();
  }

  /** Says that what the kernel showed last is so now; of nothing that is about to change by itself. */
  mark(is_quiet = false): void {
    const time = new Date().toISOString();
    this.marks.push({ time, after: this.#last_step, stack: list(this.#shown.stack), is_quiet });
  }

  /** An instant of which an agent that looks once a second has to be certain. */
  async rest(): Promise<void> {
    await this.agree();
    await this.step("sleep", QUIET_MS);
    this.mark(true);
    await this.step("sleep", QUIET_MS);
  }

  /** Whether it comes to see what is there. */
  async start_agent(): Promise<boolean> {
    await this.step("start", ...AGENT);
    return this.agree(START_LIMIT_MS);
  }

  /** What the kernel told of its refusals is waited for as what it shows is: these change no stack. */
  async refusals_since(told_before: number): Promise<string[]> {
    const deadline_ms = performance.now() + ARRIVAL_LIMIT_MS;
    for (;;) {
      const entries = (await this.witness.history()).slice(told_before);
      const told = entries.filter(({ change }) => change === "refused");
      if (told.length >= this.refused.length || performance.now() > deadline_ms)
        return told.map(({ line, reason }) => `${reason}: ${line}`);
      await sleep(SHOW_AGAIN_MS);
    }
  }

  /** Whether the registry comes to what the kernel shows. */
  async agree(limit_ms = ARRIVAL_LIMIT_MS): Promise<boolean> {
    const deadline_ms = performance.now() + limit_ms;
    let show_again_ms = performance.now() + SHOW_AGAIN_MS;
    let host: HostAnswer | null;
    for (;;) {
      host = await this.witness.host();
      if (host !== null && this.#difference(host) === null) return this.check(true, "");
      if (performance.now() > deadline_ms) break;
      await sleep(LOOK_AGAIN_MS);
      if (performance.now() < show_again_ms) continue;
      await this.step("show");
      show_again_ms = performance.now() + SHOW_AGAIN_MS;
    }
    const difference = host === null ? "the registry knows no host" : this.#difference(host);
    return this.disagree(`after ${this.#last_step}: ${difference}`);
  }

  /**
   * Asks the registry, then the kernel. `meanwhile` runs while the load is under way.
   */
  async load(spec: PatchSpec, meanwhile?: () => Promise<void>): Promise<Answer> {
    const { counts, write_down } = this.#options;
    await this.agree();
    const manifest = this.#options.manifests.get(spec.name);
    const verdict = manifest === undefined ? null : await this.witness.verdict(manifest);
    write_down({ load: ++counts.loads, patch: spec.name, on: this.#shown.stack, verdict });
    const transitions = [transition_in(this.#shown.stack, spec.name)];
    await this.step("show");
    transitions.push(transition_in(this.#shown.stack, spec.name));
    let answer: Answer;
    if (meanwhile === undefined) {
      answer = await this.step("load", spec.name);
    } else {
      await this.step("load_in_background", spec.name);
      await meanwhile();
      answer = await this.step("join", spec.name);
      if (answer.result === "ok") this.#came(spec.name);
    }
    transitions.push(transition_in(this.#shown.stack, spec.name));
    write_down({ load: counts.loads, result: answer.result, dmesg: answer.dmesg });
    if (answer.result !== "ok") counts.refused += 1;
    // Whether another patch's transition, seen with the verdict and again before the load, was still that one behind it.
    if (new Set(transitions).size > 1) counts.excluded += 1;
    else this.#compare(spec, verdict, answer);
    return answer;
  }

  /** As `load`, until no transition runs; and the registry has to be told. */
  async load_and_settle(spec: PatchSpec): Promise<Answer> {
    const answer = await this.load(spec);
    if (answer.result === "ok") await this.settle();
    return answer;
  }

  /** A fact that has to hold. */
  check(holds: boolean, fact: string): boolean {
    const { counts, say } = this.#options;
    if (holds) counts.passed += 1;
    else {
      counts.failed += 1;
      say(`FAILED: ${fact}`);
    }
    return holds;
  }

  say(line: string): void {
    this.#options.say(line);
  }

  disagree(what: string): false {
    this.#options.counts.disagreements += 1;
    this.check(false, what);
    return false;
  }

  #came(name: string): void {
    this.#loaded = [...this.#loaded.filter((other) => other !== name), name];
  }

  #take(answer: Answer): void {
    for (const patch of answer.after) patch.order = this.#loaded.indexOf(patch.name);
    this.#shown = this.#view.after(answer);
    const printed = printed_refusal(answer);
    if (printed !== null && answer.agent_runs) this.refused.push(`${printed.reason}: ${printed.said}`);
  }

  #compare(spec: PatchSpec, verdict: HostVerdict | null, answer: Answer): void {
    const { counts } = this.#options;
    const said =
      verdict === null ? "no manifest" : `${verdict.verdict}${verdict.reason ? `: ${verdict.reason}` : ""}`;
    const kernel_said = [answer.result, ...answer.dmesg].join(" | ");
    const what = `load ${counts.loads}, ${spec.name}: ${said}, and the kernel says ${kernel_said}`;
    const key = `${said} ↔ ${answer.result}`;
    counts.compared.set(key, (counts.compared.get(key) ?? 0) + 1);
    if (verdict === null) {
      this.check(answer.result === "EINVAL", what);
      return;
    }
    // The rules leave it open: with symbol versions it may load (RULES C, `other_kernel`).
    if (spec.of_other_kernel === "vermagic") {
      const agrees = verdict.verdict === "other_kernel" || verdict.verdict === "blocked";
      if (!agrees) this.disagree(what);
      else this.check(true, what);
      return;
    }
    const facts = { noobj: spec.patches === "nothing" };
    const kernel = answer_to_load(answer, { facts }, this.policy.modules_disabled);
    const comparison = compare_verdict(verdict, kernel);
    if (comparison.found === "unforeseen" && UNFORESEEN[comparison.refusal]?.(spec)) {
      counts.unforeseen += 1;
      this.check(true, what);
    } else if (comparison.found === "equal") this.check(true, what);
    else this.disagree(what);
  }

  /** Null: none. */
  #difference(host: HostAnswer): string | null {
    const { stack, lingering, forced } = this.#shown;
    const pairs: [string, string, string][] = [
      ["stack", list(stack), list(host.stack.map(({ name, phase }) => `${name} ${phase}`))],
      ["lingering", list(lingering), list(host.lingering.map(({ name }) => name).sort())],
      ["forced", `${forced}`, `${host.forced}`],
      ["policy", policy_text(this.policy), policy_text(host.policy)],
      ["knowledge", "complete", host.knowledge],
    ];
    const different = pairs.filter(([, kernel, registry]) => kernel !== registry);
    if (different.length === 0) return null;
    return different
      .map(([what, kernel, registry]) => `${what}: the kernel has ${kernel}, the registry ${registry}`)
      .join("; ");
  }
}

function policy_text({ modules_disabled, signature_required, ftrace_off }: Policy): string {
  return `modules_disabled ${modules_disabled}, signature_required ${signature_required}, ftrace_off ${ftrace_off}`;
}

/** The stack's entry that is not enabled, but for the patch of this name. */
function transition_in(stack: readonly string[], but_for: string): string | null {
  return stack.find((entry) => !entry.endsWith(" enabled") && entry.split(" ")[0] !== but_for) ?? null;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "nothing" : items.join(", ");
}
