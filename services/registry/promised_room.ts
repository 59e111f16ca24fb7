/**
 * Room in a core, promised before a record is written: what is in the log and does not fit would stop its partition for
 * good. An append is let in if its events surely fit beside all that was let in and is not folded yet. One that would
 * fit, but not beside those, waits for them: the need is reckoned for the worst, and most of it comes back.
 */
import type { Core, Demand } from "../core/core.js";
import { HostFactRows, type HostList } from "../core/host_list.js";

interface Waiting {
  demand: Demand;
  hosts: HostList;
  settle(promised: boolean): void;
}

export class PromisedRoom {
  readonly #core: Core;
  #promised: Demand = { events: 0, unreadable: 0, bytes: 0 };
  readonly #waiting: Waiting[] = [];

  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Resolves with whether the events may be written, to hosts that they are about; in the order of asking, so that
   * nobody overtakes. What was promised is to be given back when it is folded, or was not stored.
   */
  take(demand: Demand, hosts: HostList): Promise<boolean> {
    return new Promise((settle) => {
      this.#waiting.push({ demand, hosts, settle });
      if (this.#waiting.length === 1) this.#let_in();
    });
  }

  give_back(demand: Demand): void {
    this.#promised = sum(this.#promised, demand, -1);
    this.#let_in();
  }

  /** Whether one of them would be new: then less may be filled. */
  brings_hosts(hosts: HostList): boolean {
    const facts = new HostFactRows(this.#core.host_facts(hosts));
    for (let row = 0; row < facts.count; row++) if (!facts.is_known(row)) return true;
    return false;
  }

  #let_in(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { demand, hosts, settle } = next;
      const all = sum(this.#promised, demand, 1);
      const fits = this.#fits(all, hosts);
      if (!fits && this.#fits(demand, hosts)) return;
      this.#waiting.shift();
      if (fits) this.#promised = all;
      settle(fits);
    }
  }

  #fits(demand: Demand, hosts: HostList): boolean {
    return (
      this.#core.has_room(demand, true) || (this.#core.has_room(demand, false) && !this.brings_hosts(hosts))
    );
  }
}

/** Of all of an append's records. */
export function demand_of(core: Core, records: readonly Uint8Array[]): Demand {
  return records.reduce<Demand>((all, record) => sum(all, core.demand_of(record), 1), {
    events: 0,
    unreadable: 0,
    bytes: 0,
  });
}

function sum(a: Demand, b: Demand, sign: 1 | -1): Demand {
  return {
    events: a.events + sign * b.events,
    unreadable: a.unreadable + sign * b.unreadable,
    bytes: a.bytes + sign * b.bytes,
  };
}
