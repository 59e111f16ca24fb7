/** What commands that speak to brokers have: the file of settings beside the environment. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parseDocument } from "yaml";
import { Problem } from "../events/problem.js";

export interface ConfigOptions {
  config?: string;
}

export function with_config(command: Command): Command {
  return command.option(
    "--config <file>",
    "Kafka's settings as YAML (docs/kafka.md); a variable of the environment counts before it",
  );
}

/** Undefined where no file is given. Throws Problem that names it. */
export function read_config({ config }: ConfigOptions): unknown {
  if (config === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(config, "utf8");
  } catch (error) {
    throw refused(`${config} cannot be read (${(error as Error).message})`);
  }
  const document = parseDocument(text, { schema: "core", uniqueKeys: true });
  const [error] = document.errors;
  // Behind the first line it shows the text itself, which may have secrets.
  if (error !== undefined)
    throw refused(`${config} is no YAML: ${error.message.split("\n", 1)[0]!.replace(/:$/, "")}`);
  try {
    return document.toJS();
  } catch (thrown) {
    throw refused(`${config} is no YAML: ${(thrown as Error).message}`);
  }
}

function refused(message: string): Problem {
  return new Problem("bad_input", `--config: ${message}`, { field: "--config" });
}
