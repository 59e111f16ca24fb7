import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { read_module, read_module_bytes } from "#services/catalog/module/read_module.js";
import { memory_source } from "#services/catalog/module/source.js";
import { manifest_to_json } from "#services/events/json.js";
import { klp_build_module, kpatch_module } from "../../fuzz/written_modules.js";
import { MACHINES, type ModuleModel, type ObjectModel, start_module, write_module } from "./elf_writer.js";

const FIXTURES = join(import.meta.dirname, "../../fixtures/kernel/ko");

interface Recorded {
  file: string;
  name: string;
  kernel: string;
  has_states_array: boolean;
  replace: boolean;
  states_seen_by_kernel: { id: string; version: number }[];
}
const recorded: Recorded[] = JSON.parse(readFileSync(join(FIXTURES, "manifest.json"), "utf8"));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-module-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const read = (bytes: Uint8Array) => read_module_bytes(memory_source(bytes));
const shown = (bytes: Uint8Array) => manifest_to_json(read(bytes).manifest);

describe("modules that real kernels took", () => {
  test.each(recorded.map((module) => [module.file, module] as const))("%s", async (file, module) => {
    const { manifest, has_states_array, replace_is_told, is_marked } = await read_module(
      join(FIXTURES, file),
    );
    const { name, kernel_release, arch, replace = false, states = [], has_exit } = manifest_to_json(manifest);
    expect({ name, kernel_release, arch, replace, states, has_states_array }).toEqual({
      name: module.name,
      kernel_release: module.kernel,
      arch: "x86_64",
      replace: module.replace,
      states: module.states_seen_by_kernel,
      has_states_array: module.has_states_array,
    });
    expect([replace_is_told, is_marked, has_exit]).toEqual([true, true, true]);
  });

  test("callbacks, two functions in one array, and the build id that a host shows", async () => {
    const of = (file: string) => read_module(join(FIXTURES, file));
    expect((await of("6.12/cbc.ko")).has_callbacks).toBe(true);
    expect((await of("6.12/cum1.ko")).has_callbacks).toBe(false);
    expect(manifest_to_json((await of("6.12/nctwo.ko")).manifest)).toMatchObject({
      // readelf -n nctwo.ko
      build_id: "83d39a7cd577fec6b092a600ff04c7a701034870",
      vermagic: "6.12.117+deb12-cloud-amd64 SMP preempt mod_unload modversions ",
      functions: [
        { object: "vmlinux", name: "cmdline_proc_show" },
        { object: "vmlinux", name: "loadavg_proc_show" },
      ],
      signature: { present: false },
      builder: "static",
    });
  });
});

const OBJECTS: ObjectModel[] = [
  { name: null, functions: [{ name: "first" }, { name: "second", position: 2n }, { name: "third" }] },
  { name: "ext4", functions: [{ name: "ext4_readdir" }], callbacks: true },
  { name: "xfs", functions: [] },
  { name: "btrfs", functions: [{ name: "btrfs_a" }, { name: "btrfs_b" }] },
];
const FULL: ModuleModel = {
  name: "kp-2",
  replace: true,
  objects: OBJECTS,
  states: [
    [7n, 4_294_967_295, true],
    [0xffff_ffff_ffff_fffen, 0],
    [7n, 3],
  ],
};
const FULL_JSON = {
  name: "kp_2",
  replace: true,
  states: [
    { id: "7", version: 4_294_967_295, has_data: true },
    { id: "18446744073709551614", version: 0 },
    { id: "7", version: 3 },
  ],
  functions: [
    { object: "vmlinux", name: "first" },
    { object: "vmlinux", name: "second", position: "2" },
    { object: "vmlinux", name: "third" },
    { object: "ext4", name: "ext4_readdir" },
    { object: "btrfs", name: "btrfs_a" },
    { object: "btrfs", name: "btrfs_b" },
  ],
  build_id: "0badcafe",
};

describe("a klp_patch that is data", () => {
  test.each(Object.keys(MACHINES))("is found without names of symbols, on %s", (machine) => {
    const reading = read(write_module({ ...FULL, machine }).bytes());
    expect(manifest_to_json(reading.manifest)).toMatchObject({ ...FULL_JSON, arch: machine, has_exit: true });
    expect(reading.objects).toEqual(["vmlinux", "ext4", "xfs", "btrfs"]);
    expect(reading.has_callbacks).toBe(true);
  });

  test.each([
    [64, 80],
    [112, 128],
    [200, 176],
  ])(
    "whatever the kernel's configuration puts behind objects (%d bytes) and functions (%d)",
    (object_rest, func_rest) => {
      expect(shown(write_module({ ...FULL, object_rest, func_rest }).bytes())).toMatchObject(FULL_JSON);
      // The second object may be vmlinux too, whose first word is no pointer.
      const objects = [OBJECTS[1]!, OBJECTS[0]!];
      const { functions } = shown(write_module({ ...FULL, objects, object_rest, func_rest }).bytes());
      expect(functions).toEqual([FULL_JSON.functions[3], ...FULL_JSON.functions.slice(0, 3)]);
    },
  );

  test("the array of states ends at id 0, and what stands behind it is counted where a symbol tells its length", () => {
    const states: ModuleModel["states"] = [
      [1n, 1],
      [0n, 9],
      [2n, 2],
    ];
    const with_symbols = read(write_module({ states, symbols: true }).bytes());
    expect(manifest_to_json(with_symbols.manifest).states).toEqual([{ id: "1", version: 1 }]);
    expect(with_symbols.unseen_states.map(({ id, version }) => [String(id), version])).toEqual([
      ["0", 9],
      ["2", 2],
    ]);
    expect(with_symbols.warnings).toEqual([
      "the kernel does not see 1 of its states: they stand behind an id 0",
    ]);
    expect(read(write_module({ states }).bytes()).unseen_states).toEqual([]);
  });

  test("an array that is declared longer than its states hides none of them", () => {
    const padded: ModuleModel["states"] = [
      [1n, 1],
      [0n, 0],
      [0n, 0],
    ];
    const reading = read(write_module({ states: padded, symbols: true }).bytes());
    expect([reading.unseen_states, reading.warnings]).toEqual([[], []]);
    const hiding = read(write_module({ states: [...padded, [2n, 2]], symbols: true }).bytes());
    expect(hiding.warnings).toEqual(["the kernel does not see 1 of its states: they stand behind an id 0"]);
  });

  test("no array and an empty one are the same states, and are told apart", () => {
    const without = read(write_module({ states: null }).bytes());
    const empty = read(write_module({ states: [] }).bytes());
    expect([without.has_states_array, empty.has_states_array]).toEqual([false, true]);
    for (const { manifest } of [without, empty])
      expect([manifest.states, manifest.states_unknown]).toEqual([undefined, undefined]);
  });

  test.each([true, false])(
    "of a kernel before 5.5 it has no states, and replace %s where it was backported",
    (replace) => {
      const model: ModuleModel = { layout: "before_states", replace, release: "4.18.0-553.el8.x86_64" };
      const reading = read(write_module(model).bytes());
      expect(reading.manifest.replace ?? false).toBe(replace);
      expect([reading.has_states_array, reading.manifest.states_unknown]).toEqual([false, undefined]);
      expect(reading.warnings).toContain("kernels before 5.5 know no states: it has none");
    },
  );

  test("no module exit, no mark, no object: each is said", () => {
    expect(shown(write_module({ exit: false }).bytes()).has_exit).toBeUndefined();
    const unmarked = read(write_module({ marked: false }).bytes());
    expect(unmarked.is_marked).toBe(false);
    expect(unmarked.warnings).toEqual(["its modinfo has no livepatch=Y: the kernel refuses it (EINVAL)"]);
    const nothing = read(write_module({ objects: [], states: [[1n, 1]] }).bytes());
    expect(nothing.warnings).toEqual(["it patches no object: the kernel refuses it (EINVAL)"]);
    expect(manifest_to_json(nothing.manifest).states).toEqual([{ id: "1", version: 1 }]);
  });
});

describe("a klp_patch that is made when the module is loaded", () => {
  test("by kpatch-build: functions from .kpatch.funcs, no states, replace not told", () => {
    const reading = read(kpatch_module());
    expect(manifest_to_json(reading.manifest)).toMatchObject({
      builder: "kpatch_build",
      functions: [
        { object: "vmlinux", name: "one" },
        { object: "ext4", name: "two", position: "3" },
      ],
    });
    expect(reading.manifest).not.toHaveProperty("states");
    expect(reading.manifest).not.toHaveProperty("states_unknown");
    expect([reading.replace_is_told, reading.has_callbacks]).toEqual([false, true]);
  });

  test.each([
    ["__klp_objects", "__klp_funcs"],
    [".init.klp_objects", ".init.klp_funcs"],
  ])("by klp-build: functions from %s", (objects_section, funcs_section) => {
    const reading = read(klp_build_module(objects_section, funcs_section));
    expect(manifest_to_json(reading.manifest)).toMatchObject({
      builder: "klp_build",
      functions: [
        { object: "vmlinux", name: "one" },
        { object: "vmlinux", name: "two", position: "3" },
        { object: "ext4", name: "three" },
      ],
    });
    expect(reading.manifest).not.toHaveProperty("states_unknown");
    expect([reading.replace_is_told, reading.has_callbacks]).toEqual([false, true]);
  });

  test("by who knows what: its states are not known, which is not the same as none", () => {
    const reading = read(start_module({}).bytes());
    expect(manifest_to_json(reading.manifest)).toMatchObject({ builder: "other", states_unknown: true });
    // Two of them: only the code says which one is registered.
    const two = write_module({ states: [[1n, 1]] });
    two.data([{ section: ".gnu.linkonce.this_module", at: 0 }, ...objs_of(two), 0n, 0n, 0n]);
    expect(manifest_to_json(read(two.bytes()).manifest)).toMatchObject({
      builder: "other",
      states_unknown: true,
    });
  });
});

/** An array of objects of its own. */
function objs_of(elf: ReturnType<typeof write_module>) {
  const funcs = elf.data([elf.text("other"), elf.code(), ...Array<bigint>(40).fill(0n)]);
  return [elf.data([0n, funcs, ...Array<bigint>(60).fill(0n)])];
}

describe("files that are no livepatch module have a clear answer", () => {
  const good = write_module(FULL).bytes();
  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  test.each([
    ["an empty one", Buffer.alloc(0), "has 0 bytes and is no ELF file"],
    ["text", Buffer.from("livepatch=Y\n".repeat(20)), "is no ELF file"],
    [
      "a 32-bit one",
      changed((bytes) => bytes.writeUInt8(1, 4)),
      "is a 32-bit ELF file; 64-bit ones are read",
    ],
    [
      "a program",
      changed((bytes) => bytes.writeUInt16LE(2, 16)),
      "is an ELF file, but no module: it is not relocatable",
    ],
    [
      "one for another machine",
      changed((bytes) => bytes.writeUInt16LE(243, 18)),
      "is for machine 243, little-endian; one of x86_64, aarch64, ppc64le, s390x",
    ],
    ["one cut off", good.subarray(0, good.length - 100), /^is cut off: /],
    ["a driver", start_module({ marked: false }).bytes(), "is no livepatch: its modinfo has no livepatch=Y"],
  ])("%s", (_, bytes, says) => {
    expect(() => read(bytes)).toThrow(says);
  });

  test("states without an end are refused, not read into what follows", () => {
    const elf = start_module({});
    const states = elf.data([1n, { u32: 1 }, 0n], { section: ".data.states" });
    const [objs] = objs_of(elf);
    elf.data([{ section: ".gnu.linkonce.this_module", at: 0 }, objs!, states, 0n, 0n]);
    expect(() => read(elf.bytes())).toThrow("has an array of states that does not end with an id 0");
  });

  test("of 4 GiB", async () => {
    const path = join(directory, "large.ko");
    const descriptor = openSync(path, "w");
    ftruncateSync(descriptor, 4 * 1024 ** 3);
    closeSync(descriptor);
    await expect(read_module(path)).rejects.toThrow(
      `${path}: has 4294967296 bytes and is no module; at most 1073741824 bytes`,
    );
  });

  test("a file that is not there, and a directory", async () => {
    await expect(read_module(join(directory, "absent.ko"))).rejects.toMatchObject({ code: "bad_input" });
    await expect(read_module(directory)).rejects.toThrow(`${directory}: is not a regular file`);
  });

  test("a small gzip file of 140 MiB", async () => {
    const path = join(directory, "bomb.ko.gz");
    writeFileSync(path, gzipSync(Buffer.alloc(140 * 1024 ** 2)));
    await expect(read_module(path)).rejects.toThrow(
      "is a gzip file of more than a module; at most 134217728 bytes",
    );
  });
});

describe("as distributions ship them", () => {
  const [xz, zst] = ["xz", "zst"].map((kind) => readFileSync(join(FIXTURES, `compressed/cum12.ko.${kind}`)));
  const plain = readFileSync(join(FIXTURES, "6.12/cum12.ko"));
  const gz = gzipSync(plain);
  test.each([
    ["gz", gz],
    ["xz", xz!],
    ["zst", zst!],
  ])("a .ko.%s says what its module says; damaged or cut off, it is refused", async (kind, bytes) => {
    const path = join(directory, `kp.ko.${kind}`);
    writeFileSync(path, bytes);
    expect(manifest_to_json((await read_module(path)).manifest)).toEqual(shown(plain));
    writeFileSync(path, bytes.subarray(0, bytes.length - 60));
    await expect(read_module(path)).rejects.toThrow(`${path}: is damaged or cut off`);
    const damaged = Buffer.from(bytes);
    damaged[1_000]! ^= 1;
    writeFileSync(path, damaged);
    await expect(read_module(path)).rejects.toThrow(`${path}: is damaged or cut off`);
  });
});

describe("the signature at a file's end", () => {
  const plain = readFileSync(join(FIXTURES, "6.12/cum12.ko"));
  interface Signed {
    by: string;
    signer: string;
    digest: string;
    message: string;
  }
  const signed: Signed[] = JSON.parse(readFileSync(join(FIXTURES, "signatures.json"), "utf8"));
  /** As scripts/sign-file.c of the kernel. */
  const with_message = (message: Buffer, size = message.length) => {
    const information = Buffer.alloc(12);
    information[2] = 2;
    information.writeUInt32BE(size, 8);
    return Buffer.concat([plain, message, information, Buffer.from("~Module signature appended~\n")]);
  };

  test.each(signed)("by $by: its signer and digest", ({ signer, digest, message }) => {
    const { signature, ...rest } = shown(with_message(Buffer.from(message, "base64")));
    expect(signature).toEqual({ present: true, signer, digest });
    const { signature: none, ...others } = shown(plain);
    expect(none).toEqual({ present: false });
    expect(rest).toEqual(others);
  });

  test("one that cannot be read is present, and no more is said", () => {
    const [{ message } = { message: "" }] = signed;
    const cut = Buffer.from(message, "base64").subarray(0, 200);
    for (const bytes of [
      with_message(cut),
      with_message(cut, 0xffff_ffff),
      with_message(Buffer.alloc(50, 0x30)),
    ])
      expect(shown(bytes).signature).toEqual({ present: true });
  });
});
