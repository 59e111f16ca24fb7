/** One fault of one process's life: which of its steps end with an error, from when on, and how often. */
import type { Dice } from "./dice.js";
import type { Step } from "./simulated_disk.js";

interface FaultKind {
  name: string;
  weight: number;
  steps: readonly Step[];
  codes: readonly string[];
}

const KINDS: readonly FaultKind[] = [
  { name: "fsync fails", weight: 6, steps: ["sync"], codes: ["EIO", "EIO", "ENOSPC", "EDQUOT"] },
  { name: "fsync of a directory fails", weight: 3, steps: ["sync_directory"], codes: ["EIO"] },
  { name: "write fails", weight: 4, steps: ["write"], codes: ["EIO", "ENOSPC", "EDQUOT"] },
  { name: "write and truncate fail", weight: 2, steps: ["write", "truncate"], codes: ["EIO"] },
  {
    name: "open for writing fails",
    weight: 2,
    steps: ["open_write"],
    codes: ["EMFILE", "EIO", "ENOSPC", "EACCES"],
  },
  { name: "open for reading fails", weight: 1, steps: ["open_read"], codes: ["EMFILE", "EACCES"] },
  {
    name: "directory fails",
    weight: 2,
    steps: ["list", "make_directory", "rename"],
    codes: ["EIO", "EMFILE"],
  },
  { name: "close fails", weight: 1, steps: ["close"], codes: ["EIO"] },
];

export const FAULT_NAMES = KINDS.map(({ name }) => name);

export interface Fault {
  name: string;
  /** A SimulatedDisk's `fault`. */
  code_of(step: Step): string | null;
  /** It has happened. */
  struck: boolean;
}

export function draw_fault(dice: Dice): Fault {
  const kind = dice.weighted(...KINDS.map((each) => [each.weight, each] as [number, FaultKind]));
  const code = dice.pick(kind.codes);
  let before = dice.below(14);
  let left = dice.pick([1, 1, 2, 3, Number.POSITIVE_INFINITY]);
  const fault: Fault = {
    name: kind.name,
    struck: false,
    code_of(step) {
      if (!kind.steps.includes(step)) return null;
      before -= 1;
      if (before >= 0 || left === 0) return null;
      left -= 1;
      fault.struck = true;
      return code;
    },
  };
  return fault;
}
