/**
 * Which host it is where a replay's digest is not the live one's, and both states of it, at one position of the log:
 * the live state moves on meanwhile, and the replay folds on behind it.
 */
import { decode_host_state, type HostStateDocument } from "./host_state_document.js";
import type { LiveState } from "./live_state.js";
import type { ReplayThread } from "./replay_thread.js";

export interface Difference {
  /** Both states are those at this next offset. */
  next: string;
  host_id: string;
  hosts_differing: number;
  /** Null: the host is not there. */
  live: HostStateDocument | null;
  replayed: HostStateDocument | null;
}

/** An event may end the difference of a host while it is looked at: then the next one is looked for. */
const TRIES = 3;

/** Null: there was no difference any more when it was looked for. Throws what the live state and the thread throw. */
export async function find_difference(
  partition: number,
  live: LiveState,
  replay: Pick<ReplayThread, "compare" | "state">,
): Promise<Difference | null> {
  for (let tries = 0; tries < TRIES; tries++) {
    const all = await live.host_hashes(partition);
    const found = await replay.compare(all.next_offset, all.hashes);
    if (found === null) return null;
    const { hosts_differing, there } = found;
    const seen = there === null ? null : await live.host_state(partition, there);
    const live_document = seen === null ? null : decode_host_state(seen.state);
    const next_offset = seen?.next_offset ?? all.next_offset;
    const host_id = live_document?.host_id ?? found.host_id!;
    const state = await replay.state(next_offset, host_id);
    if (seen !== null && state !== null && Buffer.compare(seen.state, state) === 0) continue;
    return {
      next: String(next_offset),
      host_id,
      hosts_differing,
      live: live_document,
      replayed: state === null ? null : decode_host_state(state),
    };
  }
  return null;
}
