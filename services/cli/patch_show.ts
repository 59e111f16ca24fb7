/** `klpstate patch show`: the manifests of one patch. */
import type { Command } from "commander";
import { find_patches, type IdentityOptions } from "./catalog_question.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { patch_text } from "./render/patch_text.js";

export function with_identity(command: Command): Command {
  return command
    .option("--release <release>", "only the manifest for this kernel release")
    .option("--arch <arch>", "only the manifest for this arch");
}

export function add_patch_show_command(patch: Command, session: Session): void {
  const command = patch
    .command("show")
    .description("show every manifest of a patch, also withdrawn ones")
    .argument("<patch>", "NAME or NAME@BUILDID")
    .action((name: string, options: AskOptions & IdentityOptions) =>
      ask_and_end(session, options, false, async ({ door, paint, say, say_json }) => {
        const found = await find_patches(door, name, options);
        if (options.json) for (const entry of found) await say_json(entry);
        else await say(found.map((entry) => patch_text(entry, paint)).join("\n"));
        return 0;
      }),
    );
  with_examples(
    with_ask_options(with_identity(command)),
    [
      "patch show kp_2",
      "patch show kp_2@ab12 --json",
      "patch show kp_2 --release 6.12.117+deb12-cloud-amd64",
    ],
    `
Exit codes:
  0  they are shown
  2  there is none of that name, or the question could not be asked
`,
  );
}
