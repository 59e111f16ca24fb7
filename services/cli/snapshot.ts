/** `klpstate snapshot`: makes snapshots now. */
import type { Command } from "commander";
import type { SnapshotsAnswer } from "../registry/answers.js";
import { ask_document } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { counted, plain } from "./render/text.js";

export function add_snapshot_command(program: Command, session: Session): void {
  const command = program
    .command("snapshot")
    .description("make a snapshot of every partition that has something new, so that the next start is quick")
    .action((options: AskOptions) =>
      ask_and_end(session, options, false, async ({ door, paint, say, say_json }) => {
        const answer = await ask_document<SnapshotsAnswer>(door, { method: "POST", path: "/v1/snapshots" });
        if (options.json) await say_json(answer);
        else {
          const failed = answer.failed.map(
            ({ partition, reason }) =>
              `${paint("red", "FAILED")}: partition ${partition}: ${plain(reason)}\n`,
          );
          await say(`${counted(answer.snapshots, "snapshot")} made\n${failed.join("")}`);
        }
        return answer.failed.length > 0 ? 1 : 0;
      }),
    );
  with_examples(
    with_ask_options(command),
    ["snapshot", "snapshot --data ./registry --json"],
    `
Exit codes:
  0  everything is in a snapshot
  1  that of a partition could not be made
  2  the question could not be asked
`,
  );
}
