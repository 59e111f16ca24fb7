/** What a replay asks of the state that is served. A registry answers it. */
import type { Digest } from "../core/digest.js";
import type { HostHashes } from "../core/host_hashes.js";

/**
 * Each answer is that of one instant, and says which: the live log's next offset. Each throws Problem where nothing of
 * the partition is served.
 */
export interface LiveState {
  digest(partition: number): Promise<{ next_offset: bigint; digest: Digest }>;
  host_hashes(partition: number): Promise<{ next_offset: bigint; hashes: HostHashes }>;
  /** The canonical state of the host with this number in `host_hashes`. */
  host_state(partition: number, host: number): Promise<{ next_offset: bigint; state: Uint8Array }>;
}
