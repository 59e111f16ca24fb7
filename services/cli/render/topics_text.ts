/** The topics of Kafka mode, and what is wrong with them. */
import type { TopicsVerified } from "../../kafka/topics.js";
import type { Paint } from "../terminal.js";
import { plain, table } from "./text.js";

export interface TopicsShown extends TopicsVerified {
  /** Null: none were to be made. */
  made: string[] | null;
  /** The problems, as lines, and the commands that mend them. */
  lines: string[];
  mends: string[];
  accepted: boolean;
}

export function topics_text({ topics, made, lines, mends, accepted }: TopicsShown, paint: Paint): string {
  const rows = topics.map(({ name, partitions, replication }) => [
    plain(name),
    `${partitions ?? "-"}`,
    `${replication ?? "-"}`,
    partitions === null ? "missing" : made?.includes(name) ? "made" : "",
  ]);
  const columns = [
    { title: "TOPIC" },
    { title: "PARTITIONS", align: "right" as const },
    { title: "REPLICATION", align: "right" as const },
    { title: "" },
  ];
  const parts = [table(columns, rows)];
  if (lines.length > 0) {
    const word = accepted ? paint("yellow", "ACCEPTED") : paint("red", "REFUSED");
    parts.push(lines.map((line) => `${word}: ${plain(line)}\n`).join(""));
  }
  if (mends.length > 0) parts.push("\nThis mends it:\n", mends.map((mend) => `  ${plain(mend)}\n`).join(""));
  return parts.join("");
}
