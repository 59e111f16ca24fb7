/** Modules of the machines and builders that no fixture is of, as the unit tests write them. */
import { MACHINES, start_module, write_module } from "../unit/catalog/elf_writer.js";

export function written_modules(): Buffer[] {
  const objects = [
    { name: null, functions: [{ name: "first" }, { name: "second", position: 2n }] },
    { name: "ext4", functions: [{ name: "ext4_readdir" }], callbacks: true },
  ];
  const states: [bigint, number][] = [
    [1n, 1],
    [0n, 9],
    [2n, 2],
  ];
  return [
    ...Object.keys(MACHINES).map((machine) =>
      write_module({ machine, objects, states, symbols: true }).bytes(),
    ),
    write_module({ layout: "before_states", objects, replace: true }).bytes(),
    kpatch_module(),
    klp_build_module(),
  ];
}

/** kpatch-build's table of functions. */
export function kpatch_module(): Buffer {
  const elf = start_module({ machine: "ppc64le" });
  const entry = (name: string, position: bigint, object: string) => [
    ...[elf.code(), 16n, 0n, 16n, position, elf.text(name), elf.text(object)],
  ];
  elf.data([...entry("one", 0n, "vmlinux"), ...entry("two", 3n, "ext4")], { section: ".kpatch.funcs" });
  elf.data([elf.code(), elf.text("ext4")], { section: ".kpatch.callbacks.pre_patch" });
  return elf.bytes();
}

/** klp-build's tables of objects and functions, in sections whose names differ between its versions. */
export function klp_build_module(
  objects_section = ".init.klp_objects",
  funcs_section = ".init.klp_funcs",
): Buffer {
  const elf = start_module({ machine: "s390x" });
  const section = { section: funcs_section };
  const first = elf.data([elf.text("one"), elf.code(), 0n, elf.text("two"), elf.code(), 3n], section);
  const second = elf.data([elf.text("three"), elf.code(), 0n], section);
  const callbacks = [elf.code(), 0n, 0n, 0n, 0n];
  elf.data([0n, first, 0n, 0n, 0n, 0n, 0n, { u32: 2 }], { section: objects_section });
  elf.data([elf.text("ext4"), second, ...callbacks, { u32: 1 }], { section: objects_section });
  return elf.bytes();
}
