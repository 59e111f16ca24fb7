/** A log with its chain, as a partition keeps them, in offsets and log times of the test's choosing. */
import { Core } from "#services/core/core.js";
import { Chains } from "#services/log/chains.js";
import type { Disk } from "#services/log/disk.js";
import type { LogRecord } from "#services/log/frame.js";
import type { Log } from "#services/log/log.js";
import { core_module } from "../../model/from_core.js";
import { open_log, unsynced_disk } from "./fixtures.js";

const core = new Core(core_module, { partition: null, partitions: 1 });

export interface ChainedLog {
  log: Log;
  chains: Chains;
  append(records: LogRecord[]): Promise<void>;
  /** The log is sealed by it: it then ends with an empty frame. */
  close(): Promise<void>;
}

/** One at a time: it folds in the core of this file. */
export async function open_chained(
  directory: string,
  segment_bytes_max: number,
  disk: Disk = unsynced_disk,
): Promise<ChainedLog> {
  core.restart({ partition: null, partitions: 1 });
  const chains = new Chains(disk, directory);
  const { log } = await open_log(directory, {
    disk,
    replica: true,
    segment_bytes_max,
    on_frames(frames, { segment, byte }) {
      let at = byte;
      core.fold_chained(frames, (piece) => {
        chains.tell({ segment, byte: at }, piece.bytes, core.next_offset, piece);
        at += piece.bytes;
      });
    },
  });
  return {
    log,
    chains,
    append: async (records) => void (await log.append_replica(log.next_offset, records)),
    async close() {
      await log.close();
      await chains.close();
    },
  };
}
