/** Who holds up a transition: the tasks whose patch_state is not yet where it leads. */
import { setImmediate as other_work } from "node:timers/promises";
import type { klpstate } from "../events/proto.js";
import type { Transition } from "./facts.js";
import { errno_of, type HostRoot } from "./host_files.js";

export const STALLED_AFTER_MS = 60_000;
export const STALLED_AGAIN_MS = 600_000;
export const TASKS_MAX = 20;
/** TASK_COMM_LEN of include/linux/sched.h is 16 with the final zero byte; kernel threads may have more. */
const COMM_CHARACTERS_MAX = 64;
/** PF_KTHREAD of include/linux/sched.h. */
const PF_KTHREAD = 0x0020_0000;
const TASKS_AT_ONCE = 256;

/** When a transition that runs is to be reported. Instants are monotonic. */
export class StallClock {
  private running: { key: string; due_ms: number } | null = null;

  /** Whether the transition has run for so long that it is to be reported now; null: none runs. */
  is_due(transition: Transition | null, monotonic_ms: number): boolean {
    const key = transition && `${transition.name} ${transition.to}`;
    if (key === null) this.running = null;
    else if (this.running?.key !== key) this.running = { key, due_ms: monotonic_ms + STALLED_AFTER_MS };
    if (this.running === null || monotonic_ms < this.running.due_ms) return false;
    this.running.due_ms = monotonic_ms + STALLED_AGAIN_MS;
    return true;
  }
}

export interface HoldingUp {
  tasks: klpstate.v1.Task.$Properties[];
  total: number;
  /** Tasks whose patch_state may not be read. */
  unread: number;
}

/** Lets other work have its turn: a host may have a hundred thousand tasks. */
export async function tasks_holding_up(root: HostRoot, to: Transition["to"]): Promise<HoldingUp> {
  const target = to === "patching" ? 1 : 0;
  const found: HoldingUp = { tasks: [], total: 0, unread: 0 };
  let seen = 0;
  for (const pid of numbers(root, "/proc")) {
    for (const tid of numbers(root, `/proc/${pid}/task`)) {
      if (++seen % TASKS_AT_ONCE === 0) await other_work();
      const at = `/proc/${pid}/task/${tid}`;
      try {
        // -1: nothing was asked of it, as of a task that was born meanwhile.
        const state = Number(root.text(`${at}/patch_state`));
        if (state === target || state < 0) continue;
        found.total++;
        if (found.tasks.length < TASKS_MAX) found.tasks.push(task(root, at, Number(tid)));
      } catch (error) {
        const errno = errno_of(error);
        if (errno === "EACCES" || errno === "EPERM") found.unread++;
      }
    }
  }
  return found;
}

function numbers(root: HostRoot, path: string): string[] {
  try {
    return root.names(path).filter((name) => /^[0-9]+$/.test(name));
  } catch (error) {
    // It ended.
    errno_of(error);
    return [];
  }
}

function task(root: HostRoot, at: string, pid: number): klpstate.v1.Task.$Properties {
  const comm = root.text(`${at}/comm`).trimEnd().slice(0, COMM_CHARACTERS_MAX);
  // Behind the last parenthesis, for a comm may have some: state ppid pgrp session tty tpgid flags.
  const stat = root.text(`${at}/stat`);
  const flags = Number(
    stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .at(6),
  );
  return { pid, comm, kthread: (flags & PF_KTHREAD) !== 0 };
}
