/**
 * A relocatable ELF64 file as far as a module needs it: sections, what their bytes are, and where their relocations
 * point. Sections are read when they are asked for. https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html
 */
import { bad_module } from "./bad_module.js";
import { type Machine, machine_of } from "./machine.js";
import type { Source } from "./source.js";

const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 24;
/** -ffunction-sections makes tens of thousands; a module with more sections than this was never built. */
const SECTIONS_MAX = 1 << 18;
const SECTION_NAME_BYTES_MAX = 1_024;
/** Of data, in all; a livepatch of 65,536 functions has twice as many. */
const RELOCATIONS_MAX = 1 << 20;
/** Read in all. Without debugging information, which is not read, a module has a few MB. */
const READ_BYTES_MAX = 128 * 1024 ** 2;
/** Names of functions have at most 511 bytes (KSYM_NAME_LEN). */
const TEXT_BYTES_MAX = 511;

const ET_REL = 1;
const [SHT_NULL, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_SYMTAB_SHNDX] = [0, 2, 4, 8, 18];
export const SHT_NOTE = 7;
const [SHF_ALLOC, SHF_EXECINSTR] = [2, 4];
const SHN_LORESERVE = 0xff00;
const SHN_XINDEX = 0xffff;
const STT_OBJECT = 1;

export interface Section {
  index: number;
  name: string;
  type: number;
  is_loaded: boolean;
  is_code: boolean;
  at: number;
  /** Of a section without bytes in the file too. */
  size: number;
  link: number;
  info: number;
}

/** A place in a section. */
export interface Place {
  section: Section;
  offset: number;
}

/** A pointer's target; null: not in this file, or nowhere in its section. */
export type Pointer = Place | null;

export class Elf {
  readonly machine: Machine;
  readonly sections: readonly Section[];
  readonly #source: Source;
  readonly #bytes = new Map<Section, Buffer>();
  readonly #pointers = new Map<Section, Pointers>();
  // By the section that they relocate.
  readonly #relocations = new Map<number, Section[]>();
  #symbols: Symbols | null = null;
  #read_bytes = 0;
  #relocations_walked = 0;

  /** Throws Problem where it is no ELF file of a known machine, or refers to bytes that are not there. */
  constructor(source: Source) {
    this.#source = source;
    if (source.size < HEADER_BYTES) throw bad_module(`has ${source.size} bytes and is no ELF file`);
    const header = source.read(0, HEADER_BYTES);
    if (header.readUInt32BE(0) !== 0x7f454c46) throw bad_module("is no ELF file");
    if (header[4] !== 2) throw bad_module("is a 32-bit ELF file", "64-bit ones are read");
    if (header[5] !== 1 && header[5] !== 2) throw bad_module("is an ELF file of no byte order");
    const little = header[5] === 1;
    const u16 = (at: number) => (little ? header.readUInt16LE(at) : header.readUInt16BE(at));
    if (u16(16) !== ET_REL) throw bad_module("is an ELF file, but no module: it is not relocatable");
    this.machine = machine_of(u16(18), little);
    this.sections = this.#read_sections(whole(this.u64_of(header, 40)), u16(60), u16(62), u16(58));
    for (const section of this.sections) {
      if (section.type !== SHT_RELA) continue;
      const others = this.#relocations.get(section.info);
      if (others) others.push(section);
      else this.#relocations.set(section.info, [section]);
    }
  }

  section_named(name: string): Section | null {
    return this.sections.find((section) => section.name === name) ?? null;
  }

  /** A section's bytes; none for one that has none in the file. */
  bytes(section: Section): Buffer {
    let bytes = this.#bytes.get(section);
    if (bytes === undefined) {
      const has_bytes = section.type !== SHT_NOBITS && section.type !== SHT_NULL;
      bytes = has_bytes ? this.#read(section.at, section.size) : Buffer.alloc(0);
      this.#bytes.set(section, bytes);
    }
    return bytes;
  }

  /** Zero in a section without bytes. Throws Problem beyond the section's end. */
  u64({ section, offset }: Place): bigint {
    return this.#fits(section, offset, 8) ? this.u64_of(this.bytes(section), offset) : 0n;
  }

  u32({ section, offset }: Place): number {
    return this.#fits(section, offset, 4) ? this.#u32_of(this.bytes(section), offset) : 0;
  }

  u8({ section, offset }: Place): number {
    return this.#fits(section, offset, 1) ? this.bytes(section).readUInt8(offset) : 0;
  }

  /** Where a pointer at the place points; undefined: none is there. */
  pointer({ section, offset }: Place): Pointer | undefined {
    return this.pointers(section).at(offset);
  }

  pointers(section: Section): Pointers {
    let pointers = this.#pointers.get(section);
    if (pointers === undefined) {
      pointers = new Pointers(this.#each_pointer(section));
      this.#pointers.set(section, pointers);
    }
    return pointers;
  }

  /** Places of data that point to a place: in the file's order. */
  *places_that_point_to(target: Place): Generator<Place> {
    for (const section of this.sections) {
      if (!section.is_loaded || section.is_code || section === target.section) continue;
      for (const [offset, pointer] of this.#each_pointer(section)) {
        if (pointer?.section === target.section && pointer.offset === target.offset)
          yield { section, offset };
      }
    }
  }

  /** Printable text that ends with a zero byte; null where there is none. */
  text({ section, offset }: Place): string | null {
    if (section.type === SHT_NOBITS || section.is_code) return null;
    const bytes = this.bytes(section).subarray(offset, offset + TEXT_BYTES_MAX + 1);
    const end = bytes.indexOf(0);
    if (end <= 0) return null;
    const text = bytes.toString("utf8", 0, end);
    return /[\p{Cc}\ufffd]/u.test(text) ? null : text;
  }

  /** Bytes of the object that begins at a place, as the symbol table has it; null: no symbol says. */
  object_size(place: Place): number | null {
    return this.#symbol_table().object_size(place);
  }

  u64_of(bytes: Buffer, at: number): bigint {
    return this.machine.little_endian ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at);
  }

  #u32_of(bytes: Buffer, at: number): number {
    return this.machine.little_endian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }

  /** False: it is in a section without bytes. */
  #fits(section: Section, offset: number, length: number): boolean {
    if (offset < 0 || offset + length > section.size) {
      const says = `refers to byte ${offset} of section ${shown(section)}, which has ${section.size}`;
      throw bad_module(says);
    }
    return section.type !== SHT_NOBITS && section.type !== SHT_NULL;
  }

  #read(at: number, length: number): Buffer {
    this.#read_bytes += length;
    if (this.#read_bytes > READ_BYTES_MAX)
      throw bad_module("has larger tables than any module", `at most ${READ_BYTES_MAX} bytes of them`);
    return this.#source.read(at, length);
  }

  #read_sections(table_at: number, count_16: number, names_16: number, entry_bytes: number): Section[] {
    if (table_at === 0 || entry_bytes !== SECTION_HEADER_BYTES) throw bad_module("has no table of sections");
    // A table of more than 65,279 states its size in its first entry.
    const first = this.#source.read(table_at, SECTION_HEADER_BYTES);
    const count = count_16 === 0 ? whole(this.u64_of(first, 32)) : count_16;
    const names_index = names_16 === SHN_XINDEX ? this.#u32_of(first, 40) : names_16;
    if (count > SECTIONS_MAX) throw bad_module(`has ${count} sections`, `at most ${SECTIONS_MAX}`);
    const table = this.#read(table_at, count * SECTION_HEADER_BYTES);
    const sections = Array.from({ length: count }, (_, index) => this.#section(table, index));
    const names = sections[names_index];
    if (names === undefined || names.type === SHT_NOBITS) throw bad_module("has no names of sections");
    const text = this.bytes(names);
    for (const section of sections) {
      section.name = section_name(text, this.#u32_of(table, section.index * SECTION_HEADER_BYTES));
    }
    return sections;
  }

  #section(table: Buffer, index: number): Section {
    const start = index * SECTION_HEADER_BYTES;
    const type = this.#u32_of(table, start + 4);
    const flags = Number(this.u64_of(table, start + 8) & 0xffn);
    const at = whole(this.u64_of(table, start + 24));
    const size = whole(this.u64_of(table, start + 32));
    if (index > 0 && type !== SHT_NULL && type !== SHT_NOBITS && at + size > this.#source.size) {
      const says = `is cut off: section ${index} ends at byte ${at + size} of ${this.#source.size}`;
      throw bad_module(says);
    }
    return {
      index,
      name: "",
      // The first entry is no section, whatever it says.
      type: index === 0 ? SHT_NULL : type,
      is_loaded: (flags & SHF_ALLOC) !== 0,
      is_code: (flags & SHF_EXECINSTR) !== 0,
      at,
      size: index === 0 ? 0 : size,
      link: this.#u32_of(table, start + 40),
      info: this.#u32_of(table, start + 44),
    };
  }

  *#each_pointer(section: Section): Generator<[number, Pointer]> {
    for (const relocations of this.#relocations.get(section.index) ?? []) {
      const bytes = this.bytes(relocations);
      const count = Math.floor(bytes.length / RELOCATION_BYTES);
      this.#relocations_walked += count;
      if (this.#relocations_walked > RELOCATIONS_MAX)
        throw bad_module("has more relocations than any module", `at most ${RELOCATIONS_MAX} of data`);
      for (let at = 0; at < count * RELOCATION_BYTES; at += RELOCATION_BYTES) {
        const offset = Number(this.u64_of(bytes, at));
        const info = this.u64_of(bytes, at + 8);
        const is_pointer = Number(info & 0xffff_ffffn) === this.machine.pointer;
        if (offset > section.size - 8) continue;
        const addend = BigInt.asIntN(64, this.u64_of(bytes, at + 16));
        yield [offset, is_pointer ? this.#target(Number(info >> 32n), addend) : null];
      }
    }
  }

  #target(symbol: number, addend: bigint): Pointer {
    const place = this.#symbol_table().place(symbol);
    if (place === null) return null;
    const offset = BigInt(place.offset) + addend;
    if (offset < 0n || offset > BigInt(place.section.size)) return null;
    return { section: place.section, offset: Number(offset) };
  }

  #symbol_table(): Symbols {
    if (this.#symbols === null) {
      const section = this.sections.find(({ type }) => type === SHT_SYMTAB);
      const bytes = section === undefined ? Buffer.alloc(0) : this.bytes(section);
      const far = this.sections.find(({ type, link }) => {
        return type === SHT_SYMTAB_SHNDX && link === section?.index;
      });
      const far_bytes = far === undefined ? Buffer.alloc(0) : this.bytes(far);
      this.#symbols = new Symbols(this.sections, bytes, far_bytes, this.machine.little_endian);
    }
    return this.#symbols;
  }
}

/** A section's pointers by offset. What another kind of relocation writes is there too, and points nowhere. */
export class Pointers {
  readonly offsets: readonly number[];
  readonly #by_offset: ReadonlyMap<number, Pointer>;

  constructor(pointers: Iterable<[number, Pointer]>) {
    this.#by_offset = new Map(pointers);
    this.offsets = [...this.#by_offset.keys()].sort((a, b) => a - b);
  }

  at(offset: number): Pointer | undefined {
    return this.#by_offset.get(offset);
  }

  /** The first offset of a pointer from `offset` on; null: none follows. */
  next(offset: number): number | null {
    let low = 0;
    for (let high = this.offsets.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.offsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return this.offsets[low] ?? null;
  }
}

class Symbols {
  readonly #sections: readonly Section[];
  readonly #bytes: Buffer;
  /** Sections' numbers that do not fit into 16 bits, by symbol. */
  readonly #far: Buffer;
  readonly #little: boolean;

  constructor(sections: readonly Section[], bytes: Buffer, far: Buffer, little: boolean) {
    this.#sections = sections;
    this.#bytes = bytes;
    this.#far = far;
    this.#little = little;
  }

  /** Null: it is in no section of the file. */
  place(index: number): Place | null {
    const at = index * SYMBOL_BYTES;
    if (at + SYMBOL_BYTES > this.#bytes.length) return null;
    const section = this.#sections[this.#section_index(index)];
    const offset = this.#u64(at + 8);
    if (section === undefined || section.index === 0 || offset > BigInt(section.size)) return null;
    return { section, offset: Number(offset) };
  }

  object_size({ section, offset }: Place): number | null {
    for (let index = 0; (index + 1) * SYMBOL_BYTES <= this.#bytes.length; index++) {
      const at = index * SYMBOL_BYTES;
      if ((this.#bytes[at + 4]! & 0xf) !== STT_OBJECT || this.#section_index(index) !== section.index)
        continue;
      const size = this.#u64(at + 16);
      if (this.#u64(at + 8) !== BigInt(offset) || BigInt(offset) + size > BigInt(section.size)) continue;
      return Number(size);
    }
    return null;
  }

  #section_index(index: number): number {
    const at = index * SYMBOL_BYTES + 6;
    const near = this.#little ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
    if (near < SHN_LORESERVE) return near;
    if (near !== SHN_XINDEX || (index + 1) * 4 > this.#far.length) return 0;
    return this.#little ? this.#far.readUInt32LE(index * 4) : this.#far.readUInt32BE(index * 4);
  }

  #u64(at: number): bigint {
    return this.#little ? this.#bytes.readBigUInt64LE(at) : this.#bytes.readBigUInt64BE(at);
  }
}

export function shown({ index, name }: Section): string {
  return name === "" ? String(index) : JSON.stringify(name);
}

function section_name(names: Buffer, at: number): string {
  const text = names.subarray(at, at + SECTION_NAME_BYTES_MAX);
  const end = text.indexOf(0);
  return end < 0 ? "" : text.toString("latin1", 0, end);
}

/** A size or place of the file as a number; what is larger is beyond every file. */
function whole(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
