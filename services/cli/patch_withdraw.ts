/** `klpstate patch withdraw`: frees a manifest's identity, with a reason. */
import { userInfo } from "node:os";
import type { Command } from "commander";
import { Problem } from "../events/problem.js";
import type { Withdrawal } from "../registry/answers.js";
import { ask_document } from "./ask.js";
import { find_patches, type IdentityOptions } from "./catalog_question.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { with_identity } from "./patch_show.js";
import { plain, reference } from "./render/text.js";

interface WithdrawOptions extends AskOptions, IdentityOptions {
  reason: string;
  by?: string;
}

export function add_patch_withdraw_command(patch: Command, session: Session): void {
  const command = patch
    .command("withdraw")
    .description("withdraw one manifest; the record of it stays")
    .argument("<patch>", "NAME or NAME@BUILDID")
    .requiredOption("--reason <text>", "why, for who reads the catalog later")
    .option("--by <who>", "who withdraws it (default: the user who runs this)")
    .action((name: string, options: WithdrawOptions) =>
      ask_and_end(session, options, false, async ({ door, say, say_json }) => {
        const found = await find_patches(door, name, options, false);
        if (found.length > 1) {
          const which = found.map(
            ({ manifest }) => `${reference(manifest)} for ${manifest.kernel_release} ${manifest.arch}`,
          );
          throw new Problem(
            "bad_input",
            `patch: ${name} means ${found.length} manifests (${which.join("; ")}); name one by @BUILDID, --release, --arch`,
            { field: "patch", value: name },
          );
        }
        const { manifest } = found[0]!;
        const { kernel_release, arch, build_id } = manifest;
        const withdrawal = await ask_document<Withdrawal>(door, {
          method: "POST",
          path: "/v1/patches/withdraw",
          content_type: "application/json",
          body: JSON.stringify({
            name: manifest.name,
            kernel_release,
            arch,
            ...(build_id !== undefined && { build_id }),
            reason: options.reason,
            by: options.by ?? userInfo().username,
          }),
        });
        const said = `withdrew ${reference(manifest)} for ${plain(kernel_release)} ${plain(arch)}\n`;
        await (options.json ? say_json(withdrawal) : say(said));
        return 0;
      }),
    );
  with_examples(
    with_ask_options(with_identity(command)),
    ['patch withdraw kp_2@ab12 --reason "built from the wrong branch"'],
    `
Exit codes:
  0  it is withdrawn
  2  there is none, or more than one, of that name, or it could not be withdrawn
`,
  );
}
