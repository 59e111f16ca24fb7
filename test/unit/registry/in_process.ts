/** A registry whose one shard runs in this process, on a disk of the test's own. */
import { MessageChannel } from "node:worker_threads";
import { Catalog } from "#services/catalog/catalog.js";
import { MEMORY_BYTES_MAX } from "#services/core/core.js";
import { WayIn } from "#services/core/way_in.js";
import { claim_directory } from "#services/log/claim.js";
import type { Disk, WriteFile } from "#services/log/disk.js";
import { node_disk } from "#services/log/node_disk.js";
import { LocalPartitions } from "#services/registry/local_partitions.js";
import { log_directory } from "#services/registry/partition_place.js";
import { PastQuestions } from "#services/registry/past_questions.js";
import { PastThreads } from "#services/registry/past_threads.js";
import { Registry } from "#services/registry/registry.js";
import { ShardClient } from "#services/registry/shard_client.js";
import type { ShardStart } from "#services/registry/shard_protocol.js";
import { serve_shard } from "#services/registry/shard_serving.js";
import { core_module } from "../../model/from_core.js";
import { place_in } from "../../model/place.js";

export async function open_in_process(
  data: string,
  disk: Disk,
  memory_bytes_max = MEMORY_BYTES_MAX,
): Promise<Registry> {
  const claim = claim_directory(data);
  const { catalog } = await Catalog.open({
    disk: node_disk,
    directory: log_directory(data, "catalog"),
    now: Date.now,
    on_change() {},
  });
  const start: ShardStart = {
    place: place_in(data, 1, memory_bytes_max),
    partitions: [0],
    open: [0],
    stale_after_ms: 1_000_000,
    catalog: [],
  };
  const { port1, port2 } = new MessageChannel();
  const thread = Object.assign(port1, { terminate: async () => port1.close() });
  const opened = ShardClient.start(start, thread);
  await serve_shard(port2, start, disk, Date.now);
  const { shard } = await opened;
  const past = new PastThreads(start.place, start.stale_after_ms);
  const partitions = new LocalPartitions(
    [shard],
    new PastQuestions({
      shard_of: () => shard,
      manifests: catalog.manifests,
      threads: past,
      report() {},
    }),
  );
  const parts = {
    claim,
    catalog,
    partition_count: 1,
    replica: false,
    partitions,
    intake: partitions,
    now: Date.now,
    keeper: null,
    past,
    start: { snapshots: 0, log_bytes_read: 0 },
    lost: partitions.lost,
  };
  return new Registry(parts, new WayIn(core_module, 7n));
}

/** The real disk, whose fdatasync waits while it is held. */
export class HeldDisk {
  #release = () => {};
  #held: Promise<void> = Promise.resolve();

  readonly disk: Disk = {
    ...node_disk,
    open_write: async (path) => {
      const file = await node_disk.open_write(path);
      const held: WriteFile = {
        write: (buffers, position) => file.write(buffers, position),
        truncate: (bytes) => file.truncate(bytes),
        sync: async () => {
          await this.#held;
          await file.sync();
        },
        close: () => file.close(),
      };
      return held;
    },
  };

  hold(): void {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release(): void {
    this.#release();
  }
}
