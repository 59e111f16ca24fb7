/** A host and a configuration as answers say them and as the model has them, in the same words: equal ones are equal texts. */
import type { FleetRow, HostAnswer } from "#services/registry/answers.js";
import type { Configuration, HostModel } from "../model/fold.js";
import type { HostText } from "./operations.js";

type Said = Pick<
  FleetRow,
  "kernel_release" | "arch" | "livepatching" | "policy" | "knowledge" | "forced" | "lingering"
> & { stack: FleetRow["stack"] };

export function configuration_text(said: Said): string {
  const { policy } = said;
  return JSON.stringify([
    said.kernel_release,
    said.arch,
    said.livepatching,
    [policy.modules_disabled, policy.signature_required, policy.ftrace_off],
    said.stack.map(({ name, build_id, phase }) => [name, build_id, phase]),
    said.lingering.map(({ name, build_id, pinned }) => [name, build_id, pinned]).sort(),
    said.forced,
    said.knowledge,
  ]);
}

export function configuration_of_model(host: Configuration): string {
  const known = <Entry extends { build_id: string }>(entry: Entry) => ({
    ...entry,
    build_id: entry.build_id === "" ? null : entry.build_id,
  });
  return configuration_text({
    ...host,
    stack: host.stack.map(known),
    lingering: [...host.lingering.values()].map(known),
  });
}

export function host_text(answer: HostAnswer): HostText {
  return `${answer.stream} ${answer.sequence} ${answer.boot_id} ${configuration_text(answer)}`;
}

export function host_text_of_model(host: HostModel): HostText {
  return `${host.stream} ${host.sequence} ${host.boot_id} ${configuration_of_model(host)}`;
}
