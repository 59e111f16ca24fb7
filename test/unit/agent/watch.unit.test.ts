/** What an agent tells of a host, look by look, from files as a kernel shows them. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { report_refusal } from "#services/agent/inbox.js";
import { DAY_MS } from "#services/agent/pace.js";
import { BLIND_REPORT_MS, DOUBTS_MAX, TORN_MAX } from "#services/agent/watch.js";
import { BOOT_TIME_S, host, module_of, on } from "./host_tree.js";
import { NOW_MS, WatchedHost } from "./watch_fixtures.js";

const enable = (name: string) => `livepatch: enabling patch '${name}'`;
const start = (name: string) => `livepatch: '${name}': starting patching transition`;
const patched = (name: string) => `livepatch: '${name}': patching complete`;
const unstart = (name: string) => `livepatch: '${name}': starting unpatching transition`;
const unpatched = (name: string) => `livepatch: '${name}': unpatching complete`;
const load = (name: string) => [enable(name), start(name), patched(name)];

const HOUR_MS = 3_600_000;
const held = (name: string) => module_of(name, { refcount: 1 });
const WITH_A = host([on("a")], [held("a")]);

describe("a first look", () => {
  test("is one Observed, the first of a random stream, that says since when nobody of this spool looked", () => {
    const [observed, ...rest] = new WatchedHost(WITH_A).look();
    expect(rest).toEqual([]);
    expect(observed).toMatchObject({
      sequence: 1,
      change: "observed",
      time_ms: NOW_MS + 1_000,
      not_before_ms: 0,
    });
    expect(observed!.body.stack).toEqual([{ patch: { name: "a" }, phase: "enabled" }]);
    expect(observed!.body.losses).toEqual([
      { source: "spool", from_unix_ms: String(BOOT_TIME_S * 1_000), to_unix_ms: String(NOW_MS + 1_000) },
    ]);
  });

  test("is of a host without livepatching, or of one that cannot be read, and never mixes up the two", () => {
    const none = new WatchedHost();
    none.unreadable.set("/sys/kernel/livepatch", "ENOENT");
    expect(none.look()[0]!.body.livepatching).toBe("not_built");

    const no_sys = new WatchedHost(WITH_A);
    no_sys.unreadable.set("/sys/kernel/livepatch", "ENOENT").set("/sys/kernel", "ENOENT");
    expect(no_sys.look()[0]!.body.livepatching).toBe("unreadable");

    for (const path of ["/sys/kernel/livepatch", "/proc/modules", "/sys/kernel/livepatch/a/enabled"]) {
      const closed = new WatchedHost(WITH_A);
      closed.unreadable.set(path, "EACCES");
      const { body } = closed.look()[0]!;
      expect([path, body.livepatching, body.stack]).toEqual([path, "unreadable", undefined]);
    }
  });

  test("of a host that does not tell its boot is unreadable: a reboot could not be told from a hole", () => {
    const nameless = new WatchedHost(WITH_A);
    nameless.unreadable.set("/proc/sys/kernel/random/boot_id", "ENOENT");
    expect(nameless.look()[0]!.body.livepatching).toBe("unreadable");
  });
});

describe("when something happens", () => {
  test("is told as a span: what a line told since the log was read before, the rest since the look before", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.pass(400);
    watched.watch.stirred();
    watched.pass(100);
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    watched.watch.stirred();
    const [loading, loaded] = watched.look();
    expect([loading!.change, loaded!.change]).toEqual(["loading", "loaded"]);
    // The log was read at +1,400, the look was at +2,500.
    expect(loading).toMatchObject({ time_ms: NOW_MS + 2_500, not_before_ms: NOW_MS + 1_400 });

    watched.tree.show(host());
    watched.tree.print(unstart("a"), unpatched("a"));
    watched.look();
    expect(watched.look()).toEqual([]);
  });

  test("behind a restart it is told since the last look that was written down", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.watch.persist();
    watched.restart();
    watched.pass(3_600_000);
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    expect(watched.look()[0]).toMatchObject({ change: "loading", not_before_ms: NOW_MS + 1_000 });
  });

  test("across a clock that stepped back while nobody looked it is told since boot", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.restart();
    watched.wall_ms = NOW_MS - 3_600_000;
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    expect(watched.look()[0]).toMatchObject({ not_before_ms: BOOT_TIME_S * 1_000 });
  });

  test("no event has a time before the one that was acknowledged", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.acknowledge(NOW_MS + 1_000);
    watched.wall_ms = NOW_MS - DAY_MS;
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    const events = watched.look();
    expect(events.length).toBeGreaterThan(0);
    expect(events.every(({ time_ms }) => time_ms >= NOW_MS + 1_000)).toBe(true);
    expect(events.every(({ not_before_ms, time_ms }) => not_before_ms < time_ms)).toBe(true);
  });

  test("across a clock that stepped back it is between what both readings say", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.wall_ms -= HOUR_MS;
    watched.look();
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    const before_ms = watched.wall_ms;
    for (const { time_ms, not_before_ms } of watched.look()) {
      expect(time_ms).toBe(watched.wall_ms + HOUR_MS);
      expect(not_before_ms).toBe(before_ms);
    }
  });

  test("across a suspension, which the steady clock does not count, it is told since before it", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.watch.stirred();
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    watched.wall_ms += 8 * HOUR_MS;
    expect(watched.look()).toMatchObject([
      { change: "loading", not_before_ms: NOW_MS + 1_000 },
      { change: "loaded", not_before_ms: NOW_MS + 1_000 },
    ]);
  });

  test("behind a restart on a host that does not tell when it booted it is a span all the same", () => {
    const watched = new WatchedHost(host([], [], { boot_time: 0 }));
    watched.look();
    watched.restart();
    watched.wall_ms -= HOUR_MS;
    watched.tree.print(...load("a"));
    watched.tree.show(host([on("a")], [held("a")], { boot_time: 0 }));
    expect(watched.look()[0]).toMatchObject({ change: "loading", not_before_ms: 1 });
  });

  test("a loss across a clock that stepped back covers both readings", () => {
    const watched = new WatchedHost();
    watched.tree.print("tsc: one line");
    watched.look();
    watched.wall_ms -= HOUR_MS;
    watched.look();
    const before_ms = watched.wall_ms;
    watched.tree.lose(3);
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    const observed = watched.look().find(({ change }) => change === "observed")!;
    const [{ from_unix_ms, to_unix_ms }] = observed.body.losses;
    expect(Number(from_unix_ms)).toBeLessThanOrEqual(before_ms);
    expect(Number(to_unix_ms)).toBe(watched.wall_ms + HOUR_MS);
  });
});

describe("a loss across a clock that stepped back while nobody looked", () => {
  test("begins with the boot, and ends with what the clock said before", () => {
    const watched = new WatchedHost();
    watched.tree.print("tsc: one line");
    watched.look();
    watched.restart();
    watched.wall_ms -= HOUR_MS;
    watched.tree.lose(3);
    watched.tree.print("tsc: another line");
    expect(watched.look()[0]!.body.losses).toEqual([
      {
        source: "kernel_log",
        from_unix_ms: String(BOOT_TIME_S * 1_000),
        to_unix_ms: String(NOW_MS + 1_000),
      },
    ]);
  });

  test("begins with what was acknowledged, if that was in the boot before", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.acknowledge(NOW_MS - 2 * HOUR_MS);
    watched.restart();
    watched.wall_ms -= HOUR_MS;
    const boot_time = (watched.wall_ms - 60_000) / 1_000;
    watched.tree.reboot(host([], [], { boot_id: "00000000-0000-4000-8000-000000000001", boot_time }));
    expect(watched.look()[0]!.body.losses).toEqual([
      {
        source: "kernel_log",
        from_unix_ms: String(NOW_MS - 2 * HOUR_MS),
        to_unix_ms: String(NOW_MS + 1_000),
      },
    ]);
  });
});

describe("not every state is what it seems", () => {
  const loading_module = module_of("b", { refcount: 1, state: "Loading" });

  test("a directory with enabled 0 and transition 0 of a load that is refused then is never on the stack", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.show(host([on("a"), on("b", { enabled: 0 })], [loading_module, held("a")]));
    expect(watched.changes()).toEqual([]);
    watched.tree.print("livepatch: symbol 'no_such_function' not found in symbol table");
    watched.tree.show(WITH_A);
    const [refused, ...rest] = watched.look();
    expect(rest).toEqual([]);
    expect(refused).toMatchObject({ change: "refused", body: { reason: "symbol_missing" } });
  });

  test("one with enabled 0 and transition 0 of a patch that leaves is not on the stack any more", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.print(unstart("a"), unpatched("a"));
    watched.tree.show(host([on("a", { enabled: 0 })], [held("a")]));
    expect(watched.changes()).toEqual(["disabling", "disabled"]);
    watched.tree.show(host([], [module_of("a")]));
    expect(watched.changes()).toEqual([]);
  });

  test("enabled 0 and transition 1 is pre_patch that runs, until the kernel says that the transition starts", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.print(enable("b"));
    watched.tree.show(host([on("a"), on("b", { enabled: 0, transition: 1 })], [loading_module, held("a")]));
    expect(watched.changes()).toEqual([]);
    expect(watched.changes()).toEqual([]);
    watched.tree.print("livepatch: pre-patch callback failed for object 'vmlinux'");
    watched.tree.print("livepatch: failed to enable patch 'b'", unpatched("b"));
    watched.tree.show(WITH_A);
    expect(watched.look()).toMatchObject([{ change: "refused", body: { reason: "pre_patch" } }]);
  });

  test("the stack_order of a patch that left may be another's, which stands where it stood", () => {
    const watched = new WatchedHost(
      host([on("b", { stack_order: 2 }), on("a", { stack_order: 1 })], [held("b"), held("a")]),
    );
    watched.look();
    watched.tree.print(unstart("a"), unpatched("a"), ...load("c"));
    watched.tree.show(
      host(
        [on("c", { stack_order: 2 }), on("b", { stack_order: 1 }), on("a", { stack_order: 1, enabled: 0 })],
        [held("c"), held("b"), held("a")],
      ),
    );
    expect(watched.changes()).toEqual(["disabling", "disabled", "loading", "loaded"]);
    watched.watch.observe_soon();
    const [observed] = watched.look();
    expect(observed!.body.stack.map((entry: { patch: { name: string } }) => entry.patch.name)).toEqual([
      "b",
      "c",
    ]);
  });

  test("enabled and transition of two moments are looked at again before they are believed", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    // enabled was read before the patch was disabled, transition after its end; the lines came in between.
    watched.tree.print(unstart("a"), unpatched("a"));
    expect(watched.watch.look()).toBe("again");
    watched.tree.show(host([], [module_of("a")]));
    expect(watched.changes()).toEqual(["disabling", "disabled"]);
    expect(watched.said).toEqual([]);
  });

  test("what stays torn, or is over the limits, is said once and not at every look", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.unreadable.set("/sys/kernel/livepatch/a/enabled", "ENODEV");
    for (let looks = 0; looks < 2 * TORN_MAX; looks++) expect(watched.watch.look()).toBe("again");
    expect(watched.said).toEqual([expect.stringContaining("faster than they can be read")]);
    watched.unreadable.clear();
    expect(watched.look()).toEqual([]);

    const names = Array.from({ length: 65 }, (_, index) => `p${index}`);
    const crowded = new WatchedHost(
      host(
        names.map((name) => on(name)),
        names.map(held),
      ),
    );
    for (let looks = 0; looks < 3; looks++) crowded.look();
    expect(crowded.said).toEqual(["65 patches and 65 livepatch modules are over the limits"]);
  });

  test("a boot that cannot be read for a moment is no other boot", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.unreadable.set("/proc/sys/kernel/random/boot_id", "EMFILE");
    expect(watched.watch.look()).toBe("again");
    watched.unreadable.clear();
    expect(watched.changes()).toEqual([]);
    watched.unreadable.set("/proc/sys/kernel/random/boot_id", "EMFILE");
    expect(watched.look()).toMatchObject([{ sequence: 1, body: { livepatching: "unreadable" } }]);
  });

  test("what makes no sense however often it is looked at is an Observed with its Loss", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.show(host([on("b")], [held("b")]));
    for (let doubt = 0; doubt < DOUBTS_MAX; doubt++) expect(watched.watch.look()).toBe("again");
    expect(watched.look()).toMatchObject([
      {
        change: "observed",
        sequence: 2,
        body: { losses: [{ source: "kernel_log", from_unix_ms: String(NOW_MS + 1_000) }] },
      },
    ]);
  });
});

describe("a log that cannot be read", () => {
  test("is a Loss from boot on in the first Observed, one every hour, and one when it is read again", () => {
    const watched = new WatchedHost(WITH_A);
    watched.unreadable.set("/dev/kmsg", "EPERM");
    const kernel_log = (event: { body: { losses?: { source: string }[] } } | undefined) =>
      event?.body.losses?.filter(({ source }) => source === "kernel_log");
    expect(kernel_log(watched.look()[0])).toMatchObject([{ from_unix_ms: String(BOOT_TIME_S * 1_000) }]);
    expect(watched.look()).toEqual([]);
    watched.pass(BLIND_REPORT_MS);
    const [hourly] = watched.look();
    const from_unix_ms = String(NOW_MS + 1_000);
    expect(kernel_log(hourly)).toEqual([
      { source: "kernel_log", from_unix_ms, to_unix_ms: String(hourly!.time_ms) },
    ]);
    watched.pass(60_000);
    watched.unreadable.clear();
    const [seeing] = watched.look();
    expect(kernel_log(seeing)).toMatchObject([{ from_unix_ms: String(hourly!.time_ms) }]);
    expect(watched.look()).toEqual([]);
    expect(watched.said).toEqual(["the kernel's log cannot be read: EPERM", "the kernel's log can be read"]);
  });

  test.each([
    ["the same process", false],
    ["the next one", true],
  ])("read for the first time by %s tells no load of before as a new one", (_, restarts) => {
    const watched = new WatchedHost();
    watched.tree.print(...load("a"), "livepatch: forcing remaining tasks to the patched state");
    watched.tree.print(unstart("a"), unpatched("a"), "Loading of unsigned module is rejected");
    watched.unreadable.set("/dev/kmsg", "EPERM");
    watched.look();
    watched.unreadable.clear();
    if (restarts) watched.restart();
    const events = watched.look();
    // That this boot was forced is known only now; when it was, is not.
    expect(events.map(({ change }) => change).sort()).toEqual(["forced", "observed"]);
    expect(events.find(({ change }) => change === "forced")).toMatchObject({
      not_before_ms: BOOT_TIME_S * 1_000,
    });
  });

  test("is a Loss at once when it cannot be read any more, and every hour though each process is a shorter one", () => {
    const watched = new WatchedHost();
    watched.tree.print("tsc: one line");
    watched.look();
    watched.unreadable.set("/dev/kmsg", "EPERM");
    const [blind] = watched.look();
    const losses = [
      { source: "kernel_log", from_unix_ms: String(NOW_MS + 1_000), to_unix_ms: String(NOW_MS + 2_000) },
    ];
    expect(blind).toMatchObject({ change: "observed", body: { losses } });
    for (let restarts = 0; restarts < 2; restarts++) {
      expect(watched.look()).toEqual([]);
      watched.restart();
      watched.pass(BLIND_REPORT_MS / 2);
    }
    expect(watched.look()).toMatchObject([{ body: { losses: [{ from_unix_ms: String(NOW_MS + 2_000) }] } }]);
  });

  test("read again tells nothing anew that looks without it told", () => {
    const watched = new WatchedHost();
    watched.tree.print("tsc: one line");
    watched.look();
    watched.unreadable.set("/dev/kmsg", "EPERM");
    watched.look();
    watched.tree.print(enable("a"), start("a"));
    watched.tree.show(host([on("a", { transition: 1 })], [held("a")]));
    expect(watched.changes()).toEqual(["loading"]);
    // Without lines the direction is what sysfs shows.
    watched.tree.print(unstart("a"));
    watched.tree.show(host([on("a", { enabled: 0, transition: 1 })], [held("a")]));
    expect(watched.changes()).toEqual(["reversed"]);
    watched.tree.print(unpatched("a"));
    watched.tree.show(host([], [module_of("a")]));
    expect(watched.changes()).toEqual(["disabled"]);
    watched.tree.show(host());
    expect(watched.changes()).toEqual(["removed"]);
    watched.unreadable.clear();
    expect(watched.changes()).toEqual(["observed"]);
  });

  test("still has its Loss after a restart", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.unreadable.set("/dev/kmsg", "EPERM");
    watched.tree.show(host());
    for (let looks = 0; looks <= DOUBTS_MAX; looks++) watched.look();
    watched.tree.show(WITH_A);
    watched.look();
    watched.restart();
    watched.unreadable.clear();
    expect(watched.look()).toMatchObject([{ body: { losses: [{ source: "kernel_log" }] } }]);
  });

  test("may be long and all about patches: a look's work grows with its lines, not with their square", () => {
    const watched = new WatchedHost(WITH_A);
    watched.unreadable.set("/dev/kmsg", "EPERM");
    watched.look();
    watched.unreadable.clear();
    const some = Array.from({ length: 50_000 }, () => "livepatch: applying patch 'a' to loading module 'x'");
    for (let times = 0; times < 4; times++) watched.tree.print(...some);
    expect(watched.changes()).toEqual(["observed"]);
  });

  test("may have more lines than a call may have arguments", () => {
    const watched = new WatchedHost();
    const some = Array.from({ length: 50_000 }, () => "tsc: one line");
    for (let times = 0; times < 4; times++) watched.tree.print(...some);
    watched.tree.print("livepatch: forcing remaining tasks to the patched state", patched("a"));
    watched.tree.show(WITH_A);
    expect(watched.changes()).toEqual(["observed", "forced"]);
    expect(watched.spool.state!.known!.next_record).toBe(200_002);
  });

  test("that was overrun is a hole in its numbers, and that a Loss", () => {
    const watched = new WatchedHost();
    watched.look();
    watched.tree.print("tsc: one line");
    watched.look();
    watched.tree.lose(1_000);
    watched.tree.print("tsc: another line");
    expect(watched.look()).toMatchObject([
      { change: "observed", body: { losses: [{ source: "kernel_log" }] } },
    ]);
  });
});

describe("Observed", () => {
  test("is told daily, and at once where a clock that stepped back has put that off", () => {
    const watched = new WatchedHost();
    watched.look();
    // With a chance of 0.5 the first is due in half a day.
    watched.pass(DAY_MS / 2 - 2_000);
    expect(watched.changes()).toEqual([]);
    watched.pass(2_000);
    expect(watched.changes()).toEqual(["observed"]);
    // Times of events stand still then; the daily report does not.
    watched.acknowledge(watched.wall_ms);
    watched.wall_ms -= 30 * DAY_MS;
    expect(watched.changes()).toEqual(["observed"]);
    expect(watched.changes()).toEqual([]);
    watched.pass(DAY_MS);
    expect(watched.changes()).toEqual(["observed"]);
  });

  test("says that a module is pinned once it was held for five seconds without its patch", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.print(
      unstart("a"),
      "livepatch: forcing remaining tasks to the patched state",
      unpatched("a"),
    );
    watched.tree.show(host([], [held("a")]));
    expect(watched.changes()).toEqual(["disabling", "forced", "disabled"]);
    for (let second = 1; second < 5; second++) expect(watched.changes()).toEqual([]);
    expect(watched.look()).toMatchObject([
      { change: "observed", body: { lingering: [{ patch: { name: "a" }, pinned: true }] } },
    ]);
    expect(watched.changes()).toEqual([]);
    watched.restart();
    expect(watched.changes()).toEqual([]);
  });
});

describe("a new stream begins", () => {
  test("with another boot, whose Loss reaches back to the last look", () => {
    const watched = new WatchedHost(WITH_A);
    const [first] = watched.look();
    watched.restart();
    watched.pass(DAY_MS);
    watched.tree.reboot(host([], [], { boot_id: "00000000-0000-4000-8000-000000000001" }));
    const [observed] = watched.look();
    expect(observed).toMatchObject({ change: "observed", sequence: 1 });
    expect(observed!.stream).not.toBe(first!.stream);
    expect(observed!.body.losses).toMatchObject([{ from_unix_ms: String(NOW_MS + 1_000) }]);
  });

  test("where a full spool gives up its events for one Observed, which keeps that the kernel was forced", () => {
    const watched = new WatchedHost(WITH_A, { spool_bytes_max: 600 });
    const [first] = watched.look();
    watched.tree.print(
      unstart("a"),
      "livepatch: forcing remaining tasks to the patched state",
      unpatched("a"),
    );
    watched.tree.show(host([], [module_of("a")]));
    expect(watched.changes()).toEqual(["disabling", "forced", "disabled"]);
    let events = watched.look();
    for (let count = 0; events.at(0)?.change !== "observed"; count++) {
      watched.tree.print("Loading of unsigned module is rejected");
      events = watched.look();
      expect(count).toBeLessThan(20);
    }
    expect(events.map(({ change }) => change)).toEqual(["observed", "forced", "refused"]);
    expect(events[0]).toMatchObject({ sequence: 1 });
    expect(events[0]!.stream).not.toBe(first!.stream);
    expect(events[0]!.body.losses).toEqual([
      { source: "spool", from_unix_ms: String(first!.time_ms), to_unix_ms: String(events[0]!.time_ms) },
    ]);
    expect(watched.spool.unsent).toHaveLength(3);
  });

  test("where events of two boots are given up, and that the kernel was forced in the one before is not told of this", () => {
    const watched = new WatchedHost(WITH_A);
    watched.look();
    watched.tree.print(
      unstart("a"),
      "livepatch: forcing remaining tasks to the patched state",
      unpatched("a"),
    );
    watched.tree.show(host([], [module_of("a")]));
    expect(watched.changes()).toContain("forced");
    watched.restart();
    watched.tree.reboot(host([], [], { boot_id: "00000000-0000-4000-8000-000000000001" }));
    expect(watched.changes()).toEqual(["observed"]);
    watched.watch.new_stream("refused", NOW_MS);
    expect(watched.changes()).toEqual(["observed"]);
  });

  test("where the registry has something else, and what was not sent is lost with a word", () => {
    const watched = new WatchedHost(WITH_A);
    const [first] = watched.look();
    watched.watch.new_stream("disputed", NOW_MS - 5_000);
    expect(watched.watch.is_restarting).toBe(true);
    const [observed, ...rest] = watched.look();
    expect(rest).toEqual([]);
    expect(observed).toMatchObject({ sequence: 1, change: "observed" });
    expect(observed!.stream).not.toBe(first!.stream);
    expect(observed!.body.losses).toMatchObject([{ source: "spool", from_unix_ms: String(NOW_MS - 5_000) }]);
    expect(watched.watch.is_restarting).toBe(false);
    expect(watched.spool.generation).toBe(1);
  });
});

describe("a refusal that only the loader saw", () => {
  test("is told once, with its errno, also if the agent died before it took the file away", () => {
    const watched = new WatchedHost();
    watched.look();
    const refusal = { name: "kp_9", errno: "EEXIST", time_unix_ms: NOW_MS + 1_200 };
    report_refusal(watched.directory, refusal);
    const [refused, ...rest] = watched.look();
    expect(rest).toEqual([]);
    expect(refused).toMatchObject({
      change: "refused",
      not_before_ms: NOW_MS + 1_200,
      body: { patch: { name: "kp_9" }, errno: "EEXIST" },
    });
    expect(watched.look()).toEqual([]);
    const inbox = join(watched.directory, "inbox");
    expect(readdirSync(inbox)).toEqual([]);
    const [file] = watched.spool.state!.taken;
    writeFileSync(join(inbox, file!), JSON.stringify(refusal));
    watched.restart();
    expect(watched.look()).toEqual([]);
    expect(readdirSync(inbox)).toEqual([]);
  });

  test("is no event where the file is something else", () => {
    const watched = new WatchedHost();
    watched.look();
    report_refusal(watched.directory, { name: "x".repeat(56), errno: "EEXIST", time_unix_ms: 1 });
    report_refusal(watched.directory, { name: "kp_9", errno: "no errno", time_unix_ms: 1 });
    mkdirSync(join(watched.directory, "inbox", "1.json"));
    expect(watched.look()).toEqual([]);
    expect(readdirSync(join(watched.directory, "inbox"))).toEqual([]);
  });
});

test("who holds up a transition is told beside the looks, unless the spool is full", () => {
  const watched = new WatchedHost(WITH_A, { spool_bytes_max: 200 });
  const stalled = { stalled: { patch: { name: "a" }, tasks: [], tasks_total: 3 } };
  watched.watch.tell(stalled);
  expect(watched.spool.unsent).toEqual([]);
  watched.look();
  for (let times = 0; times < 50; times++) watched.watch.tell(stalled);
  expect(watched.spool.unsent_bytes).toBeLessThan(300);
  expect(watched.spool.unsent.map(({ sequence }) => sequence).slice(0, 2)).toEqual([1, 2]);
});

describe("a disk that takes nothing", () => {
  test("keeps the agent from telling, and what happened meanwhile is told in order when it does again", () => {
    const watched = new WatchedHost();
    watched.look();
    const { commit } = watched.spool;
    watched.spool.commit = () => {
      throw new Error("ENOSPC: no space left on device");
    };
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    expect(watched.watch.look()).toBe("again");
    watched.tree.print(...load("b"));
    watched.tree.show(host([on("a"), on("b")], [held("b"), held("a")]));
    expect(watched.watch.look()).toBe("again");
    watched.spool.commit = commit;
    expect(watched.changes()).toEqual(["loading", "loaded", "loading", "loaded"]);
    expect(watched.said).toEqual([
      "the spool cannot be written: ENOSPC: no space left on device",
      "the spool is written again",
    ]);
  });

  test("a spool that somebody took away is written anew", () => {
    const watched = new WatchedHost(undefined, { disk: true });
    watched.look();
    rmSync(watched.directory, { recursive: true });
    watched.tree.print(...load("a"));
    watched.tree.show(WITH_A);
    expect(watched.changes()).toEqual(["loading", "loaded"]);
    watched.restart();
    expect(watched.spool.unsent).toHaveLength(3);
    watched.spool.close();
  });
});
