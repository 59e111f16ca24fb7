/** The livepatches that are built and loaded: small, and chosen for what the rules can get wrong. */

/** An entry of a `struct klp_state` array. */
export type State = readonly [id: bigint, version: number];

export interface PatchSpec {
  /** The module's name, in the kernel's form. */
  name: string;
  replace: boolean;
  /** As written, with everything behind an id 0; null: no array. */
  states: readonly State[] | null;
  /** `gate`: the function in which the gate's thread sleeps, so that a transition lasts as long as the gate is shut. */
  patches: "cmdline" | "gate" | "missing_symbol" | "nothing";
  /** How long each of its callbacks sleeps; absent: it has none. */
  callback_ms?: number;
  /** What its pre_patch refuses with. */
  pre_patch_errno?: string;
  /** Lacks MODULE_INFO(livepatch). */
  is_unmarked?: boolean;
  /** `vermagic`: says that it was built for another release; `symbol_versions`: and disagrees about them as well. */
  of_other_kernel?: "vermagic" | "symbol_versions";
}

/** A patched module of the test's own: its thread sleeps in a function while the gate is shut. */
export const GATE = "kt_gate";

const ID_SIGN = 2n ** 63n;
const ID_MAX = 2n ** 64n - 1n;
const VERSION_SIGN = 2 ** 31;
const VERSION_MAX = 2 ** 32 - 1;

const many: State[] = Array.from({ length: 40 }, (_, at) => [BigInt(at + 1), at]);

function stacking(name: string, states: readonly State[] | null): PatchSpec {
  return { name: `kt_${name}`, replace: false, states, patches: "cmdline" };
}

function replacing(name: string, states: readonly State[] | null): PatchSpec {
  return { ...stacking(name, states), replace: true };
}

/** Of these a random plan is made. */
export const PLAIN: readonly PatchSpec[] = [
  stacking("s1_1", [[1n, 1]]),
  stacking("s1_2", [[1n, 2]]),
  stacking("s1_3", [[1n, 3]]),
  stacking("s2_5", [[2n, 5]]),
  stacking("s12", [
    [1n, 2],
    [2n, 1],
  ]),
  stacking("s_none", null),
  stacking("s_empty", []),
  stacking("s_sign", [[ID_SIGN, 1]]),
  stacking("s_max", [[ID_MAX, VERSION_MAX]]),
  // Its id is 1 in 32 bits.
  stacking("s_33bit", [[2n ** 32n + 1n, 5]]),
  stacking("s_v31", [[3n, VERSION_SIGN - 1]]),
  stacking("s_v32", [[3n, VERSION_SIGN]]),
  stacking("s_twice", [
    [1n, 1],
    [1n, 2],
  ]),
  stacking("s_zero", [
    [1n, 1],
    [0n, 5],
    [2n, 9],
  ]),
  stacking("s_many", many),
  replacing("r1_1", [[1n, 1]]),
  replacing("r1_2", [[1n, 2]]),
  replacing("r12", [
    [2n, 5],
    [1n, 3],
  ]),
  replacing("r_none", null),
  replacing("r_sign", [
    [ID_SIGN, 1],
    [1n, 3],
  ]),
  replacing("r_max", [
    [ID_MAX, VERSION_MAX],
    [1n, 3],
    [2n, 5],
  ]),
  replacing("r_v31", [
    [3n, VERSION_SIGN - 1],
    [1n, 2],
  ]),
  replacing("r_twice", [
    [1n, 2],
    [1n, 9],
  ]),
  replacing("r_all", [
    ...many.map(([id, version]): State => [id, version + 5]).filter(([id]) => id !== 3n),
    [3n, VERSION_MAX],
    [2n ** 32n + 1n, 5],
    [ID_SIGN, 1],
    [ID_MAX, VERSION_MAX],
  ]),
];

export const GATED: readonly PatchSpec[] = [
  { ...stacking("g1_1", [[1n, 1]]), patches: "gate" },
  { ...stacking("g1_4", [[1n, 4]]), patches: "gate" },
  { ...stacking("g_none", null), patches: "gate" },
  {
    ...replacing("g_r2", [
      [1n, 9],
      [2n, 9],
    ]),
    patches: "gate",
  },
  { ...replacing("g_r_none", null), patches: "gate" },
];

/** No stack refuses these, and they refuse no other. */
export const STATELESS = [...PLAIN, ...GATED].filter(({ replace, states }) => !replace && !states?.length);

export const SLOW: readonly PatchSpec[] = [
  { ...stacking("slow_s", [[7n, 1]]), callback_ms: 1500 },
  { ...replacing("slow_r", [[7n, 2]]), callback_ms: 1500 },
];

export const PRE_PATCH_REFUSES: PatchSpec = {
  ...stacking("refuses", [[5n, 1]]),
  callback_ms: 0,
  pre_patch_errno: "EACCES",
};
export const SYMBOL_MISSING: PatchSpec = { ...stacking("symbol", [[5n, 1]]), patches: "missing_symbol" };
export const NOTHING_PATCHED: PatchSpec = { ...stacking("nothing", [[5n, 1]]), patches: "nothing" };
export const UNMARKED: PatchSpec = { ...stacking("unmarked", [[5n, 1]]), is_unmarked: true };
export const OTHER_RELEASE: PatchSpec = { ...stacking("release", [[6n, 1]]), of_other_kernel: "vermagic" };
export const OTHER_LAYOUT: PatchSpec = {
  ...stacking("layout", [[6n, 1]]),
  of_other_kernel: "symbol_versions",
};

export const ALL: readonly PatchSpec[] = [
  ...PLAIN,
  ...GATED,
  ...SLOW,
  PRE_PATCH_REFUSES,
  SYMBOL_MISSING,
  NOTHING_PATCHED,
  UNMARKED,
  OTHER_RELEASE,
  OTHER_LAYOUT,
];
