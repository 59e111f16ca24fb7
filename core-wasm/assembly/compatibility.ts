// The rule (RULES K1, K2, K4), as klp_is_patch_compatible of kernel/livepatch/state.c: may `patch` be loaded while
// `installed` is on the stack, in whatever phase?
import { get_state, Manifest, state_of } from "./catalog";

/** The index in the installed patch's array of the first state that the new patch cannot take over; -1: none. */
export function first_conflict(installed: Manifest, patch: Manifest): i32 {
  // Every entry of the installed patch counts: the kernel walks its array. Of the new one the first of an id does.
  for (let i: u32 = 0; i < installed.states_count; i++) {
    const held = state_of(installed.states, i);
    const offered = get_state(patch, held.id);
    // A state that the new patch does not know stays with its holder, unless that one is about to be replaced.
    if (offered === null) {
      if (patch.replace) return <i32>i;
    } else if (offered.version < held.version) return <i32>i;
  }
  return -1;
}
