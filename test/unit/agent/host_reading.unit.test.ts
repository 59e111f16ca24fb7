/** The agent's eyes: files of a host, the kernel's log, tasks, and what they look like where they cannot be read. */
import { execFileSync } from "node:child_process";
import { appendFileSync, closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { container_sign, host_identity } from "#services/agent/container.js";
import { build_id_of_notes, HostReader, host_root, TornRead } from "#services/agent/host_files.js";
import { Kmsg, type KmsgFile, open_kmsg, read_record } from "#services/agent/kmsg.js";
import { errno_of_insmod, is_silent_refusal } from "#services/agent/loader.js";
import { next_daily_ms, retry_after_ms } from "#services/agent/pace.js";
import { HeldModules } from "#services/agent/pinned.js";
import type { Snapshot } from "#services/agent/snapshot.js";
import { check_sources } from "#services/agent/sources.js";
import { READS_MAX, stable_snapshot } from "#services/agent/stable_snapshot.js";
import { StallClock, TASKS_MAX, tasks_holding_up } from "#services/agent/stalled.js";
import { BOOT, BOOT_TIME_S, build_id_note, HostTree, host, module_of, on } from "./host_tree.js";
import { errno, temporary_directory, WatchedHost } from "./watch_fixtures.js";

const MACHINE = { kernel_release: "5.10.0", arch: "riscv64" };

describe("a host's files", () => {
  const shown = host(
    [on("kp_1"), on("kp_2", { transition: 1, replace: 1, stack_order: 2 })],
    [
      module_of("kp_2", { refcount: 1, build_id: "0011" }),
      module_of("kp_1", { refcount: 1, build_id: "aabbcc" }),
      module_of("gone", { taints: "(K)" }),
    ],
    { policy: { modules_disabled: true, signature_required: false, ftrace_off: true } },
  );

  test("are what the kernel shows: patches, livepatch modules with build ids, boot, policy", () => {
    const tree = new HostTree(temporary_directory(), shown);
    const read = new HostReader(host_root(tree.root), MACHINE).read();
    expect(read).toMatchObject({
      boot_id: BOOT,
      boot_time: BOOT_TIME_S,
      kernel_release: "6.12.117",
      arch: "x86_64",
      livepatching: "supported",
      policy: { modules_disabled: true, signature_required: false, ftrace_off: true },
    });
    expect([...read.patches].sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
      { name: "kp_1", enabled: 1, transition: 0 },
      { name: "kp_2", enabled: 1, transition: 1, replace: 1, stack_order: 2 },
    ]);
    // ext4, which is there as well, is no livepatch.
    expect(read.modules).toEqual(shown.modules);
  });

  test("without an arch and a release are those of the kernel that runs here", () => {
    const watched = new WatchedHost(shown);
    watched.unreadable.set("/proc/sys/kernel/arch", "ENOENT").set("/proc/sys/kernel/osrelease", "ENOENT");
    expect(new HostReader(watched.root(), MACHINE).read()).toMatchObject(MACHINE);
  });

  test.each([
    ["[none] integrity confidentiality", false],
    ["none [integrity] confidentiality", true],
    ["none integrity [confidentiality]", true],
  ])("say whether only signed modules are taken: lockdown %s", (text, signature_required) => {
    const root = host_root("/");
    const locked = { ...root, text: (path: string) => (path.endsWith("lockdown") ? `${text}\n` : "") };
    expect(new HostReader(locked, MACHINE).read().policy).toMatchObject({ signature_required });
  });

  test("of a patch that vanishes while they are read belong to no instant", () => {
    for (const code of ["ENOENT", "ENODEV"]) {
      const watched = new WatchedHost(shown);
      watched.unreadable.set("/sys/kernel/livepatch/kp_1/transition", code);
      expect(() => new HostReader(watched.root(), MACHINE).read()).toThrow(TornRead);
    }
  });

  test("of a module that was loaded anew have its new build id, though the name is the same", () => {
    const tree = new HostTree(temporary_directory(), shown);
    const reader = new HostReader(host_root(tree.root), MACHINE);
    expect(reader.read().modules[1]!.build_id).toBe("aabbcc");
    tree.show({ ...shown, modules: [module_of("kp_1", { build_id: "dd" })] });
    expect(reader.read().modules[0]!.build_id).toBe("dd");
  });

  test("at a glance differ where a patch came, went, or was loaded again", () => {
    const tree = new HostTree(temporary_directory(), shown);
    const reader = new HostReader(host_root(tree.root), MACHINE);
    const glance = reader.glance();
    expect(reader.glance()).toBe(glance);
    tree.show(shown);
    expect(reader.glance()).not.toBe(glance);
  });
});

describe("a build id", () => {
  test("is found behind other notes, and of either byte order", () => {
    const little = build_id_note("0123456789abcdef");
    const other = Buffer.from([4, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, ...Buffer.from("Linu"), 9, 9, 0, 0]);
    expect(build_id_of_notes(Buffer.concat([other, little]))).toBe("0123456789abcdef");
    const big = Buffer.from(little);
    for (const at of [0, 4, 8]) big.writeUInt32BE(little.readUInt32LE(at), at);
    expect(build_id_of_notes(big)).toBe("0123456789abcdef");
  });

  test("is none in what is cut off or is no note", () => {
    const note = build_id_note("0123456789abcdef");
    for (let end = 0; end < note.length; end++)
      expect(build_id_of_notes(note.subarray(0, end))).toBeUndefined();
    expect(build_id_of_notes(Buffer.alloc(64, 0xff))).toBeUndefined();
  });

  test("is none where it is longer than an event may have, which would keep all others from being taken", () => {
    expect(build_id_of_notes(build_id_note("ab".repeat(64)))).toBe("ab".repeat(64));
    expect(build_id_of_notes(build_id_note("ab".repeat(65)))).toBeUndefined();
  });
});

describe("a stable snapshot", () => {
  const reading = (...reads: (Snapshot | "torn")[]) => {
    let count = 0;
    const taken = stable_snapshot(
      () => {
        const read = reads[Math.min(count++, reads.length - 1)]!;
        if (read === "torn") throw new TornRead("kp_1");
        return read;
      },
      () => count,
    );
    return { taken, count };
  };
  const [a, b] = [host([on("a")]), host([on("b")])];

  test("is what two readings in a row agree on, as of when the second began", () => {
    expect(reading(a, a)).toEqual({ taken: { ...a, taken_unix_ms: 1 }, count: 2 });
    expect(reading(a, b, b).taken).toMatchObject({ patches: b.patches, taken_unix_ms: 2 });
    expect(reading(a, "torn", a, a).count).toBe(4);
  });

  test("is none where the readings never agree, after a bounded number of them", () => {
    expect(reading("torn")).toEqual({ taken: null, count: READS_MAX });
    expect(reading(a, b, a, b, a, b, a, b, a, b)).toEqual({ taken: null, count: READS_MAX });
  });
});

describe("the kernel's log", () => {
  test("is read record by record; what user space wrote has no text, and a dictionary is no record", () => {
    expect(read_record("6,339,5140900,-;livepatch: 'a': patching complete")).toEqual({
      record: 339,
      text: "livepatch: 'a': patching complete",
    });
    expect(read_record("4,340,5140901,-,caller=T1;a; b")).toEqual({ record: 340, text: "a; b" });
    // Facility 1 is the user's: anybody who may write the device could say that a patch is enabled.
    expect(read_record("12,341,5140902,-;livepatch: 'a': patching complete")).toEqual({
      record: 341,
      text: "",
    });
    expect(read_record(" SUBSYSTEM=pci")).toBeNull();
    expect(read_record("")).toBeNull();
  });

  const device = (...reads: (string | NodeJS.ErrnoException)[]): KmsgFile => ({
    read(into) {
      const next = reads.shift() ?? errno("EAGAIN");
      if (typeof next !== "string") throw next;
      return Buffer.from(next).copy(into);
    },
    close() {},
  });

  test("of a device ends where nothing is new, and goes on behind a ring that was overrun", () => {
    const kmsg = new Kmsg(() =>
      device(
        "6,1,0,-;one\n",
        errno("EPIPE"),
        "6,9,0,-;nine\n KEY=value\n",
        errno("EAGAIN"),
        "6,10,0,-;ten\n",
      ),
    );
    expect(kmsg.read()).toEqual({
      lines: [
        { record: 1, text: "one" },
        { record: 9, text: "nine" },
      ],
      errno: null,
    });
    expect(kmsg.read().lines).toEqual([{ record: 10, text: "ten" }]);
    expect(kmsg.read()).toEqual({ lines: [], errno: null });
  });

  test("that may not be read says so, and is opened anew each time", () => {
    let opened = 0;
    const kmsg = new Kmsg(() => {
      opened++;
      if (opened < 3) throw errno("EPERM");
      return device("6,1,0,-;one\n");
    });
    expect(kmsg.read()).toEqual({ lines: [], errno: "EPERM" });
    expect(kmsg.read()).toEqual({ lines: [], errno: "EPERM" });
    expect(kmsg.read().lines).toHaveLength(1);
  });

  test("may be a file that grows, also in the middle of a record", () => {
    const path = join(temporary_directory(), "kmsg");
    writeFileSync(path, "6,1,0,-;one\n6,2,0,-;tw");
    const kmsg = new Kmsg(() => open_kmsg(path));
    expect(kmsg.read().lines).toEqual([{ record: 1, text: "one" }]);
    appendFileSync(path, "o\n");
    expect(kmsg.read().lines).toEqual([{ record: 2, text: "two" }]);
    kmsg.close();
  });

  test("may be a FIFO, with or without somebody who writes to it", () => {
    const path = join(temporary_directory(), "kmsg");
    execFileSync("mkfifo", [path]);
    const kmsg = new Kmsg(() => open_kmsg(path));
    expect(kmsg.read()).toEqual({ lines: [], errno: null });
    const writer = openSync(path, "w");
    expect(kmsg.read()).toEqual({ lines: [], errno: null });
    writeSync(writer, "6,1,0,-;one\n");
    expect(kmsg.read().lines).toEqual([{ record: 1, text: "one" }]);
    closeSync(writer);
    kmsg.close();
  });
});

describe("a module without its patch", () => {
  const held = host([], [module_of("a", { refcount: 1 }), module_of("b")]);
  const refcounts = (snapshot: Snapshot) => snapshot.modules.map(({ refcount }) => refcount);

  test("is held for good only if two looks five seconds apart show it", () => {
    const modules = new HeldModules();
    expect(refcounts(modules.settle(held, 0))).toEqual([0, 0]);
    expect(refcounts(modules.settle(held, 4_999))).toEqual([0, 0]);
    expect(refcounts(modules.settle(held, 5_000))).toEqual([1, 0]);
  });

  test("that was let go, or whose patch was there, in between is held anew", () => {
    const let_go = host([], [module_of("a")]);
    const patched = host([on("a")], [module_of("a", { refcount: 1 })]);
    for (const between of [let_go, patched]) {
      const modules = new HeldModules();
      modules.settle(held, 0);
      modules.settle(between, 3_000);
      expect(refcounts(modules.settle(held, 6_000))).toEqual([0, 0]);
    }
    expect(refcounts(new HeldModules().settle(patched, 0))).toEqual([1]);
  });
});

describe("a transition that is held up", () => {
  test("is told after a minute, every ten minutes from then on, and anew when it turns", () => {
    const clock = new StallClock();
    const up = { name: "a", to: "patching" } as const;
    const due = [0, 59_999, 60_000, 60_001, 659_999, 660_000].filter((ms) => clock.is_due(up, ms));
    expect(due).toEqual([60_000, 660_000]);
    expect(clock.is_due({ ...up, to: "unpatching" }, 661_000)).toBe(false);
    expect(clock.is_due({ ...up, to: "unpatching" }, 721_000)).toBe(true);
    expect(clock.is_due(null, 722_000)).toBe(false);
  });

  test("is held up by the tasks whose patch_state is not where it leads", async () => {
    const root = temporary_directory();
    const task = (pid: number, tid: number, state: number, comm: string, flags: number) => {
      const at = join(root, `proc/${pid}/task/${tid}`);
      mkdirSync(at, { recursive: true });
      writeFileSync(join(at, "patch_state"), `${state}\n`);
      writeFileSync(join(at, "comm"), `${comm}\n`);
      writeFileSync(join(at, "stat"), `${tid} (${comm}) S 1 1 1 0 -1 ${flags} 0 0 0\n`);
    };
    mkdirSync(join(root, "proc/sys"), { recursive: true });
    task(2, 2, 0, "kthreadd", 2_129_984);
    task(40, 40, 1, "nginx", 4_194_304);
    task(40, 41, 0, "a) S 1 (b", 4_194_304);
    task(50, 50, -1, "new", 4_194_304);
    expect(await tasks_holding_up(host_root(root), "patching")).toEqual({
      tasks: [
        { pid: 2, comm: "kthreadd", kthread: true },
        { pid: 41, comm: "a) S 1 (b", kthread: false },
      ],
      total: 2,
      unread: 0,
    });
    expect((await tasks_holding_up(host_root(root), "unpatching")).tasks).toMatchObject([{ pid: 40 }]);
    for (let pid = 100; pid < 130; pid++) task(pid, pid, 0, "many", 0);
    const many = await tasks_holding_up(host_root(root), "patching");
    expect([many.tasks.length, many.total]).toEqual([TASKS_MAX, 32]);
  });
});

describe("a host's name", () => {
  const root = { ...host_root("/"), text: () => "web-17\n" };
  const name_of = (given: string | undefined, is_other_root: boolean, sign: string | null) =>
    host_identity(given, root, is_other_root, sign);

  test("is its host name, or what is given", () => {
    expect(name_of(undefined, false, null)).toBe("web-17");
    expect(name_of("node-3", true, "a sign")).toBe("node-3");
  });

  test("is never a container's, nor that of who reads another root", () => {
    expect(() => name_of(undefined, false, "/.dockerenv is there")).toThrow(/container.*--host-id/);
    expect(() => name_of(undefined, true, null)).toThrow(/--root.*--host-id/);
  });

  test.each(["localhost", "(none)", ""])(
    "is not %j, which every machine is called that nobody named",
    (name) => {
      const nameless = { ...root, text: () => `${name}\n` };
      expect(() => host_identity(undefined, nameless, false, null)).toThrow(/--host-id/);
    },
  );

  test("has 1 to 255 bytes and no control characters", () => {
    for (const id of ["", "a\nb", "ä".repeat(128)])
      expect(() => name_of(id, false, null)).toThrow("--host-id");
  });

  test("is a container's where a namespace is not the first, or a mark is there", () => {
    const first = (path: string) => (path.endsWith("pid") ? "pid:[4026531836]" : "uts:[4026531838]");
    const bare = host_root(new HostTree(temporary_directory()).root);
    expect(container_sign(bare, first)).toBeNull();
    expect(container_sign(bare, () => "pid:[4026532281]")).toContain("4026532281");
    // A pod that shares the host's processes, and has its own name.
    const of_pod = (path: string) => (path.endsWith("uts") ? "uts:[4026532280]" : first(path));
    expect(container_sign(bare, of_pod)).toContain("4026532280");
    const marked = temporary_directory();
    writeFileSync(join(marked, ".dockerenv"), "");
    expect(container_sign(host_root(marked), first)).toContain("/.dockerenv");
  });
});

describe("the check of sources", () => {
  test("names what cannot be read, and what would give access", () => {
    const watched = new WatchedHost();
    watched.unreadable.set("/proc/modules", "EACCES");
    const reports = check_sources(watched.root(), () => {
      throw errno("EPERM");
    });
    const unreadable = reports.filter(({ access }) => access === "unreadable");
    expect(unreadable.map(({ source, errno }) => `${source} ${errno}`)).toEqual([
      "/proc/modules EACCES",
      "/sys/module/*/notes/.note.gnu.build-id EACCES",
      "/dev/kmsg EPERM",
    ]);
    for (const { without, advice } of unreadable) expect(`${without}${advice}`).toMatch(/\S/);
    expect(unreadable.at(-1)!.advice).toContain("CAP_SYSLOG");
  });

  test("tells what this kernel does not have from what is out of sight", () => {
    const watched = new WatchedHost();
    watched.unreadable.set("/sys/kernel/livepatch", "ENOENT");
    const access = () => check_sources(watched.root(), () => open_kmsg(watched.tree.kmsg))[0]!.access;
    expect(access()).toBe("absent");
    watched.unreadable.set("/sys/kernel", "ENOENT");
    expect(access()).toBe("unreadable");
  });
});

test("the check of sources tells tasks that are out of sight from a kernel without livepatching", () => {
  const root = temporary_directory();
  mkdirSync(join(root, "proc/self"), { recursive: true });
  mkdirSync(join(root, "proc/sys/kernel"), { recursive: true });
  const access = () =>
    check_sources(host_root(root), () => open_kmsg(join(root, "none"))).find(({ source }) =>
      source.endsWith("patch_state"),
    )!.access;
  expect(access()).toBe("absent");
  // As under hidepid=2, or ProtectProc=invisible.
  writeFileSync(join(root, "proc/self/patch_state"), "-1\n");
  expect(access()).toBe("unreadable");
});

describe("the check of lockdown", () => {
  const access_of = (files: (root: string) => void) => {
    const root = temporary_directory();
    mkdirSync(join(root, "sys/kernel"), { recursive: true });
    files(root);
    const reports = check_sources(host_root(root), () => open_kmsg(join(root, "none")));
    return reports.find(({ source }) => source.endsWith("lockdown"))!.access;
  };

  test("tells a kernel without it from a securityfs that is not mounted", () => {
    expect(access_of(() => {})).toBe("absent");
    expect(access_of((root) => mkdirSync(join(root, "sys/kernel/security")))).toBe("unreadable");
    const without_lockdown = (root: string) => {
      mkdirSync(join(root, "sys/kernel/security"));
      writeFileSync(join(root, "sys/kernel/security/lsm"), "capability");
    };
    expect(access_of(without_lockdown)).toBe("absent");
  });
});

describe("a loader's refusal", () => {
  test.each([
    ["insmod: ERROR: could not insert module kp.ko: File exists", "EEXIST"],
    ["insmod: ERROR: could not insert module Invalid parameters: x.ko: Device or resource busy", "EBUSY"],
    ["insmod: ERROR: could not insert module kp.ko: Invalid parameters", "EINVAL"],
    ["insmod: can't insert 'kp.ko': invalid module format", "ENOEXEC"],
    ["insmod: can't insert 'kp.ko': Operation not permitted", "EPERM"],
    ["insmod: ERROR: could not insert module kp.ko: Key was rejected by service", "EKEYREJECTED"],
    ["something else", null],
  ])("%j is %s", (said, expected) => {
    expect(errno_of_insmod(said)).toBe(expected);
  });

  test("is silent where the kernel said nothing of a refusal, or nobody could read what it said", () => {
    const said = (...texts: string[]) => ({
      lines: texts.map((text, record) => ({ record, text })),
      errno: null,
    });
    const incompatible =
      "livepatch: Livepatch patch (kp) is not compatible with the already installed livepatches.";
    expect(is_silent_refusal("EINVAL", said(incompatible))).toBe(false);
    expect(is_silent_refusal("EINVAL", said("tsc: a line"))).toBe(true);
    expect(is_silent_refusal("EEXIST", { lines: [], errno: "EPERM" })).toBe(true);
    expect(is_silent_refusal("EINVAL", { lines: [], errno: "EPERM" })).toBe(false);
  });
});

test("a fleet's tries and daily reports are spread", () => {
  expect(retry_after_ms(0, 1_000, () => 0)).toBe(500);
  expect(retry_after_ms(0, 1_000, () => 0.999)).toBeCloseTo(1_000, -1);
  expect(retry_after_ms(1_000, 1_000, () => 0)).toBe(150_000);
  const hour_ms = 3_600_000;
  expect(next_daily_ms(0, true, () => 0.25)).toBe(6 * hour_ms);
  expect(next_daily_ms(0, false, () => 0)).toBe(24 * hour_ms);
  expect(next_daily_ms(0, false, () => 0.5)).toBe(23 * hour_ms);
});
