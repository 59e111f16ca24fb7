/** One host for people: what to beware of first, then its stack in order. */
import type { HostAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { plain, reference, states, table } from "./text.js";
import { reason_words } from "./verdict_words.js";

/** `asked`: the instants that were asked for, as they were written; a past state must not be read as the present. */
export function host_text(
  host: HostAnswer,
  asked: { as_of?: string; known_at?: string },
  paint: Paint,
): string {
  const kernel = `${host.kernel_release === null ? "kernel not known" : plain(host.kernel_release)} ${plain(host.arch ?? "")}`;
  const instants = [
    ...(asked.as_of === undefined ? [] : [`as of ${host.at.as_of}`]),
    ...(asked.known_at === undefined ? [] : [`as known at ${host.at.known_at}`]),
  ].join(", ");
  return [
    `${paint("bold", plain(host.host_id))}  ${kernel.trim()}${instants === "" ? "" : `  ${paint("bold", instants)}`}\n`,
    ...cautions(host).map((caution) => `${paint("yellow", "WARNING")} ${caution}\n`),
    stack(host),
    lingering(host),
    `\nboot ${host.boot_time ?? "time not known"} (${host.boot_id ?? "id not known"})\n`,
    `stream ${host.stream}, sequence ${host.sequence}, partition ${host.partition}\n`,
    `last event ${host.last_event}\n`,
  ].join("");
}

function cautions(host: HostAnswer): string[] {
  const { modules_disabled, signature_required, ftrace_off } = host.policy;
  return [
    ...(host.knowledge === "complete" ? [] : [`${host.knowledge}: ${reason_words(host.knowledge)}`]),
    ...(host.stale ? ["stale: not heard of for long"] : []),
    ...(host.uncertain ? ["uncertain: it may have changed unseen around that instant"] : []),
    ...(host.livepatching === "not_built" ? ["the kernel has no livepatching"] : []),
    ...(host.livepatching === null ? ["it is not known whether the kernel has livepatching"] : []),
    ...(host.forced ? ["forced: a transition was forced since boot; load no more"] : []),
    ...(host.warnings.includes("built_for_other_kernel")
      ? ["a patch on the stack was built for another kernel"]
      : []),
    ...(modules_disabled ? ["modules are disabled until reboot"] : []),
    ...(signature_required ? ["only signed modules are taken"] : []),
    ...(ftrace_off ? ["ftrace is off"] : []),
  ];
}

function stack(host: HostAnswer): string {
  if (host.stack.length === 0) return "\nNothing on the stack\n";
  const rows = host.stack.map((entry, at) => [
    String(at + 1),
    reference(entry),
    entry.phase,
    entry.since ?? "not known",
    entry.states === null
      ? `manifest ${entry.manifest === "known" ? "of unknown states" : entry.manifest}`
      : states(entry.states),
  ]);
  const columns = [
    { title: "#", align: "right" as const },
    { title: "PATCH" },
    { title: "PHASE" },
    { title: "SINCE" },
    { title: "STATES (id:version)" },
  ];
  return `\nStack, oldest first\n${table(columns, rows)}`;
}

function lingering(host: HostAnswer): string {
  if (host.lingering.length === 0) return "";
  const modules = host.lingering.map(
    (module) => `${reference(module)}${module.pinned ? " (pinned until reboot)" : ""}`,
  );
  return `\nLoaded, but not on the stack: ${modules.join(", ")}\n`;
}
