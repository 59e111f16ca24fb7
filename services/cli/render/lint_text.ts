/** What `patch lint` found, for people: a line for each, with the file before it as compilers do. */
import type { Finding } from "../patch_findings.js";
import { counted, plain } from "./text.js";

export function findings_text(file: string, findings: Finding[], with_catalog: boolean): string {
  const lines = findings.map(({ code, says }) => `${plain(file)}: ${code}: ${plain(says)}\n`);
  const beside = with_catalog ? "" : "; no catalog was asked: give --server or --data";
  return `${lines.join("")}${plain(file)}: ${counted(findings.length, "finding")}${beside}\n`;
}
