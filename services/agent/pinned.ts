/**
 * A module that is held though its patch is gone is pinned: a forced transition never gives it back. But every leaving
 * module looks like that for a moment, so it counts only when two snapshots have shown it, some time apart.
 */
import { is_livepatch, type Snapshot } from "./snapshot.js";

export const PINNED_AFTER_MS = 5_000;

export class HeldModules {
  /** By name: the monotonic instant at which it was first seen held. */
  private readonly since_ms = new Map<string, number>();

  /** These were found to be pinned before this process began. */
  trust(names: Iterable<string>): void {
    for (const name of names) this.since_ms.set(name, Number.NEGATIVE_INFINITY);
  }

  /** The snapshot with the reference counts of modules that have not been held for long enough as 0. */
  settle(snapshot: Snapshot, monotonic_ms: number): Snapshot {
    if (snapshot.livepatching === "unreadable") return snapshot;
    const with_directory = new Set(snapshot.patches.map(({ name }) => name));
    const held = new Set(
      snapshot.modules
        .filter((module) => is_livepatch(module) && module.refcount > 0 && !with_directory.has(module.name))
        .map(({ name }) => name),
    );
    for (const name of this.since_ms.keys()) if (!held.has(name)) this.since_ms.delete(name);
    for (const name of held) if (!this.since_ms.has(name)) this.since_ms.set(name, monotonic_ms);
    return {
      ...snapshot,
      modules: snapshot.modules.map((module) => {
        const since = this.since_ms.get(module.name);
        const is_new = since !== undefined && monotonic_ms - since < PINNED_AFTER_MS;
        return is_new ? { ...module, refcount: 0 } : module;
      }),
    };
  }
}
