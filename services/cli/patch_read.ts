/** `klpstate patch read`: the manifests of module files. */
import type { Command } from "commander";
import { manifest_to_json } from "../events/json.js";
import type { ShownManifest } from "./catalog_question.js";
import { type Session, with_examples } from "./command.js";
import {
  is_replace_untold,
  type ModuleOptions,
  REPLACE_NOT_TOLD,
  read_module_input,
  SIDECAR_HELP,
  warnings_text,
  with_module_options,
} from "./manifest_input.js";
import { manifest_text } from "./render/patch_text.js";
import { paint_for, print } from "./terminal.js";

interface ReadOptions extends ModuleOptions {
  json?: boolean;
}

export function add_patch_read_command(patch: Command, session: Session): void {
  const command = patch
    .command("read")
    .description("print what livepatch modules are: states, functions, kernel, build, signature; asks nobody")
    .argument("<files...>", "modules: .ko, .ko.gz, .ko.xz, .ko.zst")
    .option("--json", "a line of JSON for each, as patch add takes it")
    .action(async (files: string[], options: ReadOptions) => {
      const { stdout, stderr } = session.terminal;
      for (const file of files) {
        const input = await read_module_input(file, options);
        const manifest = manifest_to_json(input.manifest);
        // Its absence is what tells a reader of the JSON that nobody said it.
        if (!input.replace_is_told) delete manifest.replace;
        const untold = `klpstate: ${file}: ${REPLACE_NOT_TOLD}: say --replace or --no-replace\n`;
        await print(stderr, `${warnings_text(input)}${is_replace_untold(input) ? untold : ""}`);
        const text = manifest_text(manifest as unknown as ShownManifest, paint_for(session.terminal));
        await print(stdout, options.json ? `${JSON.stringify(manifest)}\n` : text);
      }
      session.end(0);
    });
  with_examples(
    with_module_options(command),
    [
      "patch read kp_2.ko",
      "patch read --json build/*.ko > catalog.ndjson",
      "patch read /lib/modules/6.12.117/kp_2.ko.xz",
    ],
    `${SIDECAR_HELP}
Exit codes:
  0  all of them are printed
  2  one cannot be read, or is no livepatch module
`,
  );
}
