/** `klpstate state`: who holds a system state on a host, and which version a candidate needs. */
import type { Command } from "commander";
import type { StateAnswer } from "../registry/answers.js";
import { ask_document } from "./ask.js";
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
import { state_text } from "./render/state_text.js";

interface StateOptions extends AskOptions, InstantOptions, PositionOptions {
  of?: string;
  prevOf?: string;
}

export function add_state_command(program: Command, session: Session): void {
  const command = program
    .command("state")
    .description("show who holds a system state on a host, in stack order")
    .argument("<host>", "the host's id")
    .argument("<id>", "the state's id, 1 to 2^64-1")
    .option("--of <patch>", "also what klp_get_state gives this patch")
    .option("--prev-of <patch>", "also what klp_get_prev_state gives, as if this patch were in transition")
    .action((host: string, id: string, options: StateOptions) =>
      ask_and_end(session, options, false, async ({ door, paint, say, say_json }) => {
        const answer = await ask_document<StateAnswer>(door, {
          method: "GET",
          path: `/v1/hosts/${segment(host)}/states/${segment(id)}`,
          query: {
            ...instant_query(options),
            ...position_query(options),
            of: options.of,
            prev_of: options.prevOf,
          },
        });
        await (options.json ? say_json(answer) : say(state_text(answer, instant_query(options), paint)));
        return answer.unresolved.length > 0 ? 1 : 0;
      }),
    );
  with_examples(
    with_ask_options(with_min_position(with_instants(command))),
    ["state web-17 1", "state web-17 1 --of kp_2", "state web-17 1 --prev-of kp_3 --json"],
    `
Exit codes:
  0  every holder is shown
  1  a patch on the stack has states that are not known: there may be more holders
  2  the host is not known, or was not then, or the question could not be asked
`,
  );
}
