/** What a migration came to, for people. */
import type { MigrateReport } from "../../kafka/migrate.js";
import type { Paint } from "../terminal.js";
import { counted, plain } from "./text.js";

export function migrate_text(directory: string, report: MigrateReport, paint: Paint): string {
  const { topic, cluster_id, partitions, hosts, events, left_out, digest, fold_version } = report;
  const where = `${topic}, ${counted(partitions.length, "partition")}, of the Kafka cluster ${cluster_id}`;
  return [
    report.migrated
      ? `${paint("green", "MIGRATED")}: the registry of ${plain(directory)} lives in ${where}\n`
      : `${paint("red", "DIFFERS")}: ${plain(directory)} is as it was, since the copy in ${where} is not the same registry\n`,
    ...report.differences.map((difference) => `  ${plain(difference)}\n`),
    `${counted(events, "event")} of ${counted(hosts, "host")}, fold version ${fold_version}\n`,
    left_out === 0 ? "" : `${counted(left_out, "record")} that no event was taken from left out\n`,
    `digest ${digest}\n`,
    report.migrated ? "" : "delete the topics and make them anew before another try\n",
  ].join("");
}
