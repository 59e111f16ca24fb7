/**
 * A file of entries, one JSON text a line behind its CRC-32, that a crash at any byte leaves readable: an entry is
 * there whole, or was never confirmed. Appends are synced; `rewrite` puts a new file in the old one's place.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

const CRC_CHARACTERS = 8;

export interface ReadJournal {
  entries: unknown[];
  /** A bad entry has good ones behind it: no crash leaves that, so nothing behind it can be trusted. */
  damaged: boolean;
}

function checked(text: string): string {
  return `${crc32(text).toString(16).padStart(CRC_CHARACTERS, "0")} ${text}`;
}

function line_of(entry: unknown): string {
  return `${checked(JSON.stringify(entry))}\n`;
}

function entry_of(line: string): { entry: unknown } | null {
  const text = line.slice(CRC_CHARACTERS + 1);
  return text !== "" && checked(text) === line ? { entry: JSON.parse(text) } : null;
}

/** The entries before the first that is torn; none where there is no file. */
export function read_journal(path: string): ReadJournal {
  if (!existsSync(path)) return { entries: [], damaged: false };
  const lines = readFileSync(path, "utf8").split("\n");
  const entries: unknown[] = [];
  for (const [index, line] of lines.entries()) {
    const read = entry_of(line);
    if (read) entries.push(read.entry);
    else return { entries, damaged: lines.slice(index + 1).some((later) => entry_of(later) !== null) };
  }
  return { entries, damaged: false };
}

export class Journal {
  private fd: number | null = null;
  private file_bytes = 0;

  constructor(private readonly path: string) {}

  get bytes(): number {
    return this.file_bytes;
  }

  /** Durable when it returns. Throws what the disk says; the next entry then has to be a `rewrite`. */
  append(entry: unknown): void {
    const fd = this.fd;
    // Somebody took the directory away: what is written to the file that was in it is lost with this process.
    if (fd === null || fstatSync(fd).nlink === 0) throw new Error(`${this.path} is not there any more`);
    // Whatever happens from here on, what stands at the end of the file is not known until it is synced.
    this.fd = null;
    try {
      this.file_bytes += write_all(fd, line_of(entry));
      fsyncSync(fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.fd = fd;
  }

  get is_good(): boolean {
    return this.fd !== null;
  }

  /** Puts a file with this one entry in the place of the old one, durably. */
  rewrite(entry: unknown): void {
    this.close();
    const directory = dirname(this.path);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const beside = `${this.path}.new`;
    const fd = openSync(beside, "w", 0o600);
    try {
      const bytes = write_all(fd, line_of(entry));
      fsyncSync(fd);
      renameSync(beside, this.path);
      sync_directory(directory);
      this.file_bytes = bytes;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.fd = fd;
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }
}

function write_all(fd: number, text: string): number {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  return bytes.length;
}

function sync_directory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
