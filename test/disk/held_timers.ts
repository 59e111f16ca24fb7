/** Timers that run only when they are told to: what a life does depends on its seed and not on the clock. */

class HeldTimer {
  armed = true;
  constructor(readonly callback: () => void) {}

  unref(): this {
    return this;
  }

  refresh(): this {
    this.armed = true;
    return this;
  }
}

export class HeldTimers {
  #held: HeldTimer[] = [];
  readonly #real = { set: globalThis.setTimeout, clear: globalThis.clearTimeout };

  /** From now on, until `release`, no timer of this thread runs. */
  hold(): void {
    const set = (callback: () => void): HeldTimer => {
      const timer = new HeldTimer(callback);
      this.#held.push(timer);
      return timer;
    };
    const clear = (timer: HeldTimer) => {
      timer.armed = false;
    };
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout = clear as unknown as typeof clearTimeout;
  }

  /** All of them are due. */
  run(): void {
    for (const timer of this.#held.filter(({ armed }) => armed)) {
      timer.armed = false;
      timer.callback();
    }
  }

  /** Their process is dead. */
  forget(): void {
    this.#held = [];
  }

  release(): void {
    this.forget();
    globalThis.setTimeout = this.#real.set;
    globalThis.clearTimeout = this.#real.clear;
  }
}
