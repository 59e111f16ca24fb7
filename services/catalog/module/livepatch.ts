/**
 * `struct klp_patch` as data of a module. Symbols may have any name, or none; but its first member is a pointer to the
 * module itself, which only a few structures of a module begin with, and its second one to its objects:
 *
 *     klp_patch   0 mod   8 objs   16 states   24 replace         from Linux 5.5, and where that was backported
 *                 0 mod   8 objs   16 replace                     from 5.1, and in older distributions
 *     klp_state   0 id    8 version   16 data
 */
import { MANIFEST_STATES_MAX } from "../../events/limits.js";
import type { klpstate } from "../../events/proto.js";
import { u64_from_bigint, u64_to_bigint } from "../../events/u64.js";
import { bad_module } from "./bad_module.js";
import type { Elf, Place, Section } from "./elf.js";
import { is_objects, move, type PatchedObject, read_objects } from "./functions.js";

export type State = klpstate.v1.State.$Properties;

export interface Livepatch {
  replace: boolean;
  objects: PatchedObject[];
  /** Null: `states` is NULL, or the structure has none yet. */
  states: StatesArray | null;
}

export interface StatesArray {
  /** As the kernel sees it: up to the first id 0. */
  seen: State[];
  /**
   * From that id 0 to the last state, if any stands behind it: no kernel sees them. Only where a symbol says how long
   * the array is.
   */
  unseen: State[];
}

/** Another id 0 may stand among them. */
export function count_unseen(unseen: State[]): number {
  return unseen.filter(has_id).length;
}

function has_id({ id }: State): boolean {
  return u64_to_bigint(id) !== 0n;
}

export const THIS_MODULE = ".gnu.linkonce.this_module";
/** Structures that begin with a pointer to the module: of files, of devices, of parameters. */
const OWNED_MAX = 4_096;
const [OBJS, STATES, REPLACE, OLD_REPLACE] = [8, 16, 24, 16];
const [ID, VERSION, DATA, STATE_BYTES] = [0, 8, 16, 24];

/**
 * The structures of the module that are one. A livepatch has one, unless it is made when the module is loaded; of more
 * than one two are told, for nobody can tell which of them it registers.
 */
export function find_livepatches(elf: Elf, this_module: Section): Livepatch[] {
  const places: Place[] = [];
  for (const place of elf.places_that_point_to({ section: this_module, offset: 0 })) {
    if (places.push(place) > OWNED_MAX)
      throw bad_module("has more structures that name their module than any", `at most ${OWNED_MAX}`);
  }
  const with_objects = places.filter((place) => {
    const objs = elf.pointer(move(place, OBJS));
    return objs && !objs.section.is_code && is_objects(elf, objs);
  });
  const found = with_objects.slice(0, 2).map((place) => read_livepatch(elf, place));
  if (found.length > 0) return found.filter((livepatch) => livepatch !== null);
  // Without objects it is no patch that a kernel takes, but one whose states can still be told.
  const without_objects = places.filter((place) => {
    const states = elf.pointer(move(place, STATES));
    if (elf.pointer(move(place, OBJS)) !== undefined || !states || states.section.is_code) return false;
    return place.offset + OBJS + 8 <= place.section.size && elf.u64(move(place, OBJS)) === 0n;
  });
  return without_objects.slice(0, 2).flatMap((place) => read_livepatch(elf, place) ?? []);
}

/** Null: the structure is none of those above. */
function read_livepatch(elf: Elf, place: Place): Livepatch | null {
  const objs = elf.pointer(move(place, OBJS));
  const states = elf.pointer(move(place, STATES));
  const objects = () => (objs ? read_objects(elf, objs) : []);
  if (states) {
    const replace = flag_at(elf, move(place, REPLACE));
    return replace === null ? null : { replace, objects: objects(), states: read_states(elf, states) };
  }
  if (states === null) return null;
  if (place.offset + STATES + 8 > place.section.size) return null;
  if (elf.u64(move(place, STATES)) !== 0n) {
    const replace = flag_at(elf, move(place, OLD_REPLACE));
    return replace === null ? null : { replace, objects: objects(), states: null };
  }
  const replace = flag_at(elf, move(place, REPLACE));
  return replace === null ? null : { replace, objects: objects(), states: null };
}

/** A bool, and nothing but zeros up to the next word; null: something else is there. */
function flag_at(elf: Elf, place: Place): boolean | null {
  if (place.offset + 8 > place.section.size || elf.pointer(place) !== undefined) return null;
  const flag = elf.u8(place);
  for (let at = 1; at < 8; at++) if (elf.u8(move(place, at)) !== 0) return null;
  return flag > 1 ? null : flag === 1;
}

function read_states(elf: Elf, first: Place): StatesArray {
  const seen: State[] = [];
  let at = first;
  for (; !is_end(elf, at); at = move(at, STATE_BYTES)) {
    if (seen.length === MANIFEST_STATES_MAX)
      throw bad_module(`has more than ${MANIFEST_STATES_MAX} states before the array's end`);
    seen.push(read_state(elf, at));
  }
  const size = elf.object_size(first);
  const end = size === null ? at.offset : Math.min(first.offset + size, first.section.size);
  const unseen: State[] = [];
  for (; at.offset + STATE_BYTES <= end; at = move(at, STATE_BYTES)) {
    if (unseen.length === MANIFEST_STATES_MAX) break;
    unseen.push(read_state(elf, at));
  }
  // The array's own end; an array that is declared longer than its states has more than one such entry.
  while (unseen.length > 0 && !has_id(unseen.at(-1)!)) unseen.pop();
  return { seen, unseen };
}

function is_end(elf: Elf, place: Place): boolean {
  if (place.offset + STATE_BYTES > place.section.size)
    throw bad_module("has an array of states that does not end with an id 0");
  if (elf.pointer(move(place, ID)) !== undefined)
    throw bad_module("has a pointer where a state's id should be");
  return elf.u64(move(place, ID)) === 0n;
}

function read_state(elf: Elf, place: Place): State {
  const data = move(place, DATA);
  const has_data = elf.pointer(data) !== undefined || elf.u64(data) !== 0n;
  return {
    id: u64_from_bigint(elf.u64(move(place, ID))),
    version: elf.u32(move(place, VERSION)),
    ...(has_data && { has_data }),
  };
}
