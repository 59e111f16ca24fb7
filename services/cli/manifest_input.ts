/** Manifests from files: as JSON, one or one a line; or from module files, with what these cannot say told beside them. */
import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { is_module_name, type ModuleReading, read_module } from "../catalog/module/read_module.js";
import { read_sidecar, type Sidecar, sidecar_path, with_sidecar } from "../catalog/module/sidecar.js";
import type { Manifest } from "../events/codec.js";
import { manifest_from_json } from "../events/json.js";
import { Problem } from "../events/problem.js";
import { parse_json } from "../events/strict_json.js";
import type { Terminal } from "./terminal.js";

/** What the flags tell of a module, as commander has them. */
export interface ModuleOptions {
  replace?: boolean;
  advisory?: string[];
  released?: string;
  notes?: string;
  irreversible?: string;
}

export interface ManifestInput {
  /** `FILE`, or `FILE:LINE`. */
  place: string;
  manifest: Manifest;
  /** The module that it was read from; null: it was JSON. */
  reading: ModuleReading | null;
  /** Whether `replace` is a fact: from the module, the flags, the sidecar or JSON. */
  replace_is_told: boolean;
}

export const REPLACE_NOT_TOLD = "whether it replaces other patches is in its code only";

export const SIDECAR_HELP = `
What a module file cannot say comes from these options, or from NAME.yaml beside NAME.ko, with the keys
advisories (a list), released, notes, irreversible, replace. An option wins over the file.
`;

export function with_module_options(command: Command): Command {
  return command
    .option(
      "--replace",
      "it takes the place of every earlier patch; for modules that say so in their code only",
    )
    .option("--no-replace", "it does not")
    .option("--advisory <id>", "an advisory that it fixes; may be given several times", one_more)
    .option("--released <time>", "when it was released: 2026-03-01, or RFC 3339")
    .option("--notes <text>", "what who reads the catalog should know")
    .option(
      "--irreversible <text>",
      "why what it does cannot be taken back, such as data in shadow variables",
    );
}

/** Throws Problem, which names the file. */
export async function read_manifest_input(
  file: string,
  options: ModuleOptions,
  terminal: Terminal,
): Promise<ManifestInput[]> {
  if (is_module_name(file)) return [await read_module_input(file, options)];
  const told = Object.keys(told_by(options));
  if (told.length > 0) {
    const says = `${file}: is JSON, which says by itself what ${told.join(", ")} would; give options for .ko files only`;
    throw new Problem("bad_input", says, { value: file });
  }
  const name = file === "-" ? "standard input" : file;
  const text = await read_text(file, name, terminal);
  const lines = text.split("\n").flatMap((line, at) => {
    return line.trim() === "" ? [] : [{ place: `${name}:${at + 1}`, text: line }];
  });
  const documents = lines.length > 1 && is_json(lines[0]!.text) ? lines : [{ place: name, text }];
  return Promise.all(
    documents.map(async ({ place, text }) => {
      const manifest = await at_place(place, async () => manifest_from_json(parse_json(text)));
      return { place, manifest, reading: null, replace_is_told: true };
    }),
  );
}

/** As `read_manifest_input`, of a module file whatever its name is. */
export async function read_module_input(file: string, options: ModuleOptions): Promise<ManifestInput> {
  const reading = await read_module(file);
  const told = { ...read_sidecar(sidecar_path(file)), ...told_by(options) };
  const manifest = await at_place(file, async () => with_sidecar(reading, told));
  const replace_is_told = reading.replace_is_told || told.replace !== undefined;
  return { place: file, manifest, reading, replace_is_told };
}

/** A file that holds one manifest, as a module does. */
export async function read_one_manifest(file: string, terminal: Terminal): Promise<ManifestInput> {
  const [input, ...others] = await read_manifest_input(file, {}, terminal);
  if (others.length === 0) return input!;
  throw new Problem("bad_input", `${file}: has ${others.length + 1} manifests; give one a file`, {
    value: file,
  });
}

/** Sentences about a module, each with its file. */
export function warnings_text({ place, reading }: ManifestInput): string {
  return (reading?.warnings ?? []).map((text) => `klpstate: ${place}: ${text}\n`).join("");
}

/** Of a patch whose states are not known, nothing is said that would depend on it. */
export function is_replace_untold({ manifest, replace_is_told }: ManifestInput): boolean {
  return !replace_is_told && !manifest.states_unknown;
}

/** What is said with a `replace` that is guessed would be wrong, and sure of it. `how`: where it can be told. */
export function require_replace(input: ManifestInput, how: string): void {
  if (!is_replace_untold(input)) return;
  throw new Problem("bad_input", `${input.place}: ${REPLACE_NOT_TOLD}; ${how}`, {
    field: "replace",
    value: input.place,
  });
}

export async function at_place<Value>(place: string, read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, `${place}: ${error.message}`, error.parts);
  }
}

function told_by({ replace, advisory, released, notes, irreversible }: ModuleOptions): Sidecar {
  return {
    ...(replace !== undefined && { replace }),
    ...(advisory !== undefined && { advisories: advisory }),
    ...(released !== undefined && { released }),
    ...(notes !== undefined && { notes }),
    ...(irreversible !== undefined && { irreversible }),
  };
}

function one_more(value: string, others: string[] = []): string[] {
  if (value === "") throw new InvalidArgumentError("It is empty.");
  return [...others, value];
}

async function read_text(file: string, name: string, { stdin }: Terminal): Promise<string> {
  try {
    const chunks: Uint8Array[] = [];
    if (file === "-") for await (const chunk of stdin) chunks.push(chunk);
    else chunks.push(await readFile(file));
    const bytes = Buffer.concat(chunks);
    if (isUtf8(bytes)) return bytes.toString("utf8");
  } catch (error) {
    throw new Problem("bad_input", `${name} cannot be read: ${(error as Error).message}`, { value: file });
  }
  throw new Problem("bad_input", `${name}: is no JSON; a module's file is named NAME.ko`, { value: file });
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
