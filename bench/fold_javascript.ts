/**
 * The fold as one would first write it in JavaScript: each event decoded into an object, each host an object in a Map. Of
 * RULES F it has what the benchmark's events need, and stops at anything else; what it came to is compared with the core.
 */
import { frames_of, records_of } from "../services/log/frame.js";
import type { Pieces } from "./data.js";

interface Entry {
  name: string;
  /** As in the schema. */
  phase: number;
}

interface Observed {
  release: string;
  arch: string;
  stack: Entry[];
  lingering: string[];
}

interface Host extends Observed {
  stream_low: number;
  stream_high: number;
  sequence: number;
  time_ms: number;
}

interface Event {
  host_id: string;
  stream_low: number;
  stream_high: number;
  sequence: number;
  time_ms: number;
  /** The number of the change's field, and the patch that it names. */
  change: number;
  name: string;
  observed: Observed | null;
}

const OBSERVED = 16;
const LOADING = 17;
const LOADED = 18;
const DISABLING = 20;
const DISABLED = 21;
const REMOVED = 25;
const PHASES = ["", "enabling", "enabled", "disabling"];

/** By hand, so that it reads latin1 and whole numbers only: protobufjs took twice as long for the same objects. */
class Decoder {
  readonly #names = new Map<string, string>();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  begin(record: Uint8Array): void {
    this.#bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
    this.#at = 0;
  }

  /** Null at the record's end. */
  next_event(): Event | null {
    if (this.#at === this.#bytes.length) return null;
    this.#varint();
    const end = this.#end();
    const event: Event = {
      host_id: "",
      stream_low: 0,
      stream_high: 0,
      sequence: 0,
      time_ms: 0,
      change: 0,
      name: "",
      observed: null,
    };
    while (this.#at < end) {
      const field = this.#varint() >>> 3;
      if (field === 1) event.host_id = this.#text();
      else if (field === 2) {
        event.stream_low = this.#bytes.readUInt32LE(this.#at);
        event.stream_high = this.#bytes.readUInt32LE(this.#at + 4);
        this.#at += 8;
      } else if (field === 3) event.sequence = this.#varint();
      else if (field === 4) event.time_ms = this.#varint();
      else {
        event.change = field;
        const change_end = this.#end();
        if (field === OBSERVED) event.observed = this.#observed(change_end);
        else event.name = this.#named(change_end).name;
      }
    }
    return event;
  }

  #observed(end: number): Observed {
    const observed: Observed = { release: "", arch: "", stack: [], lingering: [] };
    while (this.#at < end) {
      const tag = this.#varint();
      const field = tag >>> 3;
      if (field === 1) observed.release = this.#name();
      else if (field === 2) observed.arch = this.#name();
      else if (field === 6) observed.stack.push(this.#named(this.#end()));
      else if (field === 7) observed.lingering.push(this.#named(this.#end()).name);
      else if ((tag & 7) === 2) this.#at = this.#end();
      else this.#varint();
    }
    return observed;
  }

  /** A change, or an entry of a stack: a patch, and a phase where there is one. */
  #named(end: number): Entry {
    const entry: Entry = { name: "", phase: 0 };
    while (this.#at < end) {
      if (this.#varint() >>> 3 === 1) {
        this.#varint();
        this.#varint();
        entry.name = this.#name();
      } else entry.phase = this.#varint();
    }
    return entry;
  }

  #varint(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let byte = bytes[at++]!;
    let value = byte & 127;
    for (let factor = 128; byte >= 128; factor *= 128) {
      byte = bytes[at++]!;
      value += (byte & 127) * factor;
    }
    this.#at = at;
    return value;
  }

  /** Where what has its length in front ends. */
  #end(): number {
    const length = this.#varint();
    return this.#at + length;
  }

  /** The same text is one string: hosts share few, and equal ones are then the same place in memory. */
  #name(): string {
    const text = this.#text();
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    this.#names.set(text, text);
    return text;
  }

  #text(): string {
    const length = this.#varint();
    this.#at += length;
    return this.#bytes.toString("latin1", this.#at - length, this.#at);
  }
}

export class JavaScriptFold {
  /** So many were folded. */
  events = 0;
  readonly #hosts = new Map<string, Host>();
  readonly #decoder = new Decoder();

  fold({ pieces }: Pieces): void {
    for (const piece of pieces) {
      for (const frame of frames_of(piece)) {
        for (const { bytes } of records_of(frame)) {
          this.#decoder.begin(bytes);
          for (let event = this.#decoder.next_event(); event; event = this.#decoder.next_event()) {
            this.events++;
            this.#apply(event);
          }
        }
      }
    }
  }

  #apply(event: Event): void {
    const { host_id, stream_low, stream_high, sequence, time_ms, observed } = event;
    const host = this.#hosts.get(host_id);
    if (host === undefined) {
      if (observed === null) throw new Error(`${host_id} does not begin with an Observed`);
      const { release, arch, stack, lingering } = observed;
      this.#hosts.set(host_id, {
        stream_low,
        stream_high,
        sequence,
        time_ms,
        release,
        arch,
        stack,
        lingering,
      });
      return;
    }
    if (host.stream_low !== stream_low || host.stream_high !== stream_high)
      throw new Error(`${host_id} has another stream`);
    if (sequence <= host.sequence) return;
    if (sequence !== host.sequence + 1) throw new Error(`${host_id} has a gap`);
    host.sequence = sequence;
    host.time_ms = Math.max(host.time_ms, time_ms);
    change(host, event);
  }

  /** A line for each configuration with its hosts, as fleet_facts.ts writes them. */
  facts(): string[] {
    const hosts_of = new Map<string, number>();
    for (const { release, arch, stack, lingering } of this.#hosts.values()) {
      const stacked = stack.map(({ name, phase }) => `${name}:${PHASES[phase]}`).join(",");
      const key = `${release}|${arch}|complete||${stacked}|${lingering.toSorted().join(",")}`;
      hosts_of.set(key, (hosts_of.get(key) ?? 0) + 1);
    }
    return [...hosts_of].map(([key, hosts]) => `${key}|${hosts}`).sort();
  }
}

/** RULES F4, its rows that no anomaly comes of. */
function change(host: Host, { host_id, change: field, name }: Event): void {
  const { stack, lingering } = host;
  const at = stack.findIndex((entry) => entry.name === name);
  const entry = stack[at];
  if (field === LOADING && entry === undefined) {
    stack.push({ name, phase: 1 });
    host.lingering = lingering.filter((other) => other !== name);
  } else if (field === LOADED && entry?.phase === 1) entry.phase = 2;
  else if (field === DISABLING && entry?.phase === 2) entry.phase = 3;
  else if (field === DISABLED && entry?.phase === 3) {
    stack.splice(at, 1);
    lingering.push(name);
  } else if (field === REMOVED && entry === undefined && lingering.includes(name)) {
    host.lingering = lingering.filter((other) => other !== name);
  } else throw new Error(`${host_id}: change ${field} of ${name} is not what it should be`);
}
