/** A registry's logs on the disk, and live states that are right, or wrong in a known way. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { LiveState } from "#services/audit/live_state.js";
import { type PartitionQuestion, type ReplayReport, replay } from "#services/audit/replay.js";
import { Core } from "#services/core/core.js";
import { digest_of_core } from "#services/core/digest.js";
import { host_hashes } from "#services/core/host_hashes.js";
import { encode_batch, type HostEvent } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { encode_frames, type LogRecord } from "#services/log/frame.js";
import { Log } from "#services/log/log.js";
import { node_disk } from "#services/log/node_disk.js";
import { core_module, host_state } from "../../model/from_core.js";
import { fold_log, hosts_digest } from "../../model/registry.js";

export const PARTITIONS = 2;
export const LOG_TIME_MS = 1_770_000_001_000;

const directories: string[] = [];

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Ids of hosts of a partition, counted up. */
export function hosts_of(partition: number, count: number): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) {
    if (partition_of(Buffer.from(`host-${i}`), PARTITIONS) === partition) found.push(`host-${i}`);
  }
  return found;
}

/** The partitions' logs, each event a record of its own, all that is given at once in one commit. */
export class Logs {
  readonly directory = mkdtempSync(join(tmpdir(), "klpstate-audit-"));
  readonly records: LogRecord[][] = Array.from({ length: PARTITIONS }, () => []);

  constructor() {
    directories.push(this.directory);
  }

  async append(partition: number, events: HostEvent[]): Promise<void> {
    const { log } = await Log.open({
      disk: node_disk,
      directory: join(this.directory, "log", String(partition)),
      name: `partition ${partition}`,
      now: () => LOG_TIME_MS,
    });
    const records = events.map((event) => encode_batch([event]));
    await log.append(records);
    await log.close();
    const known = this.records[partition]!;
    for (const bytes of records) {
      known.push({ offset: BigInt(known.length), log_time_ms: LOG_TIME_MS, bytes });
    }
  }

  next_offset(partition: number): bigint {
    return BigInt(this.records[partition]!.length);
  }

  /** What the plain model makes of a partition's first records. */
  digest(partition: number, count = this.records[partition]!.length): string {
    const records = this.records[partition]!.slice(0, count);
    const model = fold_log(records.map((record) => ({ ...record, log_time_ms: BigInt(record.log_time_ms) })));
    return hosts_digest(model.hosts.values());
  }

  /** Of every partition, all that is live, unless `more` says something else. */
  questions(more: Partial<PartitionQuestion> = {}): PartitionQuestion[] {
    return this.records.map((records, partition) => ({
      partition,
      to: null,
      past: false,
      log_bytes: records.length,
      broken: null,
      ...more,
    }));
  }

  replay(live: LiveState, questions = this.questions()): Promise<ReplayReport> {
    return replay({ directory: this.directory, partition_count: PARTITIONS, questions, live });
  }
}

/** A state that is served: of the logs as they are now, without the records that it missed, and with what no log has. */
export class Live implements LiveState {
  readonly #logs: Logs;
  readonly #missed: readonly LogRecord[];
  readonly #invented: readonly { partition: number; event: HostEvent }[];
  /** Called before each answer about one host: time goes on. */
  before_host_state: () => Promise<void> = async () => {};

  constructor(
    logs: Logs,
    missed: readonly LogRecord[] = [],
    invented: readonly { partition: number; event: HostEvent }[] = [],
  ) {
    this.#logs = logs;
    this.#missed = missed;
    this.#invented = invented;
  }

  async digest(partition: number) {
    const next_offset = this.#logs.next_offset(partition);
    return { next_offset, digest: digest_of_core(this.#core(partition)) };
  }

  async host_hashes(partition: number) {
    const next_offset = this.#logs.next_offset(partition);
    return { next_offset, hashes: host_hashes(this.#core(partition)) };
  }

  async host_state(partition: number, host: number) {
    await this.before_host_state();
    const next_offset = this.#logs.next_offset(partition);
    return { next_offset, state: host_state(this.#core(partition), host) };
  }

  #core(partition: number): Core {
    const core = new Core(core_module, { partition, partitions: PARTITIONS });
    const records = this.#logs.records[partition]!.filter((record) => !this.#missed.includes(record));
    for (const record of records) core.fold_frames(encode_frames([record], 0), false);
    for (const { event } of this.#invented.filter((each) => each.partition === partition)) {
      core.fold_record(encode_batch([event]), { offset: core.next_offset, index: 0 }, LOG_TIME_MS);
    }
    return core;
  }
}
