/** How a registry's log is replayed: by audit, which is loaded only when it is asked for. */
import type { Replay } from "../api/replay_routes.js";
import { Problem } from "../events/problem.js";

/** Throws Problem `contradiction` where the log is not what it should be: that is an answer too, and it is no. */
export const replay_by_audit: Replay = async (registry, progress) => {
  const { replay } = await import("../audit/replay.js");
  const status = await registry.status();
  const broken = status.flatMap((partition) =>
    partition.broken === null ? [] : [`partition ${partition.partition}: ${partition.broken}`],
  );
  if (broken.length > 0) throw new Problem("contradiction", broken.join("; "));
  const live = await registry.digests();
  const bytes_total = status.reduce((sum, { log_bytes }) => sum + log_bytes, 0);
  try {
    return await replay({ directory: registry.data, live, bytes_total, progress });
  } catch (error) {
    throw new Problem("contradiction", error instanceof Error ? error.message : String(error));
  }
};
