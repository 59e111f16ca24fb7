/** Checks of several patches for people: a line for each, a column for each verdict that any of them has. */
import type { BatchAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { age_notes, incomplete } from "./check_text.js";
import { counted, instants, number, reference, table } from "./text.js";
import { VERDICT_ORDER } from "./verdict_words.js";

type Check = BatchAnswer["checks"][number];

/** Every host has it, or may have it. */
export function is_yes({ hosts }: Check): boolean {
  return hosts.ok + hosts.done === hosts.total;
}

export function batch_text(batch: BatchAnswer, paint: Paint): string {
  const { checks } = batch;
  return [
    `${headline(batch, paint)}\n`,
    ...age_notes(checks[0]!.hosts).map((note) => `${paint("yellow", note)}\n`),
    `\n${rows(checks)}`,
    `\n${paint("dim", instants(batch.at))}\n`,
  ].join("");
}

function headline(batch: BatchAnswer, paint: Paint): string {
  const { checks } = batch;
  const { total } = checks[0]!.hosts;
  const whole = incomplete(batch, paint);
  if (total === 0) return `${whole}${paint("yellow", "no host is known")}: nothing to check against`;
  const yes = checks.filter(is_yes).length;
  const hosts = total === 1 ? "the 1 host" : `all ${counted(total, "host")}`;
  const said = `${yes === checks.length ? "OK" : `${yes} of ${checks.length} patches OK`} on ${hosts}`;
  return `${whole}${paint(yes === checks.length ? "green" : "yellow", said)}`;
}

function rows(checks: Check[]): string {
  const verdicts = VERDICT_ORDER.filter((verdict) => checks.some(({ hosts }) => hosts[verdict] > 0));
  const warned = checks.map(({ warnings }) =>
    Object.entries(warnings)
      .filter(([, hosts]) => hosts > 0)
      .map(([warning, hosts]) => `${warning} ${number(hosts)}`)
      .join(", "),
  );
  const columns = [
    { title: "PATCH" },
    ...verdicts.map((verdict) => ({ title: verdict.toUpperCase(), align: "right" as const })),
    { title: warned.some((words) => words !== "") ? "WARNINGS" : "" },
  ];
  return table(
    columns,
    checks.map(({ candidate, hosts }, i) => [
      reference(candidate),
      ...verdicts.map((verdict) => number(hosts[verdict])),
      warned[i]!,
    ]),
  );
}
