/** How a command that runs until it is stopped hears of it. */

/** Caught from the beginning, so that a signal during a long start is not a death; a second one is. */
export function signal_of_stop(): { signal: Promise<string>; forget(): void } {
  let told: (signal: string) => void;
  const signal = new Promise<string>((resolve) => {
    told = resolve;
  });
  const on_signal = (name: NodeJS.Signals) => {
    forget();
    told(name);
  };
  const forget = () => {
    process.off("SIGINT", on_signal);
    process.off("SIGTERM", on_signal);
  };
  process.on("SIGINT", on_signal);
  process.on("SIGTERM", on_signal);
  return { signal, forget };
}
