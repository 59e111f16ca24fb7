/** What `conform vectors` found, for people: every difference, the score. */
import { counted, number } from "./text.js";

export interface VectorDifference {
  line: number;
  what: "verdict" | "conflict" | "prev";
  vector_says: string;
  klpstate_says: string;
}

export interface VectorsOutcome {
  passed: number;
  failed: number;
  compatible: number;
  incompatible: number;
  differences: VectorDifference[];
}

export function vectors_text(outcome: VectorsOutcome): string {
  const { passed, failed, compatible, incompatible, differences } = outcome;
  const lines = differences.map(
    ({ line, what, vector_says, klpstate_says }) =>
      `  line ${line}, ${what}\n    vector   ${vector_says}\n    klpstate ${klpstate_says}\n`,
  );
  return [
    `${counted(passed + failed, "vector")}: ${number(compatible)} compatible, ${number(incompatible)} not\n`,
    ...(lines.length === 0 ? [] : ["\nDifferences\n", ...lines]),
    `\n${passed} passed, ${failed} failed\n`,
  ].join("");
}
