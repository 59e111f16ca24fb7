// The tables that the fold owns, and their limits. What a host's state is made of:
//
//   host ── configuration ── kernel (release, arch)
//                         ├─ stack:     installed patch + phase, oldest first
//                         └─ lingering: installed patch + pinned, sorted by name
//   installed patch = (name, build id, kernel): what a catalog can resolve to a manifest
import { HashIndex, first, insert, next, slot_tag, slot_value, start_hash_indexes, start_index } from "./hash_index";
import { Strings, find_string, intern_string, start_strings } from "./strings";
import { kept } from "./kept";
import { take_directory, take_pages } from "./memory";

export const KERNELS_MAX: u32 = 1 << 18;
export const INSTALLED_MAX: u32 = 1 << 22;
/** What an intern function answers when a table or the memory is at its limit. */
export const NO_ROOM: u32 = u32.MAX_VALUE;

export const strings: Strings = changetype<Strings>(memory.data(64));

/** A kernel as livepatches are built for it. Id 0: neither release nor arch known. */
@unmanaged
export class Kernel {
  release: u32;
  arch: u32;
}
const KERNELS_PER_PAGE_SHIFT: u32 = 13;
let kernels: usize = 0;
export let kernel_count: u32 = 0;
const kernel_index: HashIndex = changetype<HashIndex>(memory.data(16));

/** A patch on a kernel, as far as a host can see it. */
@unmanaged
export class Installed {
  name: u32;
  build_id: u32;
  kernel: u32;
  reserved: u32;
}
const INSTALLED_PER_PAGE_SHIFT: u32 = 12;
let installed: usize = 0;
export let installed_count: u32 = 0;
const installed_index: HashIndex = changetype<HashIndex>(memory.data(16));

export function start_tables(seed: u64): bool {
  if (!start_hash_indexes() || !start_strings(strings, seed)) return false;
  kernels = take_directory(KERNELS_MAX >> KERNELS_PER_PAGE_SHIFT);
  installed = take_directory(INSTALLED_MAX >> INSTALLED_PER_PAGE_SHIFT);
  if (kernels == 0 || installed == 0) return false;
  store<u32>(kernels, <u32>take_pages(1));
  kernel_count = 1;
  installed_count = 0;
  return load<u32>(kernels) != 0 && start_index(kernel_index, 10) && start_index(installed_index, 13);
}

export function keep_tables(): void {
  kernel_count = <u32>kept(kernel_count);
  installed_count = <u32>kept(installed_count);
}

@inline
export function kernel(id: u32): Kernel {
  return changetype<Kernel>(
    <usize>load<u32>(kernels + (<usize>(id >> KERNELS_PER_PAGE_SHIFT) << 2)) +
      (<usize>(id & ((1 << KERNELS_PER_PAGE_SHIFT) - 1)) << 3),
  );
}

@inline
export function installed_patch(id: u32): Installed {
  return changetype<Installed>(
    <usize>load<u32>(installed + (<usize>(id >> INSTALLED_PER_PAGE_SHIFT) << 2)) +
      (<usize>(id & ((1 << INSTALLED_PER_PAGE_SHIFT) - 1)) << 4),
  );
}

/** Mixes small ids to a tag whose high and low bits both differ. */
@inline
function tag_of_ids(a: u32, b: u32, c: u32): u32 {
  let h: u64 = (<u64>a * 0x9e3779b97f4a7c15) ^ (<u64>b * 0xc2b2ae3d27d4eb4f) ^ (<u64>c * 0x165667b19e3779f9);
  h ^= h >> 29;
  h *= 0xbf58476d1ce4e5b9;
  return <u32>(h >> 32);
}

/** True if there is a page for entry `id` of a paged table, which is taken where it is missing. */
export function page_for(directory: usize, id: u32, per_page_shift: u32): bool {
  const page = directory + (<usize>(id >> per_page_shift) << 2);
  if (load<u32>(page) == 0) store<u32>(page, <u32>take_pages(1));
  return load<u32>(page) != 0;
}

export function intern_kernel(release: u32, arch: u32): u32 {
  if (release == 0 && arch == 0) return 0;
  const tag = tag_of_ids(release, arch, 0);
  let slot = first(kernel_index, tag);
  for (let value = slot_value(slot); value != 0; slot = next(slot), value = slot_value(slot)) {
    if (slot_tag(slot) != tag) continue;
    const known = kernel(value - 1);
    if (known.release == release && known.arch == arch) return value - 1;
  }
  const id = kernel_count;
  if (id == KERNELS_MAX || !page_for(kernels, id, KERNELS_PER_PAGE_SHIFT) || !insert(kernel_index, tag, id)) {
    return NO_ROOM;
  }
  kernel(id).release = release;
  kernel(id).arch = arch;
  kernel_count = id + 1;
  return id;
}

export function intern_installed(name: u32, build_id: u32, kernel: u32): u32 {
  const tag = tag_of_ids(name, build_id, kernel);
  let slot = first(installed_index, tag);
  for (let value = slot_value(slot); value != 0; slot = next(slot), value = slot_value(slot)) {
    if (slot_tag(slot) != tag) continue;
    const known = installed_patch(value - 1);
    if (known.name == name && known.build_id == build_id && known.kernel == kernel) return value - 1;
  }
  const id = installed_count;
  if (
    id == INSTALLED_MAX ||
    !page_for(installed, id, INSTALLED_PER_PAGE_SHIFT) ||
    !insert(installed_index, tag, id)
  ) {
    return NO_ROOM;
  }
  const fresh = installed_patch(id);
  fresh.name = name;
  fresh.build_id = build_id;
  fresh.kernel = kernel;
  installed_count = id + 1;
  return id;
}

@inline
export function intern(at: usize, length: u32): u32 {
  return intern_string(strings, at, length);
}

@inline
export function find(at: usize, length: u32): u32 {
  return find_string(strings, at, length);
}
