/** A replay's outcome for people. */
import type { ReplayAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { counted, number, table } from "./text.js";

export function replay_text(
  { digest, fold_version, partitions, matches }: ReplayAnswer,
  paint: Paint,
): string {
  const events = partitions.reduce((sum, partition) => sum + partition.events, 0);
  const hosts = partitions.reduce((sum, partition) => sum + partition.hosts, 0);
  const verdict = matches
    ? `${paint("green", "MATCHES")}: the log gives the state that is served`
    : `${paint("red", "DIFFERS")}: the log does not give the state that is served`;
  const rows = partitions.map((partition) => [
    String(partition.partition),
    `${partition.first}..${partition.next}`,
    number(partition.events),
    number(partition.hosts),
    partition.digest,
    partition.matches ? "" : paint("red", "DIFFERS"),
  ]);
  const columns = [
    { title: "PARTITION", align: "right" as const },
    { title: "OFFSETS" },
    { title: "EVENTS", align: "right" as const },
    { title: "HOSTS", align: "right" as const },
    { title: "DIGEST" },
    { title: "" },
  ];
  return [
    `${verdict}\n`,
    `${counted(events, "event")} of ${counted(hosts, "host")}, fold version ${fold_version}\n`,
    `digest ${digest}\n\n`,
    table(columns, rows),
  ].join("");
}
