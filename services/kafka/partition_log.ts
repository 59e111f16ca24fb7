/** A registry's partition as the log that a replica feeds. */
import { records_of } from "../log/frame.js";
import type { Log } from "../log/log.js";
import type { ReplicaLog } from "./replica.js";

/** `append`: resolves when the records are durable and folded. */
export function replica_log(log: Log, append: ReplicaLog["append"]): ReplicaLog {
  return {
    get next_offset() {
      return log.next_offset;
    },
    append,
    async bytes_at(offset) {
      for await (const frame of log.read(offset, offset + 1n)) {
        for (const record of records_of(frame.bytes)) if (record.offset === offset) return record.bytes;
      }
      return null;
    },
  };
}
