/** `klpstate host`: what a host is, or was. */
import type { Command } from "commander";
import type { HostAnswer } from "../registry/answers.js";
import { ask_document } from "./ask.js";
import {
  type AskOptions,
  ask_and_end,
  type Session,
  segment,
  with_ask_options,
  with_examples,
} from "./command.js";
import { type PositionOptions, position_query, with_min_position } from "./min_position.js";
import { host_text } from "./render/host_text.js";

export interface InstantOptions {
  asOf?: string;
  knownAt?: string;
}

/** The options that every question about a host's past has. */
export function with_instants(command: Command): Command {
  return command
    .option("--as-of <time>", "the state that it had then; RFC 3339, such as 2026-03-01T12:00:00Z")
    .option("--known-at <time>", "using only what had arrived by then; RFC 3339");
}

export function instant_query({ asOf, knownAt }: InstantOptions): { as_of?: string; known_at?: string } {
  return { ...(asOf !== undefined && { as_of: asOf }), ...(knownAt !== undefined && { known_at: knownAt }) };
}

export function add_host_command(program: Command, session: Session): void {
  const command = program
    .command("host")
    .description("show a host's stack, now or at any past time")
    .argument("<host>", "the host's id")
    .action((host: string, options: AskOptions & InstantOptions & PositionOptions) =>
      ask_and_end(session, options, false, async ({ door, paint, say, say_json }) => {
        const query = instant_query(options);
        const answer = await ask_document<HostAnswer>(door, {
          method: "GET",
          path: `/v1/hosts/${segment(host)}`,
          query: { ...query, ...position_query(options) },
        });
        await (options.json ? say_json(answer) : say(host_text(answer, query, paint)));
        return 0;
      }),
    );
  with_examples(
    with_ask_options(with_min_position(with_instants(command))),
    ["host web-17", "host web-17 --as-of 2026-03-01T12:00:00Z", "host web-17 --data ./registry --json"],
    `
Exit codes:
  0  the host is shown
  2  it is not known, or was not then, or the question could not be asked
`,
  );
}
