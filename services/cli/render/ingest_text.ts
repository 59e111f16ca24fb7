/** What an ingest stored, for people. */
import type { IngestSummary } from "../ingest.js";
import { counted, number } from "./text.js";
import { reason_words } from "./verdict_words.js";

export function ingest_text({ events, hosts, knowledge }: IngestSummary): string {
  const of_hosts = hosts === null ? "over a million hosts" : counted(hosts, "host");
  const doubtful = Object.entries(knowledge)
    .filter(([known]) => known !== "complete")
    .map(([known, count]) => `${known} on ${number(count)}: ${reason_words(known)}\n`);
  return `stored ${counted(events, "event")} of ${of_hosts}\n${doubtful.join("")}`;
}
