/** What a check says of single hosts, for people. */
import type { HostVerdict } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { plain, reference, table } from "./text.js";
import {
  conflict_words,
  REFUSED,
  reason_words,
  unresolved_words,
  VERDICT_WORDS,
  why,
} from "./verdict_words.js";

/** A line for each host. */
export function host_verdicts_text(hosts: HostVerdict[], patch: string, with_titles: boolean): string {
  const candidate = plain(patch);
  const rows = hosts.map((host) => [
    plain(host.host_id),
    host.reason === null ? host.verdict : `${host.verdict}: ${plain(host.reason)}`,
    [why(host, candidate), ...flags(host)].join("; "),
  ]);
  const columns = with_titles ? ["HOST", "VERDICT", "WHY"] : ["", "", ""];
  const text = table(
    columns.map((title) => ({ title })),
    rows,
  );
  return with_titles ? text : text.slice(text.indexOf("\n") + 1);
}

/** All that is said of one host. */
export function host_verdict_text(host: HostVerdict, patch: string, paint: Paint): string {
  const { verdict, reason, conflict, unresolved, replaces } = host;
  const candidate = plain(patch);
  const style =
    verdict === "ok" || verdict === "done" ? "green" : REFUSED.includes(verdict) ? "red" : "yellow";
  const title = `${paint(style, verdict.replaceAll("_", " ").toUpperCase())} ${candidate} on ${plain(host.host_id)}`;
  const lines = [
    ...(reason === null ? [] : [`${plain(reason)}: ${reason_words(reason)}`]),
    ...(conflict === null ? [] : [conflict_words(conflict, candidate), ...arrival_words(conflict)]),
    ...(unresolved === null ? [] : [`${reference(unresolved)}: ${unresolved_words(unresolved.manifest)}`]),
    ...(replaces.length === 0 ? [] : [`would replace ${replaces.map(plain).join(", ")}`]),
    ...flags(host),
  ];
  return `${title}: ${VERDICT_WORDS[verdict]}\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

/** The event that put the holder there, and when. */
function arrival_words({ holder, since, event }: NonNullable<HostVerdict["conflict"]>): string[] {
  if (since === undefined || event === undefined) return [];
  const { partition, offset, index } = event;
  return [`${plain(holder)} is there since ${since}, by event ${partition}:${offset}:${index}`];
}

function flags({ warnings, stale, uncertain }: HostVerdict): string[] {
  return [
    ...(stale ? ["stale: not heard of for long"] : []),
    ...(uncertain ? ["uncertain: it may have changed unseen"] : []),
    ...warnings.map((warning) => WARNING_WORDS[warning]),
  ];
}

const WARNING_WORDS: Record<HostVerdict["warnings"][number], string> = {
  forced: "forced: a transition was forced since boot; load no more",
  irreversible: "irreversible: what it does cannot be taken back",
  built_for_other_kernel: "a patch on the stack was built for another kernel",
};
