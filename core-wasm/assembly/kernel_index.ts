// Kernels of hosts by the catalog's names of their release and arch: what a manifest is built for is looked up, rather than
// every manifest of a name beside every kernel. Made anew when there are more kernels, or more names in the catalog.
//
//   slot: u32 release, u32 arch, u32 kernel + 1 (0: empty); linear probing. Kernels whose archs the catalog never saw may
//   have the same names here.
import { catalog_name, names } from "./catalog";
import { NONE } from "./hosts";
import { take_pages } from "./memory";
import { kernel, kernel_count } from "./tables";

const SLOT_SHIFT: u32 = 4;
let slots: usize = 0;
/** Less one: a power of two. */
let mask: u32 = 0;
let indexed_kernels: u32 = 0;
let indexed_names: u32 = 0;

export function start_kernel_index(): void {
  slots = 0;
  indexed_kernels = 0;
}

@inline
function slot_at(slot: u32): usize {
  return slots + (<usize>(slot & mask) << SLOT_SHIFT);
}

/** Where kernels of the names are looked for. */
@inline
export function home_slot(release: u32, arch: u32): u32 {
  return ((release * 0x9e3779b1) ^ (arch * 0x85ebca6b)) >> 7;
}

/** The next slot from here on with a kernel of the names; NONE: no more. */
export function next_slot(from: u32, release: u32, arch: u32): u32 {
  for (let slot = from; load<u32>(slot_at(slot), 8) != 0; slot++) {
    const at = slot_at(slot);
    if (load<u32>(at) == release && load<u32>(at, 4) == arch) return slot;
  }
  return NONE;
}

@inline
export function kernel_in(slot: u32): u32 {
  return load<u32>(slot_at(slot), 8) - 1;
}

/** False where there is no room. */
export function index_kernels(): bool {
  if (slots != 0 && indexed_kernels == kernel_count && indexed_names == names.count) return true;
  if (slots == 0 || kernel_count << 1 > mask + 1) {
    let size: u32 = 1 << (16 - SLOT_SHIFT);
    while (size < kernel_count << 2) size <<= 1;
    slots = take_pages(size >> (16 - SLOT_SHIFT));
    if (slots == 0) return false;
    mask = size - 1;
  }
  memory.fill(slots, 0, <usize>(mask + 1) << SLOT_SHIFT);
  for (let id: u32 = 0; id < kernel_count; id++) {
    const release = catalog_name(kernel(id).release);
    if (release == 0) continue;
    const arch = catalog_name(kernel(id).arch);
    let slot = home_slot(release, arch);
    while (load<u32>(slot_at(slot), 8) != 0) slot++;
    store<u32>(slot_at(slot), release);
    store<u32>(slot_at(slot), arch, 4);
    store<u32>(slot_at(slot), id + 1, 8);
  }
  indexed_kernels = kernel_count;
  indexed_names = names.count;
  return true;
}
