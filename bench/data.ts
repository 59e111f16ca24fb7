/**
 * The benchmark's fleet and its events, the same for the same seed. Protobuf is written straight into records:
 * an object per event would take longer than what is measured.
 */
import type { CoreManifest } from "../services/core/core.js";
import { RECORD_BYTES_MAX, RECORD_EVENTS_MAX } from "../services/events/limits.js";
import { partition_of } from "../services/events/partition.js";
import { encode_frames, type LogRecord } from "../services/log/frame.js";
import { type Random, random_from } from "./random.js";

const SEED = 20260921;
/** Frames are handed over in pieces of this many: 240 KB stay in the second-level cache. */
const FRAMES_PER_PIECE = 15;
const EVENT_BYTES_MAX = 512;

/** A record ends behind the event that reaches one of these. */
interface RecordLimits {
  bytes: number;
  events: number;
}
/** A frame of one record has about 16 KiB. */
export const LOG_LIMITS: RecordLimits = { bytes: 16_000, events: RECORD_EVENTS_MAX };
/** As much as one request takes. */
const BATCH_LIMITS: RecordLimits = { bytes: RECORD_BYTES_MAX - EVENT_BYTES_MAX, events: RECORD_EVENTS_MAX };

export const BASES = 60;
export const KERNELS = 12;
export const ARCH = "x86_64";
/** Not loaded, enabling, enabled, disabling, lingering: one patch of every host goes round and round. */
const STEPS = 5;
/** Realistic data, D1: so many different configurations, of which hosts have one each by Zipf's law. */
export const CONFIGURATIONS = BASES * STEPS;
const ZIPF_ENTRIES = 1 << 16;
/** Of churning data, D3: so many patches may be the one that goes round, each time another. */
const CHURN_NAMES = 500;

/** A share of events comes twice: delivery is at least once. */
const REPEATS = 0.05;
export const START_MS = 1_790_000_000_000;
/** The events are those of one day. */
export const DAY_MS = 86_400_000;

/** Field numbers of the changes that lead to the steps 1, 2, 3, 4 and 0. */
const CHANGE_FIELDS = [17, 18, 20, 21, 25];
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const ENABLED = 2;

export interface Pieces {
  /** Whole frames each; in the log's order. */
  pieces: Uint8Array[];
  events: number;
  bytes: number;
}

export function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  bytes.push(value);
  return bytes;
}

export function field(number: number, type: number, payload: number[]): number[] {
  return [...varint(number * 8 + type), ...(type === BYTES ? varint(payload.length) : []), ...payload];
}

export function text(number: number, value: string): number[] {
  return field(number, BYTES, [...Buffer.from(value)]);
}

export function release_of(base: number): string {
  return `6.12.${40 + (base % KERNELS)}-cloud-amd64`;
}

/** What lies below the patch that goes round: different for every base, so that all configurations differ. */
function names_below(base: number): string[] {
  return Array.from({ length: 1 + (base % 3) }, (_, i) => `livepatch_fix_2025_${base}_${i}`);
}

export function name_going_round(base: number): string {
  return `livepatch_cve_2026_${1000 + base}`;
}

export function stack_entry(name: string, phase: number): number[] {
  return field(6, BYTES, [...field(1, BYTES, text(1, name)), ...field(2, VARINT, [phase])]);
}

function observed(base: number, step: number, below: string[]): number[] {
  const going = name_going_round(base);
  return field(16, BYTES, [
    ...text(1, release_of(base)),
    ...text(2, ARCH),
    ...field(
      3,
      BYTES,
      Array.from({ length: 16 }, (_, i) => base + i),
    ),
    ...field(5, VARINT, [1]),
    ...below.flatMap((name) => stack_entry(name, ENABLED)),
    ...(step >= 1 && step <= 3 ? stack_entry(going, step) : []),
    ...(step === 4 ? field(7, BYTES, field(1, BYTES, text(1, going))) : []),
  ]);
}

/** The change's bytes of each (base, step that it leaves or observes). */
function each_configuration(bytes_of: (base: number, step: number) => number[]): Uint8Array[] {
  return Array.from({ length: CONFIGURATIONS }, (_, i) =>
    Uint8Array.from(bytes_of(Math.floor(i / STEPS), i % STEPS)),
  );
}

/** Zipf's law with exponent 1 as a table to draw from: the configuration of each share of hosts. */
function zipf_table(): Uint16Array {
  const weights = Array.from({ length: CONFIGURATIONS }, (_, i) => 1 / (i + 1));
  const total = weights.reduce((sum, weight) => sum + weight);
  const table = new Uint16Array(ZIPF_ENTRIES);
  let sum = 0;
  let from = 0;
  weights.forEach((weight, rank) => {
    sum += weight;
    const to = Math.round((sum / total) * ZIPF_ENTRIES);
    // The frequent ranks are of different bases and steps.
    table.fill((rank % BASES) * STEPS + Math.floor(rank / BASES), from, to);
    from = to;
  });
  return table;
}

/** Gathers events into records. */
export class RecordWriter {
  readonly #limits: RecordLimits;
  readonly #take: (record: Uint8Array, time_ms: number) => void;
  readonly #bytes: Uint8Array;
  #at = 0;
  #events = 0;

  /** `take` gets each record with the time of its last event. */
  constructor(limits: RecordLimits, take: (record: Uint8Array, time_ms: number) => void) {
    this.#limits = limits;
    this.#take = take;
    this.#bytes = new Uint8Array(limits.bytes + EVENT_BYTES_MAX);
  }

  event(
    host: number,
    stream_low: number,
    stream_high: number,
    sequence: number,
    time_ms: number,
    change: Uint8Array,
  ) {
    const bytes = this.#bytes;
    const start = this.#at;
    // The length's varint takes two bytes where the event is longer than 127.
    const length_bytes = change.length + 42 > 127 ? 2 : 1;
    let at = start + 1 + length_bytes;
    bytes[at++] = (1 << 3) | BYTES;
    at = write_host_id(bytes, at, host);
    bytes[at++] = (2 << 3) | FIXED64;
    for (let shift = 0; shift < 32; shift += 8) bytes[at++] = stream_low >>> shift;
    for (let shift = 0; shift < 32; shift += 8) bytes[at++] = stream_high >>> shift;
    bytes[at++] = (3 << 3) | VARINT;
    for (; sequence > 127; sequence >>>= 7) bytes[at++] = sequence | 128;
    bytes[at++] = sequence;
    bytes[at++] = (4 << 3) | VARINT;
    let low = time_ms % 0x10000000;
    for (let i = 0; i < 4; i++, low >>>= 7) bytes[at++] = low | 128;
    let high = Math.floor(time_ms / 0x10000000);
    for (; high > 127; high >>>= 7) bytes[at++] = high | 128;
    bytes[at++] = high;
    for (let i = 0; i < change.length; i++) bytes[at++] = change[i]!;
    const length = at - start - 1 - length_bytes;
    bytes[start] = (1 << 3) | BYTES;
    bytes[start + 1] = length_bytes === 2 ? (length & 127) | 128 : length;
    if (length_bytes === 2) bytes[start + 2] = length >>> 7;
    this.#at = at;
    this.#events++;
    if (at >= this.#limits.bytes || this.#events === this.#limits.events) this.end(time_ms);
  }

  end(time_ms: number): void {
    if (this.#at > 0) this.#take(this.#bytes.slice(0, this.#at), time_ms);
    this.#at = 0;
    this.#events = 0;
  }
}

/** Gathers records into frames of one each, frames into pieces. */
export class PieceWriter {
  readonly pieces: Uint8Array[] = [];
  bytes_written = 0;
  next_offset: bigint;
  #records: LogRecord[] = [];

  constructor(first_offset: bigint) {
    this.next_offset = first_offset;
  }

  record(bytes: Uint8Array, log_time_ms: number): void {
    this.#records.push({ offset: this.next_offset++, log_time_ms, bytes });
    if (this.#records.length === FRAMES_PER_PIECE) this.end();
  }

  end(): void {
    if (this.#records.length === 0) return;
    const piece = encode_frames(this.#records, 0);
    this.pieces.push(piece);
    this.bytes_written += piece.length;
    this.#records = [];
  }
}

/** Gathers events into frames of one record each, which are handed over as they are made: a large fleet's are never all there. */
export function frame_writer(take: (frame: Uint8Array) => void): RecordWriter {
  let offset = 0n;
  return new RecordWriter(LOG_LIMITS, (bytes, log_time_ms) =>
    take(encode_frames([{ offset: offset++, log_time_ms, bytes }], 0)),
  );
}

const HOST_ID = Buffer.from("host-0000000.fra.net");
export const HOST_ID_BYTES = HOST_ID.length;
const HOST_ID_DIGIT_LAST = 11;

function write_host_id(bytes: Uint8Array, at: number, host: number): number {
  bytes[at] = HOST_ID.length;
  const from = at + 1;
  for (let i = 0; i < HOST_ID.length; i++) bytes[from + i] = HOST_ID[i]!;
  for (let digit = HOST_ID_DIGIT_LAST; host > 0; digit--, host = (host / 10) | 0)
    bytes[from + digit]! += host % 10;
  return from + HOST_ID.length;
}

function partitions_of_hosts(hosts: number, partitions: number): Uint16Array {
  const field = new Uint8Array(1 + HOST_ID_BYTES);
  return Uint16Array.from({ length: hosts }, (_, host) => {
    write_host_id(field, 0, host);
    return partition_of(field.subarray(1), partitions);
  });
}

/**
 * `booted`: nothing is on any stack when the fleet begins, so that an Observed is little longer than a change. `churning`:
 * as `patched`, and the patch that goes round is another one each time, so that configurations come and go.
 */
type Beginning = "patched" | "booted" | "churning";
type TakeRecord = (partition: number, record: Uint8Array) => void;

/** Hosts, and what each was told last; `baseline` first, then `events`. Of either kind: what is sent, or what is logged. */
export class Fleet {
  readonly hosts: number;
  readonly #beginning: Beginning;
  #random: Random;
  #configurations: Uint16Array;
  /** Which patch goes round: the base's own, or one of CHURN_NAMES behind the bases. */
  #going: Uint16Array;
  #sequences: Uint32Array;
  #times: Float64Array;
  #streams: Uint32Array;
  #next_offset = 0n;
  #days = 0;

  constructor(hosts: number, beginning: Beginning = "patched") {
    this.hosts = hosts;
    this.#beginning = beginning;
    this.#random = random_from(SEED);
    this.#sequences = new Uint32Array(hosts);
    this.#times = new Float64Array(hosts);
    const zipf = zipf_table();
    this.#configurations = Uint16Array.from({ length: hosts }, () => {
      const drawn = zipf[this.#random() >>> 16]!;
      return beginning === "booted" ? drawn - (drawn % STEPS) : drawn;
    });
    this.#going = this.#configurations.map((configuration) => Math.floor(configuration / STEPS));
    this.#streams = Uint32Array.from({ length: 2 * hosts }, () => this.#random() | 1);
  }

  /** An Observed of every host. */
  baseline(): Pieces {
    return this.#pieces(this.hosts, (writer) => this.#write_baseline(() => writer));
  }

  /** `baseline` frame by frame. */
  baseline_frames(take: (frame: Uint8Array) => void): void {
    const writer = frame_writer(take);
    this.#write_baseline(() => writer);
    writer.end(START_MS);
  }

  /** Changes of random hosts; a share of them is the host's last one again. */
  events(count: number): Pieces {
    return this.#pieces(count, (writer) => this.#write_events(count, () => writer));
  }

  /** `baseline` as the batches of so many senders, each of which has hosts of its own. */
  baseline_batches(senders: number): Uint8Array[][] {
    return this.#batches(senders, BATCH_LIMITS, (writer_of) => this.#write_baseline(writer_of));
  }

  /** `events` as the batches of so many senders, each of which has hosts of its own. */
  event_batches(count: number, senders: number, events_max = RECORD_EVENTS_MAX): Uint8Array[][] {
    const limits = { bytes: BATCH_LIMITS.bytes, events: events_max };
    return this.#batches(senders, limits, (writer_of) => this.#write_events(count, writer_of));
  }

  /** `baseline` as records of at most so many events, each of hosts of one partition. */
  baseline_records(partitions: number, events_max: number, take: TakeRecord): void {
    this.#records(partitions, events_max, take, (writer_of) => this.#write_baseline(writer_of));
  }

  /** `events` as records of at most so many events, each of hosts of one partition. */
  event_records(count: number, partitions: number, events_max: number, take: TakeRecord): void {
    this.#records(partitions, events_max, take, (writer_of) => this.#write_events(count, writer_of));
  }

  #write_baseline(writer_of: (host: number) => RecordWriter): void {
    const below = (base: number) => (this.#beginning === "booted" ? [] : names_below(base));
    const changes = each_configuration((base, step) => observed(base, step, below(base)));
    for (let host = 0; host < this.hosts; host++) {
      this.#tell(writer_of(host), host, START_MS, changes[this.#configurations[host]!]!);
    }
  }

  #write_events(count: number, writer_of: (host: number) => RecordWriter): void {
    const changes = Array.from({ length: BASES + CHURN_NAMES }, (_, going) =>
      CHANGE_FIELDS.map((number) =>
        Uint8Array.from(field(number, BYTES, field(1, BYTES, text(1, name_going_round(going))))),
      ),
    );
    const told: (Uint8Array | undefined)[] = new Array(this.hosts);
    const start_ms = START_MS + this.#days++ * DAY_MS;
    for (let i = 0; i < count; i++) {
      const host = Math.floor((this.#random() / 0x100000000) * this.hosts);
      const again = this.#random() < REPEATS * 0x100000000 ? told[host] : undefined;
      if (again !== undefined) {
        const [low, high] = [this.#streams[2 * host]!, this.#streams[2 * host + 1]!];
        writer_of(host).event(host, low, high, this.#sequences[host]!, this.#times[host]!, again);
        continue;
      }
      const before = this.#configurations[host]!;
      const step = before % STEPS;
      if (step === 0 && this.#beginning === "churning")
        this.#going[host] = BASES + (this.#random() % CHURN_NAMES);
      const change = changes[this.#going[host]!]![step]!;
      told[host] = change;
      const time_ms = start_ms + Math.floor(((i + 1) / count) * DAY_MS);
      this.#tell(writer_of(host), host, time_ms, change);
      this.#configurations[host] = before - step + ((step + 1) % STEPS);
    }
  }

  #tell(writer: RecordWriter, host: number, time_ms: number, change: Uint8Array): void {
    const sequence = ++this.#sequences[host]!;
    this.#times[host] = time_ms;
    writer.event(host, this.#streams[2 * host]!, this.#streams[2 * host + 1]!, sequence, time_ms, change);
  }

  #pieces(events: number, write: (writer: RecordWriter) => void): Pieces {
    const pieces = new PieceWriter(this.#next_offset);
    const writer = new RecordWriter(LOG_LIMITS, (record, time_ms) => pieces.record(record, time_ms));
    write(writer);
    writer.end(START_MS + this.#days * DAY_MS);
    pieces.end();
    this.#next_offset = pieces.next_offset;
    return { pieces: pieces.pieces, events, bytes: pieces.bytes_written };
  }

  #batches(
    senders: number,
    limits: RecordLimits,
    write: (writer_of: (host: number) => RecordWriter) => void,
  ): Uint8Array[][] {
    const batches: Uint8Array[][] = Array.from({ length: senders }, () => []);
    const writers = batches.map((own) => new RecordWriter(limits, (record) => own.push(record)));
    write((host) => writers[host % senders]!);
    for (const writer of writers) writer.end(START_MS);
    return batches;
  }

  #records(
    partitions: number,
    events_max: number,
    take: TakeRecord,
    write: (writer_of: (host: number) => RecordWriter) => void,
  ): void {
    const of_host = partitions_of_hosts(this.hosts, partitions);
    const limits = { bytes: BATCH_LIMITS.bytes, events: events_max };
    const writers = Array.from(
      { length: partitions },
      (_, partition) => new RecordWriter(limits, (record) => take(partition, record)),
    );
    write((host) => writers[of_host[host]!]!);
    for (const writer of writers) writer.end(START_MS);
  }
}

export const CANDIDATE = "livepatch_next";

/** A manifest of every installed patch and of the candidate for every kernel: some stacks fit, some do not. */
export function manifests(): CoreManifest[] {
  const manifest = (name: string, base: number, states: number[], version: number): CoreManifest => ({
    name,
    kernel_release: release_of(base),
    arch: ARCH,
    build_id: new Uint8Array(0),
    replace: name === CANDIDATE,
    states_unknown: false,
    irreversible: false,
    signed: false,
    states: states.map((id) => ({ id: BigInt(id), version })),
  });
  const installed = Array.from({ length: BASES }, (_, base) =>
    [...names_below(base), name_going_round(base)].map((name, i) =>
      manifest(name, base, [1 + base, 61 + i], 1 + i),
    ),
  );
  // The candidate knows the states of four bases of five.
  const known = Array.from({ length: 64 }, (_, i) => 1 + i).filter((id) => id > BASES || id % 5 !== 0);
  const candidates = Array.from({ length: KERNELS }, (_, base) => manifest(CANDIDATE, base, known, 4));
  return [...installed.flat(), ...candidates];
}
