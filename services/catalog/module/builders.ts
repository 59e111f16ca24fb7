/**
 * Modules whose `struct klp_patch` is made when they are loaded: their tools leave tables of what is to be patched, in
 * sections of their own. None of them has states. Whether the patch replaces others is in their code, and not told.
 */
import { MANIFEST_FUNCTIONS_MAX } from "../../events/limits.js";
import { u64_from_bigint } from "../../events/u64.js";
import { bad_module } from "./bad_module.js";
import type { Elf, Place, Section } from "./elf.js";
import { callbacks_at, move, type PatchedFunction, type PatchedObject, VMLINUX } from "./functions.js";

export interface BuiltPatch {
  builder: "kpatch_build" | "klp_build";
  objects: PatchedObject[];
}

/** Null: the module has no builder's sections. Throws Problem where it has them and they are not as they should be. */
export function read_built_patch(elf: Elf): BuiltPatch | null {
  const kpatch_funcs = elf.section_named(".kpatch.funcs");
  if (kpatch_funcs !== null) return { builder: "kpatch_build", objects: kpatch_objects(elf, kpatch_funcs) };
  // Their names since they are freed after the start, and before.
  const klp_objects = elf.section_named(".init.klp_objects") ?? elf.section_named("__klp_objects");
  if (klp_objects !== null) return { builder: "klp_build", objects: klp_build_objects(elf, klp_objects) };
  return null;
}

/**
 * `struct kpatch_patch_func` of kpatch's kmod/patch/kpatch-patch.h:
 * 0 new_addr, 8 new_size, 16 old_addr, 24 old_size, 32 sympos, 40 name, 48 objname.
 */
const KPATCH_CALLBACK_KINDS = 4;
const [KPATCH_SYMPOS, KPATCH_NAME, KPATCH_OBJECT, KPATCH_FUNC_BYTES] = [32, 40, 48, 56];

function kpatch_objects(elf: Elf, section: Section): PatchedObject[] {
  const objects = new Map<string, PatchedObject>();
  for (const place of entries_of(section, KPATCH_FUNC_BYTES)) {
    const code = elf.pointer(place);
    const name = text_at(elf, move(place, KPATCH_NAME));
    const object = text_at(elf, move(place, KPATCH_OBJECT));
    if (!code?.section.is_code || name === null || object === null) throw not_as_known(section, place);
    const position = elf.u64(move(place, KPATCH_SYMPOS));
    const functions = objects.get(object)?.functions ?? [];
    functions.push(function_of(object, name, position));
    objects.set(object, { name: object, has_callbacks: false, functions });
  }
  // `struct kpatch_patch_callback`s: 0 callback, 8 objname.
  const callback_sections = elf.sections.filter(({ name }) => name.startsWith(".kpatch.callbacks."));
  if (callback_sections.length > KPATCH_CALLBACK_KINDS)
    throw bad_module(
      `has ${callback_sections.length} sections of callbacks`,
      `at most ${KPATCH_CALLBACK_KINDS}`,
    );
  for (const callbacks of callback_sections) {
    for (const place of entries_of(callbacks, 16)) {
      const name = text_at(elf, move(place, 8)) ?? VMLINUX;
      const functions = objects.get(name)?.functions ?? [];
      objects.set(name, { name, has_callbacks: true, functions });
    }
  }
  return [...objects.values()];
}

/**
 * `struct klp_object_ext` and `klp_func_ext` of include/linux/livepatch_external.h:
 * 0 name, 8 funcs, 16 callbacks, last nr_funcs; 0 old_name, 8 new_func, 16 sympos.
 * The object's length differs with what callbacks hold.
 */
const [KLP_FUNCS, KLP_CALLBACKS, KLP_OBJECT_BYTES_MIN] = [8, 16, 24];
const [KLP_NEW_FUNC, KLP_SYMPOS, KLP_FUNC_BYTES] = [8, 16, 24];

function klp_build_objects(elf: Elf, section: Section): PatchedObject[] {
  const pointers = elf.pointers(section);
  const starts = pointers.offsets
    .filter((offset) => is_klp_func(elf, pointers.at(offset)))
    .map((offset) => offset - KLP_FUNCS);
  const stride = starts.length > 1 ? starts[1]! - starts[0]! : section.size;
  const is_array =
    stride >= KLP_OBJECT_BYTES_MIN &&
    starts.length * stride === section.size &&
    starts.every((start, at) => start === at * stride);
  if (!is_array) throw not_as_known(section, { section, offset: starts[0] ?? 0 });
  let count = 0;
  return starts.map((offset) => {
    const place = { section, offset };
    const name = text_at(elf, place);
    if (name === null && pointers.at(offset) !== undefined) throw not_as_known(section, place);
    const object = name ?? VMLINUX;
    const function_count = elf.u32(move(place, stride - 8));
    count += function_count;
    if (count > MANIFEST_FUNCTIONS_MAX)
      throw bad_module(`patches more than ${MANIFEST_FUNCTIONS_MAX} functions`);
    const funcs = elf.pointer(move(place, KLP_FUNCS))!;
    const functions = Array.from({ length: function_count }, (_, at) =>
      klp_build_function(elf, object, move(funcs, at * KLP_FUNC_BYTES)),
    );
    const has_callbacks = stride > KLP_OBJECT_BYTES_MIN && callbacks_at(elf, move(place, KLP_CALLBACKS));
    return { name: object, has_callbacks, functions };
  });
}

function klp_build_function(elf: Elf, object: string, place: Place): PatchedFunction {
  if (!is_klp_func(elf, place)) throw not_as_known(place.section, place);
  return function_of(object, text_at(elf, place)!, elf.u64(move(place, KLP_SYMPOS)));
}

function is_klp_func(elf: Elf, place: Place | null | undefined): boolean {
  if (!place || place.section.is_code) return false;
  return text_at(elf, place) !== null && elf.pointer(move(place, KLP_NEW_FUNC))?.section.is_code === true;
}

function entries_of(section: Section, entry_bytes: number): Place[] {
  const count = section.size / entry_bytes;
  if (!Number.isInteger(count)) throw not_as_known(section, { section, offset: 0 });
  if (count > MANIFEST_FUNCTIONS_MAX)
    throw bad_module(`patches more than ${MANIFEST_FUNCTIONS_MAX} functions`);
  return Array.from({ length: count }, (_, at) => ({ section, offset: at * entry_bytes }));
}

function function_of(object: string, name: string, position: bigint): PatchedFunction {
  return { object, name, ...(position !== 0n && { position: u64_from_bigint(position) }) };
}

function text_at(elf: Elf, place: Place): string | null {
  const target = elf.pointer(place);
  return target ? elf.text(target) : null;
}

function not_as_known(section: Section, { offset }: Place) {
  return bad_module(
    `has in section ${section.name}, at byte ${offset}, what this version does not know`,
    "write its manifest as JSON, from what its builder says",
  );
}
