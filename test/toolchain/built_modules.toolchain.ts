/** Modules that a compiler and a linker laid out, from sources like those of each builder (gcc, ld, strip). */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { read_module } from "#services/catalog/module/read_module.js";
import { manifest_to_json } from "#services/events/json.js";

const SOURCES = join(import.meta.dirname, "src");
const LEVELS = ["-O0", "-O2", "-Os -ffunction-sections -fdata-sections"];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-toolchain-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The sources as one module. `strip`: what strip(1) is told. */
function build(sources: string[], level: string, defines: string[] = [], strip: string[] = ["-g"]): string {
  const objects = [...sources, "module.c"].map((source) => {
    const object = join(directory, source.replace(/\.c$/, ".o"));
    const flags = [
      "-c",
      "-g",
      "-ffreestanding",
      "-fno-pic",
      "-mcmodel=kernel",
      "-Wno-unused",
      ...level.split(" "),
    ];
    execFileSync("gcc", [...flags, ...defines, "-o", object, join(SOURCES, source)]);
    return object;
  });
  const module = join(directory, "built.ko");
  execFileSync("ld", ["-r", "--build-id=sha1", "-o", module, ...objects]);
  execFileSync("strip", [...strip, module]);
  return module;
}

async function read(module: string) {
  const reading = await read_module(module);
  return { ...reading, json: manifest_to_json(reading.manifest) };
}

const FUNCTIONS = [
  { object: "vmlinux", name: "first" },
  { object: "vmlinux", name: "second", position: "2" },
  { object: "ext4", name: "third" },
];

describe.each(LEVELS)("built with %s", (level) => {
  test.each([["-g"], ["--strip-unneeded"]])("a klp_patch that is data, after strip %s", async (strip) => {
    const { json, objects, has_callbacks } = await read(build(["static_patch.c"], level, [], [strip]));
    expect(json).toMatchObject({
      name: "built",
      replace: true,
      states: [
        { id: "1", version: 3, has_data: true },
        { id: "18446744073709551615", version: 0 },
      ],
      functions: FUNCTIONS,
      has_exit: true,
      builder: "static",
      build_id: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
    expect([objects, has_callbacks]).toEqual([["vmlinux", "ext4", "xfs"], true]);
  });

  test("kpatch-build's tables", async () => {
    const { json, has_callbacks, replace_is_told } = await read(build(["kpatch_patch.c"], level));
    expect(json).toMatchObject({
      builder: "kpatch_build",
      functions: [{ object: "vmlinux", name: "first", position: "1" }, FUNCTIONS[2]],
      has_exit: true,
    });
    expect(json).not.toHaveProperty("states");
    expect(json).not.toHaveProperty("states_unknown");
    expect([has_callbacks, replace_is_told]).toEqual([true, false]);
  });

  test.each([
    ["__klp_objects", "__klp_funcs"],
    [".init.klp_objects", ".init.klp_funcs"],
  ])("klp-build's tables, in %s", async (objects_section, funcs_section) => {
    const defines = [`-DKLP_OBJECTS="${objects_section}"`, `-DKLP_FUNCS="${funcs_section}"`];
    const sources = ["klp_vmlinux.c", "klp_ext4.c", "klp_init.c"];
    const { json, has_callbacks, replace_is_told } = await read(build(sources, level, defines));
    expect(json).toMatchObject({ builder: "klp_build", functions: FUNCTIONS, has_exit: true });
    expect(json).not.toHaveProperty("states");
    expect(json).not.toHaveProperty("states_unknown");
    expect([has_callbacks, replace_is_told]).toEqual([true, false]);
  });

  test("of a builder that is not known, its states are not known", async () => {
    const { json } = await read(build(["unknown_patch.c"], level));
    expect(json).toMatchObject({ builder: "other", states_unknown: true });
  });
});
