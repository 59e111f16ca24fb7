/** An event of a host's history for people: a line, and one below it for each state that it changed. */
import type { HistoryEntry } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { plain, reference } from "./text.js";

export function history_text(entry: HistoryEntry, paint: Paint): string {
  const effect = entry.effect === "applied" ? "" : `  ${paint("dim", `[${entry.effect}: no effect]`)}`;
  const anomalies = entry.anomalies.map((code) => `  ${paint("red", `!${code}`)}`).join("");
  const knowledge =
    entry.knowledge === "complete" ? "" : `  ${paint("yellow", `(knowledge: ${entry.knowledge})`)}`;
  const head = `${entry.effective_time}  #${entry.sequence} ${change_words(entry)}${effect}${anomalies}${knowledge}\n`;
  const stack =
    entry.effect === "applied" ? `    stack: ${entry.stack.map(plain).join(" > ") || "empty"}\n` : "";
  return head + stack + entry.states.map((state) => `    ${state_words(state)}\n`).join("");
}

/** `replaced kp_2@ab12, left kp_1`; a change of a newer version is shown by its name alone. */
function change_words(entry: HistoryEntry): string {
  const words = [entry.change];
  if (is_patch(entry.patch)) words.push(reference(entry.patch));
  const left = Array.isArray(entry.left) ? entry.left.filter(is_patch).map(reference) : [];
  const details = [
    ...(left.length > 0 ? [`left ${left.join(" ")}`] : []),
    ...["to", "phase", "reason", "errno", "kind", "object", "kernel_release", "arch", "line"].flatMap(
      (key) => {
        const value = entry[key];
        return typeof value === "string" && value !== ""
          ? [key === "line" ? `"${plain(value)}"` : plain(value)]
          : [];
      },
    ),
    ...(typeof entry.tasks_total === "number" ? [`${entry.tasks_total} tasks`] : []),
  ];
  return [words.join(" "), ...details].join(", ");
}

function state_words({ id, change, from, to, patch }: HistoryEntry["states"][number]): string {
  const versions =
    from !== null && to !== null && from !== to
      ? `version ${from} to ${to}`
      : `version ${to ?? from ?? "not known"}`;
  return `state ${id} ${change.replaceAll("_", " ")}, ${versions} (${plain(patch)})`;
}

function is_patch(value: unknown): value is { name: string; build_id?: string | null } {
  return typeof value === "object" && value !== null && "name" in value && typeof value.name === "string";
}
