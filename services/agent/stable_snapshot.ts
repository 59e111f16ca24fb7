/**
 * sysfs is read without the kernel's lock, one attribute after another, so one reading may never have been true. What
 * two readings in a row agree on is taken for true.
 */
import { TornRead } from "./host_files.js";
import type { Snapshot } from "./snapshot.js";

/** So many readings, then the look is given up until the next one. */
export const READS_MAX = 8;

/** Null where no two readings in a row were equal. `now_ms` is asked when the reading that is given back began. */
export function stable_snapshot(read: () => Snapshot, now_ms: () => number): Snapshot | null {
  let before: string | null = null;
  for (let reads = 0; reads < READS_MAX; reads++) {
    const taken_unix_ms = now_ms();
    const snapshot = untorn(read);
    const text = snapshot && JSON.stringify(snapshot);
    if (snapshot && text === before) return { ...snapshot, taken_unix_ms };
    before = text;
  }
  return null;
}

function untorn(read: () => Snapshot): Snapshot | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof TornRead) return null;
    throw error;
  }
}
