/** The file of --config: YAML, of which each part is checked by who takes it. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { Problem } from "../events/problem.js";

/** Throws Problem. */
export async function read_config(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, "utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new Problem("bad_input", `--config: ${path} cannot be read: ${why}`, {
      field: "config",
      value: path,
    });
  }
}
