/** A state's holders for people. */
import type { StateAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { plain, reference, table } from "./text.js";

export function state_text(
  answer: StateAnswer,
  asked: { as_of?: string; known_at?: string },
  paint: Paint,
): string {
  const { holders, minimum_version, unresolved } = answer;
  const instants = [
    ...(asked.as_of === undefined ? [] : [` as of ${answer.at.as_of}`]),
    ...(asked.known_at === undefined ? [] : [` as known at ${answer.at.known_at}`]),
  ].join("");
  const need =
    minimum_version === null
      ? "nobody holds it"
      : `a candidate that has it needs version ${minimum_version} or higher`;
  return [
    `${paint("bold", `state ${answer.state} on ${plain(answer.host_id)}`)}${instants}: ${need}\n`,
    ...(unresolved.length > 0
      ? [`${paint("yellow", "INCOMPLETE")} states not known of ${unresolved.map(plain).join(", ")}\n`]
      : []),
    holder_table(holders),
    lookup(answer),
  ].join("");
}

function holder_table(holders: StateAnswer["holders"]): string {
  if (holders.length === 0) return "";
  const rows = holders.map((holder) => [
    reference({ name: holder.patch, build_id: holder.build_id }),
    holder.phase,
    holder.versions.join(" "),
  ]);
  return `\n${table([{ title: "HOLDER" }, { title: "PHASE" }, { title: "VERSIONS" }], rows)}`;
}

function lookup({ lookup: asked, state }: StateAnswer): string {
  if (asked === null) return "";
  const { kind, patch, found } = asked;
  const call =
    kind === "of"
      ? `klp_get_state(${plain(patch)}, ${state})`
      : `klp_get_prev_state(${state}), while ${plain(patch)} is in transition`;
  return `\n${call}: ${found === null ? "NULL" : `version ${found.version}, of ${plain(found.patch)}`}\n`;
}
