/** `klpstate patch lint`: what bites later, before a patch is released. */
import type { Command } from "commander";
import { manifest_from_json } from "../events/json.js";
import { ask_patches } from "./catalog_question.js";
import {
  type AskOptions,
  ask_and_end,
  type ExitCode,
  type Session,
  with_ask_options,
  with_examples,
} from "./command.js";
import { read_one_manifest, warnings_text } from "./manifest_input.js";
import { type Finding, findings_alone, findings_beside } from "./patch_findings.js";
import { findings_text } from "./render/lint_text.js";
import { print } from "./terminal.js";

export function add_patch_lint_command(patch: Command, session: Session): void {
  const command = patch
    .command("lint")
    .description("find what bites later: in a patch, and beside a catalog's patches of the same kernel")
    .argument("<file>", "a module, or a manifest in JSON")
    .action(async (file: string, options: AskOptions) => {
      const { stdout, stderr } = session.terminal;
      const input = await read_one_manifest(file, session.terminal);
      await print(stderr, warnings_text(input));
      const alone = findings_alone(input);
      const answer = async (findings: Finding[], with_catalog: boolean): Promise<ExitCode> => {
        const lines = findings.map((finding) => `${JSON.stringify({ file, ...finding })}\n`).join("");
        await print(stdout, options.json ? lines : findings_text(file, findings, with_catalog));
        return findings.length === 0 ? 0 : 1;
      };
      if (options.server === undefined && options.data === undefined) {
        session.end(await answer(alone, false));
        return;
      }
      await ask_and_end(session, options, false, async ({ door }) => {
        const catalog = await ask_patches(door, { withdrawn: "false" });
        const manifests = catalog.map(({ manifest }) => manifest_from_json(manifest));
        return answer([...alone, ...findings_beside(input, manifests)], true);
      });
    });
  with_examples(
    with_ask_options(command),
    [
      "patch lint kp_3.ko",
      "patch lint kp_3.ko --server http://registry:7350",
      "patch lint kp_3.ko --data ./registry --json",
    ],
    `
Without --server and --data no catalog is asked.

Codes: id_twice, id_0_inside, no_callbacks, no_exit, not_marked, no_objects, states_unknown, replace_not_told; beside a catalog
drops_state, lowers_version, not_cumulative, name_taken.

Exit codes:
  0  nothing is found
  1  something is
  2  the file cannot be read, or the catalog not be asked
`,
  );
}
