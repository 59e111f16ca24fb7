/** What a fold came to, in a form that another implementation can print too: who differs is not measured. */
import type { Core } from "../services/core/core.js";

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** A line per configuration with its hosts, sorted, and a sum over hosts of id, sequence, time and position. */
export function facts_of(core: Core): string[] {
  const lines: string[] = [];
  for (const id of core.configurations()) {
    const { kernel_release, arch, knowledge, forced, stack, lingering, hosts } = core.configuration(id);
    const stacked = stack.map((entry) => `${entry.name}:${entry.phase}`).join(",");
    const lingers = lingering.map((entry) => entry.name).join(",");
    lines.push(
      `${kernel_release}|${arch}|${knowledge}|${forced ? "forced" : ""}|${stacked}|${lingers}|${hosts}`,
    );
  }
  lines.sort();
  lines.push(`hosts ${core.host_count} sum ${sum_of_hosts(core)}`);
  return lines;
}

function sum_of_hosts(core: Core): number {
  let sum = 0;
  for (let i = 0; i < core.host_count; i++) {
    const { host_id, sequence, effective_time_ms, position } = core.host(i);
    let hash = FNV_OFFSET;
    for (let at = 0; at < host_id.length; at++) hash = Math.imul(hash ^ host_id.charCodeAt(at), FNV_PRIME);
    for (const word of [sequence, effective_time_ms % 0x100000000, Number(position.offset), position.index]) {
      hash = Math.imul(hash ^ word, FNV_PRIME);
    }
    sum = (sum + (hash >>> 0)) >>> 0;
  }
  return sum;
}
