/** `klpstate patch add`: publishes manifests. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { manifest_from_json } from "../events/json.js";
import { Problem } from "../events/problem.js";
import { parse_json } from "../events/strict_json.js";
import type { Published } from "../registry/answers.js";
import { ask_document } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { plain, reference } from "./render/text.js";
import type { Terminal } from "./terminal.js";

interface ManifestText {
  /** `FILE`, or `FILE:LINE`. */
  place: string;
  text: string;
}

export function add_patch_add_command(patch: Command, session: Session): void {
  const command = patch
    .command("add")
    .description(
      "publish manifests; an identical one is accepted again, another one of the same identity is refused",
    )
    .argument("<files...>", "a manifest in JSON each, or one a line; - is standard input")
    .action(async (files: string[], options: AskOptions) => {
      // All are read before the first is sent: a mistake in the last file leaves nothing half done.
      const manifests = (
        await Promise.all(files.map((file) => read_manifests(file, session.terminal)))
      ).flat();
      await ask_and_end(session, options, true, async ({ door, say, say_json }) => {
        for (const { place, text } of manifests) {
          const published = await at_place(place, () =>
            ask_document<Published>(door, {
              method: "POST",
              path: "/v1/patches",
              content_type: "application/json",
              body: text,
            }),
          );
          await (options.json ? say_json(published) : say(published_text(published)));
        }
        return 0;
      });
    });
  with_examples(
    with_ask_options(command),
    ["patch add kp_2.json", "patch add catalog.ndjson --data ./registry"],
    `
Exit codes:
  0  all of them are in the catalog
  2  one is no manifest, or contradicts the catalog; those before it are published
`,
  );
}

async function read_manifests(file: string, terminal: Terminal): Promise<ManifestText[]> {
  const name = file === "-" ? "standard input" : file;
  const text = await read_text(file, name, terminal);
  const lines = text.split("\n").flatMap((line, at) => {
    return line.trim() === "" ? [] : [{ place: `${name}:${at + 1}`, text: line }];
  });
  const manifests = lines.length > 1 && is_json(lines[0]!.text) ? lines : [{ place: name, text }];
  for (const manifest of manifests) {
    await at_place(manifest.place, async () => manifest_from_json(parse_json(manifest.text)));
  }
  return manifests;
}

async function read_text(file: string, name: string, { stdin }: Terminal): Promise<string> {
  try {
    const chunks: Uint8Array[] = [];
    if (file === "-") for await (const chunk of stdin) chunks.push(chunk);
    else chunks.push(await readFile(file));
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw new Problem("bad_input", `${name} cannot be read: ${(error as Error).message}`, { value: file });
  }
}

/** A manifest over several lines does not end on its first one. */
function is_json(text: string): boolean {
  try {
    parse_json(text);
    return true;
  } catch {
    return false;
  }
}

async function at_place<Value>(place: string, read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, `${place}: ${error.message}`, error.parts);
  }
}

function published_text({ outcome, identity }: Published): string {
  const said = outcome === "published" ? "published" : "known already:";
  return `${said} ${reference(identity)} for ${plain(identity.kernel_release)} ${plain(identity.arch)}\n`;
}
