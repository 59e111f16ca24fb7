/** The GNU build id of an ELF file: what /sys/module/NAME/notes/.note.gnu.build-id shows on a host. */
import type { Elf, Section } from "./elf.js";
import { SHT_NOTE } from "./elf.js";

const NT_GNU_BUILD_ID = 3;
const NOTE_HEADER_BYTES = 12;

/** Null: the file has none. */
export function read_build_id(elf: Elf): Uint8Array | null {
  for (const section of elf.sections) {
    const build_id = section.type === SHT_NOTE ? build_id_in(elf, section) : null;
    if (build_id !== null) return build_id;
  }
  return null;
}

function build_id_in(elf: Elf, section: Section): Uint8Array | null {
  for (let at = 0; at + NOTE_HEADER_BYTES <= section.size; ) {
    const name_bytes = elf.u32({ section, offset: at });
    const content_bytes = elf.u32({ section, offset: at + 4 });
    const type = elf.u32({ section, offset: at + 8 });
    const name_at = at + NOTE_HEADER_BYTES;
    const content_at = name_at + padded(name_bytes);
    const end = content_at + content_bytes;
    if (end > section.size) return null;
    const bytes = elf.bytes(section);
    if (type === NT_GNU_BUILD_ID && bytes.toString("latin1", name_at, name_at + name_bytes) === "GNU\0")
      return Uint8Array.from(bytes.subarray(content_at, end));
    at = content_at + padded(content_bytes);
  }
  return null;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
