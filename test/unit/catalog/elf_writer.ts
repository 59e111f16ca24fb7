/** Writes relocatable ELF64 files of every machine that has livepatches, and livepatch modules as a compiler lays them out. */

export interface MachineModel {
  number: number;
  little_endian: boolean;
  /** The machine's relocation of a 64-bit pointer. */
  pointer: number;
}

export const MACHINES: Record<string, MachineModel> = {
  x86_64: { number: 62, little_endian: true, pointer: 1 },
  aarch64: { number: 183, little_endian: true, pointer: 257 },
  ppc64le: { number: 21, little_endian: true, pointer: 38 },
  s390x: { number: 22, little_endian: false, pointer: 22 },
};

const [PROGBITS, SYMTAB, STRTAB, RELA, NOTE, NOBITS] = [1, 2, 3, 4, 7, 8];
const [WRITE, ALLOC, EXEC] = [1, 2, 4];

interface Relocation {
  at: number;
  section: string;
  addend: number;
}

interface SectionModel {
  name: string;
  type: number;
  flags: number;
  bytes: number[];
  relocations: Relocation[];
}

/** A place in a section, to point to. */
export interface Spot {
  section: string;
  at: number;
}

export class ElfWriter {
  readonly machine: MachineModel;
  readonly #sections = new Map<string, SectionModel>();
  readonly #objects: { spot: Spot; size: number }[] = [];

  constructor(machine: MachineModel) {
    this.machine = machine;
  }

  section(name: string, type: number, flags: number): SectionModel {
    let section = this.#sections.get(name);
    if (section === undefined) {
      section = { name, type, flags, bytes: [], relocations: [] };
      this.#sections.set(name, section);
    }
    return section;
  }

  code(name = ".text"): Spot {
    const section = this.section(name, PROGBITS, ALLOC | EXEC);
    const at = section.bytes.length;
    section.bytes.push(...Array<number>(16).fill(0xcc));
    return { section: name, at };
  }

  text(text: string): Spot {
    const section = this.section(".rodata.str1.1", PROGBITS, ALLOC);
    const at = section.bytes.length;
    section.bytes.push(...Buffer.from(text), 0);
    return { section: ".rodata.str1.1", at };
  }

  note(name: string, owner: string, type: number, content: Uint8Array): void {
    const { bytes } = this.section(name, NOTE, ALLOC);
    const pad = (count: number) => Array<number>((4 - (count % 4)) % 4).fill(0);
    bytes.push(...this.#u32(owner.length + 1), ...this.#u32(content.length), ...this.#u32(type));
    bytes.push(...Buffer.from(owner), 0, ...pad(owner.length + 1), ...content, ...pad(content.length));
  }

  modinfo(...values: string[]): void {
    this.section(".modinfo", PROGBITS, ALLOC).bytes.push(
      ...Buffer.from(values.map((v) => `${v}\0`).join("")),
    );
  }

  zeros(count: number): Spot {
    const { bytes } = this.section(".bss", NOBITS, ALLOC | WRITE);
    const at = bytes.length;
    bytes.push(...Array<number>(count).fill(0));
    return { section: ".bss", at };
  }

  /** Words and pointers one behind the other; `symbol`: a symbol says how long they are. */
  data(words: (bigint | Spot | { u32: number } | { u8: number })[], options: DataOptions = {}): Spot {
    const { section: name = ".data", symbol = false } = options;
    const section = this.section(name, PROGBITS, ALLOC | WRITE);
    const at = section.bytes.length;
    for (const word of words) {
      if (typeof word === "bigint") section.bytes.push(...this.#u64(word));
      else if ("u32" in word) section.bytes.push(...this.#u32(word.u32), 0, 0, 0, 0);
      else if ("u8" in word) section.bytes.push(word.u8, 0, 0, 0, 0, 0, 0, 0);
      else {
        section.relocations.push({ at: section.bytes.length, section: word.section, addend: word.at });
        section.bytes.push(...this.#u64(0n));
      }
    }
    const spot = { section: name, at };
    if (symbol) this.#objects.push({ spot, size: section.bytes.length - at });
    return spot;
  }

  bytes(): Buffer {
    const sections = [...this.#sections.values()];
    const index_of = (name: string) => 1 + sections.findIndex((section) => section.name === name);
    const with_relocations = sections.filter(({ relocations }) => relocations.length > 0);
    const symtab = 1 + sections.length + with_relocations.length;
    const symbols = [
      ...this.#symbol(0, 0, 0, 0),
      ...sections.flatMap((_, at) => this.#symbol(3, at + 1, 0, 0)),
      ...this.#objects.flatMap(({ spot, size }) => this.#symbol(1, index_of(spot.section), spot.at, size)),
    ];
    const all = [
      ...sections.map((section) => ({ ...section, link: 0, info: 0 })),
      ...with_relocations.map(({ name, relocations }) => ({
        name: `.rela${name}`,
        type: RELA,
        flags: 0,
        // A section's symbol has the section's number.
        bytes: relocations.flatMap(({ at, section, addend }) => [
          ...this.#u64(BigInt(at)),
          ...this.#u64((BigInt(index_of(section)) << 32n) | BigInt(this.machine.pointer)),
          ...this.#u64(BigInt(addend)),
        ]),
        link: symtab,
        info: index_of(name),
      })),
      {
        name: ".symtab",
        type: SYMTAB,
        flags: 0,
        bytes: symbols,
        link: symtab + 1,
        info: sections.length + 1,
      },
      { name: ".strtab", type: STRTAB, flags: 0, bytes: [0], link: 0, info: 0 },
    ];
    const names = Buffer.from(
      `\0${[...all.map(({ name }) => name), ".shstrtab"].map((n) => `${n}\0`).join("")}`,
    );
    all.push({ name: ".shstrtab", type: STRTAB, flags: 0, bytes: [...names], link: 0, info: 0 });

    const parts: Buffer[] = [];
    let at = 64;
    const headers = Buffer.concat([
      Buffer.alloc(64),
      ...all.map(({ name, type, flags, bytes, link, info }) => {
        const header = this.#header(
          names.indexOf(`\0${name}\0`) + 1,
          type,
          flags,
          at,
          bytes.length,
          link,
          info,
        );
        const content = type === NOBITS ? Buffer.alloc(0) : Buffer.from(bytes);
        const padding = Buffer.alloc((8 - (content.length % 8)) % 8);
        parts.push(content, padding);
        at += content.length + padding.length;
        return header;
      }),
    ]);
    return Buffer.concat([this.#file_header(at, all.length + 1), ...parts, headers]);
  }

  #file_header(sections_at: number, count: number): Buffer {
    const order = this.machine.little_endian ? 1 : 2;
    return Buffer.from([
      ...[0x7f, 0x45, 0x4c, 0x46, 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      ...this.#u16(1),
      ...this.#u16(this.machine.number),
      ...this.#u32(1),
      ...this.#u64(0n),
      ...this.#u64(0n),
      ...this.#u64(BigInt(sections_at)),
      ...this.#u32(0),
      ...this.#u16(64),
      ...this.#u16(0),
      ...this.#u16(0),
      ...this.#u16(64),
      ...this.#u16(count),
      ...this.#u16(count - 1),
    ]);
  }

  #header(
    name: number,
    type: number,
    flags: number,
    at: number,
    size: number,
    link: number,
    info: number,
  ): Buffer {
    return Buffer.from([
      ...this.#u32(name),
      ...this.#u32(type),
      ...this.#u64(BigInt(flags)),
      ...this.#u64(0n),
      ...this.#u64(BigInt(at)),
      ...this.#u64(BigInt(size)),
      ...this.#u32(link),
      ...this.#u32(info),
      ...this.#u64(8n),
      ...this.#u64(type === SYMTAB || type === RELA ? 24n : 0n),
    ]);
  }

  #symbol(type: number, section: number, value: number, size: number): number[] {
    return [
      ...this.#u32(0),
      type,
      0,
      ...this.#u16(section),
      ...this.#u64(BigInt(value)),
      ...this.#u64(BigInt(size)),
    ];
  }

  #u16(value: number): number[] {
    return this.#ordered([value & 0xff, value >> 8]);
  }

  #u32(value: number): number[] {
    return this.#ordered([0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff));
  }

  #u64(value: bigint): number[] {
    const bits = BigInt.asUintN(64, value);
    return this.#ordered(
      [0n, 8n, 16n, 24n, 32n, 40n, 48n, 56n].map((shift) => Number((bits >> shift) & 0xffn)),
    );
  }

  #ordered(bytes: number[]): number[] {
    return this.machine.little_endian ? bytes : bytes.reverse();
  }
}

interface DataOptions {
  section?: string;
  symbol?: boolean;
}

export interface ObjectModel {
  /** Null: vmlinux. */
  name: string | null;
  functions: { name: string; position?: bigint }[];
  callbacks?: boolean;
}

export interface ModuleModel {
  machine?: keyof typeof MACHINES;
  release?: string;
  name?: string;
  replace?: boolean;
  objects?: ObjectModel[];
  /** Null: no array. */
  states?: [id: bigint, version: number, has_data?: boolean][] | null;
  /** Whether a symbol says how long the array of states is. */
  symbols?: boolean;
  marked?: boolean;
  exit?: boolean;
  build_id?: Uint8Array;
  /** Behind what is known of klp_object and klp_func, bytes: of the kernel's configuration. */
  object_rest?: number;
  func_rest?: number;
  /** `before_states`: klp_patch has no `states`, as before Linux 5.5. */
  layout?: "with_states" | "before_states";
}

const words = (bytes: number) => Array<bigint>(bytes / 8).fill(0n);

/** A module whose klp_patch is data, with every symbol's name removed. */
export function write_module(model: ModuleModel): ElfWriter {
  const { objects = [{ name: null, functions: [{ name: "cmdline_proc_show" }] }], states = null } = model;
  const { object_rest = 112, func_rest = 128, layout = "with_states" } = model;
  const elf = start_module(model);
  const arrays = objects.map(({ functions }) => {
    if (functions.length === 0) return elf.zeros(24 + func_rest);
    const entries = functions.map(({ name, position = 0n }) => {
      return [elf.text(name), elf.code(), position, ...words(func_rest)];
    });
    return elf.data([...entries.flat(), ...words(24 + func_rest)]);
  });
  const objs = elf.data([
    ...objects.flatMap(({ name, callbacks }, at) => [
      name === null ? 0n : elf.text(name),
      arrays[at]!,
      ...(callbacks ? [elf.code(), 0n, 0n, elf.code()] : words(32)),
      ...words(object_rest),
    ]),
    ...words(48 + object_rest),
  ]);
  const array =
    states === null
      ? 0n
      : elf.data(
          [
            ...states.flatMap(([id, version, has_data]) => [
              id,
              { u32: version },
              has_data ? elf.zeros(8) : 0n,
            ]),
            ...words(24),
          ],
          { symbol: model.symbols ?? false },
        );
  const flag = { u8: model.replace ? 1 : 0 };
  const rest = layout === "with_states" ? [array, flag] : [flag];
  elf.data([{ section: THIS_MODULE, at: 0 }, objs, ...rest, ...words(160)]);
  return elf;
}

const THIS_MODULE = ".gnu.linkonce.this_module";

/** What every module has: its own structure, its modinfo, its build id. */
export function start_module(model: ModuleModel): ElfWriter {
  const { machine = "x86_64", release = "6.12.117+deb12-cloud-amd64", name = "kp_1", exit = true } = model;
  const elf = new ElfWriter(MACHINES[machine]!);
  const pointers = [...words(312), elf.code(".init.text"), ...words(880), exit ? elf.code(".exit.text") : 0n];
  elf.data([...pointers, ...words(72)], { section: THIS_MODULE });
  // As a driver has it: a structure that begins with its module, and is no klp_patch.
  elf.data([{ section: THIS_MODULE, at: 0 }, elf.code(), elf.code(), 0n]);
  elf.modinfo(
    ...(model.marked === false ? [] : ["livepatch=Y"]),
    "license=GPL",
    `name=${name}`,
    `vermagic=${release} SMP preempt mod_unload modversions `,
  );
  elf.note(".note.Linux", "Linux", 0x101, Buffer.from("some"));
  elf.note(".note.gnu.build-id", "GNU", 3, model.build_id ?? Buffer.from("0badcafe", "hex"));
  return elf;
}
