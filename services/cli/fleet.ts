/** `klpstate fleet`: what is out there, by configuration. */
import type { Command } from "commander";
import type { FleetRow } from "../registry/answers.js";
import { ask_lines } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { type InstantOptions, instant_query, with_instants } from "./host.js";
import { type PositionOptions, position_query, with_min_position } from "./min_position.js";
import { while_waiting } from "./progress.js";
import { fleet_text } from "./render/fleet_text.js";

export function add_fleet_command(program: Command, session: Session): void {
  const command = program
    .command("fleet")
    .description("show every configuration that hosts have, with their count")
    .action((options: AskOptions & InstantOptions & PositionOptions) =>
      ask_and_end(session, options, false, async ({ door, terminal, paint, say, say_json, warn }) => {
        const lines = ask_lines<FleetRow>(door, {
          method: "GET",
          path: "/v1/fleet",
          query: { ...instant_query(options), ...position_query(options) },
        });
        const { items, missing_partitions, at } = await while_waiting(terminal, "counting the fleet", lines);
        if (missing_partitions.length > 0) {
          await warn(`klpstate: INCOMPLETE: partitions ${missing_partitions.join(", ")} cannot answer\n`);
        }
        if (options.json) for await (const row of items) await say_json(row);
        else {
          const rows: FleetRow[] = [];
          for await (const row of items) rows.push(row);
          await say(fleet_text(rows, at, paint));
        }
        return missing_partitions.length > 0 ? 1 : 0;
      }),
    );
  with_examples(
    with_ask_options(with_min_position(with_instants(command))),
    ["fleet", "fleet --as-of 2026-03-01T12:00:00Z", "fleet --data ./registry --json"],
    `
Exit codes:
  0  every host is counted
  1  partitions are missing
  2  the question could not be asked
`,
  );
}
