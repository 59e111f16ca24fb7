// The states that a host holds (RULES K9): klp_get_state and klp_get_prev_state over its stack.
import { AMBIGUOUS, get_state, manifest, resolve_all, resolved } from "./catalog";
import { stack_count, stack_word } from "./configurations";

/** Manifest at a position of the open configuration's stack; NONE or AMBIGUOUS where the catalog does not tell. */
@inline
export function manifest_at(i: u32): u32 {
  return resolved(stack_word(i) >> 2);
}

/**
 * klp_get_prev_state(id) as if the patch at `position` were in transition: the entry in the nearest earlier patch on
 * the stack that has the id. Returns that patch's position, or -1.
 */
export function previous_holder(position: u32, id: u64): i32 {
  if (!resolve_all()) return -1;
  for (let i: i32 = <i32>min(position, stack_count) - 1; i >= 0; i--) {
    const patch = manifest_at(i);
    if (patch < AMBIGUOUS && get_state(manifest(patch), id) !== null) return i;
  }
  return -1;
}

/** klp_get_state of the patch at `position`: its version, or -1 where the patch does not have the state. */
export function version_at(position: u32, id: u64): i64 {
  if (!resolve_all() || position >= stack_count) return -1;
  const patch = manifest_at(position);
  if (patch >= AMBIGUOUS) return -1;
  const state = get_state(manifest(patch), id);
  return state === null ? -1 : <i64>state.version;
}
