/**
 * A kernel small enough to see through: livepatches of a few names, the lines that it prints, what it shows, and the
 * changes as they truly were. Operations that the kernel would refuse silently do nothing.
 */
import type { ShownModule, ShownPatch, Snapshot } from "#services/agent/derive.js";

interface Live {
  name: string;
  replace: boolean;
  build_id: string;
  phase: "enabling" | "enabled" | "disabling";
}

export type Operation =
  | {
      op: "load";
      name: string;
      replace: boolean;
      fate: "ok" | "stuck" | "incompatible" | "pre_patch" | "busy";
    }
  | { op: "disable" | "enable"; name: string; stuck: boolean }
  | { op: "force" | "settle" }
  | { op: "rmmod"; name: string }
  | { op: "noise" };

export class SmallKernel {
  stack: Live[] = [];
  /** Newest first. */
  modules: { name: string; build_id: string; pinned: boolean }[] = [];
  lines: string[] = [];
  /** What happened since the last look, but for removals, which nothing dates. */
  happened: string[] = [];
  private removed: string[] = [];
  private builds = 0;
  private forced = false;

  /** `shows_replace`: from 6.11; `shows_order`: from 6.14. */
  constructor(
    private readonly shows_replace: boolean,
    private readonly shows_order: boolean,
  ) {}

  run(operation: Operation): void {
    switch (operation.op) {
      case "load":
        this.load(operation);
        break;
      case "disable":
      case "enable":
        this.toggle(operation.name, operation.op === "enable", operation.stuck);
        break;
      case "force":
        this.force();
        break;
      case "settle":
        this.settle();
        break;
      case "rmmod":
        this.rmmod(operation.name);
        break;
      case "noise":
        this.lines.push("tsc: Refined TSC clocksource calibration: 2300.001 MHz");
    }
  }

  look(): Snapshot {
    const patches = this.stack.map((patch, position): ShownPatch => {
      const shown: ShownPatch = {
        name: patch.name,
        enabled: patch.phase === "disabling" ? 0 : 1,
        transition: patch.phase === "enabled" ? 0 : 1,
      };
      if (this.shows_replace) shown.replace = patch.replace ? 1 : 0;
      if (this.shows_order) shown.stack_order = position + 1;
      return shown;
    });
    return {
      boot_id: "6b3a1c0e-5d53-4a52-9f6e-0a4a9f0f1b11",
      boot_time: 1_790_000_000,
      kernel_release: "r",
      arch: "x86_64",
      patches: patches.sort((a, b) => (a.name < b.name ? 1 : -1)),
      modules: this.modules.map(
        ({ name, build_id, pinned }): ShownModule => ({
          name,
          build_id,
          refcount: pinned || this.find(name) ? 1 : 0,
          state: "Live",
          taints: "(OEK)",
        }),
      ),
    };
  }

  shows(): { stack: string[]; lingering: string[] } {
    return {
      stack: this.stack.map(({ name, phase }) => `${name} ${phase}`),
      lingering: this.modules
        .map(({ name }) => name)
        .filter((name) => !this.find(name))
        .sort(),
    };
  }

  /** What happened, and then what was removed, since the last call. */
  take(): { lines: string[]; happened: string[]; removed: string[] } {
    const taken = { lines: this.lines, happened: this.happened, removed: this.removed.sort() };
    this.lines = [];
    this.happened = [];
    this.removed = [];
    return taken;
  }

  private find(name: string): Live | undefined {
    return this.stack.find((patch) => patch.name === name);
  }

  private in_transition(): Live | undefined {
    return this.stack.find(({ phase }) => phase !== "enabled");
  }

  private load({ name, replace, fate }: Extract<Operation, { op: "load" }>): void {
    if (this.modules.some((module) => module.name === name)) return;
    if (fate === "incompatible") {
      this.lines.push(
        `livepatch: Livepatch patch (${name}) is not compatible with the already installed livepatches.`,
      );
      this.happened.push(`refused ${name}`);
      return;
    }
    if (fate === "busy" || this.in_transition()) return;
    this.lines.push(`livepatch: enabling patch '${name}'`);
    if (fate === "pre_patch") {
      this.lines.push(
        "livepatch: pre-patch callback failed for object 'vmlinux'",
        `livepatch: failed to enable patch '${name}'`,
        `livepatch: '${name}': unpatching complete`,
      );
      this.happened.push(`refused ${name}`);
      return;
    }
    const build_id = (++this.builds).toString(16).padStart(4, "0");
    this.modules.unshift({ name, build_id, pinned: false });
    this.stack.push({ name, replace, build_id, phase: "enabling" });
    this.lines.push(`livepatch: '${name}': starting patching transition`);
    this.happened.push(`loading ${name}`);
    if (fate === "ok") this.settle();
  }

  private toggle(name: string, to_enabled: boolean, stuck: boolean): void {
    const patch = this.find(name);
    const running = this.in_transition();
    if (!patch || (patch.phase !== "disabling") === to_enabled || (running && running !== patch)) return;
    if (patch.phase === "enabled") this.happened.push(`disabling ${name}`);
    else this.happened.push(`reversed ${name}`);
    patch.phase = to_enabled ? "enabling" : "disabling";
    this.lines.push(`livepatch: '${name}': starting ${to_enabled ? "patching" : "unpatching"} transition`);
    if (!stuck) this.settle();
  }

  private force(): void {
    const patch = this.in_transition();
    if (!patch) return;
    this.forced = true;
    this.lines.push("livepatch: forcing remaining tasks to the patched state");
    this.happened.push(`forced ${patch.name}`);
  }

  private settle(): void {
    const patch = this.in_transition();
    if (!patch) return;
    const { name } = patch;
    if (patch.phase === "disabling") {
      this.lines.push(`livepatch: '${name}': unpatching complete`);
      this.happened.push(`disabled ${name}`);
      this.leave(patch);
    } else {
      patch.phase = "enabled";
      this.lines.push(`livepatch: '${name}': patching complete`);
      const left = patch.replace ? this.stack.slice(0, this.stack.indexOf(patch)) : [];
      this.happened.push(
        left.length > 0 ? `replaced ${name} left ${left.map((p) => p.name)}` : `loaded ${name}`,
      );
      for (const gone of left) this.leave(gone);
    }
    this.forced = false;
  }

  private leave(patch: Live): void {
    this.stack.splice(this.stack.indexOf(patch), 1);
    if (this.forced) this.modules.find((module) => module.name === patch.name)!.pinned = true;
  }

  private rmmod(name: string): void {
    const module = this.modules.find((module) => module.name === name);
    if (!module || module.pinned || this.find(name)) return;
    this.modules.splice(this.modules.indexOf(module), 1);
    this.removed.push(name);
  }
}
