/**
 * What an agent must not forget: its stream and next sequence, what `derive` knows, and the events that no server has
 * acknowledged yet, byte for byte: a sequence that was sent once means the same bytes for good. A commit is durable
 * when it returns, and survives kill -9 at any byte.
 */
import { join } from "node:path";
import type { Known } from "./derive.js";
import { Journal, read_journal } from "./journal.js";

/** Events of a host that hears nothing for months; one is about 100 bytes. */
export const SPOOL_BYTES_MAX = 1024 * 1024;
/** So much of what was acknowledged stays in the file before it is written anew. */
const STALE_BYTES_MAX = 256 * 1024;
const FORMAT = 1;
const NAME = "spool";

export interface SpoolState {
  host_id: string;
  /** Decimal; of the last stream that was begun. */
  stream: string;
  /** The sequence of the next event in the stream. */
  next_sequence: number;
  known: Known | null;
  /** The effective time that was acknowledged last: no event gets an earlier time. */
  floor_unix_ms: number;
  /** When the next `Observed` is due without any other reason. */
  daily_unix_ms: number;
  /** Since when the kernel's log is not read, and no Loss tells of it; null while it is read. */
  blind_since_unix_ms: number | null;
  /** Files of the inbox that are told in an event, and may be there still. */
  taken: string[];
}

export interface SpooledEvent {
  stream: string;
  sequence: number;
  time_unix_ms: number;
  /** That the kernel was forced is told even if the event is dropped. */
  forced: boolean;
  bytes: Uint8Array;
}

/** Where state and events are kept: on disk, or only in memory for who prints them. */
export interface Spool {
  /** Null in a new one. */
  readonly state: SpoolState | null;
  /** Not acknowledged, in order. */
  readonly unsent: readonly SpooledEvent[];
  readonly unsent_bytes: number;
  /** Counts up whenever unsent events are dropped: an acknowledgement of some of them means nothing then. */
  readonly generation: number;
  /** Durable when it returns. `drop_unsent`: what was not acknowledged is given up first. Throws what the disk says, and is then as before. */
  commit(state: SpoolState, add: readonly SpooledEvent[], drop_unsent: boolean): void;
  /** The first `count` of `unsent` were taken. Throws as commit. */
  acknowledged(count: number, floor_unix_ms: number): void;
  close(): void;
}

interface Entry {
  format: number;
  state: SpoolState;
  /** From the front of what was not acknowledged before. */
  dropped: number;
  add: (Omit<SpooledEvent, "bytes"> & { bytes: string })[];
}

export class MemorySpool implements Spool {
  state: SpoolState | null = null;
  unsent: SpooledEvent[] = [];
  generation = 0;

  get unsent_bytes(): number {
    return this.unsent.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  commit(state: SpoolState, add: readonly SpooledEvent[], drop_unsent: boolean): void {
    this.keep(state, drop_unsent ? this.unsent.length : 0, add);
    if (drop_unsent) this.generation++;
  }

  acknowledged(count: number, floor_unix_ms: number): void {
    if (this.state) this.keep({ ...this.state, floor_unix_ms }, count, []);
  }

  close(): void {}

  protected keep(state: SpoolState, dropped: number, add: readonly SpooledEvent[]): void {
    this.unsent = [...this.unsent.slice(dropped), ...add];
    this.state = state;
  }
}

export class DiskSpool extends MemorySpool {
  private readonly journal: Journal;
  /** What was there is damaged: what it said of before is not known any more. */
  readonly damaged: boolean;

  /** `directory` is claimed by this process alone. Throws what the disk says. */
  constructor(directory: string) {
    super();
    const path = join(directory, NAME);
    const { entries, damaged } = read_journal(path);
    this.damaged = damaged || entries.some((entry) => (entry as Entry).format !== FORMAT);
    if (!this.damaged) {
      for (const { state, dropped, add } of entries as Entry[]) {
        super.keep(
          state,
          dropped,
          add.map((event) => ({ ...event, bytes: Buffer.from(event.bytes, "base64") })),
        );
      }
    }
    this.journal = new Journal(path);
  }

  override close(): void {
    this.journal.close();
  }

  protected override keep(state: SpoolState, dropped: number, add: readonly SpooledEvent[]): void {
    const live_bytes = this.unsent_bytes;
    if (this.journal.is_good && this.journal.bytes < 4 * live_bytes + STALE_BYTES_MAX) {
      try {
        this.journal.append(entry_of(state, dropped, add));
        super.keep(state, dropped, add);
        return;
      } catch {
        // The whole file is written anew, which says what is wrong if that fails as well.
      }
    }
    const unsent = [...this.unsent.slice(dropped), ...add];
    this.journal.rewrite(entry_of(state, 0, unsent));
    super.keep(state, dropped, add);
  }
}

function entry_of(state: SpoolState, dropped: number, add: readonly SpooledEvent[]): Entry {
  return {
    format: FORMAT,
    state,
    dropped,
    add: add.map((event) => ({ ...event, bytes: Buffer.from(event.bytes).toString("base64") })),
  };
}
