/** A subscription as an async iterable: a change counts as handled when the next one is asked for. */
import type { StateChange } from "../events/state_change.js";
import { type SubscribeOptions, type Subscription, subscribe_with } from "./subscription.js";

export interface ChangeStream extends AsyncIterableIterator<StateChange, undefined>, Subscription {}

interface Offered {
  change: StateChange;
  handled(): void;
  given_up(): void;
}

/**
 * Reading begins at once. It is to be read by one at a time, and ends with what ends the subscription. Who leaves the loop
 * before the next change is asked for gets the last one again.
 */
export function subscribe(options: SubscribeOptions): ChangeStream {
  let offered: Offered | null = null;
  let taken: Offered | null = null;
  let is_closing = false;
  let wake = () => {};
  const subscription = subscribe_with(options, async (change) => {
    if (is_closing) throw new Error("nobody reads any more");
    await new Promise<void>((handled, given_up) => {
      offered = { change, handled, given_up };
      wake();
    });
  });
  const over = subscription.ended.then(() => "over" as const);
  over.catch(() => {});

  async function close(): Promise<void> {
    is_closing = true;
    const closed = subscription.close();
    (taken ?? offered)?.given_up();
    await closed;
  }

  return {
    ended: subscription.ended,
    close,
    async next() {
      taken?.handled();
      taken = null;
      while (offered === null) {
        const told = new Promise<"told">((resolve) => {
          wake = () => resolve("told");
        });
        if ((await Promise.race([told, over])) === "over") return { value: undefined, done: true };
      }
      taken = offered;
      offered = null;
      return { value: taken.change, done: false };
    },
    async return() {
      await close();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
