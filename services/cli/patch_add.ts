/** `klpstate patch add`: publishes manifests. */
import type { Command } from "commander";
import { manifest_to_json } from "../events/json.js";
import type { Published } from "../registry/answers.js";
import { ask_document } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import {
  at_place,
  type ManifestInput,
  type ModuleOptions,
  read_manifest_input,
  require_replace,
  SIDECAR_HELP,
  warnings_text,
  with_module_options,
} from "./manifest_input.js";
import { plain, reference } from "./render/text.js";

export function add_patch_add_command(patch: Command, session: Session): void {
  const command = patch
    .command("add")
    .description(
      "publish manifests; an identical one is accepted again, another one of the same identity is refused",
    )
    .argument(
      "<files...>",
      "modules (.ko, .ko.gz, .ko.xz, .ko.zst), or manifests in JSON, each one or one a line; - is standard input",
    )
    .action(async (files: string[], options: AskOptions & ModuleOptions) => {
      // All are read before the first is sent: a mistake in the last file leaves nothing half done.
      // One after the other: unpacked, each may take a limit's worth of memory.
      const inputs: ManifestInput[] = [];
      for (const file of files) inputs.push(...(await read_manifest_input(file, options, session.terminal)));
      for (const input of inputs)
        require_replace(input, "say --replace or --no-replace, or replace: true in its .yaml");
      await ask_and_end(session, options, true, async ({ door, say, say_json, warn }) => {
        for (const input of inputs) {
          const published = await at_place(input.place, () =>
            ask_document<Published>(door, {
              method: "POST",
              path: "/v1/patches",
              content_type: "application/json",
              body: JSON.stringify(manifest_to_json(input.manifest)),
            }),
          );
          await warn(warnings_text(input));
          await (options.json ? say_json(published) : say(published_text(published)));
        }
        return 0;
      });
    });
  with_examples(
    with_ask_options(with_module_options(command)),
    [
      "patch add kp_2.json",
      "patch add catalog.ndjson --data ./registry",
      "patch add kp_2.ko.xz --advisory CVE-2026-1234 --released 2026-03-01",
      "patch add kpatch-3.ko --replace",
    ],
    `${SIDECAR_HELP}
Exit codes:
  0  all of them are in the catalog
  2  one is no manifest, or contradicts the catalog; those before it are published
`,
  );
}

function published_text({ outcome, identity }: Published): string {
  const said = outcome === "published" ? "published" : "known already:";
  return `${said} ${reference(identity)} for ${plain(identity.kernel_release)} ${plain(identity.arch)}\n`;
}
