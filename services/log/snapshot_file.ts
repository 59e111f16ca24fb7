/**
 * A snapshot: an image of a core that has folded a log up to a position; derived, and made again where it is missing.
 * DIR/snapshots/<partition>/<next offset>, twenty digits. Little-endian:
 *
 *   byte  bytes  field
 *      0      4  magic "KLPS"
 *      4      4  length of the header, bytes
 *      8      4  CRC-32 (zlib's) of the header
 *     12         the header, JSON: SnapshotHeader; behind it the image's bytes, run after run
 *
 * An image is good for the binary, the registry and the partition that it was made by, and for nothing else: its stamp
 * says which, and another one is refused. It is written beside and renamed, so that it is there whole or not at all.
 */
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { type Disk, error_code, make_directory_durably, type ReadFile, write_whole } from "./disk.js";
import { view_of } from "./frame.js";
import type { LogPosition } from "./segment.js";

const SNAPSHOT_FORMAT = 1;
const MAGIC_U32 = 0x53504c4b;
const PREFIX_BYTES = 12;
const HEADER_BYTES_MAX = 4 * 1024 * 1024;

const NAME = /^\d{20}$/;

/** What a snapshot is of; it is read only by who is the same. */
export interface SnapshotStamp {
  fold_version: number;
  /** SHA-256 of the core's binary, hex. */
  core: string;
  registry_id: string;
  partition: number;
  partitions: number;
}

/** Of the core's image: services/core/facts.ts. */
export interface SnapshotImage {
  counters: Uint8Array;
  to_page: number;
  runs: { page: number; pages: number }[];
}

export interface SnapshotFacts {
  position: LogPosition;
  hosts: number;
}

interface SnapshotHeader extends SnapshotStamp {
  format: number;
  hosts: number;
  /** Decimal. */
  next_offset: string;
  segment: string;
  byte: number;
  log_time_ms: number;
  /** Hex. */
  counters: string;
  to_page: number;
  /** First page and number of pages. */
  runs: [number, number][];
  body_bytes: number;
  body_crc32: number;
}

export function snapshot_name(next_offset: bigint): string {
  return next_offset.toString().padStart(20, "0");
}

/** The next offset that a file's name states; null: no snapshot. */
export function snapshot_offset(name: string): bigint | null {
  return NAME.test(name) ? BigInt(name) : null;
}

/** `body`: the bytes of the image's runs. Throws what the disk does. */
export async function write_snapshot(
  disk: Disk,
  path: string,
  stamp: SnapshotStamp,
  facts: SnapshotFacts,
  image: SnapshotImage,
  body: readonly Uint8Array[],
): Promise<void> {
  let checksum = 0;
  let body_bytes = 0;
  for (const bytes of body) {
    checksum = crc32(bytes, checksum);
    body_bytes += bytes.length;
  }
  const { position, hosts } = facts;
  const header: SnapshotHeader = {
    format: SNAPSHOT_FORMAT,
    ...stamp,
    hosts,
    next_offset: String(position.offset),
    segment: String(position.segment),
    byte: position.byte,
    log_time_ms: position.log_time_ms,
    counters: Buffer.from(image.counters).toString("hex"),
    to_page: image.to_page,
    runs: image.runs.map(({ page, pages }) => [page, pages]),
    body_bytes,
    body_crc32: checksum,
  };
  const text = Buffer.from(`${JSON.stringify(header)}\n`);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(MAGIC_U32, 0);
  prefix.writeUInt32LE(text.length, 4);
  prefix.writeUInt32LE(crc32(text), 8);
  await make_directory_durably(disk, dirname(path));
  await write_whole(disk, path, [prefix, text, ...body]);
}

export interface OpenSnapshot {
  facts: SnapshotFacts;
  image: SnapshotImage;
  /** Fills the runs one after the other, each once; what it says at the end decides whether the bytes are good. */
  fill(into: Uint8Array): void;
  /** Why the bytes are not what was written; null: they are. After the last run. */
  verdict(): string | null;
  close(): void;
}

/** Why a snapshot is not used. */
export interface SnapshotRefusal {
  refused: string;
  /** It is of another registry's log, or of another partition's. */
  is_foreign: boolean;
}

export function open_snapshot(
  disk: Disk,
  path: string,
  stamp: SnapshotStamp,
): OpenSnapshot | SnapshotRefusal {
  let file: ReadFile;
  try {
    file = disk.open_read(path);
  } catch (error) {
    return unreadable(error);
  }
  try {
    const opened = read_header(file, stamp);
    if ("refused" in opened) file.close();
    return opened;
  } catch (error) {
    file.close();
    return unreadable(error);
  }
}

function unreadable(error: unknown): SnapshotRefusal {
  return refusal(`it cannot be read (${error_code(error) || String(error)})`);
}

function refusal(refused: string, is_foreign = false): SnapshotRefusal {
  return { refused, is_foreign };
}

function read_header(file: ReadFile, stamp: SnapshotStamp): OpenSnapshot | SnapshotRefusal {
  const prefix = new Uint8Array(PREFIX_BYTES);
  if (file.read_sync(prefix, 0) < PREFIX_BYTES) return refusal("it is cut short");
  const view = view_of(prefix);
  const length = view.getUint32(4, true);
  if (view.getUint32(0, true) !== MAGIC_U32 || length > HEADER_BYTES_MAX) return refusal("it is no snapshot");
  const text = new Uint8Array(length);
  if (file.read_sync(text, PREFIX_BYTES) < length) return refusal("it is cut short");
  if (crc32(text) !== view.getUint32(8, true)) return refusal("its header's checksum does not match");
  const header = JSON.parse(Buffer.from(text).toString()) as SnapshotHeader;
  const foreign = foreign_stamp(header, stamp);
  if (foreign !== null) return foreign;
  const bytes = PREFIX_BYTES + length + header.body_bytes;
  if (file.size() !== bytes) return refusal(`it has ${file.size()} bytes instead of ${bytes}`);

  let at = PREFIX_BYTES + length;
  let checksum = 0;
  return {
    facts: {
      position: {
        offset: BigInt(header.next_offset),
        segment: BigInt(header.segment),
        byte: header.byte,
        log_time_ms: header.log_time_ms,
      },
      hosts: header.hosts,
    },
    image: {
      counters: Buffer.from(header.counters, "hex"),
      to_page: header.to_page,
      runs: header.runs.map(([page, pages]) => ({ page, pages })),
    },
    fill(into) {
      at += file.read_sync(into, at);
      checksum = crc32(into, checksum);
    },
    verdict() {
      if (at !== bytes) return "its runs have other lengths than its bytes";
      return checksum === header.body_crc32 ? null : "its checksum does not match";
    },
    close: () => file.close(),
  };
}

/** Why the snapshot is not of what the stamp says; null: it is. */
function foreign_stamp(header: SnapshotHeader, stamp: SnapshotStamp): SnapshotRefusal | null {
  if (header.format !== SNAPSHOT_FORMAT) {
    const age = header.format > SNAPSHOT_FORMAT ? "a newer" : "another";
    return refusal(`it has format ${header.format}: ${age} klpstate made it`);
  }
  if (header.registry_id !== stamp.registry_id) return refusal("it is of another registry", true);
  if (header.partition !== stamp.partition || header.partitions !== stamp.partitions) {
    return refusal(`it is of partition ${header.partition} of ${header.partitions}`, true);
  }
  if (header.fold_version !== stamp.fold_version)
    return refusal(`it was folded by version ${header.fold_version} of the rules`);
  if (header.core !== stamp.core) return refusal("another build of the core made it");
  return null;
}
