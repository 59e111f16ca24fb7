// The catalog as the core needs it: manifests, and what a reference resolves to (RULES C). Derived from the
// catalog's log; nothing here enters the fold.
import { Arena, arena_take, start_arena, take_directory, take_pages } from "./memory";
import { find_string, intern_string, start_strings, string_at, string_bytes, Strings } from "./strings";
import { installed_count, INSTALLED_MAX, installed_patch, kernel, NO_ROOM, page_for, strings } from "./tables";
import { NONE } from "./hosts";

export const MANIFESTS_MAX: u32 = 1 << 20;
const MANIFESTS_PER_PAGE_SHIFT: u32 = 10;
const BY_NAME_PER_PAGE_SHIFT: u32 = 14;

/** What a reference resolves to instead of a manifest. */
export const MISSING: u32 = NONE;
export const AMBIGUOUS: u32 = NONE - 1;

/** struct klp_state as the check needs it. */
@unmanaged
export class State {
  id: u64;
  version: u32;
  reserved: u32;
}

@unmanaged
export class Manifest {
  name: u32;
  release: u32;
  arch: u32;
  build_id: u32;
  /** The array as the kernel sees it. */
  states: u32;
  states_count: u32;
  /** The first entry of each id, sorted by id: what klp_get_state finds. */
  firsts: u32;
  firsts_count: u32;
  /** Next manifest of the same name, + 1. */
  next: u32;
  replace: bool;
  states_unknown: bool;
  irreversible: bool;
  withdrawn: bool;
  signed: bool;
  reserved_low: u64;
  reserved_high: u64;
}

export const names: Strings = changetype<Strings>(memory.data(64));
const arena: Arena = changetype<Arena>(memory.data(16));
let manifests: usize = 0;
export let manifest_count: u32 = 0;
// By name id: the newest manifest + 1.
let by_name: usize = 0;
// By installed patch: u32 epoch of the resolution, u32 manifest or MISSING or AMBIGUOUS; one more word of flags.
let resolutions: usize = 0;
/** Changes with every change of the catalog. */
let epoch: u32 = 1;

export function start_catalog(seed: u64): bool {
  manifests = take_directory(MANIFESTS_MAX >> MANIFESTS_PER_PAGE_SHIFT);
  by_name = take_directory((1 << 22) >> BY_NAME_PER_PAGE_SHIFT);
  resolutions = take_directory(INSTALLED_MAX >> RESOLUTIONS_PER_PAGE_SHIFT);
  manifest_count = 0;
  epoch = 1;
  start_arena(arena);
  return manifests != 0 && by_name != 0 && resolutions != 0 && start_strings(names, seed);
}

@inline
export function manifest(i: u32): Manifest {
  return changetype<Manifest>(
    <usize>load<u32>(manifests + (<usize>(i >> MANIFESTS_PER_PAGE_SHIFT) << 2)) +
      (<usize>(i & ((1 << MANIFESTS_PER_PAGE_SHIFT) - 1)) << 6),
  );
}

@inline
export function state_of(states: usize, i: u32): State {
  return changetype<State>(states + (<usize>i << 4));
}

@inline
function head_of(name: u32): usize {
  return (
    <usize>load<u32>(by_name + (<usize>(name >> BY_NAME_PER_PAGE_SHIFT) << 2)) +
    (<usize>(name & ((1 << BY_NAME_PER_PAGE_SHIFT) - 1)) << 2)
  );
}

/** Room for states; more than a page where 4,096 of them need it. */
function take_states(count: u32): usize {
  const bytes = count << 4;
  return bytes <= 65536 ? arena_take(arena, max(bytes, 4)) : take_pages((bytes + 65535) >> 16);
}

/**
 * Adds a manifest; its number, or NO_ROOM. `input`: u32 flags (replace 1, states unknown 2, irreversible 4, signed 8), u32 length
 * each of name, release, arch, build id, u32 count of states, then the texts, then (8-aligned) the states: u64 id,
 * u32 version, u32 nothing. The array ends at id 0, as it does for the kernel (RULES K2).
 */
export function put_manifest(input: usize): u32 {
  const flags = load<u32>(input);
  const id = manifest_count;
  if (id == MANIFESTS_MAX || !page_for(manifests, id, MANIFESTS_PER_PAGE_SHIFT)) return NO_ROOM;
  let text = input + 24;
  const entry = manifest(id);
  for (let i: usize = 0; i < 4; i++) {
    const length = load<u32>(input + 4 + (i << 2));
    const interned = intern_string(names, text, length);
    if (interned == NO_ROOM) return NO_ROOM;
    store<u32>(changetype<usize>(entry) + (i << 2), interned);
    text += length;
  }
  let count = load<u32>(input, 20);
  const given = (text + 7) & ~7;
  for (let i: u32 = 0; i < count; i++) if (state_of(given, i).id == 0) count = i;
  const states = take_states(count);
  const firsts = take_states(count);
  if (states == 0 || firsts == 0 || !page_for(by_name, entry.name, BY_NAME_PER_PAGE_SHIFT)) return NO_ROOM;
  memory.copy(states, given, <usize>count << 4);
  entry.states = <u32>states;
  entry.states_count = count;
  entry.firsts = <u32>firsts;
  entry.firsts_count = sort_firsts(firsts, states, count);
  entry.replace = (flags & 1) != 0;
  entry.states_unknown = (flags & 2) != 0;
  entry.irreversible = (flags & 4) != 0;
  entry.signed = (flags & 8) != 0;
  entry.withdrawn = false;
  entry.next = load<u32>(head_of(entry.name));
  store<u32>(head_of(entry.name), id + 1);
  manifest_count = id + 1;
  epoch++;
  return id;
}

/** Frees a manifest's identity; the number is never used again. */
export function withdraw_manifest(id: u32): void {
  manifest(id).withdrawn = true;
  epoch++;
}

/** Binary insertion of each id's first entry; returns how many ids there are. */
function sort_firsts(into: usize, states: usize, count: u32): u32 {
  let sorted: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const state = state_of(states, i);
    const place = lower_bound(into, sorted, state.id);
    if (place < sorted && state_of(into, place).id == state.id) continue;
    memory.copy(into + (<usize>(place + 1) << 4), into + (<usize>place << 4), <usize>(sorted - place) << 4);
    state_of(into, place).id = state.id;
    state_of(into, place).version = state.version;
    sorted++;
  }
  return sorted;
}

function lower_bound(states: usize, count: u32, id: u64): u32 {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (state_of(states, middle).id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** klp_get_state of kernel/livepatch/state.c: the first entry of an id; null where the patch has none. */
export function get_state(patch: Manifest, id: u64): State | null {
  const place = lower_bound(patch.firsts, patch.firsts_count, id);
  if (place == patch.firsts_count) return null;
  const state = state_of(patch.firsts, place);
  return state.id == id ? state : null;
}

/** The manifests of a name, newest first: NONE ends the walk. */
export function first_of_name(name: u32): u32 {
  if (name == 0 || load<u32>(by_name + (<usize>(name >> BY_NAME_PER_PAGE_SHIFT) << 2)) == 0) return NONE;
  return load<u32>(head_of(name)) - 1;
}

@inline
export function next_of_name(id: u32): u32 {
  return manifest(id).next - 1;
}

/** The catalog's id for a string of the fold; 0 where the catalog never saw it. */
export function catalog_name(id: u32): u32 {
  return find_string(names, string_at(strings, id), string_bytes(strings, id));
}

const RESOLUTIONS_PER_PAGE_SHIFT: u32 = 12;

@unmanaged
class Resolution {
  epoch: u32;
  manifest: u32;
  built_for_other_kernel: bool;
  reserved: u64;
}

@inline
function resolution(installed: u32): Resolution {
  return changetype<Resolution>(
    <usize>load<u32>(resolutions + (<usize>(installed >> RESOLUTIONS_PER_PAGE_SHIFT) << 2)) +
      (<usize>(installed & ((1 << RESOLUTIONS_PER_PAGE_SHIFT) - 1)) << 4),
  );
}

/** RULES C, References: by name and build id if it has one, else by name, release and arch; exactly one, or none. */
function resolve_anew(installed: u32, into: Resolution): void {
  const reference = installed_patch(installed);
  const own_kernel = kernel(reference.kernel);
  const release = catalog_name(own_kernel.release);
  const arch = catalog_name(own_kernel.arch);
  const build_id = reference.build_id == 0 ? 0 : catalog_name(reference.build_id);
  let here = MISSING;
  let here_count = 0;
  let anywhere = MISSING;
  let anywhere_count = 0;
  for (let i = first_of_name(catalog_name(reference.name)); i != NONE; i = next_of_name(i)) {
    const candidate = manifest(i);
    if (candidate.withdrawn) continue;
    if (reference.build_id != 0 && (build_id == 0 || candidate.build_id != build_id)) continue;
    anywhere = i;
    anywhere_count++;
    if (candidate.release != release || candidate.arch != arch || release == 0) continue;
    here = i;
    here_count++;
  }
  into.epoch = epoch;
  // A kernel that is not known is not another one.
  const is_elsewhere = reference.build_id != 0 && anywhere_count > 0 && here_count == 0;
  into.built_for_other_kernel = is_elsewhere && own_kernel.release != 0;
  if (here_count > 0) into.manifest = here_count == 1 ? here : AMBIGUOUS;
  else if (reference.build_id == 0) into.manifest = MISSING;
  else into.manifest = anywhere_count > 1 ? AMBIGUOUS : anywhere;
}

/** Brings every installed patch's resolution up to the catalog of now; false where there is no room. */
export function resolve_all(): bool {
  for (let i: u32 = 0; i < installed_count; i++) {
    if (!page_for(resolutions, i, RESOLUTIONS_PER_PAGE_SHIFT)) return false;
    const known = resolution(i);
    if (known.epoch != epoch) resolve_anew(i, known);
  }
  return true;
}

/** Number of the manifest, MISSING or AMBIGUOUS. After `resolve_all`. */
@inline
export function resolved(installed: u32): u32 {
  return resolution(installed).manifest;
}

/** Its build id is known for other kernels only. After `resolve_all`. */
@inline
export function built_for_other_kernel(installed: u32): bool {
  return resolution(installed).built_for_other_kernel;
}
