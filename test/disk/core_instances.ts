/**
 * WebAssembly instances that one life after the other uses. Each start makes a core for every partition, of 14 MB that
 * only the garbage collector frees: two thirds of a life's time. A core clears what it had when it starts.
 */
export class CoreInstances {
  #free: WebAssembly.Instance[] = [];
  #used: WebAssembly.Instance[] = [];
  readonly #real = WebAssembly.Instance;

  /** From now on, until `release`, `new WebAssembly.Instance` in this thread gives a used one. For one module. */
  hold(): void {
    const Real = this.#real;
    const take = (module: WebAssembly.Module): WebAssembly.Instance => {
      const instance = this.#free.pop() ?? new Real(module);
      this.#used.push(instance);
      return instance;
    };
    WebAssembly.Instance = function Instance(module: WebAssembly.Module) {
      return take(module);
    } as unknown as typeof WebAssembly.Instance;
  }

  /** Not before the life's end: what a dead process had begun may still fold into its core. */
  release(): void {
    WebAssembly.Instance = this.#real;
    this.#free.push(...this.#used.splice(0));
  }
}
