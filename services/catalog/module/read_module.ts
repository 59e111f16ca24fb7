/** A livepatch module's file as a manifest, and what else it says that matters before it is loaded. */
import { basename } from "node:path";
import type { Manifest } from "../../events/codec.js";
import { check_manifest } from "../../events/manifest.js";
import { kernel_form } from "../../events/patch_name.js";
import { shorten } from "../../events/place.js";
import { Problem } from "../../events/problem.js";
import { klpstate } from "../../events/proto.js";
import { bad_module } from "./bad_module.js";
import { read_built_patch } from "./builders.js";
import { with_module_bytes } from "./compressed.js";
import { Elf } from "./elf.js";
import type { PatchedObject } from "./functions.js";
import { count_unseen, find_livepatches, type State, THIS_MODULE } from "./livepatch.js";
import { read_modinfo } from "./modinfo.js";
import { read_build_id } from "./notes.js";
import { read_signature } from "./signature.js";
import type { Source } from "./source.js";

const { Builder } = klpstate.v1;

export interface ModuleReading {
  /** Without what no module says: advisories, release date, notes, irreversible. */
  manifest: Manifest;
  /** False: `replace` is in the module's code only, and `manifest.replace` says nothing. */
  replace_is_told: boolean;
  /** Whether klp_patch's `states` points to an array, which may be empty. */
  has_states_array: boolean;
  /** An id 0 and the states behind it, if there are any: no kernel sees them. */
  unseen_states: State[];
  has_callbacks: boolean;
  objects: string[];
  /** Whether modinfo says `livepatch=Y`; without it the kernel takes no klp_patch. */
  is_marked: boolean;
  /** What a reader of the manifest should know; each one a sentence. */
  warnings: string[];
}

/** Throws Problem, which names the file, where it is no livepatch module or cannot be read. */
export async function read_module(path: string): Promise<ModuleReading> {
  try {
    return await with_module_bytes(path, read_module_bytes);
  } catch (error) {
    if (error instanceof Problem)
      throw new Problem(error.code, `${path}: ${error.message}`, { ...error.parts, value: path });
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new Problem("bad_input", `${path}: cannot be read: ${(error as Error).message}`, { value: path });
  }
}

/** Whether a file's name is that of a module, compressed or not. */
export function is_module_name(path: string): boolean {
  return /\.ko(\.(gz|xz|zst))?$/.test(basename(path));
}

/** As `read_module`; the Problem's message is about a file that it does not name. */
export function read_module_bytes(source: Source): ModuleReading {
  const elf = new Elf(source);
  const modinfo = read_modinfo(elf);
  const this_module = elf.section_named(THIS_MODULE);
  if (this_module === null) throw bad_module(`is an ELF file, but no module: it has no ${THIS_MODULE}`);

  // Before all else: a module's own structures are not looked into for their likeness to a livepatch.
  const is_marked = modinfo.has("livepatch");
  const built = read_built_patch(elf);
  const livepatches = built === null ? find_livepatches(elf, this_module) : [];
  if (!is_marked && livepatches.length === 0)
    throw bad_module("is no livepatch: its modinfo has no livepatch=Y");
  const livepatch = livepatches.length === 1 ? livepatches[0]! : null;
  const objects = built?.objects ?? livepatch?.objects ?? [];
  const is_known = built !== null || livepatch !== null;

  const vermagic = modinfo.get("vermagic") ?? "";
  const [kernel_release = ""] = vermagic.split(" ");
  const srcversion = modinfo.get("srcversion") ?? "";
  const build_id = read_build_id(elf);
  const states = livepatch?.states?.seen ?? [];
  const manifest: Manifest = {
    name: kernel_form(modinfo.get("name") ?? ""),
    kernel_release,
    arch: elf.machine.arch,
    ...(build_id !== null && { build_id }),
    ...(livepatch?.replace && { replace: true }),
    ...(states.length > 0 && { states }),
    ...(objects.length > 0 && { functions: objects.flatMap(({ functions }) => functions) }),
    vermagic,
    ...(srcversion !== "" && { srcversion }),
    signature: read_signature(source),
    ...(has_exit(elf) && { has_exit: true }),
    builder: builder_number(built?.builder ?? (livepatch === null ? "other" : "static")),
    ...(!is_known && { states_unknown: true }),
  };
  require_modinfo(manifest);
  check_manifest(manifest);
  const unseen_states = livepatch?.states?.unseen ?? [];
  const reading = {
    manifest,
    replace_is_told: livepatch !== null,
    has_states_array: livepatch?.states !== null && livepatch !== null,
    unseen_states,
    has_callbacks: objects.some(({ has_callbacks }) => has_callbacks),
    objects: objects.map(({ name }) => name),
    is_marked,
  };
  return { ...reading, warnings: warnings_of(reading, livepatches.length, objects) };
}

function builder_number(builder: "static" | "kpatch_build" | "klp_build" | "other"): klpstate.v1.Builder {
  switch (builder) {
    case "static":
      return Builder.STATIC;
    case "kpatch_build":
      return Builder.KPATCH_BUILD;
    case "klp_build":
      return Builder.KLP_BUILD;
    case "other":
      return Builder.BUILDER_OTHER;
  }
}

/** The module's structure has a pointer to init_module, and behind it one to cleanup_module where there is one. */
function has_exit(elf: Elf): boolean {
  const this_module = elf.section_named(THIS_MODULE)!;
  const pointers = elf.pointers(this_module);
  return pointers.offsets.filter((offset) => pointers.at(offset)?.section.is_code).length > 1;
}

function require_modinfo({ name, kernel_release, vermagic }: Manifest): void {
  if (!name) throw bad_module("does not say its name in modinfo, as modules do from Linux 4.13");
  if (!kernel_release)
    throw bad_module(`does not say in modinfo for which kernel it is: vermagic=${shorten(vermagic ?? "")}`);
}

function warnings_of(
  { manifest, is_marked, unseen_states }: Omit<ModuleReading, "warnings">,
  livepatch_count: number,
  objects: PatchedObject[],
): string[] {
  const warnings: string[] = [];
  if (!is_marked) warnings.push("its modinfo has no livepatch=Y: the kernel refuses it (EINVAL)");
  if (livepatch_count > 1)
    warnings.push(
      "it has several klp_patch, and which of them it registers is in its code: its states are not known",
    );
  else if (manifest.states_unknown)
    warnings.push(
      "its klp_patch is not in the file, and its builder is not known: its states are not known either",
    );
  if (unseen_states.length > 0)
    warnings.push(
      `the kernel does not see ${count_unseen(unseen_states)} of its states: they stand behind an id 0`,
    );
  if (objects.length === 0 && !manifest.states_unknown)
    warnings.push("it patches no object: the kernel refuses it (EINVAL)");
  if (is_before_states(manifest.kernel_release ?? "") && !manifest.states?.length && !manifest.states_unknown)
    warnings.push("kernels before 5.5 know no states: it has none");
  if (!manifest.build_id?.length)
    warnings.push("it has no build id: another build of the same name and kernel cannot be told from it");
  return warnings;
}

function is_before_states(kernel_release: string): boolean {
  const [major = 0, minor = 0] = kernel_release.split(".").map((part) => Number.parseInt(part, 10));
  return major < 5 || (major === 5 && minor < 5);
}
