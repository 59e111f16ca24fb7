/** The agent's loop: the kernel's log wakes it, a look a second follows in any case, and the sender goes beside. */
import { klpstate } from "../events/proto.js";
import type { HostRoot } from "./host_files.js";
import { pause, type Sender } from "./sender.js";
import { StallClock, tasks_holding_up } from "./stalled.js";
import type { HostClock, HostWatch } from "./watch.js";

/** How long what the kernel says may go unread: /dev/kmsg tells by epoll, which Node does not offer for a device. */
const TICK_MS = 100;
/** Before a look that made no sense is repeated; twice as long before each further one, up to the interval. */
const DOUBT_MS = 50;

export interface RunParts {
  watch: HostWatch;
  sender: Sender;
  root: HostRoot;
  clock: HostClock;
  /** From one look to the next, if nothing happens. */
  interval_ms: number;
  report: (message: string) => void;
}

/** Ends with the signal; what is known then is written down. */
export async function run_agent(parts: RunParts, signal: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const both = AbortSignal.any([signal, ended.signal]);
  try {
    await Promise.all([parts.sender.run(both), look_on(parts, both)]);
  } finally {
    // Where one of the two failed, the other one ends as well.
    ended.abort();
    parts.watch.persist();
  }
}

async function look_on(parts: RunParts, signal: AbortSignal): Promise<void> {
  const { watch, sender, clock, interval_ms } = parts;
  const stall = new StallClock();
  let due_ms = Number.NEGATIVE_INFINITY;
  let again = 0;
  while (!signal.aborted) {
    const stirred = watch.stirred();
    if (stirred || clock.monotonic_ms() >= due_ms) {
      if (watch.look() === "again") {
        await pause(Math.min(DOUBT_MS * 2 ** again++, interval_ms), signal);
        due_ms = Number.NEGATIVE_INFINITY;
        continue;
      }
      again = 0;
      due_ms = clock.monotonic_ms() + interval_ms;
      if (stall.is_due(watch.transition, clock.monotonic_ms())) await tell_stalled(parts);
      sender.stir();
    }
    await pause(Math.min(TICK_MS, interval_ms), signal);
  }
}

async function tell_stalled({ watch, root, report }: RunParts): Promise<void> {
  const { transition } = watch;
  if (transition === null) return;
  const { tasks, total, unread } = await tasks_holding_up(root, transition.to);
  if (unread > 0)
    report(
      `patch_state of ${unread} tasks cannot be read: who holds up ${transition.name} may be among them`,
    );
  const stalled = klpstate.v1.Stalled.create({ patch: { name: transition.name }, tasks, tasks_total: total });
  watch.tell({ stalled });
}
