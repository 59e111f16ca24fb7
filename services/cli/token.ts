/** Where a command finds the token: in a file, or in the environment. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse_token } from "../api/token.js";
import { Problem } from "../events/problem.js";
import type { Terminal } from "./terminal.js";

export interface TokenOptions {
  tokenFile?: string;
}

/** Not the token itself: arguments are in sight of every process of the machine. */
export function with_token(command: Command): Command {
  return command.option(
    "--token-file <file>",
    "the server's token (default: from KLPSTATE_TOKEN, or the file in KLPSTATE_TOKEN_FILE)",
  );
}

/** Null: there is none. Throws Problem that names the option or the variable. */
export function find_token(
  { tokenFile }: TokenOptions,
  { KLPSTATE_TOKEN, KLPSTATE_TOKEN_FILE }: Terminal["env"],
): string | null {
  if (tokenFile !== undefined) return token_of_file(tokenFile, "--token-file");
  if (KLPSTATE_TOKEN !== undefined && KLPSTATE_TOKEN_FILE !== undefined) {
    throw new Problem(
      "bad_input",
      "KLPSTATE_TOKEN and KLPSTATE_TOKEN_FILE are both set; set one of the two",
      {
        field: "KLPSTATE_TOKEN",
      },
    );
  }
  if (KLPSTATE_TOKEN !== undefined) return parse_token(KLPSTATE_TOKEN, "KLPSTATE_TOKEN");
  return KLPSTATE_TOKEN_FILE === undefined ? null : token_of_file(KLPSTATE_TOKEN_FILE, "KLPSTATE_TOKEN_FILE");
}

function token_of_file(path: string, source: string): string {
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch (error) {
    throw new Problem("bad_input", `${source}: ${path} cannot be read (${(error as Error).message})`, {
      field: source,
      value: path,
    });
  }
  return parse_token(text.replace(/\r?\n$/, ""), source, `${source}: ${path}`);
}
