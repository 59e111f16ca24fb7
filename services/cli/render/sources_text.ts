/** What `klpstate agent --check` found, for people. */
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
  const title =
    unreadable.length === 0
      ? paint("green", "the agent can read what it needs")
      : paint("red", `${unreadable.length} of ${reports.length} sources cannot be read`);
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
