/** How far each partition is, as acknowledgements say; and as a question takes it. */
export class StoredPositions {
  readonly #next = new Map<number, bigint>();

  note(partition: number, next_offset: bigint): void {
    if (next_offset > (this.#next.get(partition) ?? -1n)) this.#next.set(partition, next_offset);
  }

  document(): { positions: Record<string, string>; min_position: string } {
    const sorted = [...this.#next].sort(([a], [b]) => a - b);
    return {
      positions: Object.fromEntries(sorted.map(([partition, next]) => [partition, next.toString()])),
      min_position: sorted.map(([partition, next]) => `${partition}:${next}`).join(","),
    };
  }
}
