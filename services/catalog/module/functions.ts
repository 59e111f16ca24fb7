/**
 * What a patch changes, from `struct klp_object` and `struct klp_func` of include/linux/livepatch.h. How long one of
 * them is depends on the kernel's configuration and on what a distribution backported, and no release tells it. Only
 * what a module's author writes is at fixed places, and only that has relocations:
 *
 *     klp_object   0 name (none: vmlinux)   8 funcs      16 four callbacks
 *     klp_func     0 old_name               8 new_func   16 old_sympos
 *
 * So the next entry of an array is where the next relocations are, if an entry of zeros follows the last one.
 */

import { MANIFEST_FUNCTIONS_MAX } from "../../events/limits.js";
import type { klpstate } from "../../events/proto.js";
import { u64_from_bigint } from "../../events/u64.js";
import { bad_module } from "./bad_module.js";
import type { Elf, Place } from "./elf.js";

export type PatchedFunction = klpstate.v1.Function.$Properties;

export interface PatchedObject {
  /** `vmlinux` or a module's name. */
  name: string;
  has_callbacks: boolean;
  functions: PatchedFunction[];
}

/** What a function's object is called where its name is NULL. */
export const VMLINUX = "vmlinux";

const [NAME, FUNCS, CALLBACKS, OBJECT_END] = [0, 8, 16, 48];
const [OLD_NAME, NEW_FUNC, OLD_SYMPOS, FUNC_END] = [0, 8, 16, 24];
const CALLBACK_COUNT = 4;
/** Looked at in one module; arrays that share their entries could make it any number. */
const ENTRIES_MAX = 1 << 19;

/** Whether an array of objects may begin at the place: with an object, or with its end. */
export function is_objects(elf: Elf, place: Place): boolean {
  return is_zero(elf, place, FUNCS + 8) || object_at(elf, place) !== null;
}

/** The objects of the array at the place, in its order. Throws Problem where one of them is not as it should be. */
export function read_objects(elf: Elf, place: Place): PatchedObject[] {
  let entries_left = ENTRIES_MAX;
  const counted = (is_entry: (at: Place) => boolean) => (at: Place) => {
    if (entries_left-- === 0) throw bad_module("has more functions and objects than any livepatch");
    return is_entry(at);
  };
  const is_object = counted((at) => object_at(elf, at) !== null);
  const is_func = counted((at) => is_function(elf, at));
  const entries = array_at(elf, place, OBJECT_END, is_object, new Set());
  const found = entries.map((at) => ({ at, object: object_at(elf, at)! }));
  const starts = new Set(found.map(({ object }) => key_of(object.funcs)));
  let count = 0;
  return found.map(({ at, object }) => {
    const functions = array_at(elf, object.funcs, FUNC_END, is_func, starts);
    count += functions.length;
    if (count > MANIFEST_FUNCTIONS_MAX)
      throw bad_module(`patches more than ${MANIFEST_FUNCTIONS_MAX} functions`);
    return {
      name: object.name,
      has_callbacks: callbacks_at(elf, move(at, CALLBACKS)),
      functions: functions.map((func) => read_function(elf, object.name, func)),
    };
  });
}

/** Whether one of the four pointers of `struct klp_callbacks` is to code. */
export function callbacks_at(elf: Elf, place: Place): boolean {
  const pointers = elf.pointers(place.section);
  return Array.from({ length: CALLBACK_COUNT }, (_, at) => pointers.at(place.offset + at * 8)).some(
    (pointer) => pointer?.section.is_code,
  );
}

function read_function(elf: Elf, object: string, place: Place): PatchedFunction {
  const name = elf.text(elf.pointer(move(place, OLD_NAME))!)!;
  const position = elf.u64(move(place, OLD_SYMPOS));
  return { object, name, ...(position !== 0n && { position: u64_from_bigint(position) }) };
}

function object_at(elf: Elf, place: Place): { name: string; funcs: Place } | null {
  const name_at = elf.pointer(move(place, NAME));
  const name = name_at ? elf.text(name_at) : null;
  if (name === null && !is_zero(elf, place, FUNCS)) return null;
  const funcs = elf.pointer(move(place, FUNCS));
  if (!funcs || funcs.section.is_code) return null;
  if (!is_function(elf, funcs) && !is_zero(elf, funcs, FUNC_END)) return null;
  return { name: name ?? VMLINUX, funcs };
}

function is_function(elf: Elf, place: Place): boolean {
  const name = elf.pointer(move(place, OLD_NAME));
  if (!name || elf.text(name) === null) return false;
  return elf.pointer(move(place, NEW_FUNC))?.section.is_code === true && has_room(place, FUNC_END);
}

/**
 * The entries of an array: `known_bytes` of each have a known meaning. `others`: where other arrays begin, which are not
 * this one's entries.
 */
function array_at(
  elf: Elf,
  first: Place,
  known_bytes: number,
  is_entry: (place: Place) => boolean,
  others: ReadonlySet<string>,
): Place[] {
  if (!is_entry(first)) return [];
  const { section, offset } = first;
  const next = elf.pointers(section).next(offset + known_bytes);
  // The next entry's first pointer may be its second word: vmlinux has no name.
  for (const start of next === null ? [] : [next, next - 8]) {
    const stride = start - offset;
    if (stride < known_bytes || others.has(key_of({ section, offset: start }))) continue;
    const entries = entries_at(elf, first, stride, known_bytes, is_entry);
    if (entries !== null && entries.length > 1) return entries;
  }
  return [first];
}

/** Null: something that is no entry stands where the next one, or the array's end, should. */
function entries_at(
  elf: Elf,
  first: Place,
  stride: number,
  known_bytes: number,
  is_entry: (place: Place) => boolean,
): Place[] | null {
  const entries: Place[] = [];
  const pointers = elf.pointers(first.section);
  for (let at = first; ; at = move(at, stride)) {
    if (!has_room(at, known_bytes)) return null;
    if (!is_entry(at)) return is_zero(elf, at, known_bytes) ? entries : null;
    const behind = pointers.next(at.offset + known_bytes);
    if (behind !== null && behind < at.offset + stride) return null;
    entries.push(at);
  }
}

function is_zero(elf: Elf, place: Place, length: number): boolean {
  if (!has_room(place, length)) return false;
  const pointer = elf.pointers(place.section).next(place.offset);
  if (pointer !== null && pointer < place.offset + length) return false;
  for (let at = 0; at < length; at += 8) if (elf.u64(move(place, at)) !== 0n) return false;
  return true;
}

function has_room({ section, offset }: Place, length: number): boolean {
  return offset + length <= section.size;
}

export function move({ section, offset }: Place, by: number): Place {
  return { section, offset: offset + by };
}

function key_of({ section, offset }: Place): string {
  return `${section.index} ${offset}`;
}
