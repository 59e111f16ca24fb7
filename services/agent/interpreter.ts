/**
 * Facts applied to a stack, one after the other, as the kernel must have gone: gives the changes, or says what does not
 * fit. The end must be what the snapshot shows, else the facts did not explain it.
 */
import { type Change, change_of, PHASES, patch_of, type Reference, type Told } from "./changes.js";
import type { Fact } from "./facts.js";
import { type Evidence, left_with } from "./replacement.js";
import {
  build_id_of,
  is_livepatch,
  type LastSaid,
  replace_of,
  type Snapshot,
  type StackPatch,
} from "./snapshot.js";

export interface Explained {
  told: Told[];
  stack: StackPatch[];
  /** In the order of leaving. */
  lingering: Reference[];
}

/** Facts and snapshot do not fit together; the message says where. */
class Contradiction extends Error {}

/**
 * What the snapshot shows and the lines do not tell yet: a transition that started, turned or ended between the reading
 * of the log and the reading of sysfs. One such step at most; anything longer is a guess.
 */
export function unsaid_facts(said: ReadonlyMap<string, LastSaid>, shown: readonly StackPatch[]): Fact[] {
  for (const [name, { what }] of said) {
    if (what === "patched") continue;
    const phase = shown.find((patch) => patch.name === name)?.phase;
    if (what === "patching" && phase === "enabled")
      return [{ record: null, kind: "completed", name, to: "patching" }];
    if (what === "patching" && phase === "disabling")
      return [{ record: null, kind: "started", name, to: "unpatching" }];
    if (what === "unpatching" && phase === undefined)
      return [{ record: null, kind: "completed", name, to: "unpatching" }];
    if (what === "unpatching" && phase === "enabling")
      return [{ record: null, kind: "started", name, to: "patching" }];
    return [];
  }
  for (const { name, phase } of shown) {
    if (phase === "enabling" && !said.has(name))
      return [{ record: null, kind: "started", name, to: "patching" }];
    if (phase === "disabling" && said.get(name)?.what === "patched")
      return [{ record: null, kind: "started", name, to: "unpatching" }];
  }
  return [];
}

class Interpreter {
  private readonly told: Told[] = [];
  private readonly stack: StackPatch[];
  private readonly lingering: Reference[];
  private readonly evidence: Evidence;

  constructor(
    stack: readonly StackPatch[],
    lingering: readonly Reference[],
    private readonly facts: readonly Fact[],
    private readonly shown: readonly StackPatch[],
    private readonly snapshot: Snapshot,
  ) {
    this.stack = stack.map((patch) => ({ ...patch }));
    this.lingering = lingering.map(({ name, build_id }) => ({ name, build_id }));
    this.evidence = {
      facts,
      on_stack: new Set(shown.map(({ name }) => name)),
      replace_of: (name, at) => (this.is_last_load(name, at) ? replace_of(snapshot, name) : undefined),
    };
  }

  /** `in_between`: livepatch modules off the stack that are no news, being on their way in or out. */
  run(in_between: ReadonlySet<string>): Explained {
    this.facts.forEach((fact, at) => {
      switch (fact.kind) {
        case "began":
          this.began(fact.name);
          break;
        case "started":
          if (fact.to === "patching") this.load_started(fact.name, at);
          else this.unload_started(fact.name, fact.record);
          break;
        case "completed":
          if (fact.to === "patching") this.load_completed(fact.name, at);
          else this.unload_completed(fact.name, fact.record);
          break;
        case "refused":
          // Its name was free to load: a module that lingered under it was removed before.
          if (fact.name !== null && fact.name_was_free) this.removed(fact.name);
          this.tell_fact(fact);
          break;
        case "forced":
        case "object_changed":
          this.tell_fact(fact);
          break;
      }
    });
    this.compare_stack();
    this.compare_modules(in_between);
    return { told: this.told, stack: this.stack, lingering: this.lingering };
  }

  private tell(change: Change, record: number | null): void {
    this.told.push({ change, record });
  }

  private tell_fact(fact: Fact): void {
    const change = change_of(fact, (name) => patch_of(this.on_stack(name) ?? { name }));
    if (change) this.tell(change, fact.record);
  }

  private on_stack(name: string): StackPatch | undefined {
    return this.stack.find((patch) => patch.name === name);
  }

  /** Whether the patch that a fact is about is the one that the snapshot shows: no load of this name comes later. */
  private is_last_load(name: string, at: number): boolean {
    return !this.facts.slice(at + 1).some((fact) => fact.kind === "began" && fact.name === name);
  }

  /** A module that lingers goes, if it does. */
  private removed(name: string): void {
    const position = this.lingering.findIndex((module) => module.name === name);
    if (position < 0) return;
    const [module] = this.lingering.splice(position, 1);
    // The kernel prints nothing at removal: only that it is gone is known.
    this.tell({ removed: { patch: patch_of(module!) } }, null);
  }

  private leave(patch: StackPatch): void {
    this.stack.splice(this.stack.indexOf(patch), 1);
    this.lingering.push({ name: patch.name, build_id: patch.build_id });
  }

  private began(name: string): void {
    const patch = this.on_stack(name);
    // In transition already, as the snapshot before showed: the line comes late.
    if (patch && patch.phase !== "enabled") return;
    if (patch) throw new Contradiction(`${name} is loaded again while it is enabled`);
    this.removed(name);
  }

  private nothing_in_transition(name: string): void {
    const other = this.stack.find(({ phase }) => phase !== "enabled");
    if (other) throw new Contradiction(`a transition of ${name} starts during that of ${other.name}`);
  }

  private load_started(name: string, at: number): void {
    const record = this.facts[at]!.record;
    const patch = this.on_stack(name);
    if (!patch) {
      this.nothing_in_transition(name);
      this.removed(name);
      const is_shown = this.is_last_load(name, at);
      const entering: StackPatch = {
        name,
        phase: "enabling",
        build_id: is_shown ? build_id_of(this.snapshot, name) : undefined,
        replace: this.evidence.replace_of(name, at),
      };
      this.stack.push(entering);
      const { replace } = entering;
      this.tell(
        { loading: { patch: patch_of(entering), ...(replace === undefined ? {} : { replace }) } },
        record,
      );
    } else if (patch.phase === "disabling") {
      patch.phase = "enabling";
      this.tell({ reversed: { patch: patch_of(patch), to: PHASES.enabling } }, record);
    } else if (patch.phase === "enabled") {
      throw new Contradiction(`a load of ${name} starts while it is enabled`);
    }
  }

  private unload_started(name: string, record: number | null): void {
    const patch = this.on_stack(name);
    if (!patch) throw new Contradiction(`${name} starts to leave and is not on the stack`);
    if (patch.phase === "enabled") {
      this.nothing_in_transition(name);
      this.tell({ disabling: { patch: patch_of(patch) } }, record);
    } else if (patch.phase === "enabling") {
      this.tell({ reversed: { patch: patch_of(patch), to: PHASES.disabling } }, record);
    }
    patch.phase = "disabling";
  }

  private load_completed(name: string, at: number): void {
    const record = this.facts[at]!.record;
    const patch = this.on_stack(name);
    if (!patch || patch.phase === "disabling")
      throw new Contradiction(`a load of ${name} completes that is not known`);
    if (patch.phase === "enabled") return;
    patch.phase = "enabled";
    const earlier = this.stack.slice(0, this.stack.indexOf(patch));
    const { replace } = patch;
    const left = left_with(
      { name, at, replace },
      earlier.map(({ name }) => name),
      this.evidence,
    );
    if (left === null) throw new Contradiction(`several loads may have replaced what was before ${name}`);
    if (left.length === 0) {
      this.tell(
        { loaded: { patch: patch_of(patch), ...(replace === undefined ? {} : { replace }) } },
        record,
      );
      return;
    }
    for (const gone of earlier) this.leave(gone);
    this.tell({ replaced: { patch: patch_of(patch), left: earlier.map(patch_of) } }, record);
  }

  private unload_completed(name: string, record: number | null): void {
    const patch = this.on_stack(name);
    // Gone already, as the snapshot before showed: the line comes late.
    if (!patch) return;
    if (patch.phase !== "disabling") throw new Contradiction(`${name} leaves without a transition`);
    this.leave(patch);
    this.tell({ disabled: { patch: patch_of(patch) } }, record);
  }

  private compare_stack(): void {
    const { stack, shown } = this;
    const text_of = (patches: readonly StackPatch[]) =>
      patches.map(({ name, phase }) => `${name} ${phase}`).join(", ");
    if (text_of(shown) !== text_of(stack))
      throw new Contradiction(`the stack is [${text_of(shown)}], not [${text_of(stack)}]`);
    for (const patch of stack) {
      const seen = shown.find(({ name }) => name === patch.name)!;
      this.same_build(patch, seen.build_id);
      patch.build_id ??= seen.build_id;
      patch.replace ??= seen.replace;
    }
  }

  private compare_modules(in_between: ReadonlySet<string>): void {
    const modules = new Set(this.snapshot.modules.filter(is_livepatch).map(({ name }) => name));
    for (const { name } of [...this.lingering]) if (!modules.has(name)) this.removed(name);
    for (const module of this.lingering) {
      const build_id = build_id_of(this.snapshot, module.name);
      this.same_build(module, build_id);
      module.build_id ??= build_id;
    }
    const known = new Set([...this.stack, ...this.lingering].map(({ name }) => name));
    for (const name of modules) {
      if (!known.has(name) && !in_between.has(name))
        throw new Contradiction(`module ${name} is there and nothing told of it`);
    }
  }

  private same_build({ name, build_id }: Reference, seen: string | undefined): void {
    if (build_id && seen && build_id !== seen)
      throw new Contradiction(`${name} is another build and nothing told of a load`);
  }
}

/** The changes that lead from an earlier stack through the facts to what is shown, or why there are none. */
export function explain(
  earlier: { stack: readonly StackPatch[]; lingering: readonly Reference[] },
  facts: readonly Fact[],
  shown: readonly StackPatch[],
  snapshot: Snapshot,
  in_between: ReadonlySet<string>,
): Explained | { unexplained: string } {
  try {
    return new Interpreter(earlier.stack, earlier.lingering, facts, shown, snapshot).run(in_between);
  } catch (error) {
    if (error instanceof Contradiction) return { unexplained: error.message };
    throw error;
  }
}
