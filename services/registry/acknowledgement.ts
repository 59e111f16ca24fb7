/**
 * An acknowledgement, as its JSON. A batch of ten thousand hosts has a megabyte of it, which is written straight from
 * the core's rows: an object and some strings for each host take longer than storing its event.
 */
import { KNOWLEDGE } from "../core/codes.js";
import { HostFactRows, type HostList } from "../core/host_list.js";
import { TIME_BYTES, TimeWriter } from "../events/time_bytes.js";
import type { Ack } from "./answers.js";
import { Piece } from "./text_bytes.js";

const HEAD = new Piece('{"host_id":"');
const BEHIND_ID = new Piece('","next_sequence":"');
const BEHIND_SEQUENCE = new Map<string, Piece>(
  KNOWLEDGE.map((name) => [name, new Piece(`","knowledge":"${name}","effective_time":"`)]),
);
const TAIL = new Piece('"},');
const BEHIND_UNTOLD_ID = new Piece('","next_sequence":null,"knowledge":null,"effective_time":null},');
/** Of 2^32, the highest next sequence. */
const SEQUENCE_DIGITS_MAX = 10;
const TOLD_BYTES_MAX =
  BEHIND_ID.length +
  SEQUENCE_DIGITS_MAX +
  Math.max(...[...BEHIND_SEQUENCE.values()].map((piece) => piece.length)) +
  TIME_BYTES +
  TAIL.length;
/** A host's text without its id, at most; with what a piece writes behind its end. */
const HOST_BYTES_MAX = HEAD.length + Math.max(TOLD_BYTES_MAX, BEHIND_UNTOLD_ID.length) + 3;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ZERO = 0x30;

/** What one partition says of its part of a batch. */
export interface PartStored {
  partition: number;
  next_offset: bigint;
  /** Null: nobody asked for them. Facts that are null: stored, and whoever folds the partition has not told of it yet. */
  hosts: { list: HostList; facts: Uint8Array | null } | null;
}

export class Acknowledgement {
  /** `json`: the text of an Ack, UTF-8. */
  constructor(readonly json: Uint8Array<ArrayBuffer>) {}

  get document(): Ack {
    return JSON.parse(new TextDecoder().decode(this.json));
  }
}

/** Throws where a host is not known, though facts are there: its event was just folded. */
export function acknowledge(parts: readonly PartStored[]): Acknowledgement {
  const positions = Object.fromEntries(
    parts.map(({ partition, next_offset }) => [partition, String(next_offset)]),
  );
  const begin = Buffer.from(`{"positions":${JSON.stringify(positions)},"hosts":[`);
  const end = Buffer.from("]}");
  const asked = parts.flatMap(({ hosts }) => hosts ?? []);
  const bytes_max = asked.reduce(
    (sum, { list }) =>
      sum + list.count * HOST_BYTES_MAX + list.bytes.length * (may_need_escapes(list) ? 2 : 1),
    begin.length + end.length,
  );
  const json = Buffer.allocUnsafeSlow(bytes_max) as Uint8Array<ArrayBuffer>;
  json.set(begin);
  const writer = new HostWriter(json);
  let at = begin.length;
  for (const { list, facts } of asked) at = writer.write(at, list, facts && new HostFactRows(facts));
  // The comma behind the last host.
  if (at > begin.length) at--;
  json.set(end, at);
  return new Acknowledgement(json.subarray(0, at + end.length));
}

/** A host id is UTF-8 without control characters: JSON has to escape two characters of it. A length may look like one. */
function may_need_escapes({ bytes }: HostList): boolean {
  return bytes.includes(QUOTE) || bytes.includes(BACKSLASH);
}

class HostWriter {
  readonly #view: DataView;
  readonly #times = new TimeWriter();

  constructor(json: Uint8Array) {
    this.#view = new DataView(json.buffer, json.byteOffset, json.length);
  }

  /** The hosts with a comma behind each; where they end. */
  write(at: number, list: HostList, facts: HostFactRows | null): number {
    const { count, bytes } = list;
    const ids = may_need_escapes(list) ? null : new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const view = this.#view;
    let id = 0;
    for (let row = 0; row < count; row++) {
      const id_end = id + 1 + bytes[id]!;
      if (facts !== null && !facts.is_known(row)) {
        const host_id = new TextDecoder().decode(bytes.subarray(id + 1, id_end));
        throw new Error(`the core does not know ${host_id}, of which an event was just stored`);
      }
      at = HEAD.write(view, at);
      at = ids === null ? this.#escape(at, bytes, id + 1, id_end) : this.#copy(at, ids, id + 1, id_end);
      at = facts === null ? BEHIND_UNTOLD_ID.write(view, at) : this.#tell(at, facts, row);
      id = id_end;
    }
    return at;
  }

  #tell(at: number, facts: HostFactRows, row: number): number {
    const view = this.#view;
    at = BEHIND_ID.write(view, at);
    at = this.#write_number(at, facts.sequence(row) + 1);
    at = BEHIND_SEQUENCE.get(facts.knowledge(row))!.write(view, at);
    at = this.#times.write(view, at, facts.effective_time_ms(row));
    return TAIL.write(view, at);
  }

  #copy(at: number, ids: DataView, from: number, to: number): number {
    const view = this.#view;
    for (; from + 4 <= to; from += 4, at += 4) view.setUint32(at, ids.getUint32(from, true), true);
    for (; from < to; from++, at++) view.setUint8(at, ids.getUint8(from));
    return at;
  }

  #escape(at: number, ids: Uint8Array, from: number, to: number): number {
    const view = this.#view;
    for (let i = from; i < to; i++) {
      const byte = ids[i]!;
      if (byte === QUOTE || byte === BACKSLASH) view.setUint8(at++, BACKSLASH);
      view.setUint8(at++, byte);
    }
    return at;
  }

  #write_number(at: number, value: number): number {
    let end = at + 1;
    for (let rest = value; rest >= 10; rest /= 10) end++;
    for (let digit = end - 1; digit >= at; digit--, value = Math.floor(value / 10)) {
      this.#view.setUint8(digit, ZERO + (value % 10));
    }
    return end;
  }
}
