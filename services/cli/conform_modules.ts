/** Modules of which somebody wrote down what they are, against what this build reads from their files. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type ModuleReading, read_module } from "../catalog/module/read_module.js";
import { U32_MAX } from "../events/limits.js";
import { kernel_form } from "../events/patch_name.js";
import { key_at } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { u64_to_bigint } from "../events/u64.js";
import type { ConformOutcome } from "./conform.js";
import { U64 } from "./recorded_lines.js";
import { type ModuleDifference, modules_text } from "./render/modules_text.js";

const States = z.array(z.object({ id: U64, version: z.int().min(0).max(U32_MAX) }));

const RecordedModules = z
  .array(
    z.object({
      file: z.string().min(1),
      name: z.string(),
      kernel: z.string(),
      has_states_array: z.boolean(),
      replace: z.boolean(),
      /** As in the array; behind an id 0 it goes on. */
      states: States,
      states_seen_by_kernel: States,
    }),
  )
  .min(1);

type RecordedModule = z.output<typeof RecordedModules>[number];
type States = z.output<typeof States>;

/** Throws Problem where DIR/manifest.json cannot be read. A module that cannot be read is a difference. */
export async function conform_modules(directory: string): Promise<ConformOutcome> {
  const modules = await read_recorded_modules(join(directory, "manifest.json"));
  const differences: ModuleDifference[] = [];
  let failed = 0;
  for (const module of modules) {
    const found = await compare_module(join(directory, module.file), module);
    differences.push(...found.map((difference) => ({ file: module.file, ...difference })));
    if (found.length > 0) failed++;
  }
  const document = { directory, passed: modules.length - failed, failed, differences };
  return { conforms: failed === 0, document, text: modules_text(document) };
}

async function compare_module(
  path: string,
  module: RecordedModule,
): Promise<Omit<ModuleDifference, "file">[]> {
  let reading: ModuleReading;
  try {
    reading = await read_module(path);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [{ what: "the file", recorded: "a livepatch module", klpstate_says: error.message }];
  }
  const { manifest, has_states_array, unseen_states } = reading;
  const seen = entries_of(manifest.states);
  // Where no symbol tells the array's length, what stands behind the id 0 is not to be told.
  const whole =
    unseen_states.length === 0 ? entries_of(module.states).slice(0, seen.length) : entries_of(module.states);
  return [
    ["name", kernel_form(module.name), manifest.name],
    ["kernel", module.kernel, manifest.kernel_release],
    ["replace", module.replace, manifest.replace ?? false],
    ["has_states_array", module.has_states_array, has_states_array],
    ["states_seen_by_kernel", entries_of(module.states_seen_by_kernel), seen],
    ["states", whole, [...seen, ...entries_of(unseen_states)]],
  ].flatMap(([what, recorded, said]) => {
    const [recorded_words, said_words] = [words(recorded), words(said)];
    if (recorded_words === said_words) return [];
    return [{ what: String(what), recorded: recorded_words, klpstate_says: said_words }];
  });
}

function entries_of(states: States | ModuleReading["unseen_states"] | null | undefined): string[] {
  return (states ?? []).map(({ id, version }) => {
    return `${typeof id === "bigint" ? id : u64_to_bigint(id)}:${version ?? 0}`;
  });
}

function words(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  return value.length === 0 ? "none" : value.join(" ");
}

async function read_recorded_modules(path: string): Promise<RecordedModule[]> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new Problem("bad_input", `${path} cannot be read: ${(error as Error).message}`, { value: path });
  }
  const parsed = RecordedModules.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: field, message } = parsed.error.issues[0]!;
  const place = field.reduce<string>((text, key) => key_at(text, String(key)), "");
  throw new Problem("bad_input", `${path}: ${place === "" ? "it" : place}: ${message}`, { value: path });
}
