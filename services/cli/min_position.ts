/** The options of a question that has to see what was stored before it. */
import type { Command } from "commander";

export interface PositionOptions {
  minPosition?: string;
  wait?: string;
}

export function with_min_position(command: Command): Command {
  return command
    .option(
      "--min-position <positions>",
      "answer only with so much folded: what ingest --json has as min_position",
    )
    .option(
      "--wait <span>",
      "with --min-position: for so long at most, up to 60s; such as 500ms (default: 2s)",
    );
}

export function position_query({ minPosition, wait }: PositionOptions): {
  min_position?: string;
  wait?: string;
} {
  return {
    ...(minPosition !== undefined && { min_position: minPosition }),
    ...(wait !== undefined && { wait }),
  };
}
