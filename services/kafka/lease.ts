/**
 * How long a node may take itself for what the group made it. A process that was stopped for longer than its session
 * hears of that only a second after it goes on; meanwhile others have its partitions. So nothing is served or published
 * once half of the session has gone by since the last heartbeat that was answered was *sent*, by the monotonic clock and
 * by the wall clock both: the one may stand while a machine sleeps, the other may be set.
 *
 * Kept in shared memory: the shards' threads ask for it before each send.
 */

const MONOTONIC_UNTIL = 0;
const WALL_UNTIL = 1;
const MAY_PUBLISH = 2;
const CELLS = 3;

export interface Clocks {
  /** The same in every thread of the process, ms. */
  monotonic(): number;
  /** ms since 1970. */
  wall(): number;
}

export const CLOCKS: Clocks = {
  monotonic: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
  wall: Date.now,
};

interface Instant {
  monotonic: number;
  wall: number;
}

/** What a thread that did not make the lease knows of it. */
export class LeaseView {
  protected readonly cells: Float64Array;
  protected readonly clocks: Clocks;

  constructor(
    readonly memory: SharedArrayBuffer = new SharedArrayBuffer(CELLS * Float64Array.BYTES_PER_ELEMENT),
    clocks: Clocks = CLOCKS,
  ) {
    this.cells = new Float64Array(memory);
    this.clocks = clocks;
  }

  get holds(): boolean {
    const { cells, clocks } = this;
    return clocks.monotonic() < cells[MONOTONIC_UNTIL]! && clocks.wall() < cells[WALL_UNTIL]!;
  }

  /** Not while the group is being put together anew. */
  get may_publish(): boolean {
    return this.cells[MAY_PUBLISH] === 1 && this.holds;
  }
}

export class Lease extends LeaseView {
  readonly #length_ms: number;
  /** Since then a heartbeat may have been sent, and none was answered. */
  #asked: Instant | null = null;

  constructor(session_timeout_ms: number, clocks: Clocks = CLOCKS) {
    super(undefined, clocks);
    this.#length_ms = session_timeout_ms / 2;
  }

  /** A heartbeat may be sent from now on. Told too often rather than too seldom. */
  asking(): void {
    this.#asked ??= { monotonic: this.clocks.monotonic(), wall: this.clocks.wall() };
  }

  /** A heartbeat was answered. Returns whether the lease went on without a gap. */
  confirmed(): boolean {
    const { cells } = this;
    const asked = this.#asked;
    this.#asked = null;
    if (asked === null) return this.holds;
    const went_on = this.holds;
    cells[MONOTONIC_UNTIL] = asked.monotonic + this.#length_ms;
    cells[WALL_UNTIL] = asked.wall + this.#length_ms;
    return went_on;
  }

  set publishing(may: boolean) {
    this.cells[MAY_PUBLISH] = may ? 1 : 0;
  }

  /** The group says that this node is not what it was. */
  lost(): void {
    this.#asked = null;
    this.cells.fill(0);
  }
}
