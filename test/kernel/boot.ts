/** One boot: the guest is started, the agent in it; its script runs; then its history is held against what happened. */
import { Guest, type GuestOptions } from "./guest.js";
import { compare_instants } from "./instants.js";
import { GATE } from "./patches.js";
import type { Boot } from "./plan.js";
import { Trial, type TrialOptions } from "./trial.js";

/** The agent's standard error in the guest, as init.c has it. */
const AGENT_LOG = "/var/log/agent";

export type BootOptions = Omit<TrialOptions, "guest" | "policy"> &
  Pick<GuestOptions, "image_file" | "initramfs_file" | "workplace">;

export async function run_boot(boot: Boot, options: BootOptions): Promise<void> {
  const { witness } = options;
  const told_before = witness.lines === 0 ? 0 : (await witness.history()).length;
  const guest = await Guest.boot({
    ...options,
    name: boot.name.replaceAll(" ", "-"),
    kernel_parameters: boot.kernel_parameters,
    on_agent_line: (line) => witness.take(line),
  });
  try {
    const trial = new Trial({ ...options, guest, policy: boot.policy });
    // Its clock chip knows only seconds.
    const { at_ms } = await trial.step("show");
    await trial.step("clock", Date.now() - at_ms);
    await trial.step("load", GATE);
    if (!(await trial.start_agent())) {
      const { out } = await guest.ask("read", AGENT_LOG);
      throw new Error(`the agent does not tell what is there; it said: ${out}`);
    }
    await boot.script(trial);
    if (boot.is_told_whole) await compare_history(trial, told_before);
    await compare_instants(trial, { must_be_certain: boot.is_told_whole });
    const { out } = await guest.ask("read", AGENT_LOG);
    if (out !== "") options.say(`the agent said: ${out.trim()}`);
  } finally {
    await guest.off();
  }
}

/** Nothing is odd; and every refusal of which the kernel told is there, in its order. */
async function compare_history(trial: Trial, told_before: number): Promise<void> {
  const told = (await trial.refusals_since(told_before)).join("\n");
  const printed = trial.refused.join("\n");
  trial.check(
    told === printed,
    `the kernel told of these refusals:\n${printed}\nand the history has:\n${told}`,
  );
  for (const { change, effect, anomalies, sequence } of (await trial.witness.history()).slice(told_before)) {
    const is_plain = effect === "applied" && anomalies.length === 0;
    trial.check(is_plain, `event ${sequence}, ${change}: ${[effect, ...anomalies].join(", ")}`);
  }
}
