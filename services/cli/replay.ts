/** `klpstate replay`: folds the log anew and compares. */
import type { Command } from "commander";
import { problem_of } from "../api/problem_document.js";
import type { ReplayLine } from "../api/replay_routes.js";
import { Problem } from "../events/problem.js";
import { ask_lines } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { type Progress, start_progress } from "./progress.js";
import { replay_text } from "./render/replay_text.js";
import { number, plain } from "./render/text.js";

export function add_replay_command(program: Command, session: Session): void {
  const command = program
    .command("replay")
    .description("fold the whole log anew, beside the live state, and compare their digests")
    .action((options: AskOptions) =>
      ask_and_end(session, options, false, async ({ door, terminal, paint, say, say_json, warn }) => {
        const progress = start_progress(terminal);
        const { items } = await ask_lines<ReplayLine>(door, { method: "POST", path: "/v1/replay" });
        const end = await last_line(items, progress).finally(progress.end);
        if ("problem" in end) {
          // Anything else says nothing of the log.
          if (problem_of(end.problem).code !== "contradiction") throw problem_of(end.problem);
          await (options.json
            ? warn(`${JSON.stringify(end.problem)}\n`)
            : say(`${paint("red", "DAMAGED")}: ${plain(end.problem.detail)}\n`));
          return 1;
        }
        await (options.json ? say_json(end.answer) : say(replay_text(end.answer, paint)));
        return end.answer.matches ? 0 : 1;
      }),
    );
  with_examples(
    with_ask_options(command),
    ["replay", "replay --data ./registry --json"],
    `
Exit codes:
  0  the digests match
  1  they do not, or the log is damaged
  2  the question could not be asked
`,
  );
}

async function last_line(
  lines: AsyncIterable<ReplayLine>,
  progress: Progress,
): Promise<Exclude<ReplayLine, { progress: unknown }>> {
  for await (const line of lines) {
    if (!("progress" in line)) return line;
    const { bytes, bytes_total } = line.progress;
    progress.show(bytes_total === 0 ? null : bytes / bytes_total, `${number(bytes)} bytes`);
  }
  throw new Problem("unavailable", "the replay's answer ended without a result");
}
