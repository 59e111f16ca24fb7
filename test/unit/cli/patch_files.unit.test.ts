/** The commands about patches' files, which need no fleet: read, add, compare, lint, conform modules. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ModuleModel, start_module, write_module } from "../catalog/elf_writer.js";
import { run_captured } from "./captured_terminal.js";

const KO = join(import.meta.dirname, "../../fixtures/kernel/ko");
const ko = (name: string) => join(KO, `6.12/${name}.ko`);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-patch-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}
const module_file = (model: ModuleModel & { name: string }) =>
  file(`${model.name}.ko`, write_module(model).bytes());

async function json_of(args: string[]): Promise<{ code: number; lines: Record<string, unknown>[] }> {
  const { code, out, err } = await run_captured([...args, "--json"]);
  expect(err).toBe("");
  return {
    code,
    lines: out
      .trim()
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line)),
  };
}

/** As kpatch-build leaves one: whether it replaces is in its code. */
function kpatch_file(name: string): string {
  const elf = start_module({ name });
  const entry = [elf.code(), 16n, 0n, 16n, 0n, elf.text("cmdline_proc_show"), elf.text("vmlinux")];
  elf.data(entry, { section: ".kpatch.funcs" });
  return file(`${name}.ko`, elf.bytes());
}

describe("patch read and patch add", () => {
  test("what read prints as JSON is what add publishes, from the module or from the JSON", async () => {
    const { lines } = await json_of(["patch", "read", ko("cum12"), join(KO, "6.1/nc64.ko")]);
    const json = file("catalog.ndjson", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const registry = join(directory, "registry");
    const added = await run_captured(["patch", "add", ko("cum12"), "--data", registry]);
    expect(added).toMatchObject({ code: 0, err: "" });
    expect(added.out).toMatch(/^published cum12@d90e13fed7a1… for 6\.12\.117\+deb12-cloud-amd64 x86_64\n$/);
    const again = await run_captured(["patch", "add", json, "--data", registry]);
    expect([again.code, again.out.split("\n").map((line) => line.split(" ")[0])]).toEqual([
      0,
      ["known", "published", ""],
    ]);
  });

  test("a sidecar and options tell what the file cannot; an option wins", async () => {
    const path = module_file({ name: "kp_2" });
    file(
      "kp_2.yaml",
      "advisories: [CVE-2026-1, CVE-2026-2]\nreleased: 2026-03-01\nnotes: |\n  two lines\n  of notes\nirreversible: frees memory\n",
    );
    const { lines } = await json_of(["patch", "read", path, "--irreversible", "shadow data stays"]);
    expect(lines[0]).toMatchObject({
      advisories: ["CVE-2026-1", "CVE-2026-2"],
      // date -u -d 2026-03-01 +%s
      released_unix_s: "1772323200",
      notes: "two lines\nof notes\n",
      irreversible: "shadow data stays",
    });
  });

  test.each([
    [
      "advisory: CVE-1\n",
      /kp_2\.yaml: .*advisory.*one of replace, advisories, released, notes, irreversible/,
    ],
    ["advisories: CVE-1\n", /kp_2\.yaml: advisories: /],
    ["notes: a\nnotes: b\n", /kp_2\.yaml: is no YAML: Map keys must be unique at line 2, column 1\n$/],
    ["released: yesterday\n", /kp_2\.ko: released: .*yesterday.* is no time/],
    [
      "replace: true\n",
      /kp_2\.ko: replace: true contradicts the module, whose klp_patch says false; leave it out/,
    ],
  ])("a sidecar that says %j is refused by name", async (yaml, says) => {
    const path = module_file({ name: "kp_2" });
    file("kp_2.yaml", yaml);
    const { code, err } = await run_captured(["patch", "read", path]);
    expect(code).toBe(2);
    expect(err).toMatch(says);
  });

  test("a sidecar that is no file is refused, not waited for; one that is no text is refused too", async () => {
    const path = module_file({ name: "kp_2" });
    const sidecar = join(directory, "kp_2.yaml");
    const read = () => run_captured(["patch", "read", path]);
    execFileSync("mkfifo", [sidecar]);
    expect(await read()).toMatchObject({ code: 2, err: `klpstate: ${sidecar}: is not a regular file\n` });
    rmSync(sidecar);
    file("kp_2.yaml", Buffer.from("notes: \xff\n", "latin1"));
    expect(await read()).toMatchObject({ code: 2, err: `klpstate: ${sidecar}: is no UTF-8\n` });
  });

  test("a module whose code alone says whether it replaces is read with a warning, and published only when that is told", async () => {
    const path = kpatch_file("kpatch_1");
    const read = await run_captured(["patch", "read", path]);
    expect(read.code).toBe(0);
    expect(read.out).toContain("builder    kpatch-build");
    expect(read.out).toContain("replace    not told: it is in the module's code only\n");
    expect(read.err).toBe(
      `klpstate: ${path}: whether it replaces other patches is in its code only: say --replace or --no-replace\n`,
    );
    const add = ["patch", "add", path, "--data", join(directory, "registry")];
    const refused = await run_captured(add);
    expect([refused.code, refused.err]).toEqual([
      2,
      expect.stringContaining("say --replace or --no-replace"),
    ]);
    expect(await run_captured([...add, "--replace"])).toMatchObject({ code: 0, err: "" });
  });

  test("what read prints of such a module as JSON is published only where it was told, whichever way", async () => {
    const path = kpatch_file("kpatch_1");
    const registry = join(directory, "registry");
    const read = async (...told: string[]) => {
      const { out } = await run_captured(["patch", "read", "--json", path, ...told]);
      return ["patch", "add", file("kpatch_1.json", out), "--data", registry];
    };
    expect(await run_captured(await read())).toMatchObject({
      code: 2,
      err: expect.stringContaining("kpatch_1.json: replace: is missing; true or false"),
    });
    expect(await run_captured(await read("--no-replace"))).toMatchObject({ code: 0, err: "" });
  });

  test("a module of a builder that nobody knows is published with unknown states, and needs no more", async () => {
    const path = file("odd.ko", start_module({ name: "odd" }).bytes());
    const added = await run_captured(["patch", "add", path, "--data", join(directory, "registry")]);
    expect(added.code).toBe(0);
    expect(added.err).toBe(
      `klpstate: ${path}: its klp_patch is not in the file, and its builder is not known: its states are not known either\n`,
    );
    const shown = await json_of(["patch", "show", "odd", "--data", join(directory, "registry")]);
    expect(shown.lines[0]).toMatchObject({ manifest: { builder: "other", states_unknown: true } });
  });

  test("no livepatch, and options for JSON: exit code 2, the file and what to do", async () => {
    const driver = file("driver.ko", start_module({ marked: false }).bytes());
    const manifest = file("kp.json", "{}");
    for (const [args, says] of [
      [["patch", "read", driver], `${driver}: is no livepatch: its modinfo has no livepatch=Y`],
      [
        ["patch", "add", manifest, "--notes", "x"],
        `${manifest}: is JSON, which says by itself what notes would`,
      ],
      // As a build script gives it from a variable that is not set.
      [
        ["patch", "read", ko("cum1"), "--advisory", ""],
        "'--advisory <id>' argument '' is invalid. It is empty.",
      ],
    ] as const) {
      const { code, out, err } = await run_captured([...args]);
      expect([code, out]).toEqual([2, ""]);
      expect(err).toContain(says);
    }
  });
});

describe("several files", () => {
  test.each(["add", "compare"])(
    "patch %s reads one after the other, and names the first that is wrong",
    async (command) => {
      const cut = file("cut.ko.xz", readFileSync(join(KO, "compressed/cum12.ko.xz")).subarray(0, 1_000));
      const files = [cut, join(directory, "absent.ko")];
      const { code, err } = await run_captured(["patch", command, ...files]);
      expect([code, err]).toEqual([2, expect.stringContaining("cut.ko.xz: is damaged or cut off")]);
    },
  );
});

describe("patch compare", () => {
  test("a newer cumulative patch may be loaded over an older one, and not the other way round", async () => {
    const { code, lines } = await json_of(["patch", "compare", ko("cum1"), ko("cbc")]);
    expect(code).toBe(0);
    expect(lines[0]).toMatchObject({
      may_load: true,
      forth: { verdict: "ok", replaces: ["cum1"] },
      back: { verdict: "incompatible", conflict: { state: "1", holder: "cbc", held: 3, offered: 1 } },
      changes: {
        states: {
          kept: [],
          updated: [{ id: "1", from: 1, to: 3 }],
          added: [
            { id: "2", version: 1 },
            { id: "3", version: 4 },
          ],
          dropped: [],
        },
      },
    });
    const back = await run_captured(["patch", "compare", ko("cbc"), ko("cum1")]);
    expect(back.code).toBe(1);
    expect(back.out).toMatch(
      /^MAY NOT BE LOADED: cum1 over cbc\n {2}state 1: cbc holds version 3, cum1 offers 1\n/,
    );
  });

  test("over a stack: what a replacing patch drops, and what a plain one leaves as it is", async () => {
    const [one, two] = [
      module_file({
        name: "one",
        states: [[5n, 1]],
        objects: [{ name: "ext4", functions: [{ name: "a" }, { name: "b", position: 2n }] }],
      }),
      file(
        "two.json",
        '{"name":"two","kernel_release":"6.12.117+deb12-cloud-amd64","arch":"x86_64","advisories":["CVE-1"]}',
      ),
    ];
    const model = {
      name: "new",
      states: [[5n, 1]] as [bigint, number][],
      objects: [{ name: "ext4", functions: [{ name: "a" }] }],
    };
    const replacing = await json_of(["patch", "compare", one, two, module_file({ ...model, replace: true })]);
    expect(replacing).toMatchObject({
      code: 0,
      lines: [
        {
          back: null,
          changes: {
            functions: { kept: ["ext4:a"], added: [], dropped: ["ext4:b,2"] },
            states: { kept: [{ id: "5", version: 1 }], updated: [], added: [], dropped: [] },
            advisories: { kept: [], added: [], dropped: ["CVE-1"] },
          },
        },
      ],
    });
    const plain = await json_of(["patch", "compare", one, two, module_file(model)]);
    expect(plain.lines[0]).toMatchObject({
      forth: { replaces: [] },
      changes: {
        functions: { kept: ["ext4:a", "ext4:b,2"], dropped: [] },
        advisories: { kept: ["CVE-1"], dropped: [] },
      },
    });
  });

  test.each([
    ["another build of the name", ["cum1.ko", { name: "cum1" }], "name_taken"],
    ["a patch for another kernel", ["x.ko", { name: "x", release: "6.1.0" }], "other_kernel"],
  ] as const)("%s may not be loaded", async (_, [name, model], verdict) => {
    const path = file(name, write_module(model).bytes());
    const { code, lines } = await json_of(["patch", "compare", ko("cum1"), path]);
    expect([code, (lines[0]!.forth as { verdict: string }).verdict]).toEqual([1, verdict]);
  });

  test("states that are not known give no yes", async () => {
    const path = file("odd.ko", start_module({ name: "odd" }).bytes());
    const { code, out } = await run_captured(["patch", "compare", ko("cum1"), path]);
    expect(code).toBe(1);
    expect(out).toContain("odd@0badcafe: its manifest does not tell its states");
    expect(out).toContain("states: not known");
  });

  test("a module that does not tell whether it replaces gets no answer, unless nothing is below it", async () => {
    const path = kpatch_file("kpatch_1");
    for (const files of [
      [ko("cum1"), path],
      [path, ko("cum1")],
    ]) {
      const { code, out, err } = await run_captured(["patch", "compare", ...files]);
      expect([code, out]).toEqual([2, ""]);
      expect(err).toContain(`${path}: whether it replaces other patches is in its code only; say replace:`);
    }
    expect(await run_captured(["patch", "compare", path, ko("nc1v1"), ko("cum12")])).toMatchObject({
      code: 0,
    });
    file("kpatch_1.yaml", "replace: true\n");
    const { code, lines } = await json_of(["patch", "compare", ko("cum1"), path]);
    expect([code, lines[0]!.forth]).toEqual([1, expect.objectContaining({ verdict: "incompatible" })]);
  });

  test("what can be no stack is no question", async () => {
    for (const [files, says] of [
      [[ko("cum1")], "give OLD... and NEW"],
      [[ko("cum1"), ko("cum1"), ko("cum2")], "cum1 is twice among OLD..."],
      [[ko("cum1"), join(KO, "7.3/cbc.ko"), ko("cum2")], "give patches of one kernel"],
      [[ko("nc1v1"), ko("cum1"), ko("nctwo"), ko("cum12")], "cum1 replaces nc1v1; give of OLD... what is on"],
    ] as const)
      expect(await run_captured(["patch", "compare", ...files])).toMatchObject({
        code: 2,
        err: expect.stringContaining(says),
      });
  });
});

describe("patch lint", () => {
  const codes = async (args: string[]) => {
    const { code, out } = await run_captured(["patch", "lint", ...args, "--json"]);
    return [
      code,
      out
        .trim()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line).code),
    ];
  };
  const clean: ModuleModel & { name: string } = {
    name: "clean",
    replace: true,
    states: [[1n, 3]],
    objects: [{ name: null, functions: [{ name: "a" }], callbacks: true }],
  };

  test.each<[string, ModuleModel, string[]]>([
    ["nothing", {}, []],
    [
      "an id twice",
      {
        states: [
          [1n, 1],
          [2n, 1],
          [1n, 2],
        ],
      },
      ["id_twice"],
    ],
    [
      "id 0 inside the array",
      {
        states: [
          [1n, 1],
          [0n, 0],
          [2n, 2],
        ],
        symbols: true,
      },
      ["id_0_inside"],
    ],
    ["states without callbacks", { objects: [{ name: null, functions: [{ name: "a" }] }] }, ["no_callbacks"]],
    ["no module exit", { exit: false }, ["no_exit"]],
    ["no mark", { marked: false }, ["not_marked"]],
    ["no object", { objects: [] }, ["no_callbacks", "no_objects"]],
  ])("%s", async (_, model, expected) => {
    expect(await codes([module_file({ ...clean, ...model })])).toEqual([
      expected.length === 0 ? 0 : 1,
      expected,
    ]);
  });

  test("beside a catalog: states dropped and lowered, a plain patch beside cumulative ones, a taken name", async () => {
    const registry = join(directory, "registry");
    const others = ["cum12", "cbc"].map(ko);
    // Of another kernel: not its business.
    await run_captured(["patch", "add", ...others, join(KO, "6.1/nc64.ko"), "--data", registry]);
    const beside = (model: ModuleModel) => codes([module_file({ ...clean, ...model }), "--data", registry]);
    const full: ModuleModel["states"] = [
      [1n, 3],
      [2n, 1],
      [3n, 4],
    ];
    expect(await beside({ states: full })).toEqual([0, []]);
    expect(
      await beside({
        states: [
          [1n, 3],
          [2n, 1],
        ],
      }),
    ).toEqual([1, ["drops_state"]]);
    expect(
      await beside({
        states: [
          [1n, 2],
          [2n, 1],
          [3n, 4],
        ],
      }),
    ).toEqual([1, ["lowers_version"]]);
    expect(await beside({ states: [[9n, 1]], replace: false })).toEqual([1, ["not_cumulative"]]);
    expect(await beside({ states: full, name: "cum12" })).toEqual([1, ["name_taken"]]);
  });

  test("whether it replaces not told: that, and nothing that would depend on it", async () => {
    const registry = join(directory, "registry");
    await run_captured(["patch", "add", ko("cum1"), "--data", registry]);
    const path = kpatch_file("kpatch_1");
    expect(await codes([path, "--data", registry])).toEqual([1, ["replace_not_told"]]);
    const odd = file("odd.ko", start_module({ name: "odd" }).bytes());
    expect(await codes([odd, "--data", registry])).toEqual([1, ["states_unknown"]]);
    file("kpatch_1.yaml", "replace: false\n");
    expect(await codes([path, "--data", registry])).toEqual([1, ["not_cumulative"]]);
  });

  test("beside builds of one name, of which one has no build id: each is named, as check takes it", async () => {
    const old = {
      name: "old",
      kernel_release: "6.12.117+deb12-cloud-amd64",
      arch: "x86_64",
      states: [{ id: "1", version: 4 }],
    };
    const build_id = "ab12".repeat(10);
    const catalog = [old, { ...old, build_id }].map((manifest) => `${JSON.stringify(manifest)}\n`).join("");
    const registry = join(directory, "registry");
    await run_captured(["patch", "add", file("old.ndjson", catalog), "--data", registry]);
    const { lines } = await json_of(["patch", "lint", module_file(clean), "--data", registry]);
    expect(lines).toMatchObject([
      { code: "lowers_version", against: "old" },
      { code: "lowers_version", against: `old@${build_id}` },
    ]);
  });

  test("a patch is not held against itself", async () => {
    const registry = join(directory, "registry");
    const path = module_file(clean);
    await run_captured(["patch", "add", path, "--data", registry]);
    expect(await codes([path, "--data", registry])).toEqual([0, []]);
  });
});

describe("conform modules", () => {
  test("every module is as recorded", async () => {
    const { code, out } = await run_captured(["conform", "modules", KO]);
    expect([code, out]).toEqual([0, "12 passed, 0 failed\n"]);
  });

  test("a module that is not as recorded, and one that is none, are named", async () => {
    const [recorded] = JSON.parse(readFileSync(join(KO, "manifest.json"), "utf8"));
    file("a.ko", readFileSync(join(KO, recorded.file)));
    file("b.ko", "no module");
    const states = [...recorded.states_seen_by_kernel, { id: "3", version: 1 }];
    const wrong = { ...recorded, file: "a.ko", states_seen_by_kernel: states };
    file(
      "manifest.json",
      JSON.stringify([{ ...recorded, file: "a.ko" }, wrong, { ...recorded, file: "b.ko" }]),
    );
    const { code, out } = await run_captured(["conform", "modules", directory]);
    expect(code).toBe(1);
    expect(out).toContain("  a.ko, states_seen_by_kernel\n    recorded 1:2 2:1 3:1\n    klpstate 1:2 2:1\n");
    expect(out).toContain("b.ko: has 9 bytes and is no ELF file");
    expect(out).toMatch(/\n1 passed, 2 failed\n$/);
  });

  test("a directory without manifest.json is no question", async () => {
    expect(await run_captured(["conform", "modules", directory])).toMatchObject({ code: 2 });
  });
});
