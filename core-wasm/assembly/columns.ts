// What a check reads of every configuration, as columns, so that it reads four at once and nothing else:
//
//   head  = kernel << 14 | flags << 5 | shape
//   shape = 0: no configuration; 1 + stack_count where all of a stack of at most eight is enabled and nothing lingers;
//           GENERAL: all others
//   hosts
//   entry k = the stack's k-th installed patch + 1, as a place in a table of words; 0 beyond it
import { kept } from "./kept";
import { page_for } from "./tables";
import { take_pages } from "./memory";

export const GENERAL: u32 = 31;
export const SHAPE_MASK: u32 = 31;
const FLAGS_SHIFT: u32 = 5;
const KERNEL_SHIFT: u32 = 14;
export const ENTRIES: u32 = 8;
export const ENTRY_SHIFT: u32 = 2;

/** Configurations in a page of a column. */
export const BLOCK_SHIFT: u32 = 14;
const DIRECTORY_BYTES: usize = 4 << 12;
let heads: usize = 0;
let hosts: usize = 0;
let entries: usize = 0;
/**
 * Pages that the blocks in use may still take: one for each entry, when the first stack of the block is so long. An id
 * that is used again may be in any block.
 */
export let pages_to_come: u32 = 0;

export function start_columns(): bool {
  pages_to_come = 0;
  const bytes = <u32>DIRECTORY_BYTES * (ENTRIES + 2);
  heads = take_pages((bytes + 65535) >> 16);
  hosts = heads + DIRECTORY_BYTES;
  entries = hosts + DIRECTORY_BYTES;
  return heads != 0;
}

export function keep_columns(): void {
  pages_to_come = <u32>kept(pages_to_come);
}

@inline
function cell(directory: usize, id: u32): usize {
  return (
    <usize>load<u32>(directory + (<usize>(id >> BLOCK_SHIFT) << 2)) + (<usize>(id & ((1 << BLOCK_SHIFT) - 1)) << 2)
  );
}

/** Where a block's heads and hosts begin; of an entry, 0 where no stack of the block is so long. */
@inline
export function heads_of(block: u32): usize {
  return load<u32>(heads + (<usize>block << 2));
}
@inline
export function hosts_of_block(block: u32): usize {
  return load<u32>(hosts + (<usize>block << 2));
}
@inline
export function entries_of(block: u32, k: u32): usize {
  return load<u32>(entries + <usize>k * DIRECTORY_BYTES + (<usize>block << 2));
}

@inline
export function host_cell(id: u32): usize {
  return cell(hosts, id);
}

/** Puts a configuration, of one host, in its columns; false where memory is at its limit: then nothing refers to it. */
export function put_columns(id: u32, kernel: u32, flags: u32, stack: usize, stack_count: u32, lingering_count: u32): bool {
  const block = id >> BLOCK_SHIFT;
  const is_new = heads_of(block) == 0;
  if (!page_for(heads, id, BLOCK_SHIFT) || !page_for(hosts, id, BLOCK_SHIFT)) return false;
  if (is_new) pages_to_come += ENTRIES;
  let simple = stack_count <= ENTRIES && lingering_count == 0;
  for (let k: u32 = 0; simple && k < stack_count; k++) {
    if ((load<u32>(stack + (<usize>k << 2)) & 3) != ENABLED_PHASE) simple = false;
  }
  const count = simple ? stack_count : 0;
  for (let k: u32 = 0; k < ENTRIES; k++) {
    const directory = entries + <usize>k * DIRECTORY_BYTES;
    if (k < count) {
      if (entries_of(block, k) == 0) {
        if (!page_for(directory, id, BLOCK_SHIFT)) return false;
        pages_to_come--;
      }
      store<u32>(cell(directory, id), ((load<u32>(stack + (<usize>k << 2)) >> 2) + 1) << ENTRY_SHIFT);
    } else if (entries_of(block, k) != 0) store<u32>(cell(directory, id), 0);
  }
  store<u32>(cell(heads, id), (kernel << KERNEL_SHIFT) | (flags << FLAGS_SHIFT) | (simple ? 1 + stack_count : GENERAL));
  store<u32>(cell(hosts, id), 1);
  return true;
}

export function clear_columns(id: u32): void {
  store<u32>(cell(heads, id), 0);
}

/** configurations.ts' ENABLED. */
const ENABLED_PHASE: u32 = 2;
