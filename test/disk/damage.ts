/**
 * Damage to bytes that are durable, done to a log that has come to rest: what was done, and where the log has to name
 * it. Frames are told by their lengths here, before the damage; nothing of the log's own checks is used.
 */
import { join } from "node:path";
import type { Dice } from "./dice.js";
import type { Place } from "./inhabitant.js";
import type { SimulatedDirectory } from "./simulated_directory.js";
import { SECTOR_BYTES, SimulatedFile } from "./simulated_file.js";

export const DAMAGE_KINDS = [
  "a bit flipped",
  "a sector of zeros",
  "a sector unreadable",
  "a file cut",
  "a segment removed",
] as const;
export type DamageKind = (typeof DAMAGE_KINDS)[number];

export interface Damage {
  kind: DamageKind;
  /** Where it may be said to be: at a start the first place, by a reader of a running log any. */
  places: Place[];
  /** False: the log alone cannot tell it from a torn tail, which is then cut there. */
  certain: boolean;
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

function frames_in(bytes: Uint8Array): Frame[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; at = frames.at(-1)!.end) {
    frames.push({
      at,
      end: at + view.getUint32(at + 4, true),
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
    segments.push({ name, path: join(path, name), file, frames: frames_in(file.bytes()), first_offset });
  }
  return segments;
}

/** Damage to the last commit can be told from a torn tail: an empty frame stands behind it, or it is an old segment's. */
export function is_sealed(directory: SimulatedDirectory, path: string): boolean {
  const last = segments_in(directory, path).at(-1)?.frames.at(-1);
  return last === undefined || !holds_records(last);
}

/** Null: the log has nothing that could be damaged in a way that matters. */
export function do_damage(directory: SimulatedDirectory, path: string, dice: Dice): Damage | null {
  const segments = segments_in(directory, path);
  const wanted = dice.pick(DAMAGE_KINDS);
  if (segments.length > 1) {
    const index = dice.below(segments.length - 1);
    if (wanted === "a file cut") return cut_file(segments[index]!, segments[index + 1]!, dice);
    if (wanted === "a segment removed") {
      return remove_segment(directory, segments[index]!, segments[index + 1]!);
    }
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
      whole.set(bytes, from);
      return whole;
    });
  put(after);
  const has_witness = frames.some((frame) => !hit.includes(frame) && frame.synced > first.at);
  return {
    kind,
    places: [place_of(segment, first)],
    certain: !is_last || has_witness,
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
    places: [place_of(segment, hit[0]!)],
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
  return { kind: "a file cut", places, certain: true, loses_records, undo: () => file.damage(() => whole) };
}

function remove_segment(directory: SimulatedDirectory, segment: SegmentFile, next: SegmentFile): Damage {
  const { name, path, file, first_offset } = segment;
  directory.damage(name, null);
  return {
    kind: "a segment removed",
    places: [
      { file: next.path, byte: 0, offset: first_offset },
      { file: path, byte: 0, offset: first_offset },
    ],
    certain: true,
    loses_records: true,
    undo: () => directory.damage(name, file),
  };
}
