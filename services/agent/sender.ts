/**
 * The way out of the spool: one batch is outstanding, the same one until it is acknowledged. What the acknowledgement
 * says of the host decides whether the stream goes on (RULES F3).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Random, retry_after_ms } from "./pace.js";
import type { Spool, SpooledEvent } from "./spool.js";
import type { HostWatch } from "./watch.js";

const BATCH_EVENTS_MAX = 1_000;
const BATCH_BYTES_MAX = 512 * 1024;
/** A full report that was asked for is not asked for again for so long. */
const OBSERVE_AGAIN_MS = 600_000;

/** What a registry has of the host once the batch is in it. */
export interface Acknowledged {
  next_sequence: number;
  knowledge: string;
  effective_unix_ms: number;
}

export type Delivery =
  | /** Null: who took them does not say what it has of the host; the stream goes on. */ {
      taken: Acknowledged | null;
    }
  | { later: string; after_ms?: number }
  | /** These events will never be taken. */ { refused: string };

export interface Outlet {
  /** Never throws for what a network does. */
  deliver(events: readonly SpooledEvent[]): Promise<Delivery>;
}

export interface SenderParts {
  spool: Spool;
  watch: Pick<HostWatch, "new_stream" | "observe_soon" | "is_restarting">;
  outlet: Outlet;
  random: Random;
  monotonic_ms: () => number;
  /** Before the first batch a random part of it passes, and it is the first span between tries. */
  base_ms: number;
  report: (message: string) => void;
}

export class Sender {
  private wake: () => void = () => {};
  private tries = 0;
  private observe_asked_ms = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: SenderParts) {}

  /** There may be something to send. */
  stir(): void {
    this.wake();
  }

  /** Until the signal; then what is under way is left to the next start. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, base_ms, spool, watch } = this.parts;
    await pause(random() * base_ms, signal);
    while (!signal.aborted) {
      if (spool.unsent.length === 0 || watch.is_restarting) await this.stirred(signal);
      else await pause(await this.send_once(signal), signal);
    }
  }

  /** Sends the oldest events; how long to wait, ms, before the next try. */
  async send_once(signal: AbortSignal): Promise<number> {
    const { spool, watch, outlet, random, base_ms, report } = this.parts;
    const batch = first_batch(spool.unsent);
    const { generation } = spool;
    const delivery = await unless_aborted(outlet.deliver(batch), signal);
    if (delivery === null) return 0;
    if ("taken" in delivery) {
      if (this.tries > 0) report("the server takes events again");
      this.tries = 0;
      // They were given up meanwhile; whether they arrived makes no difference to the stream that follows.
      if (spool.generation !== generation) return 0;
      return this.settle(batch, delivery.taken);
    }
    const why = "later" in delivery ? delivery.later : `refused: ${delivery.refused}`;
    if (this.tries === 0) report(`not sent, and tried again: ${why}`);
    const wait_ms = retry_after_ms(this.tries++, base_ms, random);
    if ("refused" in delivery) watch.new_stream(why, batch[0]!.time_unix_ms);
    return Math.max(wait_ms, "later" in delivery ? (delivery.after_ms ?? 0) : 0);
  }

  private settle(batch: readonly SpooledEvent[], acknowledged: Acknowledged | null): number {
    const { spool, watch, report, base_ms } = this.parts;
    const last = batch.at(-1)!;
    const is_current = last.stream === spool.state?.stream;
    const effective_unix_ms = acknowledged?.effective_unix_ms ?? 0;
    const floor_unix_ms = Math.max(spool.state?.floor_unix_ms ?? 0, effective_unix_ms);
    try {
      spool.acknowledged(batch.length, floor_unix_ms);
    } catch (error) {
      // Sent again later: a repeat has no effect.
      report(`the spool cannot be written: ${(error as Error).message}`);
      return base_ms;
    }
    if (acknowledged === null || !is_current) return 0;
    const { next_sequence, knowledge } = acknowledged;
    if (knowledge === "disputed" || next_sequence !== last.sequence + 1) {
      const why =
        knowledge === "disputed"
          ? "the registry has events of two publishers, or of a clock that fell back"
          : `the registry goes on at ${next_sequence}, not at ${last.sequence + 1}`;
      watch.new_stream(why, effective_unix_ms);
      return 0;
    }
    if (knowledge === "gap" || knowledge === "no_baseline") this.ask_for_observed();
    return 0;
  }

  private ask_for_observed(): void {
    const now_ms = this.parts.monotonic_ms();
    if (now_ms - this.observe_asked_ms < OBSERVE_AGAIN_MS) return;
    this.observe_asked_ms = now_ms;
    this.parts.watch.observe_soon();
  }

  private stirred(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const woken = () => {
        signal.removeEventListener("abort", woken);
        resolve();
      };
      this.wake = woken;
      signal.addEventListener("abort", woken);
    });
  }
}

function first_batch(unsent: readonly SpooledEvent[]): SpooledEvent[] {
  const batch: SpooledEvent[] = [];
  let bytes = 0;
  for (const event of unsent.slice(0, BATCH_EVENTS_MAX)) {
    bytes += event.bytes.length;
    if (batch.length > 0 && bytes > BATCH_BYTES_MAX) break;
    batch.push(event);
  }
  return batch;
}

/** Null if the signal comes first. */
function unless_aborted<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value | null> {
  return new Promise((resolve, reject) => {
    const aborted = () => resolve(null);
    signal.addEventListener("abort", aborted);
    value.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}

/** Shorter if the signal comes. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => {});
}
