/**
 * Times for events, of a clock that may step. After a step back nobody here knows which of the two readings was right,
 * so time goes on from the later one, and what happened before is put as early as the clock now says.
 */
import type { HostClock } from "./watch.js";

/** Less is a clock that is corrected in passing: time stands still until it has caught up. */
const STEP_MS_MIN = 1_000;

export class EventTimes {
  private last_ms = 0;
  private last_monotonic_ms = 0;
  private behind = 0;

  constructor(private readonly clock: HostClock) {}

  /** Unix milliseconds, never before an earlier answer or `floor_ms`. */
  now_ms(floor_ms: number): number {
    const monotonic_ms = this.clock.monotonic_ms();
    const wall_ms = this.clock.wall_ms();
    const went_on_ms = this.last_ms + Math.floor(monotonic_ms - this.last_monotonic_ms);
    const has_stepped = this.last_ms > 0 && went_on_ms - wall_ms >= STEP_MS_MIN;
    const now_ms = Math.max(wall_ms, floor_ms, has_stepped ? went_on_ms : this.last_ms);
    this.behind = now_ms - wall_ms;
    this.last_ms = now_ms;
    this.last_monotonic_ms = monotonic_ms;
    return now_ms;
  }

  /** How far the clock was behind the last answer. */
  get behind_ms(): number {
    return this.behind;
  }
}
