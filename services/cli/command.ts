/** What every command has: where to ask, how to answer, how to end. */
import type { Command } from "commander";
import { DEFAULT_SERVER, type Door, type DoorOptions, open_door } from "./door.js";
import { plain } from "./render/text.js";
import { type Paint, paint_for, print, type Terminal } from "./terminal.js";
import { with_token } from "./token.js";

/** 0 yes; 1 no; 2 the question could not be answered. */
export type ExitCode = 0 | 1 | 2;

export interface AskOptions extends DoorOptions {
  json?: boolean;
}

/** How a command that has run says how it ended. */
export interface Session {
  readonly terminal: Terminal;
  end(code: ExitCode): void;
}

export const EXIT_CODES = `
Exit codes:
  0  yes
  1  no, or the answer is not complete
  2  the question could not be answered: bad input, nothing of that name, no server
`;

/** The options that say whom to ask, and how to answer. */
export function with_ask_options(command: Command): Command {
  return with_token(command)
    .option("--server <url>", `ask this server (default: ${DEFAULT_SERVER})`)
    .option("--data <dir>", "ask the registry in this directory, through its owner if it is served")
    .option("--json", "answer with JSON: one document, or a line for each item of a list");
}

/** Examples and exit codes, below the options. */
export function with_examples(command: Command, examples: string[], exit_codes = EXIT_CODES): Command {
  const lines = examples.map((example) => `  $ klpstate ${example}\n`).join("");
  return command.addHelpText("after", `\nExamples:\n${lines}${exit_codes}`);
}

export interface Asking {
  door: Door;
  terminal: Terminal;
  paint: Paint;
  /** Writes to standard output. */
  say(text: string): Promise<void>;
  /** Writes a document, or an item of a list, as one line of JSON. */
  say_json(document: unknown): Promise<void>;
  /** Writes to standard error. */
  warn(text: string): Promise<void>;
}

/** Opens the door, asks, closes the door. `may_make`: a directory that holds no registry becomes one. */
export async function ask_and_end(
  session: Session,
  options: AskOptions,
  may_make: boolean,
  answer: (asking: Asking) => Promise<ExitCode>,
): Promise<void> {
  const { terminal } = session;
  const report = (message: string) => terminal.stderr.write(`klpstate: ${plain(message)}\n`);
  const door = await open_door(options, terminal.env, may_make, report);
  try {
    const code = await answer({
      door,
      terminal,
      paint: paint_for(terminal),
      say: (text) => print(terminal.stdout, text),
      say_json: (document) => print(terminal.stdout, `${JSON.stringify(document)}\n`),
      warn: (text) => print(terminal.stderr, text),
    });
    session.end(code);
  } finally {
    await door.close();
  }
}

/** A path's part, also of a host id that has a slash. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}
