/** The machines that have livepatches, as an ELF file's header names them and as `uname -m` does. */
import { bad_module } from "./bad_module.js";

export interface Machine {
  /** `uname -m`. */
  arch: string;
  little_endian: boolean;
  /** The relocation that writes a whole 64-bit address: a pointer in data. */
  pointer: number;
}

/** By e_machine of elf.h; relocations of the psABIs. */
const MACHINES = new Map<number, Machine>([
  [62, { arch: "x86_64", little_endian: true, pointer: 1 /* R_X86_64_64 */ }],
  [183, { arch: "aarch64", little_endian: true, pointer: 257 /* R_AARCH64_ABS64 */ }],
  [21, { arch: "ppc64le", little_endian: true, pointer: 38 /* R_PPC64_ADDR64 */ }],
  [22, { arch: "s390x", little_endian: false, pointer: 22 /* R_390_64 */ }],
]);

export function machine_of(number: number, little_endian: boolean): Machine {
  const machine = MACHINES.get(number);
  if (machine?.little_endian === little_endian) return machine;
  const known = Array.from(MACHINES.values(), ({ arch }) => arch);
  const order = little_endian ? "little" : "big";
  throw bad_module(`is for machine ${number}, ${order}-endian`, `one of ${known.join(", ")}`);
}
