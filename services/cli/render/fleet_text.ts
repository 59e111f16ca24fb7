/** The fleet's configurations for people, the commonest first. */
import type { At, FleetRow } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { counted, instants, number, plain, reference, table } from "./text.js";

export function fleet_text(rows: FleetRow[], at: At | null, paint: Paint): string {
  const hosts = rows.reduce((sum, row) => sum + row.hosts, 0);
  const head = `${paint("bold", counted(hosts, "host"))} in ${counted(rows.length, "configuration")}\n`;
  if (rows.length === 0) return head;
  const lines = [...rows]
    .sort((a, b) => b.hosts - a.hosts)
    .map((row) => [
      number(row.hosts),
      plain(row.kernel_release ?? "not known"),
      plain(row.arch ?? "not known"),
      row.stack.map(on_stack).join(" > ") || "(empty)",
      flags(row).join(", "),
    ]);
  const columns = [
    { title: "HOSTS", align: "right" as const },
    { title: "KERNEL" },
    { title: "ARCH" },
    { title: "STACK, OLDEST FIRST" },
    { title: "" },
  ];
  const foot = at === null ? "" : `\n${paint("dim", instants(at))}\n`;
  return `${head}\n${table(columns, lines)}${foot}`;
}

function on_stack(entry: FleetRow["stack"][number]): string {
  return entry.phase === "enabled" ? reference(entry) : `${reference(entry)} (${entry.phase})`;
}

function flags(row: FleetRow): string[] {
  return [
    ...(row.knowledge === "complete" ? [] : [row.knowledge]),
    ...(row.livepatching === "not_built" ? ["no livepatching"] : []),
    ...(row.livepatching === null ? ["livepatching not known"] : []),
    ...(row.forced ? ["forced"] : []),
    ...(row.warnings.includes("built_for_other_kernel") ? ["built for another kernel"] : []),
    ...(row.policy.modules_disabled ? ["modules disabled"] : []),
    ...(row.policy.signature_required ? ["signed only"] : []),
    ...(row.policy.ftrace_off ? ["ftrace off"] : []),
    ...(row.lingering.length > 0
      ? [
          `lingering: ${row.lingering.map((module) => reference(module) + (module.pinned ? " (pinned)" : "")).join(" ")}`,
        ]
      : []),
  ];
}
