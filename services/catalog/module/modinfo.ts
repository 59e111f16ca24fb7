/** What a module says of itself in .modinfo: texts `key=value`, each with a zero byte behind it. */
import { bad_module } from "./bad_module.js";
import type { Elf } from "./elf.js";

const MODINFO_BYTES_MAX = 1024 * 1024;

/** The first value of each key, which is the one that the kernel takes. */
export function read_modinfo(elf: Elf): ReadonlyMap<string, string> {
  const section = elf.section_named(".modinfo");
  const values = new Map<string, string>();
  if (section === null) return values;
  if (section.size > MODINFO_BYTES_MAX)
    throw bad_module(`has ${section.size} bytes of .modinfo`, `at most ${MODINFO_BYTES_MAX}`);
  for (const text of elf.bytes(section).toString("utf8").split("\0")) {
    const at = text.indexOf("=");
    const key = text.slice(0, at);
    if (at > 0 && !values.has(key)) values.set(key, text.slice(at + 1));
  }
  return values;
}
