/** `klpstate patch list`: what the catalog knows. */
import type { Command } from "commander";
import { ask_patches } from "./catalog_question.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { patches_text } from "./render/patch_text.js";

interface ListOptions extends AskOptions {
  name?: string;
  all?: boolean;
}

export function add_patch_list_command(patch: Command, session: Session): void {
  const command = patch
    .command("list")
    .description("list the catalog's manifests, in its order")
    .option("--name <name>", "only manifests of this patch")
    .option("--all", "also those that were withdrawn")
    .action((options: ListOptions) =>
      ask_and_end(session, options, false, async ({ door, say, say_json }) => {
        const patches = await ask_patches(door, {
          ...(options.name !== undefined && { name: options.name }),
          ...(!options.all && { withdrawn: "false" }),
        });
        if (options.json) for (const entry of patches) await say_json(entry);
        else await say(patches_text(patches));
        return 0;
      }),
    );
  with_examples(
    with_ask_options(command),
    ["patch list", "patch list --name kp_2 --all --json"],
    `
Exit codes:
  0  they are listed
  2  the question could not be asked
`,
  );
}
