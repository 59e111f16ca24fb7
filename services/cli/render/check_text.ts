/** A check's counts for people: the answer in one line, then what it rests on. */
import type { CheckAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { counted, instants, number, plain, reference, table } from "./text.js";
import {
  conflict_words,
  REFUSED,
  reason_words,
  unresolved_words,
  VERDICT_ORDER,
  VERDICT_WORDS,
} from "./verdict_words.js";

export function check_text(check: CheckAnswer, paint: Paint): string {
  return [
    `${headline(check, paint)}\n`,
    ...notes(check).map((note) => `${paint("yellow", note)}\n`),
    counts(check),
    conflicts(check),
    unresolved(check),
    replaced(check),
    `\n${paint("dim", instants(check.at))}\n`,
  ].join("");
}

/** The first line must be true if it is the only one that is read. */
function headline(check: CheckAnswer, paint: Paint): string {
  const { candidate, hosts } = check;
  const patch = reference(candidate);
  const refused = REFUSED.reduce((sum, verdict) => sum + hosts[verdict], 0);
  const parts = [
    ...(refused > 0 ? [`REFUSED on ${number(refused)}`] : []),
    ...(hosts.unknown > 0 ? [`${refused > 0 ? "not known" : "NOT KNOWN"} on ${number(hosts.unknown)}`] : []),
    ...(hosts.busy > 0 ? [`${refused + hosts.unknown > 0 ? "busy" : "BUSY"} on ${number(hosts.busy)}`] : []),
  ];
  const total = counted(hosts.total, "host");
  const whole = incomplete(check, paint);
  if (hosts.total === 0)
    return `${whole}${paint("yellow", "no host is known")}: nothing to check ${patch} against`;
  if (parts.length === 0) {
    const done = hosts.done > 0 ? ` (enabled already on ${number(hosts.done)})` : "";
    return `${whole}${paint("green", "OK")} on ${hosts.total === 1 ? "the 1 host" : `all ${total}`}${done}: ${patch}`;
  }
  return `${whole}${paint(refused > 0 ? "red" : "yellow", parts[0]!)}${parts.length > 1 ? `, ${parts.slice(1).join(", ")}` : ""} of ${total}: ${patch}`;
}

/** What comes before an answer that is not whole. */
export function incomplete(
  { complete, missing_partitions }: Pick<CheckAnswer, "complete" | "missing_partitions">,
  paint: Paint,
): string {
  if (complete) return "";
  const partitions = `partition${missing_partitions.length === 1 ? "" : "s"} ${missing_partitions.join(", ")}`;
  return `${paint("red", "INCOMPLETE")}: ${partitions} cannot answer; of the others: `;
}

/** Whatever patch it is about. */
export function age_notes({ stale, uncertain }: CheckAnswer["hosts"]): string[] {
  return [
    ...(stale > 0 ? [`stale: ${counted(stale, "host")} not heard of for long; their verdicts are old`] : []),
    ...(uncertain > 0 ? [`uncertain: ${counted(uncertain, "host")} may have changed unseen`] : []),
  ];
}

function notes({ hosts, warnings }: CheckAnswer): string[] {
  return [
    ...age_notes(hosts),
    ...(warnings.forced > 0
      ? [`forced: ${counted(warnings.forced, "host")} had a transition forced since boot; load no more there`]
      : []),
    ...(warnings.irreversible > 0
      ? [`irreversible: on ${counted(warnings.irreversible, "host")} what it does cannot be taken back`]
      : []),
    ...(warnings.built_for_other_kernel > 0
      ? [
          `built for another kernel: a patch on the stack of ${counted(warnings.built_for_other_kernel, "host")}`,
        ]
      : []),
  ];
}

/** A row for each verdict, and below it one for each reason, which says more than the verdict does. */
function counts({ hosts, reasons }: CheckAnswer): string {
  const rows = VERDICT_ORDER.filter((verdict) => hosts[verdict] > 0).flatMap((verdict) => {
    const by_reason = Object.entries(reasons[verdict] ?? {}).sort((a, b) => b[1] - a[1]);
    return [
      [verdict, number(hosts[verdict]), VERDICT_WORDS[verdict]],
      ...by_reason.map(([reason, count]) => [`  ${plain(reason)}`, number(count), reason_words(reason)]),
    ];
  });
  if (rows.length === 0) return "";
  return `\n${table([{ title: "VERDICT" }, { title: "HOSTS", align: "right" }, { title: "" }], rows)}`;
}

function conflicts({ conflicts: found, candidate }: CheckAnswer): string {
  if (found.length === 0) return "";
  const lines = [...found]
    .sort((a, b) => b.hosts - a.hosts)
    .map(
      (conflict) =>
        `  ${conflict_words(conflict, plain(candidate.name))} — ${counted(conflict.hosts, "host")}\n`,
    );
  return `\nConflicts\n${lines.join("")}`;
}

function unresolved({ unresolved: found }: CheckAnswer): string {
  if (found.length === 0) return "";
  const lines = [...found]
    .sort((a, b) => b.hosts - a.hosts)
    .map(
      (patch) =>
        `  ${reference(patch)}: ${unresolved_words(patch.manifest)} — ${counted(patch.hosts, "host")}\n`,
    );
  return `\nStates not known (klpstate patch add)\n${lines.join("")}`;
}

function replaced({ replaces }: CheckAnswer): string {
  const found = replaces.filter(({ patches }) => patches.length > 0);
  if (found.length === 0) return "";
  const lines = [...found]
    .sort((a, b) => b.hosts - a.hosts)
    .map(({ patches, hosts }) => `  ${patches.map(plain).join(", ")} — ${counted(hosts, "host")}\n`);
  return `\nWould replace\n${lines.join("")}`;
}
