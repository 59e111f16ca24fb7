/**
 * One pass over all recordings: each is a host, and all hosts go one step at a time together, so that a step of all of
 * them is one batch. What the registry says is compared with what the kernel did, and every comparison is counted.
 */
import { encode_batch, encode_event, type HostEvent } from "../events/codec.js";
import { kernel_form } from "../events/patch_name.js";
import type { HistoryEntry, HostVerdict } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import {
  answer_to_load,
  compare_verdict,
  ended_before_load,
  KernelView,
  printed_refusal,
  type Refusal,
  type Shown,
} from "./kernel_answer.js";
import { batches_of, Player, type RecordedStep, type Recording } from "./recording.js";

/** A: the changes alone must explain what the kernel showed. B: an Observed after each step must find nothing new. */
export type PassName = "A" | "B";

export interface Difference {
  line: number;
  scenario: string;
  kernel: string;
  pass: PassName;
  /** From 0; null: before the first step. */
  step: number | null;
  /** The step as it was recorded: `load cum1`. */
  did: string;
  /** What was compared. */
  what: string;
  /** What the kernel did. */
  kernel_says: string;
  klpstate_says: string;
}

export interface PassCounts {
  /** Loads whose verdict was compared with the kernel's answer. */
  compared: { verdict: string; result: string; loads: number }[];
  /** Loads that were refused for what no registry can foresee. */
  unforeseen: Partial<Record<Refusal, number>>;
  /** Loads before which a transition ended that still ran when the verdict was asked. */
  overtaken: number;
  /** Loads of what has no entry in `modules`. */
  no_livepatch: number;
  /** Loads that were refused with a line of the kernel's, which the history has. */
  refused_in_history: number;
  /** Loads that were refused without a line, by errno: nobody can see them. */
  refused_unseen: Record<string, number>;
}

/** Questions about hosts that wait at once: each has a core of its own in its shard while it is answered. */
const QUESTIONS_AT_ONCE = 8;
/** Between two steps, as far as events tell it. */
const STEP_MS = 1_000;
const BOOT_ID = "c0f02a11000040008000000000000001";
/** The only knob of the recorded steps that the kernel does not tell of, and never gives back. */
const MODULES_DISABLED = "/proc/sys/kernel/modules_disabled";

interface PlayedHost {
  host_id: string;
  recording: Recording;
  player: Player;
  view: KernelView;
  /** What the kernel showed after the last step. */
  shown: Shown;
  modules_disabled: boolean;
  /** Of the next step's load; null: it is none, or of no livepatch. */
  verdict: HostVerdict | null;
  /** By event, in order: the step that told it; null for the first. */
  steps_of_events: (number | null)[];
}

export class ConformPass {
  readonly differences: Difference[] = [];
  readonly counts: PassCounts = {
    compared: [],
    unforeseen: {},
    overtaken: 0,
    no_livepatch: 0,
    refused_in_history: 0,
    refused_unseen: {},
  };
  events = 0;
  readonly #name: PassName;
  readonly #registry: RegistryService;
  readonly #hosts: PlayedHost[];

  constructor(name: PassName, registry: RegistryService, recordings: Recording[]) {
    this.#name = name;
    this.#registry = registry;
    this.#hosts = recordings.map((recording, at) => {
      // Two recordings may have the same name.
      const host_id = `scenario-${at + 1}`;
      const boot_time_unix_s = Math.floor(Date.now() / 1_000);
      return {
        host_id,
        recording,
        player: new Player(recording, {
          host_id,
          stream: BigInt(at + 1),
          boot_id: BOOT_ID,
          boot_time_unix_s,
        }),
        view: new KernelView(),
        shown: { stack: [], lingering: [], forced: false },
        modules_disabled: false,
        verdict: null,
        steps_of_events: [],
      };
    });
  }

  async run(show: (fraction: number) => void): Promise<void> {
    const rounds = this.#hosts.reduce((most, { recording }) => Math.max(most, recording.steps.length), 0);
    const begun_ms = Date.now() - (rounds + 1) * STEP_MS;
    await this.#ingest(
      this.#hosts.flatMap((host) => this.#told(host, null, [host.player.observe(begun_ms)])),
    );
    for (let round = 0; round < rounds; round++) {
      show(round / rounds);
      await this.#step(round, begun_ms + (round + 1) * STEP_MS);
    }
    await each(this.#hosts, (host) => this.#compare_history(host));
  }

  async #step(round: number, time_ms: number): Promise<void> {
    const stepping = this.#hosts.flatMap((host) => {
      const step = host.recording.steps[round];
      return step === undefined ? [] : [{ host, step }];
    });
    await each(stepping, async ({ host, step }) => {
      host.verdict = await this.#ask_verdict(host, step);
    });
    await this.#ingest(stepping.flatMap(({ host, step }) => this.#play(host, step, round, time_ms)));
    for (const { host, step } of stepping) {
      const before = host.shown;
      host.shown = host.view.after(step);
      if (step.op === "load") this.#compare_load(host, step, round, before);
      if (step.op === "write" && step.target === MODULES_DISABLED && step.arg === "1" && step.result === "ok")
        host.modules_disabled = true;
    }
    const wrong = await this.#wrong_configurations();
    await each(stepping, async ({ host }) => {
      const is_last = round === host.recording.steps.length - 1;
      if (is_last || wrong.has(configuration_of(host))) await this.#compare_host(host, round);
    });
  }

  /**
   * What more or fewer hosts show than the registry's fleet has. One question for all hosts: one for each of them after
   * each step would be most of the time, and is needed only where these numbers differ, and once at a recording's end.
   */
  async #wrong_configurations(): Promise<Set<string>> {
    const counts = new Map<string, number>();
    const add = (key: string, hosts: number) => counts.set(key, (counts.get(key) ?? 0) + hosts);
    for (const host of this.#hosts) add(configuration_of(host), 1);
    const { rows } = await this.#registry.fleet({});
    for (const row of rows) {
      const lingering = row.lingering.map(({ name }) => name);
      const stack = row.stack.map(({ name, phase }) => `${name} ${phase}`);
      add(
        JSON.stringify([row.kernel_release, row.arch, stack, lingering, row.forced, row.knowledge]),
        -row.hosts,
      );
    }
    return new Set([...counts].filter(([, difference]) => difference !== 0).map(([key]) => key));
  }

  #play(host: PlayedHost, step: RecordedStep, round: number, time_ms: number): HostEvent[] {
    const { events, observed } = host.player.play(step, time_ms);
    if (this.#name === "B") events.push(host.player.observe(time_ms));
    else if (observed !== null)
      this.#differ(host, round, "the changes explain the step", "they do", `an Observed, ${observed}`);
    return this.#told(host, round, events);
  }

  #told(host: PlayedHost, round: number | null, events: HostEvent[]): HostEvent[] {
    for (const _ of events) host.steps_of_events.push(round);
    return events;
  }

  async #ingest(events: HostEvent[]): Promise<void> {
    this.events += events.length;
    for (const batch of batches_of(events.map(encode_event)))
      await this.#registry.ingest(encode_batch(batch));
  }

  async #ask_verdict({ host_id, recording }: PlayedHost, step: RecordedStep): Promise<HostVerdict | null> {
    if (step.op !== "load") return null;
    const name = kernel_form(step.target);
    const module = recording.modules.get(name);
    if (module === undefined) return null;
    const candidate = { name, build_id: module.build_id };
    for await (const verdict of this.#registry.check_hosts(candidate, { host_id })) return verdict;
    throw new Error(`no verdict for ${host_id}`);
  }

  #compare_load(host: PlayedHost, step: RecordedStep, round: number, before: Shown): void {
    const { counts } = this;
    if (step.result !== "ok" && printed_refusal(step) === null)
      counts.refused_unseen[step.result] = (counts.refused_unseen[step.result] ?? 0) + 1;
    const name = kernel_form(step.target);
    const module = host.recording.modules.get(name);
    if (host.verdict === null || module === undefined) {
      counts.no_livepatch++;
      return;
    }
    const { verdict, reason, replaces } = host.verdict;
    const answer = answer_to_load(step, module, host.modules_disabled);
    const comparison = compare_verdict(host.verdict, answer);
    switch (comparison.found) {
      case "unforeseen":
        counts.unforeseen[comparison.refusal] = (counts.unforeseen[comparison.refusal] ?? 0) + 1;
        return;
      case "differs": {
        const running = before.stack.find((entry) => !entry.endsWith(" enabled"))?.replace(/ \w+$/, "");
        if (running !== undefined && ended_before_load(step, running, name)) {
          counts.overtaken++;
          return;
        }
        const said = `${answer.result}${answer.refusal === null ? "" : ` (${answer.refusal})`}`;
        this.#differ(host, round, "verdict", said, verdict + (reason === null ? "" : `: ${reason}`));
        return;
      }
    }
    const row = counts.compared.find((row) => row.verdict === verdict && row.result === step.result);
    if (row) row.loads++;
    else counts.compared.push({ verdict, result: step.result, loads: 1 });
    // What was replaced is seen once the transition is over.
    if (verdict !== "ok" || !host.shown.stack.includes(`${name} enabled`)) return;
    const names = new Set(host.shown.stack.map(name_of));
    const left = before.stack.map(name_of).filter((patch) => !names.has(patch));
    this.#compare(host, round, "replaced patches", list(left), list(replaces));
  }

  async #compare_host(host: PlayedHost, round: number): Promise<void> {
    const answer = await this.#registry.host(host.host_id, {});
    if (answer === null) throw new Error(`${host.host_id} is not known after its step ${round}`);
    const { stack, lingering, forced } = host.shown;
    const folded = answer.stack.map(({ name, phase }) => `${name} ${phase}`);
    const beside = answer.lingering.map(({ name }) => name);
    this.#compare(host, round, "stack", list(stack), list(folded));
    this.#compare(host, round, "lingering modules", list(lingering), list(beside));
    this.#compare(host, round, "forced", String(forced), String(answer.forced));
    this.#compare(host, round, "knowledge", "complete", answer.knowledge);
  }

  /** Refused is where the kernel printed a line, and nowhere else; nothing is odd. */
  async #compare_history(host: PlayedHost): Promise<void> {
    const { recording, steps_of_events } = host;
    const refused: HistoryEntry[][] = recording.steps.map(() => []);
    let count = 0;
    for await (const entry of (await this.#registry.history(host.host_id, {})) ?? []) {
      const round = steps_of_events[count++] ?? null;
      this.#compare(host, round, `effect of ${entry.change}`, "applied", entry.effect);
      this.#compare(host, round, `anomalies of ${entry.change}`, "none", list(entry.anomalies));
      if (entry.change === "refused" && round !== null) refused[round]!.push(entry);
    }
    this.#compare(host, null, "events in the history", String(steps_of_events.length), String(count));
    for (const [round, step] of recording.steps.entries()) {
      this.#compare_refusals(host, step, round, refused[round]!);
    }
  }

  #compare_refusals(host: PlayedHost, step: RecordedStep, round: number, told: HistoryEntry[]): void {
    const printed = printed_refusal(step);
    const own = step.op === "load" && step.result !== "ok";
    // A step is one load; what else was refused in it is somebody else's, and may have been so more than once.
    const as_many = printed === null ? 0 : own ? 1 : Math.max(1, told.length);
    this.#compare(host, round, "Refused in the history", String(as_many), String(told.length));
    const first = told[0];
    if (printed === null || first === undefined) return;
    if (own) this.counts.refused_in_history++;
    this.#compare(host, round, "line of Refused", printed.said, String(first.line));
    this.#compare(host, round, "reason of Refused", printed.reason, String(first.reason));
    const patch = (first.patch as { name?: string } | undefined)?.name;
    if (own && patch !== undefined && host.recording.modules.has(kernel_form(step.target)))
      this.#compare(host, round, "patch of Refused", kernel_form(step.target), patch);
  }

  #compare(
    host: PlayedHost,
    round: number | null,
    what: string,
    kernel_says: string,
    klpstate_says: string,
  ): void {
    if (kernel_says !== klpstate_says) this.#differ(host, round, what, kernel_says, klpstate_says);
  }

  #differ(
    host: PlayedHost,
    step: number | null,
    what: string,
    kernel_says: string,
    klpstate_says: string,
  ): void {
    const { line, name, kernel, steps } = host.recording;
    const { op, target } = steps[step ?? -1] ?? { op: "", target: "" };
    const did = `${op} ${target}`.trim();
    this.differences.push({
      line,
      scenario: name,
      kernel,
      pass: this.#name,
      step,
      did,
      what,
      kernel_says,
      klpstate_says,
    });
  }
}

/** As the fleet's rows are keyed, too. */
function configuration_of({ recording: { kernel, arch }, shown }: PlayedHost): string {
  return JSON.stringify([kernel, arch, shown.stack, shown.lingering, shown.forced, "complete"]);
}

function name_of(entry: string): string {
  return entry.slice(0, entry.lastIndexOf(" "));
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "none" : items.join(", ");
}

/** Works through the items, some at once, each begun in order. */
async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: QUESTIONS_AT_ONCE }, worker));
}
