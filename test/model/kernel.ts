/** The kernel's own rule on states: docs/rules.md K1 to K4 and K9; kernel/livepatch/state.c. */

/** A patch's states array. */
export type StatesArray = readonly { id: bigint; version: number }[];

export interface KernelConflict {
  /** Place on the stack, oldest first. */
  patch_index: number;
  /** Place in that patch's array. */
  state_index: number;
  id: bigint;
  held: number;
  /** Null: the candidate lacks the state. */
  offered: number | null;
}

/** K2: id 0 ends an array. */
export function as_the_kernel_sees(states: StatesArray): StatesArray {
  const end = states.findIndex((state) => state.id === 0n);
  return end === -1 ? states : states.slice(0, end);
}

/** K9: klp_get_state. */
export function first_version(states: StatesArray, id: bigint): number | null {
  return as_the_kernel_sees(states).find((state) => state.id === id)?.version ?? null;
}

/** K9: the patch whose entry klp_get_prev_state gives to a patch on top of `earlier`; -1: none. */
export function previous_holder(earlier: readonly StatesArray[], id: bigint): number {
  return earlier.findLastIndex((states) => first_version(states, id) !== null);
}

/** K1 with the conflict of K4; null: the states do not stand against the load. */
export function first_conflict(
  stack: readonly StatesArray[],
  candidate: StatesArray,
  replace: boolean,
): KernelConflict | null {
  for (const [patch_index, states] of stack.entries()) {
    for (const [state_index, { id, version: held }] of as_the_kernel_sees(states).entries()) {
      const offered = first_version(candidate, id);
      const fits = offered === null ? !replace : offered >= held;
      if (!fits) return { patch_index, state_index, id, held, offered };
    }
  }
  return null;
}

/** The lowest version of the state that K1 accepts of a candidate; null: nobody holds it. */
export function minimum_version(stack: readonly StatesArray[], id: bigint): number | null {
  const held = stack.flatMap((states) =>
    as_the_kernel_sees(states)
      .filter((state) => state.id === id)
      .map((state) => state.version),
  );
  return held.length === 0 ? null : Math.max(...held);
}
