/** What of each host is enough to find those that differ between two cores: a host's name and state, hashed. */
import { hash } from "node:crypto";
import type { Core } from "./core.js";

/** In the order of the hosts, two numbers each: 8 bytes of SHA-256 of the host id, then 8 of that of its state. */
export type HostHashes = BigUint64Array<ArrayBuffer>;

export function host_hashes(core: Core): HostHashes {
  const hashes = new BigUint64Array(2 * core.host_count);
  const bytes = Buffer.from(hashes.buffer);
  let host = 0;
  for (const state of core.host_states()) {
    // The host id only after the state: the core may not be called while its bytes are looked at.
    bytes.write(hash("sha256", state, "hex").slice(0, 16), host * 16 + 8, "hex");
    bytes.write(hash("sha256", core.host(host).host_id, "hex").slice(0, 16), host * 16, "hex");
    host++;
  }
  return hashes;
}

/** A copy of the host's canonical state (RULES F9). */
export function host_state(core: Core, host: number): Uint8Array {
  for (const state of core.host_states(host)) return state.slice();
  throw new RangeError(`there is no host ${host}`);
}

export interface HostsDifference {
  /** Hosts whose states differ, and those that only one side has. */
  count: number;
  /** Number of the first one on each side; null: that side does not have it. */
  here: number | null;
  there: number | null;
}

/**
 * By host id, not by number: one host that is missing moves the numbers of all behind it. The first one is the first in
 * the order of the hosts here; of those that are only there, the first there. Null: no host differs.
 */
export function compare_hosts(here: HostHashes, there: HostHashes): HostsDifference | null {
  const states_there = column(there, 1).sort();
  const ids_here = column(here, 0).sort();
  let count = 0;
  let first_here: number | null = null;
  let first_there: number | null = null;
  for (let host = 0; host < here.length / 2; host++) {
    if (includes(states_there, here[2 * host + 1]!)) continue;
    count++;
    first_here ??= host;
  }
  for (let host = 0; host < there.length / 2; host++) {
    if (includes(ids_here, there[2 * host]!)) continue;
    count++;
    first_there ??= host;
  }
  if (count === 0) return null;
  if (first_here === null) return { count, here: null, there: first_there };
  const same_id = column(there, 0).indexOf(here[2 * first_here]!);
  return { count, here: first_here, there: same_id < 0 ? null : same_id };
}

function column(hashes: HostHashes, which: 0 | 1): HostHashes {
  const picked = new BigUint64Array(hashes.length / 2);
  for (let host = 0; host < picked.length; host++) picked[host] = hashes[2 * host + which]!;
  return picked;
}

function includes(sorted: HostHashes, value: bigint): boolean {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low < sorted.length && sorted[low] === value;
}
