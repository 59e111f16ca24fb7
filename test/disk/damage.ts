/**
 * Damage to bytes that are durable, done to a log that has come to rest: what was done, and where the log has to name
 * it. Frames are told by their lengths here, before the damage; nothing of the log's own checks is used.
 */
import { join } from "node:path";
import type { Dice } from "./dice.js";
import { fail, type Place, type ReadFrom } from "./inhabitant.js";
import type { SimulatedDirectory } from "./simulated_directory.js";
import { SECTOR_BYTES, SimulatedFile } from "./simulated_file.js";

export const DAMAGE_KINDS = [
  "a bit flipped",
  "a sector of zeros",
  "a sector unreadable",
  "a file cut",
  "a segment removed",
  "a log's end lost",
] as const;
export type DamageKind = (typeof DAMAGE_KINDS)[number];

export interface Damage {
  kind: DamageKind;
  /** Where it may be said to be by who reads all of the log. */
  places: Place[];
  /** What else it has hit: named by who begins to read behind the first place. */
  behind: Place[];
  /** Where a start that reads the log from there on finds it; null: it does not. */
  found_from(from: ReadFrom | null): Place | null;
  /** False: the log alone cannot tell it from a torn tail, which is then cut there. */
  certain: boolean;
  /** Of a file, or which there are. */
  changes_length: boolean;
  /** A record cannot be read, not only an empty frame. */
  loses_records: boolean;
  undo(): void;
}

interface Frame {
  at: number;
  end: number;
  count: number;
  synced: number;
  first_offset: bigint;
}

interface SegmentFile {
  name: string;
  path: string;
  file: SimulatedFile;
  frames: Frame[];
  first_offset: bigint;
}

function frames_in(path: string, bytes: Uint8Array): Frame[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; at = frames.at(-1)!.end) {
    const end = bytes.length - at < 40 ? 0 : at + view.getUint32(at + 4, true);
    if (end <= at || end > bytes.length) fail(`${path} is at rest, and has no whole frame at byte ${at}`);
    frames.push({
      at,
      end,
      count: view.getUint32(at + 12, true),
      synced: Number(view.getBigUint64(at + 16, true)),
      first_offset: view.getBigUint64(at + 24, true),
    });
  }
  return frames;
}

function holds_records(frame: Frame): boolean {
  return frame.count > 0;
}

function segments_in(directory: SimulatedDirectory, path: string): SegmentFile[] {
  const segments: SegmentFile[] = [];
  for (const name of [...directory.names()].filter((each) => each.endsWith(".log")).sort()) {
    const file = directory.find(name);
    if (!(file instanceof SimulatedFile)) continue;
    const first_offset = BigInt(name.slice(0, -".log".length));
    const own = join(path, name);
    segments.push({ name, path: own, file, frames: frames_in(own, file.bytes()), first_offset });
  }
  return segments;
}

/** Damage to the last commit can be told from a torn tail: an empty frame stands behind it, or it is an old segment's. */
export function is_sealed(directory: SimulatedDirectory, path: string): boolean {
  const last = segments_in(directory, path).at(-1)?.frames.at(-1);
  return last === undefined || !holds_records(last);
}

/**
 * Null: the log has nothing that could be damaged in a way that matters. `known_end`: up to where a snapshot shows that
 * the log went; null: nothing does, or the log is written to.
 */
export function do_damage(
  directory: SimulatedDirectory,
  path: string,
  known_end: ReadFrom | null,
  dice: Dice,
): Damage | null {
  const segments = segments_in(directory, path);
  if (known_end !== null && dice.chance(0.4)) {
    const damage = lose_end(directory, segments, known_end, dice);
    if (damage !== null) return damage;
  }
  const wanted = dice.pick(DAMAGE_KINDS);
  if (segments.length > 1) {
    const index = dice.below(segments.length - 1);
    if (wanted === "a file cut") return cut_file(segments[index]!, segments[index + 1]!, dice);
    if (wanted === "a segment removed") return remove_segment(directory, segments, index);
  }
  const segment = dice.pick(segments.filter(({ frames }) => frames.length > 0));
  if (segment === undefined) return null;
  const is_last = segment === segments.at(-1);
  const at = dice.below(segment.file.length);
  if (wanted === "a sector unreadable") return spoil_sector(segment, at);
  if (wanted === "a sector of zeros") {
    return change_bytes(segment, is_last, wanted, sector_at(at, segment.file.length), () => 0);
  }
  const bit = 1 << dice.below(8);
  return change_bytes(segment, is_last, "a bit flipped", [at, at + 1], (byte) => byte ^ bit);
}

function sector_at(at: number, end: number): [from: number, to: number] {
  const from = at - (at % SECTOR_BYTES);
  return [from, Math.min(from + SECTOR_BYTES, end)];
}

function place_of(segment: SegmentFile, frame: Frame): Place {
  return { file: segment.path, byte: frame.at, offset: frame.first_offset };
}

/** The first of the frames that a start reads. */
function first_read(segment: SegmentFile, frames: Frame[], from: ReadFrom | null): Place | null {
  const { first_offset } = segment;
  const read = frames.find(({ at }) => {
    if (from === null || first_offset > from.segment) return true;
    return first_offset === from.segment && at >= from.byte;
  });
  return read === undefined ? null : place_of(segment, read);
}

function change_bytes(
  segment: SegmentFile,
  is_last: boolean,
  kind: DamageKind,
  [from, to]: [number, number],
  change: (byte: number) => number,
): Damage | null {
  const { file, frames } = segment;
  const before = file.bytes().slice(from, to);
  const after = before.map(change);
  const hit = frames.filter((frame) =>
    after.some((byte, index) => {
      const at = from + index;
      return byte !== before[index] && at >= frame.at && at < frame.end;
    }),
  );
  const first = hit[0];
  if (first === undefined) return null;
  const put = (bytes: Uint8Array) =>
    file.damage((whole) => {
      // It may be shorter by then: cut at a frame behind the first one.
      whole.set(bytes.subarray(0, Math.max(0, whole.length - from)), from);
      return whole;
    });
  put(after);
  const has_witness = frames.some((frame) => !hit.includes(frame) && frame.synced > first.at);
  return {
    kind,
    places: [place_of(segment, first)],
    behind: hit.slice(1).map((frame) => place_of(segment, frame)),
    found_from: (start) => first_read(segment, hit, start),
    certain: !is_last || has_witness,
    changes_length: false,
    loses_records: hit.some(holds_records),
    undo: () => put(before),
  };
}

function spoil_sector(segment: SegmentFile, at: number): Damage {
  const { file, frames } = segment;
  const [from, to] = sector_at(at, file.length);
  const sector = from / SECTOR_BYTES;
  file.unreadable.add(sector);
  const hit = frames.filter((frame) => frame.end > from && frame.at < to);
  return {
    kind: "a sector unreadable",
    changes_length: false,
    places: [place_of(segment, hit[0]!)],
    behind: hit.slice(1).map((frame) => place_of(segment, frame)),
    found_from: (start) => {
      const begins_there =
        start?.segment === segment.first_offset &&
        start.byte > from &&
        start.byte < from + SECTOR_BYTES &&
        start.byte < file.length;
      // What was written there later cannot be read either.
      if (begins_there) return { file: segment.path, byte: start.byte, offset: start.offset };
      return first_read(segment, hit, start);
    },
    certain: true,
    loses_records: hit.some(holds_records),
    undo: () => void file.unreadable.delete(sector),
  };
}

/** Null: nothing but an empty frame would be missing. */
function cut_file(segment: SegmentFile, next: SegmentFile, dice: Dice): Damage | null {
  const { file, frames, path } = segment;
  const length = dice.below(file.length);
  const whole = file.bytes().slice();
  const first = frames.find((frame) => frame.end > length)!;
  const lost = frames.filter((frame) => frame.at >= length);
  const places =
    first.at < length
      ? [place_of(segment, first)]
      : [
          { file: next.path, byte: 0, offset: first.first_offset },
          { file: path, byte: length, offset: first.first_offset },
        ];
  const loses_records = holds_records(first) || lost.some(holds_records);
  if (first.at >= length && !loses_records) return null;
  file.damage((bytes) => bytes.slice(0, length));
  const is_found = (from: ReadFrom | null) => {
    if (from === null || segment.first_offset > from.segment) return true;
    if (segment.first_offset < from.segment) return false;
    // Where all of the segment's records stand before, the next one is read alone.
    return from.offset < next.first_offset || (length >= from.byte && first.at < length);
  };
  return {
    kind: "a file cut",
    places,
    behind: [],
    found_from: (from) => (is_found(from) ? places[0]! : null),
    certain: true,
    changes_length: true,
    loses_records,
    undo: () => file.damage(() => whole),
  };
}

function remove_segment(directory: SimulatedDirectory, segments: SegmentFile[], index: number): Damage {
  const { name, path, file, first_offset } = segments[index]!;
  const next = segments[index + 1]!;
  directory.damage(name, null);
  const places = [
    { file: next.path, byte: 0, offset: first_offset },
    { file: path, byte: 0, offset: first_offset },
  ];
  const is_found = (from: ReadFrom | null) => {
    // A log begins at 0: that is seen without reading.
    if (from === null || index === 0 || first_offset > from.segment) return true;
    return first_offset === from.segment && from.offset < next.first_offset;
  };
  return {
    kind: "a segment removed",
    places,
    behind: [],
    found_from: (from) => (is_found(from) ? places[0]! : null),
    certain: true,
    changes_length: true,
    loses_records: true,
    undo: () => directory.damage(name, file),
  };
}

/** Null: what a snapshot has ends before the last segment. */
function lose_end(
  directory: SimulatedDirectory,
  segments: SegmentFile[],
  known_end: ReadFrom,
  dice: Dice,
): Damage | null {
  const segment = segments.at(-1);
  if (segment?.first_offset !== known_end.segment || known_end.offset <= segment.first_offset) return null;
  const { name, path, file, frames, first_offset } = segment;
  const undo_of = (places: Place[], undo: () => void): Damage => {
    const [first] = places;
    return {
      kind: "a log's end lost",
      places,
      behind: [],
      found_from: () => first!,
      certain: true,
      changes_length: true,
      loses_records: true,
      undo,
    };
  };
  if (dice.chance(0.3)) {
    directory.damage(name, null);
    const before = segments.at(-2);
    const end = before && { file: before.path, byte: before.file.length, offset: first_offset };
    const gone = { file: path, byte: 0, offset: first_offset };
    return undo_of(end ? [end, gone] : [gone], () => directory.damage(name, file));
  }
  const length = dice.below(known_end.byte);
  const first = frames.find((frame) => frame.end > length)!;
  // An empty frame at the end is no loss.
  if (first.first_offset >= known_end.offset) return null;
  const whole = file.bytes().slice();
  file.damage((bytes) => bytes.slice(0, length));
  return undo_of([place_of(segment, first)], () => file.damage(() => whole));
}
