/** What `conform modules` found, for people: every difference, the score. */
import { plain } from "./text.js";

export interface ModuleDifference {
  file: string;
  what: string;
  recorded: string;
  klpstate_says: string;
}

export interface ModulesOutcome {
  passed: number;
  failed: number;
  differences: ModuleDifference[];
}

export function modules_text({ passed, failed, differences }: ModulesOutcome): string {
  const lines = differences.map(
    ({ file, what, recorded, klpstate_says }) =>
      `  ${plain(file)}, ${what}\n    recorded ${plain(recorded)}\n    klpstate ${plain(klpstate_says)}\n`,
  );
  return [
    ...(lines.length === 0 ? [] : ["Differences\n", ...lines, "\n"]),
    `${passed} passed, ${failed} failed\n`,
  ].join("");
}
