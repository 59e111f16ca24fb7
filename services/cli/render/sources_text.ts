/** What `klpstate agent --check` found, for people. */
import { LIVEPATCH } from "../../agent/host_files.js";
import type { SourceReport } from "../../agent/sources.js";
import type { Paint } from "../terminal.js";
import { plain, table } from "./text.js";

const COLUMNS = [{ title: "SOURCE" }, { title: "ACCESS" }];

/** `container`: what says that this is one, or null. */
export function sources_text(
  reports: readonly SourceReport[],
  container: string | null,
  paint: Paint,
): string {
  const unreadable = reports.filter(({ access }) => access === "unreadable");
  const title = title_of(reports, unreadable.length, paint);
  const rows = reports.map(({ source, access, errno }) => [
    source,
    access === "unreadable" ? `${access} (${errno})` : access,
  ]);
  const advice = unreadable.map(
    ({ source, without, advice }) =>
      `\n${source}\n  not known without it: ${without}\n  what gives access: ${advice}\n`,
  );
  const note =
    container === null
      ? ""
      : `\nThis is a container (${plain(container)}): the agent needs --host-id here.\n`;
  return `${title}\n\n${table(COLUMNS, rows)}${advice.join("")}${note}`;
}

function title_of(reports: readonly SourceReport[], unreadable: number, paint: Paint): string {
  if (unreadable > 0) return paint("red", `${unreadable} of ${reports.length} sources cannot be read`);
  if (!reports.some(({ source, access }) => source === LIVEPATCH && access === "absent"))
    return paint("green", "the agent can read what it needs");
  return paint("yellow", "nothing is hidden, but this kernel has no livepatches (CONFIG_LIVEPATCH)");
}
