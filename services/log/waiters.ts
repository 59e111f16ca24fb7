/** Those who wait until a log is folded up to an offset: to read what they wrote, wherever they ask. */
interface Waiter {
  next_offset: bigint;
  settle(folded: boolean): void;
}

export class Waiters {
  readonly #waiting = new Set<Waiter>();

  /** Resolves with true when `folded_to` has told of the offset, with false after `wait_ms` or by `give_up`. */
  wait(next_offset: bigint, wait_ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => waiter.settle(false), wait_ms);
      const waiter: Waiter = {
        next_offset,
        settle: (folded) => {
          clearTimeout(timer);
          this.#waiting.delete(waiter);
          resolve(folded);
        },
      };
      this.#waiting.add(waiter);
    });
  }

  folded_to(next_offset: bigint): void {
    for (const waiter of this.#waiting) if (waiter.next_offset <= next_offset) waiter.settle(true);
  }

  /** Nothing more will be folded. */
  give_up(): void {
    for (const waiter of this.#waiting) waiter.settle(false);
  }
}
