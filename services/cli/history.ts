/** `klpstate history`: every event of a host, and what it did. */
import type { Command } from "commander";
import type { HistoryEntry } from "../registry/answers.js";
import { ask_lines } from "./ask.js";
import {
  type AskOptions,
  ask_and_end,
  type Session,
  segment,
  with_ask_options,
  with_examples,
} from "./command.js";
import { type InstantOptions, instant_query, with_instants } from "./host.js";
import { type PositionOptions, position_query, with_min_position } from "./min_position.js";
import { history_text } from "./render/history_text.js";

export function add_history_command(program: Command, session: Session): void {
  const command = program
    .command("history")
    .description("show every event of a host, oldest first, with its effects, anomalies and changed states")
    .argument("<host>", "the host's id")
    .action((host: string, options: AskOptions & InstantOptions & PositionOptions) =>
      ask_and_end(session, options, false, async ({ door, paint, say, say_json }) => {
        const path = `/v1/hosts/${segment(host)}/history`;
        const history = await ask_lines<HistoryEntry>(door, {
          method: "GET",
          path,
          query: { ...instant_query(options), ...position_query(options) },
        });
        for await (const entry of history.items) {
          await (options.json ? say_json(entry) : say(history_text(entry, paint)));
        }
        return 0;
      }),
    );
  with_examples(
    with_ask_options(with_min_position(with_instants(command))),
    ["history web-17", "history web-17 --known-at 2026-03-01T12:00:00Z --json"],
    `
Exit codes:
  0  the history is shown
  2  the host is not known, or was not then, or the question could not be asked
`,
  );
}
