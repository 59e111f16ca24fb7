/** `klpstate replay`: folds the log anew and compares. */
import type { Command } from "commander";
import { problem_of } from "../api/problem_document.js";
import type { ReplayLine } from "../api/replay_routes.js";
import { Problem } from "../events/problem.js";
import { ask_lines } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { type Progress, start_progress } from "./progress.js";
import { replay_text } from "./render/replay_text.js";
import { number } from "./render/text.js";

interface ReplayOptions extends AskOptions {
  partition?: string;
  to?: string;
}

export function add_replay_command(program: Command, session: Session): void {
  const command = program
    .command("replay")
    .description("fold the log anew, beside the live state, and compare their digests")
    .option("--partition <n>", "only this partition")
    .option(
      "--to <offset>",
      "only the partition's records below this offset; one that is past is not compared",
    )
    .action((options: ReplayOptions) =>
      ask_and_end(session, options, false, async ({ door, terminal, paint, say, say_json }) => {
        const progress = start_progress(terminal);
        const { items } = await ask_lines<ReplayLine>(door, {
          method: "POST",
          path: "/v1/replay",
          query: { partition: options.partition, to: options.to },
        });
        const end = await last_line(items, progress).finally(progress.end);
        if ("problem" in end) throw problem_of(end.problem);
        await (options.json ? say_json(end.answer) : say(replay_text(end.answer, paint)));
        return end.answer.matches === false ? 1 : 0;
      }),
    );
  with_examples(
    with_ask_options(command),
    ["replay", "replay --data ./registry --json", "replay --partition 3 --to 1042"],
    `
Exit codes:
  0  the digests match, or the end asked for is not the live one and nothing was compared
  1  they do not match, or a log is damaged, or a partition is broken
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
