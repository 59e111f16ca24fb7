/**
 * One directory's names, twice: as a process sees them and as they are on the disk, with the creations, removals and
 * renames in between that were not synced. A power loss lets any of those reach the disk, in their order.
 */
import type { Dice } from "./dice.js";
import { SimulatedFile } from "./simulated_file.js";

export type Node = SimulatedFile | SimulatedDirectory;

/** All names of one change reach the disk, or none: a rename is never half done. */
type Change = readonly { name: string; node: Node | null }[];

export class SimulatedDirectory {
  readonly #names = new Map<string, Node>();
  readonly #durable = new Map<string, Node>();
  #pending: Change[] = [];

  get synced(): boolean {
    return this.#pending.length === 0;
  }

  names(): IterableIterator<string> {
    return this.#names.keys();
  }

  nodes(): IterableIterator<Node> {
    return this.#names.values();
  }

  find(name: string): Node | null {
    return this.#names.get(name) ?? null;
  }

  /** `node` null: the name goes away. */
  change(change: Change): void {
    apply(this.#names, change);
    this.#pending.push(change);
  }

  sync(): void {
    for (const change of this.#pending.splice(0)) apply(this.#durable, change);
  }

  lose_power(dice: Dice): void {
    const share = dice.pick([0, 0.5, 0.5, 1]);
    for (const change of this.#pending.splice(0)) {
      if (dice.chance(share)) apply(this.#durable, change);
    }
    this.#names.clear();
    for (const [name, node] of this.#durable) {
      this.#names.set(name, node);
      node.lose_power(dice);
    }
  }

  /** Damage: the name is gone, or back, in the cache and on the disk, with no one's doing. */
  damage(name: string, node: Node | null): void {
    apply(this.#names, [{ name, node }]);
    apply(this.#durable, [{ name, node }]);
  }

  /** Bytes of all files below. */
  total_bytes(): number {
    let bytes = 0;
    for (const node of this.#names.values()) {
      bytes += node instanceof SimulatedFile ? node.length : node.total_bytes();
    }
    return bytes;
  }
}

function apply(names: Map<string, Node>, change: Change): void {
  for (const { name, node } of change) {
    if (node === null) names.delete(name);
    else names.set(name, node);
  }
}
