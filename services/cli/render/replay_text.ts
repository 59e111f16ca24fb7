/** A replay's outcome for people: the verdict, a row for each partition, then what is wrong with which. */
import type { ReplayAnswer } from "../../registry/answers.js";
import type { Paint } from "../terminal.js";
import { counted, number, plain, table } from "./text.js";

type Partition = ReplayAnswer["partitions"][number];

export function replay_text(
  { digest, fold_version, partitions, matches }: ReplayAnswer,
  paint: Paint,
): string {
  const events = partitions.reduce((sum, partition) => sum + partition.events, 0);
  const hosts = partitions.reduce((sum, partition) => sum + partition.hosts, 0);
  const rows = partitions.map((partition) => [
    String(partition.partition),
    `${partition.first}..${partition.next}`,
    number(partition.events),
    number(partition.hosts),
    partition.digest ?? "none",
    remark(partition, paint),
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
    ...verdicts(partitions, matches, paint),
    `${counted(events, "event")} of ${counted(hosts, "host")}, fold version ${fold_version}\n`,
    digest === null ? "no digest of the whole\n\n" : `digest ${digest}\n\n`,
    table(columns, rows),
    ...partitions.flatMap((partition) => details(partition, paint)),
  ].join("");
}

function verdicts(partitions: Partition[], matches: boolean | null, paint: Paint): string[] {
  if (matches) return [`${paint("green", "MATCHES")}: the log gives the state that is served\n`];
  if (matches === null) {
    return ["NOT COMPARED: this end of the log is not the live one, there is no live state of it\n"];
  }
  const any = (is: (partition: Partition) => boolean, verdict: string, says: string) =>
    partitions.some(is) ? [`${paint("red", verdict)}: ${says}\n`] : [];
  return [
    ...any((one) => one.matches === false, "DIFFERS", "the log does not give the state that is served"),
    ...any((one) => one.damaged !== null, "DAMAGED", "a log cannot be replayed to its end"),
    ...any((one) => one.broken !== null, "BROKEN", "a partition is not served, so its log is not compared"),
  ];
}

function remark({ matches, damaged, broken }: Partition, paint: Paint): string {
  if (damaged !== null) return paint("red", "DAMAGED");
  if (broken !== null) return paint("red", "BROKEN");
  return matches === null ? "not compared" : matches ? "" : paint("red", "DIFFERS");
}

function details({ partition, damaged, broken, difference }: Partition, paint: Paint): string[] {
  const told: string[] = [];
  if (damaged !== null) told.push(`${paint("red", "DAMAGED")}: ${plain(damaged)}\n`);
  if (broken !== null && broken !== damaged) told.push(`${paint("red", "BROKEN")}: ${plain(broken)}\n`);
  if (difference !== null) {
    const { next, host_id, hosts_differing, live, replayed } = difference;
    told.push(
      `${paint("red", "DIFFERS")}: ${counted(hosts_differing, "host")} of partition ${partition}, ` +
        `the first is ${plain(host_id)}, at offset ${next}\n`,
      `  live      ${state_text(live)}\n`,
      `  replayed  ${state_text(replayed)}\n`,
    );
  }
  return told.length > 0 ? ["\n", ...told] : [];
}

/** As the document has it: two lines that are compared character by character. */
function state_text(state: object | null): string {
  return state === null ? "not known" : plain(JSON.stringify(state));
}
