/** What an agent makes of a host: hand-made lines and snapshots, a scenario a sentence. */
import { describe, expect, test } from "vitest";
import {
  type Change,
  type Derived,
  derive,
  type Known,
  type Line,
  observe,
  type ShownModule,
  type ShownPatch,
  type Snapshot,
} from "#services/agent/derive.js";
import { klpstate } from "#services/events/proto.js";
import { PHASE_NAMES } from "./plain_fold.js";

const BOOT = "6b3a1c0e-5d53-4a52-9f6e-0a4a9f0f1b11";
const OTHER_BOOT = "00000000-0000-4000-8000-000000000001";

const on = (name: string, more: Partial<ShownPatch> = {}): ShownPatch => ({
  name,
  enabled: 1,
  transition: 0,
  ...more,
});
const enabling = (name: string) => on(name, { transition: 1 });
const disabling = (name: string) => on(name, { enabled: 0, transition: 1 });
const leaving = (name: string) => on(name, { enabled: 0 });
const module_of = (name: string, more: Partial<ShownModule> = {}): ShownModule => ({
  name,
  refcount: 0,
  state: "Live",
  taints: "(OEK)",
  ...more,
});

/** `modules` newest first. */
function shows(
  patches: ShownPatch[],
  modules: (string | ShownModule)[],
  more: Partial<Snapshot> = {},
): Snapshot {
  return {
    boot_id: BOOT,
    boot_time: 1_790_000_000,
    kernel_release: "6.12.117",
    arch: "x86_64",
    patches,
    modules: modules.map((module) => (typeof module === "string" ? module_of(module) : module)),
    ...more,
  };
}

const reason_name = (reason: number) => klpstate.v1.Reason[reason];
const name_of = (named: { patch?: klpstate.v1.Patch.$Properties | null }) =>
  named.patch ? (named.patch.name ?? "") : "-";

/** A change in one line of text. */
function short(change: Change): string {
  if ("observed" in change) {
    const { stack, lingering, losses } = change.observed;
    return [
      "observed",
      `[${stack!.map((entry) => `${name_of(entry)} ${PHASE_NAMES[entry.phase!]}`).join(", ")}]`,
      `[${lingering!.map((entry) => `${name_of(entry)}${entry.pinned ? " pinned" : ""}`).join(", ")}]`,
      ...losses!.map(({ source }) => `loss ${klpstate.v1.Source[source!]}`),
    ].join(" ");
  }
  if ("replaced" in change)
    return `replaced ${name_of(change.replaced)} left ${change.replaced.left!.map(({ name }) => name)}`;
  if ("reversed" in change)
    return `reversed ${name_of(change.reversed)} to ${PHASE_NAMES[change.reversed.to!]}`;
  if ("forced" in change) return `forced ${name_of(change.forced)} ${PHASE_NAMES[change.forced.phase!]}`;
  if ("refused" in change) return `refused ${name_of(change.refused)} ${reason_name(change.refused.reason!)}`;
  if ("object_changed" in change) {
    const { object, kind } = change.object_changed;
    return `object ${object} of ${name_of(change.object_changed)} ${klpstate.v1.Kind[kind!]}`;
  }
  const [what, of] = Object.entries(change)[0]!;
  return `${what} ${name_of(of)}`;
}

/** A host that an agent looks at now and then. */
class Host {
  known: Known;
  record = 500;

  constructor(snapshot: Snapshot = shows([], [])) {
    this.known = derive(null, snapshot, []).next;
  }

  look(lines: string[], snapshot: Snapshot): Derived {
    const records: Line[] = lines.map((text) => ({ record: this.record++, text }));
    const derived = derive(JSON.parse(JSON.stringify(this.known)), snapshot, records);
    this.known = derived.next;
    return derived;
  }

  tell(lines: string[], snapshot: Snapshot): string[] {
    return this.look(lines, snapshot).changes.map(short);
  }
}

const enable = (name: string) => `livepatch: enabling patch '${name}'`;
const start = (name: string) => `livepatch: '${name}': starting patching transition`;
const patched = (name: string) => `livepatch: '${name}': patching complete`;
const unstart = (name: string) => `livepatch: '${name}': starting unpatching transition`;
const unpatched = (name: string) => `livepatch: '${name}': unpatching complete`;
const load = (name: string) => [enable(name), start(name), patched(name)];
const unload = (name: string) => [unstart(name), unpatched(name)];
const failed = (name: string) => [`livepatch: failed to enable patch '${name}'`, unpatched(name)];
const FORCE = "livepatch: forcing remaining tasks to the patched state";
const INCOMPATIBLE = (name: string) =>
  `livepatch: Livepatch patch (${name}) is not compatible with the already installed livepatches.`;
const NO_SYMBOL = "livepatch: symbol 'no_such_function' not found in symbol table";

describe("a load", () => {
  test("is Loading at its start and Loaded at its end, each told by its own record", () => {
    const host = new Host();
    const derived = host.look(load("a"), shows([on("a")], ["a"]));
    expect(derived.changes.map(short)).toEqual(["loading a", "loaded a"]);
    expect(derived.records).toEqual([501, 502]);
    expect(derived.baseline).toBeUndefined();
  });

  test("that takes long is Loading now and Loaded when the line comes", () => {
    const host = new Host();
    expect(host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]))).toEqual(["loading a"]);
    expect(host.tell([], shows([enabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });

  test("is not Loading by `enabling patch` alone: enabled 0 with transition 1 is pending", () => {
    const host = new Host();
    const a = module_of("a", { refcount: 1, state: "Loading" });
    expect(host.tell([enable("a")], shows([disabling("a")], [a]))).toEqual([]);
    expect(host.known.stack).toEqual([]);
    expect(host.known.lingering).toEqual([]);
    expect(host.tell([start("a"), patched("a")], shows([on("a")], ["a"]))).toEqual(["loading a", "loaded a"]);
  });

  test("is Loading by enabled 1 and transition 1, and its lines may come late", () => {
    const host = new Host();
    expect(host.tell([], shows([enabling("a")], ["a"]))).toEqual(["loading a"]);
    expect(host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });

  test("whose start was printed before `enabled` was set is Loading all the same", () => {
    const host = new Host();
    expect(host.tell([enable("a"), start("a")], shows([disabling("a")], ["a"]))).toEqual(["loading a"]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });

  test("that ended after the log was read is Loaded by the snapshot, and its line is not told twice", () => {
    const host = new Host();
    host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]));
    const derived = host.look([], shows([on("a")], ["a"]));
    expect(derived.changes.map(short)).toEqual(["loaded a"]);
    expect(derived.records).toEqual([null]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual([]);
  });

  test("carries the build id and what sysfs shows of replace", () => {
    const host = new Host();
    const shown = shows([on("a", { replace: 1 })], [module_of("a", { build_id: "ab12" })]);
    const { changes } = host.look(load("a"), shown);
    const patch = { name: "a", build_id: Uint8Array.of(0xab, 0x12) };
    expect(changes).toEqual([{ loading: { patch, replace: true } }, { loaded: { patch, replace: true } }]);
  });

  test("of a name that was loaded before within the interval gives its build id to the last one only", () => {
    const host = new Host();
    const shown = shows([on("a")], [module_of("a", { build_id: "ab12" })]);
    const { changes } = host.look([...load("a"), ...unload("a"), ...load("a")], shown);
    expect(changes.map((change) => Object.values(change)[0].patch.build_id?.length ?? 0)).toEqual([
      0, 0, 0, 0, 0, 2, 2,
    ]);
  });

  test("of a module without taint K is no livepatch", () => {
    const host = new Host();
    expect(host.tell([], shows([], [module_of("e1000", { taints: "" })]))).toEqual([]);
    expect(host.tell([], shows([], []))).toEqual([]);
  });
});

describe("a disable", () => {
  test("is Disabling and Disabled, and the module lingers until it is Removed", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([unstart("a")], shows([disabling("a")], ["a"]))).toEqual(["disabling a"]);
    expect(host.tell([unpatched("a")], shows([], ["a"]))).toEqual(["disabled a"]);
    expect(host.known.lingering).toEqual([{ name: "a", pinned: false }]);
    expect(host.tell([], shows([], []))).toEqual(["removed a"]);
  });

  test("is Disabling by enabled 0 and transition 1 of what was enabled before", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([], shows([disabling("a")], ["a"]))).toEqual(["disabling a"]);
    expect(host.tell([unstart("a"), unpatched("a")], shows([], ["a"]))).toEqual(["disabled a"]);
  });

  test("shows enabled 0 and transition 0 for a moment, which is no event", () => {
    const host = new Host(shows([on("a"), on("b")], ["b", "a"]));
    expect(host.tell(unload("a"), shows([leaving("a"), on("b")], ["b", "a"]))).toEqual([
      "disabling a",
      "disabled a",
    ]);
    expect(host.tell([], shows([on("b")], ["b", "a"]))).toEqual([]);
  });

  test("may be of any patch, and the order of the others stays", () => {
    const host = new Host(shows([on("a"), on("b"), on("c")], ["c", "b", "a"]));
    expect(host.tell(unload("b"), shows([on("c"), on("a")], ["c", "b", "a"]))).toEqual([
      "disabling b",
      "disabled b",
    ]);
    expect(host.known.stack.map(({ name }) => name)).toEqual(["a", "c"]);
  });

  test("that ended after the log was read is Disabled by the snapshot", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([unstart("a")], shows([disabling("a")], ["a"]));
    expect(host.tell([], shows([], ["a"]))).toEqual(["disabled a"]);
    expect(host.tell([unpatched("a")], shows([], ["a"]))).toEqual([]);
  });
});

describe("a replacement", () => {
  test("names exactly the earlier patches that left", () => {
    const host = new Host(shows([on("a"), on("b")], ["b", "a"]));
    expect(host.tell(load("c"), shows([on("c")], ["c", "b", "a"]))).toEqual([
      "loading c",
      "replaced c left a,b",
    ]);
    expect(host.known.lingering.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test("leaves the others on the stack until its transition completes", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([enable("b"), start("b")], shows([on("a"), enabling("b")], ["b", "a"]))).toEqual([
      "loading b",
    ]);
    expect(host.tell([patched("b")], shows([on("b"), leaving("a")], ["b", "a"]))).toEqual([
      "replaced b left a",
    ]);
  });

  test("that is reversed leaves the earlier patches where they were", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([enable("b"), start("b")], shows([on("a"), enabling("b")], ["b", "a"]));
    expect(host.tell([unstart("b"), unpatched("b")], shows([on("a")], ["b", "a"]))).toEqual([
      "reversed b to disabling",
      "disabled b",
    ]);
  });

  test("of a patch that was disabled before does not name it", () => {
    const host = new Host(shows([on("a"), on("b")], ["b", "a"]));
    expect(host.tell([...unload("a"), ...load("c")], shows([on("c")], ["c", "b", "a"]))).toEqual([
      "disabling a",
      "disabled a",
      "loading c",
      "replaced c left b",
    ]);
  });

  test("is told from a load that only came before it by what stayed in between", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const lines = [...load("b"), ...unload("a"), ...load("c")];
    expect(host.tell(lines, shows([on("c")], ["c", "b", "a"]))).toEqual([
      "loading b",
      "loaded b",
      "disabling a",
      "disabled a",
      "loading c",
      "replaced c left b",
    ]);
  });

  test("is told by a replaced patch that is loaded again", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([...load("b"), ...load("a")], shows([on("b"), on("a")], ["a", "b"]))).toEqual([
      "loading b",
      "replaced b left a",
      "removed a",
      "loading a",
      "loaded a",
    ]);
  });

  test("that may have been that of either of two loads is not guessed", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([...load("b"), ...load("c")], shows([on("c")], ["c", "b", "a"]))).toEqual([
      "observed [c enabled] [a, b] loss KERNEL_LOG",
    ]);
  });

  test("that sysfs denies for the later load was the earlier one's", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const shown = shows([on("b", { replace: 1 }), on("c", { replace: 0 })], ["c", "b", "a"]);
    expect(host.tell([...load("b"), ...load("c")], shown)).toEqual([
      "loading b",
      "replaced b left a",
      "loading c",
      "loaded c",
    ]);
  });
});

describe("a reversal", () => {
  test("and its reversal end where the first transition led", () => {
    const host = new Host();
    host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]));
    expect(host.tell([unstart("a")], shows([disabling("a")], ["a"]))).toEqual(["reversed a to disabling"]);
    expect(host.tell([start("a")], shows([enabling("a")], ["a"]))).toEqual(["reversed a to enabling"]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });

  test("twice between two looks is two Reversed", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const lines = [unstart("a"), start("a"), unstart("a"), unpatched("a")];
    expect(host.tell(lines, shows([], ["a"]))).toEqual([
      "disabling a",
      "reversed a to enabling",
      "reversed a to disabling",
      "disabled a",
    ]);
  });

  test("that the log does not tell yet waits for its line", () => {
    const host = new Host();
    host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]));
    expect(host.tell([], shows([disabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([unstart("a")], shows([disabling("a")], ["a"]))).toEqual(["reversed a to disabling"]);
  });

  test("on a host whose log is not read is told by the snapshot", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([], shows([disabling("a")], ["a"]))).toEqual(["disabling a"]);
    expect(host.tell([], shows([enabling("a")], ["a"]))).toEqual(["reversed a to enabling"]);
    expect(host.tell([], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });
});

describe("a transition whose line and `enabled` are not of one moment", () => {
  test("is a load from its line on, though `enabled` is 0 in two looks", () => {
    const host = new Host();
    expect(host.tell([enable("a"), start("a")], shows([disabling("a")], ["a"]))).toEqual(["loading a"]);
    expect(host.tell([], shows([disabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([], shows([enabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([patched("a")], shows([on("a")], ["a"]))).toEqual(["loaded a"]);
  });

  test("is a disable from its line on, though `enabled` is still 1", () => {
    const host = new Host();
    host.tell(load("a"), shows([on("a")], ["a"]));
    expect(host.tell([unstart("a")], shows([enabling("a")], ["a"]))).toEqual(["disabling a"]);
    expect(host.tell([], shows([disabling("a")], ["a"]))).toEqual([]);
    expect(host.tell([unpatched("a")], shows([], ["a"]))).toEqual(["disabled a"]);
  });

  test("is none yet while pre_unpatch runs: enabled 1 with transition 1", () => {
    const host = new Host();
    host.tell(load("a"), shows([on("a")], ["a"]));
    expect(host.tell([], shows([enabling("a")], ["a"]))).toEqual([]);
    expect(host.known.stack.map(({ phase }) => phase)).toEqual(["enabled"]);
  });

  test("is not over while post_patch runs of the patch that replaces, though the earlier one shows 0 and 0", () => {
    const host = new Host();
    host.tell(load("a"), shows([on("a")], ["a"]));
    const replacing = on("b", { transition: 1, replace: 1 });
    host.tell([enable("b"), start("b")], shows([on("a"), replacing], ["b", "a"]));
    expect(host.tell([], shows([leaving("a"), replacing], ["b", "a"]))).toEqual([]);
    expect(host.known.stack.map(({ name, phase }) => `${name} ${phase}`)).toEqual([
      "a enabled",
      "b enabling",
    ]);
    expect(host.tell([patched("b")], shows([on("b", { replace: 1 })], ["b", "a"]))).toEqual([
      "replaced b left a",
    ]);
  });

  test("is over with the line that completes, though `transition` is still 1", () => {
    const host = new Host();
    host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]));
    expect(host.tell([patched("a")], shows([enabling("a")], ["a"]))).toEqual(["loaded a"]);
    expect(host.tell([unstart("a"), unpatched("a")], shows([disabling("a")], ["a"]))).toEqual([
      "disabling a",
      "disabled a",
    ]);
  });
});

describe("forcing", () => {
  test("is Forced of the patch in transition, in its phase", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([enable("b"), start("b")], shows([on("a"), enabling("b")], ["b", "a"]));
    expect(host.tell([FORCE, patched("b")], shows([on("b")], ["b", "a"]))).toEqual([
      "forced b enabling",
      "replaced b left a",
    ]);
    expect(host.tell([unstart("b"), FORCE, unpatched("b")], shows([], ["b", "a"]))).toEqual([
      "disabling b",
      "forced b disabling",
      "disabled b",
    ]);
  });

  test("shows its patch by a line behind it where the transition had ended for the snapshot", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([unstart("a")], shows([disabling("a")], ["a"]));
    host.tell([], shows([], ["a"]));
    expect(host.tell([FORCE, unpatched("a")], shows([], ["a"]))).toEqual(["forced a disabling"]);
  });

  test("survives a hole in the log, for Observed does not carry it", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([unstart("a")], shows([disabling("a")], ["a"]));
    host.record += 3;
    expect(host.tell([FORCE, unpatched("a")], shows([], [module_of("a", { refcount: 1 })]))).toEqual([
      "forced a disabling",
      "observed [] [a] loss KERNEL_LOG",
    ]);
  });

  test("pins what is held at two looks, which only Observed says", () => {
    const held = module_of("a", { refcount: 1 });
    const host = new Host(shows([on("a")], [held]));
    expect(host.tell([unstart("a"), FORCE, unpatched("a")], shows([], [held]))).toEqual([
      "disabling a",
      "forced a disabling",
      "disabled a",
    ]);
    expect(host.known.lingering).toEqual([{ name: "a", pinned: false }]);
    expect(host.tell([], shows([], [held]))).toEqual([]);
    expect(short({ observed: observe(host.known, shows([], [held])) })).toBe("observed [] [a pinned]");
    expect(derive(null, shows([], [held]), []).changes.map(short)).toEqual(["observed [] [a pinned]"]);
  });
});

describe("a refused load is one Refused, with the line that tells why", () => {
  const cases: [name: string, lines: string[], expected: string, telling: number][] = [
    ["states", [INCOMPATIBLE("b")], "b INCOMPATIBLE", 0],
    ["mark", ["livepatch: module b is not marked as a livepatch module"], "b NOT_LIVEPATCH", 0],
    ["symbol", [NO_SYMBOL], "- SYMBOL_MISSING", 0],
    [
      "pre_patch",
      [enable("b"), "livepatch: pre-patch callback failed for object 'vmlinux'", ...failed("b")],
      "b PRE_PATCH",
      1,
    ],
    [
      "ftrace",
      [
        enable("b"),
        "livepatch: failed to register ftrace handler for function 'cmdline_proc_show' (-16)",
        "livepatch: failed to patch object 'vmlinux'",
        ...failed("b"),
      ],
      "b FTRACE",
      1,
    ],
    ["a cause nobody printed", [enable("b"), ...failed("b")], "b OTHER", 1],
    ["signature", ["Loading of unsigned module is rejected"], "- UNSIGNED", 0],
    [
      "lockdown",
      ["Lockdown: init: unsigned module loading is restricted; see man kernel_lockdown.7"],
      "- LOCKDOWN",
      0,
    ],
    ["module_layout", ["b: disagrees about version of symbol module_layout"], "b OTHER_KERNEL", 0],
    [
      "struct module",
      [
        "module b: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time",
      ],
      "b OTHER_KERNEL",
      0,
    ],
    ["vermagic", ["b: version magic '6.1.0 SMP' should be '6.12.1 SMP'"], "b OTHER_KERNEL", 0],
    [
      "imports",
      ["b: Unknown symbol stick_gate (err -2)", "b: Unknown symbol other (err -2)"],
      "b IMPORT_MISSING",
      0,
    ],
    [
      "versions of imports",
      ["b: disagrees about version of symbol x", "b: Unknown symbol x (err -22)"],
      "b OTHER_KERNEL",
      0,
    ],
    ["format", ["Invalid ELF header len 5"], "- OTHER", 0],
  ];
  test.each(cases)("%s", (_, lines, expected, telling) => {
    const host = new Host(shows([on("a")], ["a"]));
    const { changes, baseline } = host.look(lines, shows([on("a")], ["a"]));
    expect(changes.map(short)).toEqual([`refused ${expected}`]);
    expect((changes[0] as { refused: klpstate.v1.Refused.$Properties }).refused.line).toBe(lines[telling]);
    expect(baseline).toBeUndefined();
  });

  test("and none if the kernel printed nothing", () => {
    const host = new Host(shows([on("a")], ["a"]));
    expect(host.tell([], shows([on("a")], ["a"]))).toEqual([]);
  });

  test("also if its lines come in two readings", () => {
    const host = new Host();
    const lines = [enable("b"), "livepatch: pre-patch callback failed for object 'vmlinux'", ...failed("b")];
    const b = module_of("b", { state: "Unloading" });
    for (let cut = 0; cut <= lines.length; cut++) {
      const told = [
        ...host.look(lines.slice(0, cut), shows([], [b])).changes,
        ...host.look(lines.slice(cut), shows([], [])).changes,
      ];
      expect(told.map(short)).toEqual(["refused b PRE_PATCH"]);
    }
  });

  test("and two of the same name are two", () => {
    const host = new Host();
    const imports = ["b: Unknown symbol x (err -2)", "b: Unknown symbol y (err -2)"];
    expect(host.tell([...imports, ...imports], shows([], []))).toEqual([
      "refused b IMPORT_MISSING",
      "refused b IMPORT_MISSING",
    ]);
    expect(host.tell([INCOMPATIBLE("b"), INCOMPATIBLE("b")], shows([], []))).toHaveLength(2);
  });

  test("in the middle of another transition it changes nothing", () => {
    const host = new Host();
    const lines = [enable("a"), start("a"), INCOMPATIBLE("b"), NO_SYMBOL, unstart("a")];
    expect(host.tell(lines, shows([disabling("a")], ["a"]))).toEqual([
      "loading a",
      "refused b INCOMPATIBLE",
      "refused - SYMBOL_MISSING",
      "reversed a to disabling",
    ]);
  });

  test("of a name that lingered comes after its removal", () => {
    const host = new Host(shows([on("a")], ["b", "a"]));
    expect(host.tell([INCOMPATIBLE("b")], shows([on("a")], ["a"]))).toEqual([
      "removed b",
      "refused b INCOMPATIBLE",
    ]);
  });

  test("for another kernel says nothing of the name, which is looked at later", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const line = "a: disagrees about version of symbol module_layout";
    expect(host.tell([line], shows([on("a")], ["a"]))).toEqual(["refused a OTHER_KERNEL"]);
  });

  test("has a name in the kernel's form and a line of at most 512 bytes", () => {
    const host = new Host();
    const line = `klp-dash: Unknown symbol ${"é".repeat(300)} (err -2)`;
    const { changes } = host.look([line], shows([], []));
    const { refused } = changes[0] as { refused: klpstate.v1.Refused.$Properties };
    expect(refused.patch).toEqual({ name: "klp_dash" });
    expect(Buffer.byteLength(refused.line!)).toBe(511);
    expect(line.startsWith(refused.line!)).toBe(true);
  });

  test("of a file that calls itself what no module can be named has no name", () => {
    const line = `${"x".repeat(56)}: version magic 'a' should be 'b'`;
    expect(new Host().tell([line], shows([], []))).toEqual(["refused - OTHER_KERNEL"]);
  });

  test("is not what a target module's load fails with", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const lines = [
      NO_SYMBOL,
      "livepatch: failed to initialize patch 'a' for module 'nfs' (-22)",
      "livepatch: patch 'a' failed for module 'nfs', refusing to load module 'nfs'",
      "livepatch: applying patch 'a' to loading module 'ext4'",
      "livepatch: pre-patch callback failed for object 'ext4'",
      "livepatch: patch 'a' failed for module 'ext4', refusing to load module 'ext4'",
      "livepatch: applying patch 'a' to loading module 'xfs'",
      "livepatch: reverting patch 'a' on unloading module 'xfs'",
    ];
    expect(host.tell(lines, shows([on("a")], ["a"]))).toEqual([
      "object nfs of a REFUSED",
      "object ext4 of a REFUSED",
      "object xfs of a APPLIED",
      "object xfs of a REVERTED",
    ]);
  });
});

describe("a module", () => {
  test("that is loaded, disabled and removed between two looks is told in full", () => {
    const host = new Host();
    expect(host.tell([...load("a"), ...unload("a")], shows([], []))).toEqual([
      "loading a",
      "loaded a",
      "disabling a",
      "disabled a",
      "removed a",
    ]);
  });

  test("that is disabled, removed and loaded again within one interval moves to the top", () => {
    const host = new Host(shows([on("a"), on("b")], ["b", "a"]));
    expect(host.tell([...unload("a"), ...load("a")], shows([on("a"), on("b")], ["a", "b"]))).toEqual([
      "disabling a",
      "disabled a",
      "removed a",
      "loading a",
      "loaded a",
    ]);
    expect(host.known.stack.map(({ name }) => name)).toEqual(["b", "a"]);
  });

  test("that lingers and is being removed lingers until it is gone", () => {
    const host = new Host(shows([], ["a"]));
    expect(host.tell([], shows([], [module_of("a", { state: "Unloading" })]))).toEqual([]);
    expect(host.tell([], shows([], []))).toEqual(["removed a"]);
  });

  test("that lingered and is on its way in again is Removed, and lingers no more", () => {
    const host = new Host(shows([], ["a"]));
    const a = module_of("a", { refcount: 1, state: "Loading" });
    expect(host.tell([enable("a")], shows([disabling("a")], [a]))).toEqual(["removed a"]);
    expect(host.known.lingering).toEqual([]);
    expect(host.tell([start("a")], shows([enabling("a")], [a]))).toEqual(["loading a"]);
  });

  test("that is on its way in is no lingering one", () => {
    const host = new Host();
    expect(host.tell([], shows([], [module_of("a", { state: "Loading" })]))).toEqual([]);
    expect(host.tell(load("a"), shows([on("a")], ["a"]))).toEqual(["loading a", "loaded a"]);
  });
});

describe("Observed and nothing else", () => {
  test("is the first look, in the order of the modules", () => {
    const shown = shows([on("c"), on("a"), enabling("b")], ["b", "x", "a", "c"]);
    const { changes, baseline } = derive(null, shown, []);
    expect(changes.map(short)).toEqual(["observed [c enabled, a enabled, b enabling] [x]"]);
    expect(baseline?.cause).toBe("first");
  });

  test("goes by stack_order where the kernel has it", () => {
    const shown = shows([on("a", { stack_order: 2 }), on("b", { stack_order: 1 })], ["b", "a"]);
    expect(derive(null, shown, []).changes.map(short)).toEqual(["observed [b enabled, a enabled] []"]);
  });

  test("takes enabled 0 with transition 1 for disabling only if a line says so", () => {
    const shown = shows([disabling("a")], ["a"]);
    expect(derive(null, shown, []).changes.map(short)).toEqual(["observed [] []"]);
    const line = { record: 7, text: unstart("a") };
    expect(derive(null, shown, [line]).changes.map(short)).toEqual(["observed [a disabling] []"]);
  });

  test("carries release, arch, boot and policy", () => {
    const policy = { modules_disabled: true };
    const { changes } = derive(null, shows([], [], { policy, livepatching: "not_built" }), []);
    expect(changes).toEqual([
      {
        observed: {
          kernel_release: "6.12.117",
          arch: "x86_64",
          boot_id: Uint8Array.from(Buffer.from(BOOT.replaceAll("-", ""), "hex")),
          boot_time_unix_s: 1_790_000_000,
          livepatching: klpstate.v1.Livepatching.NOT_BUILT,
          stack: [],
          lingering: [],
          policy,
          losses: [],
        },
      },
    ]);
  });

  test("comes with another boot, whatever its lines and records", () => {
    const host = new Host(shows([on("a")], ["a"]));
    host.tell([], shows([on("a")], ["a"]));
    host.record = 3;
    const derived = host.look(load("b"), shows([on("b")], ["b"], { boot_id: OTHER_BOOT }));
    expect(derived.changes.map(short)).toEqual(["observed [b enabled] [] loss KERNEL_LOG"]);
    expect(derived.baseline?.cause).toBe("another_boot");
    expect(host.tell(unload("b"), shows([], ["b"], { boot_id: OTHER_BOOT }))).toEqual([
      "disabling b",
      "disabled b",
    ]);
  });

  test("comes before a refusal and a forcing of the new boot", () => {
    const host = new Host(shows([on("a")], ["a"]));
    const lines = [INCOMPATIBLE("c"), enable("b"), start("b"), FORCE, patched("b")];
    expect(host.tell(lines, shows([on("b")], ["b"], { boot_id: OTHER_BOOT }))).toEqual([
      "observed [b enabled] [] loss KERNEL_LOG",
      "refused c INCOMPATIBLE",
      "forced b enabling",
    ]);
  });

  test("comes with a hole in the records, with the span that was lost", () => {
    const host = new Host(shows([], [], { taken_unix_ms: 1000 }));
    host.tell(load("a"), shows([on("a")], ["a"], { taken_unix_ms: 2000 }));
    host.record += 1;
    const derived = host.look(load("b"), shows([on("b")], ["b", "a"], { taken_unix_ms: 3000 }));
    expect(derived.changes.map(short)).toEqual(["observed [b enabled] [a] loss KERNEL_LOG"]);
    expect((derived.changes[0] as { observed: klpstate.v1.Observed.$Properties }).observed.losses).toEqual([
      { source: klpstate.v1.Source.KERNEL_LOG, from_unix_ms: 2000, to_unix_ms: 3000 },
    ]);
    expect(derived.baseline).toEqual({ cause: "hole", detail: "kernel log records 503 to 503" });
  });

  test("comes with a hole among the lines, and the refusals around it are told", () => {
    const host = new Host();
    const lines = [
      { record: 500, text: INCOMPATIBLE("a") },
      { record: 502, text: INCOMPATIBLE("b") },
    ];
    const { changes, next } = derive(
      derive(host.known, shows([], []), [{ record: 499, text: "" }]).next,
      shows([], []),
      lines,
    );
    expect(changes.map(short)).toEqual([
      "refused a INCOMPATIBLE",
      "refused b INCOMPATIBLE",
      "observed [] [] loss KERNEL_LOG",
    ]);
    expect(next.next_record).toBe(503);
  });

  test("does not come with lines that were read before", () => {
    const host = new Host();
    host.tell(load("a"), shows([on("a")], ["a"]));
    host.record = 500;
    const again = [...load("a"), ...unload("a")];
    expect(host.tell(again, shows([], ["a"]))).toEqual(["disabling a", "disabled a"]);
  });

  const unexplained: [name: string, before: Snapshot, lines: string[], after: Snapshot, expected: string][] =
    [
      ["is there", shows([], []), [], shows([on("a")], ["a"]), "[a enabled] []"],
      ["is gone", shows([on("a")], ["a"]), [], shows([], ["a"]), "[] [a]"],
      ["is gone with its module", shows([on("a")], ["a"]), [], shows([], []), "[] []"],
      ["lingers", shows([], []), [], shows([], ["a"]), "[] [a]"],
      [
        "is another build",
        shows([on("a", { build_id: "01" })], ["a"]),
        [],
        shows([on("a", { build_id: "02" })], ["a"]),
        "[a enabled] []",
      ],
      [
        "has another place",
        shows([on("a", { stack_order: 1 }), on("b", { stack_order: 2 })], ["b", "a"]),
        [],
        shows([on("b", { stack_order: 1 }), on("a", { stack_order: 2 })], ["a", "b"]),
        "[b enabled, a enabled] []",
      ],
      [
        "has another place among the modules",
        shows([on("a"), on("b")], ["b", "a"]),
        [],
        shows([on("a"), on("b")], ["a", "b"]),
        "[b enabled, a enabled] []",
      ],
      ["left without a start", shows([on("a")], ["a"]), [unpatched("a")], shows([], ["a"]), "[] [a]"],
      ["came without a start", shows([], []), [patched("a")], shows([on("a")], ["a"]), "[a enabled] []"],
      [
        "starts beside another",
        shows([on("a")], ["a"]),
        [unstart("a"), ...load("b")],
        shows([on("b")], ["b", "a"]),
        "[b enabled] [a]",
      ],
      ["did not stay", shows([], []), load("a"), shows([], ["a"]), "[] [a]"],
      [
        "is left of two",
        shows([on("a"), on("b")], ["b", "a"]),
        load("c"),
        shows([on("a"), on("c")], ["c", "b", "a"]),
        "[a enabled, c enabled] [b]",
      ],
    ];
  test.each(unexplained)(
    "comes where the lines do not tell why a patch %s",
    (_, before, lines, after, text) => {
      const host = new Host(before);
      const derived = host.look(lines, after);
      expect(derived.changes.map(short)).toEqual([`observed ${text} loss KERNEL_LOG`]);
      expect(derived.baseline?.cause).toBe("unexplained");
      // And it is a baseline: the next look finds nothing new.
      expect(host.tell([], after)).toEqual([]);
    },
  );

  test("without a loss follows the changes when the policy is another", () => {
    const host = new Host();
    const policy = { modules_disabled: true };
    expect(host.tell(load("a"), shows([on("a")], ["a"], { policy }))).toEqual([
      "loading a",
      "loaded a",
      "observed [a enabled] []",
    ]);
    expect(host.tell([], shows([on("a")], ["a"], { policy }))).toEqual([]);
  });

  test("says that a host cannot be read, and what was lost when it can be again", () => {
    const host = new Host(shows([on("a")], ["a"], { taken_unix_ms: 1000 }));
    const unreadable = shows([], [], { livepatching: "unreadable", taken_unix_ms: 2000 });
    expect(host.tell([], unreadable)).toEqual(["observed [] []"]);
    expect(host.tell([INCOMPATIBLE("b")], unreadable)).toEqual(["refused b INCOMPATIBLE"]);
    const { changes } = host.look([], shows([on("a")], ["a"], { taken_unix_ms: 3000 }));
    expect(changes.map(short)).toEqual(["observed [a enabled] [] loss SNAPSHOT"]);
    expect((changes[0] as { observed: klpstate.v1.Observed.$Properties }).observed.losses![0]).toMatchObject({
      from_unix_ms: 1000,
      to_unix_ms: 3000,
    });
  });
});

test("what is known is as before when it went through JSON, and calls do not change it", () => {
  const host = new Host();
  host.tell([enable("a"), start("a")], shows([enabling("a")], ["a"]));
  const before = JSON.stringify(host.known);
  derive(host.known, shows([on("a")], ["a"]), [{ record: host.record, text: patched("a") }]);
  expect(JSON.stringify(host.known)).toBe(before);
});

test("every change is one that protobuf encodes and decodes to the same", () => {
  const host = new Host(shows([on("a")], ["a"]));
  const lines = [...load("b"), unstart("b"), FORCE, start("b"), patched("b"), INCOMPATIBLE("c")];
  const { changes } = host.look(lines, shows([on("b")], ["b", "a"]));
  expect(changes).toHaveLength(7);
  for (const change of changes) {
    const decoded = klpstate.v1.HostEvent.decode(klpstate.v1.HostEvent.encode(change).finish());
    expect(decoded.change).toBe(Object.keys(change)[0]);
  }
});
