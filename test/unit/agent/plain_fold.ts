/** RULES F4 as it stands on the page, for one host in one stream, to see what the agent's changes add up to. */
import type { Change } from "#services/agent/derive.js";

const ENABLING = 1;
const ENABLED = 2;
const DISABLING = 3;
export const PHASE_NAMES = ["?", "enabling", "enabled", "disabling"];

type Named = { patch?: { name?: string | null } | null };
const name_of = (change: Named): string => change.patch!.name!;

export class PlainFold {
  stack: { name: string; phase: number }[] = [];
  lingering = new Set<string>();
  forced = false;
  anomalies: string[] = [];

  apply(change: Change): void {
    if ("observed" in change) {
      const { stack, lingering } = change.observed;
      this.stack = stack!.map(({ patch, phase }) => ({ name: patch!.name!, phase: phase! }));
      this.lingering = new Set(lingering!.map(name_of));
    } else if ("loading" in change) {
      const name = name_of(change.loading);
      if (this.find(name)) this.anomalies.push(`loaded_twice ${name}`);
      else this.enter(name, ENABLING);
    } else if ("loaded" in change) this.loaded(name_of(change.loaded));
    else if ("replaced" in change) {
      const name = name_of(change.replaced);
      this.loaded(name);
      for (const left of change.replaced.left!) {
        if (!this.before(name).includes(left.name!)) this.anomalies.push(`left_not_on_stack ${left.name}`);
        else this.leave(left.name!);
      }
      if (this.before(name).length > 0) this.anomalies.push(`replace_left_some ${name}`);
    } else if ("disabling" in change) {
      const patch = this.find(name_of(change.disabling));
      if (!patch) this.anomalies.push("not_on_stack");
      else if (patch.phase !== ENABLED) this.anomalies.push("not_allowed");
      else patch.phase = DISABLING;
    } else if ("disabled" in change) {
      const patch = this.find(name_of(change.disabled));
      if (!patch) this.anomalies.push("not_on_stack");
      else {
        if (patch.phase === ENABLING) this.anomalies.push("missed_reversal");
        this.leave(patch.name);
      }
    } else if ("reversed" in change) {
      const patch = this.find(name_of(change.reversed));
      if (!patch) this.anomalies.push("not_on_stack");
      else if (patch.phase === ENABLED) this.anomalies.push("not_in_transition");
      else {
        if (change.reversed.to === patch.phase) this.anomalies.push("not_allowed");
        patch.phase = change.reversed.to!;
      }
    } else if ("removed" in change) {
      const name = name_of(change.removed);
      if (this.find(name)) this.anomalies.push(`removed_on_stack ${name}`);
      if (!this.lingering.delete(name)) this.anomalies.push(`not_known ${name}`);
    } else if ("forced" in change) {
      const patch = this.find(name_of(change.forced));
      // RULES: `not_on_stack`, and no word on the phase; here a name of its own, as tests tell it apart.
      if (patch?.phase !== change.forced.phase) this.anomalies.push("forced_elsewhere");
      this.forced = true;
    }
  }

  /** `name phase`, oldest first. */
  shows(): { stack: string[]; lingering: string[] } {
    return {
      stack: this.stack.map(({ name, phase }) => `${name} ${PHASE_NAMES[phase]}`),
      lingering: [...this.lingering].sort(),
    };
  }

  private find(name: string) {
    return this.stack.find((patch) => patch.name === name);
  }

  private before(name: string): string[] {
    return this.stack.slice(0, this.stack.indexOf(this.find(name)!)).map((patch) => patch.name);
  }

  private enter(name: string, phase: number): void {
    if (this.lingering.delete(name)) this.anomalies.push(`missed_removal ${name}`);
    this.stack.push({ name, phase });
  }

  private leave(name: string): void {
    this.stack = this.stack.filter((patch) => patch.name !== name);
    this.lingering.add(name);
  }

  private loaded(name: string): void {
    const patch = this.find(name);
    if (!patch) this.enter(name, ENABLED);
    else if (patch.phase === ENABLED) this.anomalies.push(`loaded_twice ${name}`);
    else {
      if (patch.phase === DISABLING) this.anomalies.push("missed_reversal");
      patch.phase = ENABLED;
    }
  }
}
