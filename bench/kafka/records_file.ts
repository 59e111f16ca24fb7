/**
 * The benchmark's records in a file, in the order in which they are produced. Big-endian, as Java reads it:
 * 1 partition, 1 length of the key (0: none), 4 length of the value, key, value.
 */
import { closeSync, createReadStream, openSync, writeSync } from "node:fs";
import { Core } from "../../services/core/core.js";
import { type Digest, digest_of_core } from "../../services/core/digest.js";
import { load_core_module } from "../../services/core/module.js";
import { Fleet, HOST_ID_BYTES } from "../data.js";

const HEADER_BYTES = 6;
const BUFFER_BYTES = 4 * 1024 * 1024;
/** Only so many events of a fleet at once: its days. */
const EVENTS_PER_DAY = 1_000_000;

export interface Contents {
  hosts: number;
  events: number;
  partitions: number;
  events_per_record: number;
}

export interface RecordsFile {
  path: string;
  hosts: number;
  events: number;
  records: number;
  /** Of the values. */
  bytes: number;
}

class RecordsWriter {
  readonly #descriptor: number;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #at = 0;
  records = 0;
  bytes = 0;

  constructor(path: string) {
    this.#descriptor = openSync(path, "w");
  }

  write(partition: number, key: Uint8Array | null, value: Uint8Array): void {
    const key_bytes = key?.length ?? 0;
    if (this.#at + HEADER_BYTES + key_bytes + value.length > BUFFER_BYTES) this.#flush();
    const buffer = this.#buffer;
    buffer[this.#at] = partition;
    buffer[this.#at + 1] = key_bytes;
    buffer.writeUInt32BE(value.length, this.#at + 2);
    this.#at += HEADER_BYTES;
    if (key !== null) buffer.set(key, this.#at);
    buffer.set(value, this.#at + key_bytes);
    this.#at += key_bytes + value.length;
    this.records++;
    this.bytes += value.length;
  }

  close(): void {
    this.#flush();
    closeSync(this.#descriptor);
  }

  #flush(): void {
    writeSync(this.#descriptor, this.#buffer, 0, this.#at);
    this.#at = 0;
  }
}

/** The host id of a record's first event: behind the tag and length of the event, and those of the id. */
function first_host_of(record: Uint8Array): Uint8Array {
  const at = record[1]! < 128 ? 4 : 5;
  return record.subarray(at, at + HOST_ID_BYTES);
}

/** An Observed of each host and then changes, `events` in all. A record of one event has its host as key. */
export function write_records_file(
  path: string,
  { hosts, events, partitions, events_per_record }: Contents,
): RecordsFile {
  if (events < hosts) throw new Error(`${events} events do not tell of ${hosts} hosts: give more --events`);
  const writer = new RecordsWriter(path);
  const take = (partition: number, record: Uint8Array) =>
    writer.write(partition, events_per_record === 1 ? first_host_of(record) : null, record);
  const fleet = new Fleet(hosts, "booted");
  fleet.baseline_records(partitions, events_per_record, take);
  for (let left = events - hosts; left > 0; left -= EVENTS_PER_DAY) {
    fleet.event_records(Math.min(left, EVENTS_PER_DAY), partitions, events_per_record, take);
  }
  writer.close();
  return { path, hosts, events, records: writer.records, bytes: writer.bytes };
}

export interface FoldedRecords {
  digest: Digest;
  /** Events that are no repeats. */
  applied: number;
}

/** What the file's records come to, folded by the core without a log: what everybody else must come to. */
export async function fold_records({ path, hosts, events }: RecordsFile): Promise<FoldedRecords> {
  const core = new Core(load_core_module(), { partition: 0, partitions: 1 });
  let offset = 0n;
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: BUFFER_BYTES })) {
    const bytes = Buffer.concat([rest, chunk as Buffer]);
    let at = 0;
    for (;;) {
      if (at + HEADER_BYTES > bytes.length) break;
      const from = at + HEADER_BYTES + bytes[at + 1]!;
      const to = from + bytes.readUInt32BE(at + 2);
      if (to > bytes.length) break;
      core.fold_record(bytes.subarray(from, to), { offset: offset++, index: 0 }, Date.now());
      at = to;
    }
    rest = bytes.subarray(at);
  }
  const odd = Object.entries(core.anomalies_seen()).filter(([, count]) => count > 0);
  if (
    core.events_folded !== events ||
    core.host_count !== hosts ||
    core.records_quarantined > 0 ||
    odd.length > 0
  ) {
    throw new Error(`the data is not what it should be: ${core.events_folded} events ${JSON.stringify(odd)}`);
  }
  let applied = 0;
  // A host's events are numbered from 1, without gaps.
  for (let i = 0; i < hosts; i++) applied += core.host(i).sequence;
  return { digest: digest_of_core(core), applied };
}
